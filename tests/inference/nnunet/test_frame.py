import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tomoseg.errors import GridError
from tomoseg.inference.nnunet.frame import Frame, first_voxels, header_edges, lay_grid, nonzero_box, separate_axis
from tomoseg.nnunet import Intensity, NnunetPlan
from tomoseg.volume import SourceGrid, Volume


def plan_of(**changes):
    found = {"spacing_mm": (2.0, 2.0, 2.0), "patch": (8, 8, 8), "intensity": Intensity(scheme="none")}
    return NnunetPlan(decision="exclusive", **found | changes)


def all_orientations():
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            affine = np.zeros((4, 4))
            affine[3, 3] = 1
            for axis, (target, sign) in enumerate(zip(order, signs, strict=True)):
                affine[target, axis] = sign * (1.0 + axis)
            yield affine


def test_the_networks_axes_are_the_files_in_reverse_order_permuted_by_the_plans():
    for affine, transpose in itertools.product(all_orientations(), [(0, 1, 2), (2, 0, 1)]):
        values = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
        volume = Volume.from_array(values, affine)
        frame = Frame.of(plan_of(transpose=transpose), volume.source)
        turned = frame.to_network(volume.hu.astype(np.float32))
        assert (turned == values.transpose(2, 1, 0).transpose(transpose)).all()
        assert (frame.to_scan(turned[None])[0] == volume.hu).all()


def slanted(edges, rng):
    """As a NIfTI file has it: directions in 32 bits."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", rng.uniform(-20, 20, 3), degrees=True).as_matrix() * edges
    return affine.astype(np.float32).astype(np.float64)


def test_the_grid_of_an_oblique_scan_is_that_of_its_edges(rng):
    """26 voxels of 1.5 mm are 19.5 of 2 mm, so 20: of 1.49999999 mm they would be 19."""
    edges = (1.5, 1.6, 4.5)
    hu = np.ones((26, 23, 14), np.int16)
    straight = lay_grid(hu, SourceGrid(hu.shape, np.diag([*edges, 1.0])), plan_of())
    assert straight.placement.shape == (20, 18, 32)
    for _ in range(50):
        source = SourceGrid(hu.shape, slanted(edges, rng))
        assert header_edges(source) == tuple(np.array(edges, np.float32).tolist())
        assert lay_grid(hu, source, plan_of()).placement == straight.placement


def test_two_equal_edges_of_an_oblique_scan_are_equal(rng):
    for _ in range(20):
        own = header_edges(SourceGrid((26, 9, 8), slanted((1.0, 4.0, 4.0), rng)))
        assert separate_axis(own, (2.0, 2.0, 2.0), None) is None


def test_models_that_reoriented_see_every_file_alike():
    for affine in all_orientations():
        source = SourceGrid((2, 3, 4), affine)
        assert Frame.of(plan_of(axes="ras"), source) == Frame((2, 1, 0), (False, False, False))


def test_the_box_is_that_of_what_is_not_0():
    hu = np.zeros((6, 7, 8), np.int16)
    assert nonzero_box(hu) == ((0, 6), (0, 7), (0, 8))
    hu[2, 3, 4] = -5
    hu[4, 3, 1] = 1
    assert nonzero_box(hu) == ((2, 5), (3, 4), (1, 5))


def test_voxels_of_the_grid_are_counted_as_python_rounds():
    source = SourceGrid((5, 7, 9), np.diag([1.0, 1.0, 1.0, 1.0]))
    grid = lay_grid(np.ones((5, 7, 9), np.int16), source, plan_of())
    assert grid.placement.shape == (2, 4, 4)  # of 2.5, 3.5 and 4.5


@pytest.mark.parametrize(
    ("old", "new", "forced", "expected"),
    [
        ((1, 1, 3.0), (1, 1, 1), None, None),  # not more than three times
        ((1, 1, 3.1), (1, 1, 1), None, 2),
        ((1, 1, 1), (4, 1, 1), None, 0),
        ((4, 1, 1), (1, 1, 9), None, 0),  # the voxels that there are come first
        ((4, 4, 1), (1, 1, 9), None, None),  # two are longest, and the others are not looked at
        ((1, 1, 9), (1, 1, 1), False, None),
        ((1, 1.5, 1), (1, 1, 1), True, 1),
        ((1, 1, 1), (1, 1, 1), True, None),
    ],
)
def test_slices_are_interpolated_alone_where_voxels_are_long(old, new, forced, expected):
    assert separate_axis(old, new, forced) == expected


def test_patches_mirror_with_the_axes():
    hu = np.ones((21, 17, 13), np.int16)
    plain, mirrored = (
        first_voxels(lay_grid(hu, SourceGrid(hu.shape, np.diag([sign * 2.0] * 3 + [1.0])), plan_of()), 0.5)
        for sign in (1, -1)
    )
    assert [[one[-1] - first for first in one[::-1]] for one in plain] == mirrored


@pytest.mark.parametrize(
    ("length", "firsts"), [(8, [0]), (9, [0, 1]), (12, [0, 4]), (13, [0, 2, 5]), (20, [0, 4, 8, 12])]
)
def test_patches_lie_where_nnunet_puts_them(length, firsts):
    source = SourceGrid((length, 8, 8), np.diag([2.0, 2.0, 2.0, 1.0]))
    grid = lay_grid(np.ones((length, 8, 8), np.int16), source, plan_of())
    assert first_voxels(grid, 0.5)[0] == firsts


def test_padding_is_centred_with_the_rest_at_the_networks_far_end():
    hu = np.ones((5, 8, 3), np.int16)
    plain = lay_grid(hu, SourceGrid((5, 8, 3), np.diag([2.0, 2.0, 2.0, 1.0])), plan_of())
    turned = lay_grid(hu, SourceGrid((5, 8, 3), np.diag([-2.0, 2.0, 2.0, 1.0])), plan_of())
    assert plain.padding == ((1, 2), (0, 0), (2, 3))
    assert turned.padding == ((2, 1), (0, 0), (2, 3))


def test_a_grid_beyond_measure_is_refused():
    source = SourceGrid((9, 9, 9), np.diag([2000.0, 2000.0, 2000.0, 1.0]))
    with pytest.raises(GridError, match="check the scan's unit"):
        lay_grid(np.ones((9, 9, 9), np.int16), source, plan_of())
