import pytest

from tomoseg.notices import Notice
from tomoseg.pictures.warning_lines import FIRST, MOST_LINES, OTHERS, lines_of, warning_height

LONG = "It is another part of the body. " * 8


def test_the_first_is_told_in_full_and_stands_out():
    lines = lines_of([LONG, "It is cut."])
    assert " ".join(text for text, colour in lines if colour == FIRST) == LONG.strip()
    assert lines[-1] == ("It is cut.", OTHERS)
    assert lines_of([]) == []
    assert warning_height([]) == 0


@pytest.mark.parametrize(("count", "more"), [(4, None), (5, "+2 more warnings"), (9, "+6 more warnings")])
def test_of_many_the_number_is_told(count, more):
    lines = lines_of([f"This is number {n}." for n in range(count)])
    assert len(lines) == MOST_LINES
    assert lines[0] == ("This is number 0.", FIRST)
    assert lines[-1][0] == (more or "This is number 3.")


def test_even_the_longest_leaves_the_picture_its_place():
    assert len(lines_of([LONG * 9, "Another.", "A third."])) == MOST_LINES
    assert lines_of([LONG * 9, "Another.", "A third."], "fr")[-1][0] == "+2 autres avertissements"


def test_no_decisive_one_is_left_out():
    grave = [Notice(f"Grave {n}.", "not HU") for n in range(6)]
    small = [Notice(f"Small {n}.", "tilt") for n in range(3)]
    assert lines_of([*grave, *small]) == [
        *((f"Grave {n}.", FIRST) for n in range(6)),
        ("+3 more warnings", OTHERS),
    ]
    assert lines_of([*grave[:2], *small]) == [
        *((f"Grave {n}.", FIRST) for n in range(2)),
        ("Small 0.", OTHERS),
        ("+2 more warnings", OTHERS),
    ]
