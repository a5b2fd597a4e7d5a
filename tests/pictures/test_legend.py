import pytest

from tests.pictures.test_canvas import read
from tomoseg.labels import LabelSet, Structure
from tomoseg.pictures.canvas import Sheet
from tomoseg.pictures.legend import draw_legend, legend_height


@pytest.mark.parametrize(("count", "lines"), [(0, 1), (1, 1), (5, 1), (6, 2), (40, 8), (41, 9), (117, 9)])
def test_five_columns_of_forty_names_and_a_note(count, lines):
    assert legend_height(list(range(count))) == lines * 23


def test_downwards_then_to_the_right_in_the_order_given(tmp_path):
    labels = LabelSet(tuple(Structure(n + 1, f"s{n}", colour=(40 * n, 255, 0)) for n in range(6)))
    sheet = Sheet(1000, 46)
    draw_legend(sheet, [6, 5, 4, 3, 2, 1], labels, 0, 0, "")
    sheet.save(tmp_path / "a.png")
    picture = read(tmp_path / "a.png")
    for place, number in enumerate([5, 4, 3, 2, 1, 0]):  # two rows: 5 above 4, then 3 above 2, then 1 above 0
        assert picture[23 * (place % 2) + 11, place // 2 * 200 + 6].tolist() == [40 * number, 255, 0]


def test_of_nothing_a_note(tmp_path):
    written = []
    for text in ("", "Nothing."):
        sheet = Sheet(300, 23)
        draw_legend(sheet, [], LabelSet((Structure(1, "a"),)), 0, 0, text)
        sheet.save(tmp_path / "a.png")
        written.append((read(tmp_path / "a.png") > 150).any())
    assert written == [False, True]
