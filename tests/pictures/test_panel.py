import numpy as np
import pytest

from tests.pictures.test_canvas import read
from tomoseg.errors import GridError
from tomoseg.pictures.panel import best_slice, draw_panel, slice_dice

CELL, TOP = (1600 - 2 * 16 - 3 * 8) / 4, 48 + 28  # width of a picture; where the pictures begin


def cells(path):
    """The four pictures of a panel."""
    picture = read(path)
    lefts = [round(16 + place * (CELL + 8)) for place in range(4)]
    return [picture[TOP : picture.shape[0] - 16, left : left + round(CELL)] for left in lefts]


def scene(x=40, y=40):
    """Soft tissue all over, 50 HU, and two empty masks."""
    return np.full((x, y), 50, np.int16), np.zeros((x, y), bool), np.zeros((x, y), bool)


def test_best_slice_by_hand():
    mask = np.zeros((3, 3, 5), bool)
    mask[0, 0, 1] = True
    mask[:2, 0, 3] = mask[1:, 2, 4] = True
    assert best_slice(mask) == 3
    assert best_slice(np.zeros((2, 2, 5), bool)) == 2


def test_slice_dice_by_hand():
    one = np.array([[1, 1, 1, 0]], bool)
    other = np.array([[0, 1, 1, 1]], bool)
    assert slice_dice(one, other) == pytest.approx(2 * 2 / 6)
    assert slice_dice(one, ~one) == 0
    assert np.isnan(slice_dice(one, np.zeros_like(one)))


def test_right_anterior_is_at_the_top_left(tmp_path):
    hu, reference, predicted = scene()
    hu[:] = -200
    hu[32:, 30:] = 300  # right 8 of 40 columns, anterior 10 of 40 rows
    draw_panel(hu, reference, predicted, "corner", (2.0, 2.0), tmp_path / "a.png")
    ct = cells(tmp_path / "a.png")[0]
    bright = ct.min(axis=2) > 128
    edge = round(CELL) / 40
    assert bright[3 : round(9 * edge), 3 : round(7 * edge)].all()
    bright[: round(11 * edge), : round(9 * edge)] = False
    assert bright.mean() < 0.02  # the marks and the scale bar


def test_colours_of_reference_prediction_and_both(tmp_path):
    """Reference: the right three quarters. Prediction: the left three quarters. The grey below is 128."""
    hu, reference, predicted = scene()
    reference[10:] = True
    predicted[:30] = True
    draw_panel(hu, reference, predicted, "liver", (1.0, 1.0), tmp_path / "a.png")
    ct, ref, pred, both = cells(tmp_path / "a.png")
    height, width = ct.shape[:2]
    row = height // 4  # away from marks and bar
    only_reference, middle, only_predicted = (round(share * width) for share in (1 / 8, 0.4, 7 / 8))
    grey, red, blue = np.array([128, 128, 128]), np.array([244, 40, 60]), np.array([50, 95, 255])
    in_red, in_blue = 0.55 * grey + 0.45 * red, 0.55 * grey + 0.45 * blue
    for picture, expected in (
        (ct, (grey, grey, grey)),
        (ref, (in_red, in_red, grey)),
        (pred, (grey, in_blue, in_blue)),
        (both, (in_red, 0.55 * in_red + 0.45 * blue, in_blue)),
    ):
        for column, colour in zip((only_reference, middle, only_predicted), expected, strict=True):
            assert picture[row, column] == pytest.approx(colour, abs=2)


def test_pixels_have_their_size_in_mm(tmp_path):
    for spacing, ratio in (((2.0, 1.0), 0.5), ((1.0, 1.5), 1.5)):
        draw_panel(*scene(), "liver", spacing, tmp_path / "a.png")
        ct = cells(tmp_path / "a.png")[0]
        assert ct.shape[0] / ct.shape[1] == pytest.approx(ratio, abs=0.01)
        assert (ct[3:-3, 3:-3].min(axis=2) > 100).mean() > 0.9  # and the picture fills its place


def test_air_is_cut_away_up_to_a_centimetre(tmp_path):
    hu, reference, predicted = scene(100, 100)
    hu[:] = -1000
    hu[40:60, 30:70] = 50  # 20 x 40 pixels and 10 on each side
    draw_panel(hu, reference, predicted, "liver", (1.0, 1.0), tmp_path / "a.png")
    ct = cells(tmp_path / "a.png")[0]
    assert ct.shape[0] / ct.shape[1] == pytest.approx(60 / 40, abs=0.01)


def test_a_small_structure_is_enlarged_in_the_overlay_alone(tmp_path):
    """20 mm and 15 mm on either side fill the 200 mm picture when enlarged fourfold."""
    hu, reference, predicted = scene(200, 200)
    reference[100:120, 60:80] = predicted[100:120, 60:80] = True
    draw_panel(hu, reference, predicted, "cord", (1.0, 1.0), tmp_path / "a.png")
    _, ref, _, both = cells(tmp_path / "a.png")

    def width(picture):
        coloured = np.ptp(picture, axis=2) > 40
        columns = np.flatnonzero(coloured.sum(axis=0) > 10)
        return columns.max() - columns.min() + 1

    assert width(ref) == pytest.approx(CELL / 10, abs=3)
    assert width(both) == pytest.approx(CELL / 10 * 4, abs=3)


def test_not_annotated_is_drawn_without_a_reference(tmp_path):
    hu, _, predicted = scene()
    predicted[10:30, 10:30] = True
    draw_panel(hu, None, predicted, "liver", (1.0, 1.0), tmp_path / "a.png")
    _, ref, pred, both = cells(tmp_path / "a.png")
    assert np.ptp(ref, axis=2).max() == 0
    assert np.ptp(pred, axis=2).max() > 100
    assert np.ptp(both, axis=2).max() > 100


def test_an_empty_and_a_full_slice_are_drawn(tmp_path):
    hu, empty, _ = scene()
    draw_panel(hu, empty, ~empty, "a" * 300, (1.0, 1.0), tmp_path / "a.png")
    draw_panel(hu[:1, :1], empty[:1, :1], empty[:1, :1], "", (1.0, 40.0), tmp_path / "b.png")
    assert read(tmp_path / "a.png").shape[1] == read(tmp_path / "b.png").shape[1] == 1600


def test_different_shapes_are_refused(tmp_path):
    hu, reference, predicted = scene()
    with pytest.raises(GridError, match=r"of one shape, got \(40, 40\), \(40, 40\) and \(40, 39\)"):
        draw_panel(hu, reference, predicted[:, 1:], "liver", (1.0, 1.0), tmp_path / "a.png")
