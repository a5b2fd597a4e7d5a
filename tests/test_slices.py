from pathlib import Path

import numpy as np
import pytest

from tomoseg.errors import GridError
from tomoseg.slices import SourceImage, SourceSlices
from tomoseg.volume import SourceGrid


def slices_at(offsets, shape=(3, 2)):
    images = tuple(SourceImage(Path(f"{number}.dcm")) for number in range(len(offsets)))
    return SourceSlices(shape, np.array(offsets, float), images)


def test_planes_go_back_as_they_are(rng):
    slices = slices_at([(0, 0, 0), (0, 0, 1)])
    array = rng.integers(0, 9, (3, 2, 2))
    assert slices.are_planes
    assert slices.to_slices(array) is array


def test_each_pixel_takes_the_nearest_voxel(rng):
    # the second slice lies 1.4 rows down and near plane 2, the third 2 rows down and near plane 3
    slices = slices_at([(0, 0, 0), (0, 1.4, 1.8), (0, 2, 3.2)])
    array = rng.integers(0, 9, (3, 4, 4))
    assert not slices.are_planes
    found = slices.to_slices(array)
    assert found.shape == (3, 2, 3)
    np.testing.assert_array_equal(found[..., 0], array[:, 0:2, 0])
    np.testing.assert_array_equal(found[..., 1], array[:, 1:3, 2])
    np.testing.assert_array_equal(found[..., 2], array[:, 2:4, 3])


@pytest.mark.parametrize("offsets", [[(0, 0, 0), (0, 0, 1)], [(0, 0, 0), (0, 1, 1)]])
def test_an_array_of_another_grid_is_refused(offsets):
    with pytest.raises(GridError, match=r"got \(3, 2, 1\); pass a result of this scan"):
        slices_at(offsets).to_slices(np.zeros((3, 2, 1), bool))


def test_the_affine_of_a_slice_is_the_grids_moved():
    slices = slices_at([(0, 0, 0), (0, 1.5, 1)])
    grid = np.diag([2.0, 3.0, 4.0, 1.0])
    np.testing.assert_array_equal(slices.affine_of(1, grid)[:3, 3], (0, 4.5, 4))


def test_a_grid_gives_a_canonical_mask_back_to_its_slices(rng):
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])  # columns to the left, rows to the back, as axial CT is stored
    grid = SourceGrid((3, 2, 2), affine, slices=slices_at([(0, 0, 0), (0, 0, 1)]))
    stored = rng.integers(0, 2, (3, 2, 2))
    np.testing.assert_array_equal(grid.to_slices(grid.to_canonical(stored)), stored)


def test_a_scan_that_was_no_stack_has_no_slices():
    with pytest.raises(GridError, match=r"expected a scan that was read from slices"):
        SourceGrid((1, 1, 1), np.eye(4)).to_slices(np.zeros((1, 1, 1)))


def test_nothing_of_the_file_is_shown():
    assert "DOE" not in repr(SourceImage(Path("DOE^JOHN/1.dcm"), "DOE.dcm", 0, "1.2", "1.2.3 DOE"))
