import pytest

from tests.pictures.test_canvas import read
from tomoseg.labels import LabelSet, Structure
from tomoseg.pictures.canvas import Sheet
from tomoseg.pictures.legend import Legend, LegendEntry


def named(*names):
    return LabelSet(tuple(Structure(n, name) for n, name in enumerate(names, start=1)))


@pytest.mark.parametrize(("count", "lines"), [(0, 1), (1, 1), (5, 1), (6, 2), (40, 8), (41, 9), (117, 9)])
def test_five_columns_of_forty_names_and_a_note(count, lines):
    labels = named(*(f"s{n}" for n in range(117)))
    assert Legend.of(labels.ids[:count], labels, 1568, "nothing").height == lines * 23


@pytest.mark.parametrize(("characters", "columns"), [(34, 5), (35, 4), (43, 4), (44, 3), (90, 3)])
def test_a_long_name_takes_fewer_columns(characters, columns):
    """1568 pixels: a column of five has 313.6, less 21 of the square are 292.6, of which 8.5 a character fit 34."""
    labels = named("a" * characters, "b", "c", "d", "e", "f")
    assert Legend.of(labels.ids, labels, 1568, "").columns == columns


def test_only_a_name_too_long_for_three_columns_is_shortened():
    labels = named("a" * 30 + "b" * 30)
    (_, _, text), *_ = Legend.of(labels.ids, labels, 1568, "", beside={1: LegendEntry("12 ml")}).lines
    assert text == f"{'a' * 26}…{'b' * 25}, 12 ml"  # 501.7 pixels hold 59 characters, of which 7 follow the name


def test_french_names_differ_from_each_other():
    labels = named("lung_lower_lobe_right", "lung_lower_lobe_left", "lung_upper_lobe_left", "gluteus_maximus_left")
    beside = {value: LegendEntry("1180 ml") for value in labels.ids}
    assert [text for _, _, text in Legend.of(labels.ids, labels, 1568, "", "fr", beside).lines] == [
        "lobe inférieur du poumon droit, 1180 ml",
        "lobe inférieur du poumon gauche, 1180 ml",
        "lobe supérieur du poumon gauche, 1180 ml",
        "muscle grand fessier gauche, 1180 ml",
    ]


@pytest.mark.parametrize(("hidden", "empty"), [(39, True), (40, False)])
def test_empty_squares_are_those_of_the_structures_that_it_names(hidden, empty):
    labels = named(*(f"s{n}" for n in range(41)))
    beside = {value: LegendEntry(filled=place != hidden) for place, value in enumerate(labels.ids)}
    assert Legend.of(labels.ids, labels, 1568, "", beside=beside).has_empty_squares is empty


def test_downwards_then_to_the_right_in_the_order_given(tmp_path):
    labels = LabelSet(tuple(Structure(n + 1, f"s{n}", colour=(40 * n, 255, 0)) for n in range(6)))
    sheet = Sheet(1000, 46)
    Legend.of([6, 5, 4, 3, 2, 1], labels, 1000, "").draw(sheet, 0, 0)
    sheet.save(tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    for place, number in enumerate([5, 4, 3, 2, 1, 0]):  # two rows: 5 above 4, then 3 above 2, then 1 above 0
        assert picture[23 * (place % 2) + 11, place // 2 * 200 + 6].tolist() == [40 * number, 255, 0]


def test_of_nothing_a_note(tmp_path):
    written = []
    for text in ("", "Nothing."):
        sheet = Sheet(300, 23)
        Legend.of([], named("a"), 300, text).draw(sheet, 0, 0)
        sheet.save(tmp_path / "a.png")
        written.append((read(tmp_path / "a.png") > 150).any())
    assert written == [False, True]
