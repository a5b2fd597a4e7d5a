"""Surface distances by hand, and against DeepMind's and MONAI's."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from surface_distance import lookup_tables, metrics

from tomoseg.datasets.layouts import find_dataset
from tomoseg.errors import InputError
from tomoseg.evaluation.surface import CORNERS, corner_areas, corner_triangles, surface_distances, surface_of
from tomoseg.files.nifti import read_mask
from tomoseg.masks import BoxedMask

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")


def voxels(shape, *places):
    mask = np.zeros(shape, bool)
    for place in places:
        mask[place] = True
    return BoxedMask.of(mask)


def random_pair(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(2, 16, 3))
    made = [ndimage.gaussian_filter(rng.standard_normal(shape), rng.uniform(0, 2)) > -0.1 for _ in "ab"]
    if rng.random() < 0.3:  # most of the surface in common
        made[1] = np.roll(made[0], 1, axis=int(rng.integers(3)))
    return *made, tuple(rng.uniform(0.4, 5, 3).round(2))


def test_one_voxel_by_hand():
    # The surface cuts off its eight corners: an octahedron around it, of eight triangles with edges of 1 / sqrt(2).
    surface = surface_of(voxels((3, 3, 3), (1, 1, 1)), (1, 1, 1))
    assert sorted(map(tuple, surface.corners)) == sorted((1 + i, 1 + j, 1 + k) for i, j, k in CORNERS)
    assert surface.areas_mm2 == pytest.approx(np.full(8, np.sqrt(3) / 8))


def test_a_plate_by_hand():
    # One voxel thick, 20 x 30 of them: two faces of 20 x 30 voxels less a rim, with edges of 2 x 3 mm.
    plate = BoxedMask.of(np.ones((20, 30, 1), bool))
    area = surface_of(plate, (2.0, 3.0, 1e-6)).areas_mm2.sum()
    assert area == pytest.approx(2 * (19 * 29 + 19 + 29 + 0.5) * 6, rel=1e-3)


def test_two_voxels_by_hand():
    # Three voxels of 2 mm from one to the next: from corners at 0 and 1 to those at 3 and 4 it is 6 and 4 mm.
    found = surface_distances(voxels((5, 2, 2), (0, 0, 0)), voxels((5, 2, 2), (3, 0, 0)), (2.0, 1.0, 1.0))
    assert found.predicted_mm.tolist() == found.reference_mm.tolist() == [4.0] * 4 + [6.0] * 4
    assert (found.mean(), found.hausdorff(), found.hausdorff(100), found.hausdorff(50)) == (5, 6, 6, 4)
    assert [found.dice(t) for t in (3.99, 4, 5.99, 6)] == [0, 0.5, 0.5, 1]


def test_a_cube_within_a_cube_by_hand():
    # Edges of 9 and 3 voxels with one middle: 3 mm between their faces, more at the outer edges.
    outer, inner = np.zeros((2, 11, 11, 11), bool)
    outer[1:10, 1:10, 1:10] = True
    inner[4:7, 4:7, 4:7] = True
    found = surface_distances(BoxedMask.of(inner), BoxedMask.of(outer), (1.0, 1.0, 1.0))
    assert (found.predicted_mm == 3).all()
    assert (found.reference_mm.min(), found.reference_mm.max()) == (3, pytest.approx(np.sqrt(27)))
    assert found.hausdorff(100) == pytest.approx(np.sqrt(27))


def test_the_same_mask_has_no_distance():
    mask = voxels((4, 4, 4), (0, 0, 0), (1, 1, 1), (3, 3, 3))
    found = surface_distances(mask, mask, (1.0, 2.0, 3.0))
    assert (found.dice(0.0), found.hausdorff(100), found.mean()) == (1, 0, 0)


def test_triangles_lie_between_inside_and_outside():
    # Every corner of a triangle is the middle of an edge whose ends differ, and every such middle is used.
    for code, triangles in enumerate(corner_triangles()):
        inside = {corner: bool(code >> bit & 1) for bit, corner in enumerate(CORNERS)}
        crossed = {
            tuple((np.array(a) + b) / 2)
            for a in CORNERS
            for b in CORNERS
            if np.abs(np.subtract(a, b)).sum() == 1 and inside[a] != inside[b]
        }
        assert {point for triangle in triangles for point in triangle} == crossed
        assert len(triangles) == len(corner_triangles()[255 - code])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 1.3, 5.0), (3.0, 0.5, 1.0)])
def test_areas_of_all_corners_are_the_published_ones(spacing):
    # The published code of a corner counts its eight voxels from the other end.
    theirs = np.array(lookup_tables.create_table_neighbour_code_to_surface_area(spacing))
    reversed_bits = [int(f"{code:08b}"[::-1], 2) for code in range(256)]
    assert np.allclose(corner_areas(spacing), theirs[reversed_bits], rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 10))
def test_against_deepmind(seed, tolerance):
    predicted, reference, spacing = random_pair(seed)
    assume(predicted.any() and reference.any())
    ours = surface_distances(BoxedMask.of(predicted), BoxedMask.of(reference), spacing)
    theirs = metrics.compute_surface_distances(reference, predicted, spacing)
    check_equal(ours, theirs, tolerance)


def check_equal(ours, theirs, tolerance):
    assert ours.dice(tolerance) == pytest.approx(metrics.compute_surface_dice_at_tolerance(theirs, tolerance))
    for percent in (50, 95, 100):
        assert ours.hausdorff(percent) == pytest.approx(metrics.compute_robust_hausdorff(theirs, percent))
    of_reference, of_prediction = metrics.compute_average_surface_distance(theirs)
    areas = ours.reference_mm2.sum(), ours.predicted_mm2.sum()
    assert ours.mean() == pytest.approx(np.average([of_reference, of_prediction], weights=areas))


def test_against_deepmind_on_real_masks(test_data):
    case = find_dataset(test_data / "openkbp" / "validation").cases[0]
    assert case.masks is not None
    for name, path in case.masks.items():
        reference = read_mask(path)
        predicted = np.roll(reference, (1, -1, 1), (0, 1, 2)) | np.roll(reference, 3, 0)
        spacing = (3.9, 3.9, 2.5)
        ours = surface_distances(BoxedMask.of(predicted), BoxedMask.of(reference), spacing)
        check_equal(ours, metrics.compute_surface_distances(reference, predicted, spacing), 3.0)
        assert ours.mean() > 0, name


@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_against_monai(seed):
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    predicted, reference, spacing = random_pair(seed)
    assume(predicted.any() and reference.any())
    ours = surface_distances(BoxedMask.of(predicted), BoxedMask.of(reference), spacing)
    a, b = (torch.from_numpy(np.stack([~mask, mask])[None].copy()) for mask in (predicted, reference))
    dice = compute_surface_dice(a, b, [2.0], spacing=spacing, use_subvoxels=True)
    assert ours.dice(2.0) == pytest.approx(float(dice[0, 0]), abs=1e-6)
    # Its Hausdorff distance is between the outermost voxels of the masks, not between their surfaces: each of
    # those lies within half a voxel's diagonal of a corner of its own surface, and the other way round.
    largest = float(compute_hausdorff_distance(a, b, spacing=spacing)[0, 0])
    assert abs(ours.hausdorff(100) - largest) <= np.linalg.norm(spacing) + 1e-6


def test_an_empty_mask_has_no_surface():
    with pytest.raises(InputError, match=r"expected two masks with voxels, got an empty one"):
        surface_distances(voxels((2, 2, 2)), voxels((2, 2, 2), (0, 0, 0)), (1, 1, 1))


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, -1.0, 1.0), (1.0, 1.0, np.nan)])
def test_no_spacing_is_refused(spacing):
    with pytest.raises(InputError, match=r"expected a spacing above 0 mm, got .*; correct the scan's"):
        surface_of(voxels((2, 2, 2), (0, 0, 0)), spacing)


MEAN_OF_MANY = """
import numpy as np
from tomoseg.evaluation.surface import SurfaceDistances

draw = np.random.default_rng(0)
print(repr(SurfaceDistances(*(draw.random(200_000) for _ in range(4))).mean()))
"""


def test_the_mean_is_the_same_to_the_last_digit_with_any_number_of_threads():
    """Else it would depend on where a case is scored: workers have fewer threads than one process."""
    means = {
        subprocess.run(
            [sys.executable, "-c", MEAN_OF_MANY],
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for threads in ("1", "2")
    }
    assert len(means) == 1
