"""Centre-line Dice by hand, and against its formula on whole scans."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import skeletonize

from tomoseg.errors import ConfigError
from tomoseg.evaluation.centre_lines import centre_line, centre_line_dice
from tomoseg.evaluation.masks import Scoring, score_pairs
from tomoseg.evaluation.metrics import check_metrics
from tomoseg.evaluation.pairs import MaskPair
from tomoseg.masks import BoxedMask
from tomoseg.volume import SourceGrid

SHAPE = (5, 5, 20)


def block(x, y, z):
    mask = np.zeros(SHAPE, bool)
    mask[x, y, z] = True
    return mask


def dice(predicted, reference):
    return centre_line_dice(MaskPair(BoxedMask.of(predicted), BoxedMask.of(reference), (1.0, 1.0, 1.0), 3.0))


LINE = block(2, 2, slice(2, 18))  # 16 voxels, which are their own centre line


def test_a_vessel_that_is_drawn_too_wide_is_followed_all_the_same():
    wide = block(slice(1, 4), slice(1, 4), slice(2, 18))
    assert dice(wide, LINE) == 1
    assert 2 * (wide & LINE).sum() / (wide.sum() + LINE.sum()) == 0.2


def test_half_a_vessel_by_hand():
    # All of the predicted centre line lies in the reference, and 8 of the reference's 16 voxels in the prediction.
    half = block(slice(1, 4), slice(1, 4), slice(2, 10))
    assert dice(half, LINE) == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert dice(LINE, half) == dice(half, LINE)


def test_beside_it_is_nothing():
    assert dice(block(0, 0, slice(2, 18)), LINE) == 0


def test_what_thinning_would_remove_is_its_own_centre_line():
    cube = np.ones((2, 2, 2), bool)
    assert not skeletonize(cube).any()
    assert centre_line(BoxedMask.of(cube)).voxels == 8
    assert dice(block(slice(0, 2), slice(0, 2), slice(0, 2)), block(slice(1, 3), slice(0, 2), slice(0, 2))) == 0.5


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_boxes_and_whole_scans_agree(seed):
    rng = np.random.default_rng(seed)
    noise = [ndimage.gaussian_filter(rng.standard_normal((14, 13, 12)), 1.2) for _ in "ab"]
    reference = noise[0] > 0
    predicted = noise[0] + 0.5 * noise[1] > 0
    lines = skeletonize(predicted), skeletonize(reference)
    precision = (lines[0] & reference).sum() / lines[0].sum()
    sensitivity = (lines[1] & predicted).sum() / lines[1].sum()
    assert dice(predicted, reference) == pytest.approx(2 / (1 / precision + 1 / sensitivity))
    assert dice(reference, reference) == 1


def test_only_vessels_are_measured_where_there_are_any():
    mask = BoxedMask.of(LINE)
    pairs = [("aorta", mask, mask), ("liver", mask, mask)]
    for groups, measured in (({"aorta": "vessels", "liver": "organs"}, [True, False]), ({}, [True, True])):
        scoring = Scoring(also=("cldice",), groups=groups)
        scores = score_pairs(pairs, SourceGrid(SHAPE, np.eye(4)), scoring)
        assert [score.value("cldice") == 1 for score in scores] == measured


def test_without_scikit_image_it_is_refused_at_once(monkeypatch):
    check_metrics(["cldice"])
    monkeypatch.setattr("tomoseg.packages.is_installed", lambda module: module != "skimage")
    with pytest.raises(ConfigError, match=r"expected scikit-image, found none; .*tomoseg\[meshes\]"):
        check_metrics(["cldice"])
