"""Opening and closing against balls that are laid at every voxel."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from tomoseg.masks import BoxedMask
from tomoseg.postprocess.morphology import closing, fill_holes, opening

SPACINGS = st.sampled_from([(1.0, 1.0, 1.0), (0.8, 0.8, 2.5), (3.0, 1.0, 1.5)])
MASKS = arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 5)))
RADII = st.sampled_from([0.0, 1.0, 1.5, 2.5])


def ball(radius_mm, spacing_mm):
    reach = [int(radius_mm / s) for s in spacing_mm]
    grid = np.meshgrid(*(np.arange(-r, r + 1) * s for r, s in zip(reach, spacing_mm, strict=True)), indexing="ij")
    return np.sqrt(sum(g**2 for g in grid)) <= radius_mm * (1 + 1e-6)


def by_balls(mask, radius_mm, spacing_mm, first, second):
    """What two operations with a ball make of a mask that goes on beyond the array as it ends."""
    element, margin = ball(radius_mm, spacing_mm), 2 * max(ball(radius_mm, spacing_mm).shape) + 2
    padded = np.pad(mask, margin, mode="edge")
    for operation in (first, second):
        padded = operation(padded, element, border_value=operation is ndimage.binary_erosion)
    return padded[margin:-margin, margin:-margin, margin:-margin]


@given(MASKS, RADII, SPACINGS)
def test_opening_is_what_balls_cover(mask, radius_mm, spacing_mm):
    found = opening(BoxedMask.of(mask), radius_mm, spacing_mm).whole()
    expected = by_balls(mask, radius_mm, spacing_mm, ndimage.binary_erosion, ndimage.binary_dilation)
    assert np.array_equal(found, expected & mask)
    assert not (found & ~mask).any()
    assert np.array_equal(opening(BoxedMask.of(mask), 0.0, spacing_mm).whole(), mask)


@given(MASKS, RADII, SPACINGS)
def test_closing_is_what_balls_do_not_reach(mask, radius_mm, spacing_mm):
    found = closing(BoxedMask.of(mask), radius_mm, spacing_mm).whole()
    expected = by_balls(mask, radius_mm, spacing_mm, ndimage.binary_dilation, ndimage.binary_erosion)
    assert np.array_equal(found, expected | mask)
    assert not (mask & ~found).any()
    assert np.array_equal(closing(BoxedMask.of(mask), 0.0, spacing_mm).whole(), mask)


def test_by_hand():
    # A bar of three voxels with a speck beside it: a ball of 1 mm fits into neither, so nothing is left of either ...
    bar = np.zeros((9, 7, 7), bool)
    bar[1:4, 3, 3] = bar[6, 3, 3] = True
    assert not opening(BoxedMask.of(bar), 1.0, (1.0, 1.0, 1.0)).whole().any()
    # ... and between two walls a gap of two voxels closes with a ball of 1.5 mm or more, which does not fit into it.
    walls = np.zeros((9, 7, 7), bool)
    walls[1:4] = walls[6] = True
    assert closing(BoxedMask.of(walls), 1.5, (1.0, 1.0, 1.0)).whole()[1:7].all()
    # Where slices are 5 mm apart nothing fits between them, and a ball of 2 mm is a disc.
    assert np.array_equal(opening(BoxedMask.of(bar), 0.9, (1.0, 1.0, 5.0)).whole(), bar)


def test_a_cut_face_stays():
    mask = np.zeros((12, 12, 12), bool)
    mask[3:9, 3:9, :4] = True  # cut by the lower end of the scan
    found = opening(BoxedMask.of(mask), 2.0, (1.0, 1.0, 1.0)).whole()
    assert found[5:7, 5:7, :4].all()
    assert found[:, :, 0].sum() > 20


@given(MASKS)
def test_holes(mask):
    found = fill_holes(BoxedMask.of(mask))
    assert np.array_equal(found.whole(), ndimage.binary_fill_holes(mask))
    assert np.array_equal(fill_holes(found).whole(), found.whole())


def test_a_hole_open_at_the_end_of_the_scan_is_not_one():
    tube = np.ones((5, 5, 4), bool)
    tube[2, 2] = False
    assert np.array_equal(fill_holes(BoxedMask.of(tube)).whole(), tube)
    tube[2, 2, [0, -1]] = True
    assert fill_holes(BoxedMask.of(tube)).whole().all()
