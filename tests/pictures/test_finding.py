"""A finding is drawn where its structure is largest, in its colour, beside others that it names."""

import io

import matplotlib.image
import numpy as np

from tomoseg.pictures.finding import COLOURS, draw_finding
from tomoseg.volume import Volume

VOLUME = Volume.from_array(np.zeros((20, 20, 20), np.int16), np.eye(4))


def pixels(png):
    return np.rint(matplotlib.image.imread(io.BytesIO(png))[..., :3] * 255).astype(int)


def of_colour(picture, colour, columns):
    """Pixels of an outline's colour between two shares of the width, titles left out."""
    part = picture[24:, int(columns[0] * picture.shape[1]) : int(columns[1] * picture.shape[1])]
    return int((np.abs(part - colour).max(-1) < 40).sum())


def test_both_planes_show_the_structure_and_another_that_is_named():
    one, other = np.zeros((2, 20, 20, 20), bool)
    one[4:9, 4:9, 2:6] = True
    other[11:15, 4:8, 2:5] = True
    picture = pixels(draw_finding(VOLUME, {"liver": one, "spleen": other}))
    for columns in ((0, 0.5), (0.5, 1)):
        assert of_colour(picture, COLOURS[0], columns) > 100
        assert of_colour(picture, COLOURS[1], columns) > 100
    alone = pixels(draw_finding(VOLUME, {"liver": one}))
    assert of_colour(alone, COLOURS[1], (0, 1)) == 0


def test_an_empty_mask_and_none_show_the_scan():
    empty = pixels(draw_finding(VOLUME, {"liver": np.zeros((20, 20, 20), bool)}))
    assert of_colour(empty, COLOURS[0], (0, 1)) == 0
    assert pixels(draw_finding(VOLUME, {})).shape == empty.shape


def test_slices_may_go_through_something_else_than_the_first_mask():
    low, high = np.zeros((2, 20, 20, 20), bool)
    low[4:9, 4:9, 2:6] = True
    high[10:16, 10:16, 12:18] = True
    for through, shown in ((None, COLOURS[0]), (high, COLOURS[1])):
        picture = pixels(draw_finding(VOLUME, {"liver": low, "spleen": high}, through))
        other = COLOURS[1] if shown == COLOURS[0] else COLOURS[0]
        assert of_colour(picture, shown, (0, 1)) > 200
        assert of_colour(picture, other, (0, 1)) == 0


def test_a_title_stands_above_the_names():
    empty = np.zeros((20, 20, 20), bool)
    plain, titled = (pixels(draw_finding(VOLUME, {"liver": empty}, title=title)) for title in ("", "liver, Dice 0.50"))
    assert titled.shape[0] == plain.shape[0] + 22
    assert (titled[22:] == plain).all()
    assert titled[:22].max() > 200


def test_names_and_sides_are_in_the_language():
    mask = np.zeros((20, 20, 20), bool)
    mask[4:9, 4:9, 2:6] = True
    french = pixels(draw_finding(VOLUME, {"liver": mask}, lang="fr"))
    named = pixels(draw_finding(VOLUME, {"foie": mask}))
    assert (french[:22] == named[:22]).all()
    assert (french != named).any()  # D and G for R and L
