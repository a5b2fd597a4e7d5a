import numpy as np
import pytest

from tests.pictures.test_canvas import read
from tests.pictures.test_preview import PURE, coloured
from tomoseg.errors import InputError
from tomoseg.masks import pack
from tomoseg.pictures.samples import Sample, draw_samples, words_of_change
from tomoseg.training.changes import Change, FieldOfView

CELL = (1600 - 2 * 16 - 3 * 8) / 4  # 386 pixels
TOP = 48 + 26  # the first row's pictures, below the heading and their captions


def sample(masks=None, grey=0, size=(40, 40), spacing_mm=(1.0, 1.0), changes=("as it is",)):
    masks = np.zeros((2, *size), bool) if masks is None else masks
    return Sample("case, z = 1", np.full(size, grey, np.uint8), pack(masks), spacing_mm, changes)


def draw(path, *samples):
    draw_samples(samples, PURE, path / "a.png", "Training slices", "details")
    return read(path / "a.png")


def cell(picture, number):
    left = round(16 + number % 4 * (CELL + 8))
    return picture[TOP : TOP + round(CELL), left : left + round(CELL)]


def test_outlines_are_where_the_masks_are_and_overlap(tmp_path):
    # Red: the right 20 of 40 columns and the anterior 10 of 40 rows. Green: the same rows of the middle 20 columns.
    masks = np.zeros((2, 40, 40), bool)
    masks[0, 20:, 30:] = masks[1, 10:30, 30:] = True
    picture = draw(tmp_path, sample(), sample(masks))
    assert not coloured(cell(picture, 0), 0).any()
    shown = cell(picture, 1)
    for colour, first, last in ((0, 0, 20), (1, 10, 30)):
        rows, columns = np.nonzero(coloured(shown, colour))
        assert columns.min() == pytest.approx(first / 40 * CELL, abs=3)
        assert columns.max() == pytest.approx(last / 40 * CELL, abs=3)
        assert rows.min() == pytest.approx(0, abs=3)
        assert rows.max() == pytest.approx(10 / 40 * CELL, abs=3)
    inside = shown[round(0.1 * CELL) : round(0.2 * CELL), round(0.3 * CELL) : round(0.45 * CELL)]
    assert not inside.any()  # outlines only


def test_grey_values_are_as_given(tmp_path):
    picture = draw(tmp_path, *(sample(grey=grey) for grey in (0, 100, 255)))
    for number, grey in enumerate((0, 100, 255)):
        assert (cell(picture, number)[100:120, 100:120] == grey).all()


@pytest.mark.parametrize(
    ("count", "size", "spacing_mm", "height"),
    [
        (1, (40, 40), (1.0, 1.0), 386),
        (5, (40, 40), (1.0, 1.0), 386),
        (16, (40, 30), (1.0, 1.0), 386 * 0.75),
        (4, (40, 20), (1.0, 2.0), 386),
        (4, (40, 4), (1.0, 1.0), 193),
        (4, (4, 40), (1.0, 1.0), 579),
    ],
)
def test_rows_of_four_with_true_proportions(tmp_path, count, size, spacing_mm, height):
    picture = draw(tmp_path, *[sample(size=size, spacing_mm=spacing_mm)] * count)
    rows = -(-count // 4)
    assert picture.shape[:2] == (round(48 + rows * (26 + height + 17 + 16) + 23 + 16), 1600)


def test_a_row_is_as_high_as_its_longest_words(tmp_path):
    one, many = sample(), sample(changes=tuple(f"change number {n}" for n in range(6)))  # three of 15 letters a line
    heights = [draw(tmp_path, *row).shape[0] for row in ([one] * 8, [one] * 7 + [many], [many] * 8)]
    assert heights == [heights[0], heights[0] + 17, heights[0] + 34]


def test_the_legend_names_what_is_seen_largest_first(tmp_path):
    masks = np.zeros((2, 40, 40), bool)
    masks[0, :10], masks[1, 10:] = True, True
    picture = draw(tmp_path, sample(masks))
    legend = picture[-39:]
    assert legend[11, 16 + 6].tolist() == [0, 255, 0]
    assert legend[11, 16 + round((1600 - 32) / 5) + 6].tolist() == [255, 0, 0]
    masks[1] = False
    legend = draw(tmp_path, sample(masks))[-39:]
    assert legend[11, 16 + 6].tolist() == [255, 0, 0]
    assert not coloured(legend, 1).any()


def test_masks_of_other_labels_are_refused(tmp_path):
    with pytest.raises(InputError, match="expected 1 bytes per voxel for 2 structures, got 2"):
        draw(tmp_path, sample(np.zeros((9, 40, 40), bool)))
    assert list(tmp_path.iterdir()) == []


def test_words_of_everything():
    change = Change(
        turn_degrees=-7.6,
        zoom=1.08,
        shift=(0.03, -0.04),  # 3 and 4 of 100 pixels: 5
        bend_pixels=2.04,
        hu_factor=0.95,
        hu_shift=-12.4,
        noise_hu=8.7,
        blur_pixels=0.66,
        resolution=0.6,
        view=FieldOfView(True, (0.75, 0.5), (0.0, 0.0)),
        gamma=1.25,
    )
    assert words_of_change(change, (100, 100)) == (
        "turned 8°",
        "size × 1.08",
        "shifted 5 px",
        "bent 2.0 px",
        "contrast × 0.95",
        "HU − 12",
        "noise 9 HU",
        "blurred 0.7 px",
        "resolution 60%",
        "disc of 75%",
        "gamma 1.25",
    )
    cut = Change(view=FieldOfView(False, (0.75, 0.5), (0.0, 0.0)))
    assert words_of_change(cut, (9, 9)) == ("rectangle of 75% × 50%",)


def test_words_leave_out_what_rounds_to_nothing():
    change = Change(turn_degrees=0.4, zoom=1.004, shift=(0.004, 0), bend_pixels=0.04, hu_factor=0.996, hu_shift=0.4)
    assert words_of_change(change, (100, 100)) == ()
    less = Change(noise_hu=0.4, blur_pixels=0.04, resolution=0.996, gamma=1.004)
    assert words_of_change(less, (100, 100)) == ()
