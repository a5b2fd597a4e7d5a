import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tomoseg.config import GridConfig
from tomoseg.errors import GridError
from tomoseg.grid import (
    AIR_HU,
    Placement,
    apply_windows,
    axis_weights,
    body_box,
    linear_weights,
    mask_from_grid,
    mask_to_grid,
    padded_shape,
    place_grid,
    slice_positions,
    to_grid,
)
from tomoseg.masks import BoxedMask

LENGTHS = st.integers(1, 40)
EDGES = st.tuples(*[st.integers(1, 7)] * 3)


def whole(shape, target):
    """A grid over all of a scan."""
    return Placement((0, 0, 0), tuple(shape), tuple(target))


def air(shape):
    return np.full(shape, AIR_HU, np.int16)


def ball(shape, radius):
    centre = (np.array(shape) - 1) / 2
    distances = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij")) - centre[:, None, None, None]
    return np.linalg.norm(distances, axis=0) <= radius


class TestAxisWeights:
    def test_two_voxels_become_one(self):
        assert axis_weights(4, 2).tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]

    def test_one_and_a_half_voxels_become_one(self):
        # The first covers 0 to 1.5: one whole voxel and half of the next, two thirds and one third of it.
        np.testing.assert_allclose(axis_weights(3, 2), [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], rtol=1e-6)

    def test_two_voxels_become_three(self):
        # Centres at 1/3, 1 and 5/3 of the two voxels, whose own are at 0.5 and 1.5; the ends are clamped.
        np.testing.assert_allclose(axis_weights(2, 3), [[1, 0], [0.5, 0.5], [0, 1]], atol=1e-7)

    def test_the_same_length_is_the_identity(self):
        np.testing.assert_array_equal(axis_weights(5, 5), np.eye(5))

    @given(LENGTHS, LENGTHS)
    def test_rows_are_means(self, length, target):
        for weights in (axis_weights(length, target), linear_weights(length, target)):
            assert weights.shape == (target, length)
            assert weights.min() >= 0
            np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)

    @given(LENGTHS, LENGTHS)
    def test_every_voxel_counts_alike_downwards(self, length, target):
        length, target = max(length, target), min(length, target)
        np.testing.assert_allclose(axis_weights(length, target).sum(axis=0), target / length, atol=1e-6)

    @given(LENGTHS, LENGTHS)
    def test_linear_weights_are_torchs(self, length, target):
        values = torch.rand(1, 1, length, generator=torch.Generator().manual_seed(0))
        expected = torch.nn.functional.interpolate(values, size=target, mode="linear", align_corners=False)
        found = linear_weights(length, target) @ values[0, 0].numpy()
        np.testing.assert_allclose(found, expected[0, 0], atol=2e-6)


class TestToGrid:
    def test_a_checkerboard_becomes_its_mean(self):
        board = (np.indices((4, 4, 4)).sum(axis=0) % 2 * 100).astype(np.int16)
        assert (to_grid(board, whole((4, 4, 4), (2, 2, 2))) == 50).all()
        assert (to_grid(board, whole((4, 4, 4), (2, 2, 4))) == 50).all()

    def test_a_bright_voxel_keeps_its_mean(self):
        hu = np.zeros((6, 4, 5), np.int16)
        hu[2, 1, 3] = 12000
        small = to_grid(hu, whole(hu.shape, (4, 3, 2)))
        # 6/4 = 1.5, 4/3 and 5/2 voxels in one; the voxel lies across two along x (2 to 3: one half each) and y.
        assert small.mean() == pytest.approx(12000 / hu.size, abs=0.5)
        assert np.argwhere(small).tolist() == [[1, 0, 1], [1, 1, 1]]
        assert small[1, 1, 1] == round(12000 * (1 / 1.5) * (2 / 4) * (1 / 2.5))

    def test_values_are_rounded(self):
        hu = np.array([-1, 2], np.int16).reshape(2, 1, 1)
        assert to_grid(hu, whole((2, 1, 1), (1, 1, 1))).item() == 0  # 0.5, halves to even
        hu = np.array([-1024, -1023, -1023], np.int16).reshape(3, 1, 1)
        assert to_grid(hu, whole((3, 1, 1), (1, 1, 1))).item() == -1023

    def test_air_stays_air(self):
        assert (to_grid(air((7, 5, 40)), whole((7, 5, 40), (5, 9, 37))) == AIR_HU).all()

    @given(st.tuples(*[st.integers(1, 3)] * 3), EDGES, st.integers(0, 2**16))
    def test_whole_ratios_are_torchs_average_pooling(self, ratio, target, seed):
        shape = tuple(np.multiply(ratio, target).tolist())
        hu = np.random.default_rng(seed).integers(-1000, 1000, shape, np.int16)
        pooled = torch.nn.functional.adaptive_avg_pool3d(torch.from_numpy(hu)[None].double(), target)[0].numpy()
        small = to_grid(hu, whole(shape, target))
        assert np.abs(small - pooled).max() <= 0.5 + 1e-3

    @pytest.mark.parametrize(("z", "target"), [(40, 33), (37, 18), (3, 50), (1, 20), (50, 1), (17, 17)])
    def test_slabs_are_no_seams(self, z, target, rng):
        hu = rng.integers(-1000, 1000, (5, 4, z), np.int16)
        weights = [axis_weights(n, t) for n, t in zip(hu.shape, (3, 6, target), strict=True)]
        expected = np.einsum("xyz,ax,by,cz->abc", hu.astype(np.float64), *weights)
        assert np.abs(to_grid(hu, whole(hu.shape, (3, 6, target))) - expected).max() <= 0.5 + 1e-3

    def test_a_box_alone_is_cut(self, rng):
        hu = rng.integers(-1000, 1000, (6, 5, 4), np.int16)
        cut = to_grid(hu, Placement((1, 2, 0), (4, 3, 4), (4, 3, 4)))
        np.testing.assert_array_equal(cut, hu[1:5, 2:5])
        assert cut.flags.f_contiguous

    def test_a_box_is_resampled_from_what_is_inside(self):
        hu = np.zeros((6, 2, 1), np.int16)
        hu[[0, 5]] = 3000
        hu[1:5] = 100
        assert to_grid(hu, Placement((1, 0, 0), (4, 2, 1), (2, 1, 1))).ravel().tolist() == [100, 100]


def onto_grid(mask, placement):
    return mask_to_grid(BoxedMask.of(mask), placement).whole()


def off_grid(mask, placement, shape):
    return mask_from_grid(BoxedMask.of(mask), placement, tuple(shape)).whole()


class TestMasks:
    def test_more_than_half_is_inside(self):
        mask = np.array([1, 0, 1, 1], bool).reshape(4, 1, 1)
        assert onto_grid(mask, whole((4, 1, 1), (2, 1, 1))).ravel().tolist() == [False, True]

    @pytest.mark.parametrize("axis", [0, 1, 2])
    def test_half_a_voxel_in_one_slice_is_outside(self, axis):
        shape, target = [3, 3, 3], [3, 3, 3]
        shape[axis], target[axis] = 4, 2
        mask = np.zeros(shape, bool)
        mask[tuple(1 if a == axis else slice(None) for a in range(3))] = True
        assert not onto_grid(mask, whole(shape, target)).any()

    @given(EDGES, EDGES, st.floats(0.02, 0.9), st.integers(0, 2**16))
    def test_the_box_around_a_mask_is_only_a_shortcut(self, shape, target, share, seed):
        mask = np.random.default_rng(seed).random(shape) < share
        for make, weights in ((onto_grid, axis_weights), (_from_grid, linear_weights)):
            per_axis = [weights(n, t) for n, t in zip(shape, target, strict=True)]
            inside = np.einsum("xyz,ax,by,cz->abc", mask.astype(np.float64), *per_axis)
            certain = np.abs(inside - 0.5) > 1e-5  # halves may round either way
            found = make(mask, whole(shape, target))
            np.testing.assert_array_equal(found[certain], (inside > 0.5)[certain])

    def test_a_mask_outside_of_the_box_is_let_go(self):
        mask = np.zeros((6, 4, 4), bool)
        mask[0] = True
        placement = Placement((2, 0, 0), (4, 4, 4), (2, 2, 2))
        assert not onto_grid(mask, placement).any()
        assert not off_grid(onto_grid(mask, placement), placement, mask.shape).any()

    def test_back_into_its_place(self):
        mask = np.zeros((6, 5, 4), bool)
        mask[2:4, 1:3, 2] = True
        placement = Placement((1, 1, 0), (4, 3, 4), (4, 3, 4))
        np.testing.assert_array_equal(off_grid(onto_grid(mask, placement), placement, mask.shape), mask)

    def test_a_large_ball_survives_the_way(self):
        mask = ball((48, 40, 30), 13)
        placement = Placement((4, 2, 1), (40, 36, 28), (22, 21, 19))
        back = off_grid(onto_grid(mask, placement), placement, mask.shape)
        dice = 2 * (mask & back).sum() / (mask.sum() + back.sum())
        assert 0.95 < dice < 1

    def test_twice_as_fine_and_back_is_the_same(self, rng):
        mask = rng.random((5, 4, 3)) < 0.5
        fine = whole(mask.shape, (10, 8, 6))
        repeated = mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)
        np.testing.assert_array_equal(onto_grid(repeated, whole((10, 8, 6), mask.shape)), mask)
        assert onto_grid(np.ones((5, 4, 3), bool), fine).all()


def _from_grid(mask, placement):
    """The way back, where the mask is the grid's and the grid of `placement` the scan's."""
    return off_grid(mask, Placement((0, 0, 0), placement.shape, placement.extent), placement.shape)


class TestPlaceGrid:
    HU = np.zeros((100, 80, 30), np.int16)
    SPACING = (0.75, 1.0, 5.0)

    @pytest.mark.parametrize(
        ("settings", "shape"),
        [
            ({"mode": "native"}, (100, 80, 30)),
            ({"mode": "size", "size": (64, 256)}, (64, 256, 30)),
            ({"mode": "spacing", "spacing_mm": 1.5}, (50, 53, 30)),  # 80 mm / 1.5 mm = 53.3
            ({"mode": "spacing", "spacing_mm": 0.5, "slice_spacing_mm": 3.0}, (150, 160, 50)),
            ({"mode": "spacing", "spacing_mm": 500.0, "slice_spacing_mm": 500.0}, (1, 1, 1)),
        ],
    )
    def test_modes(self, settings, shape):
        placement = place_grid(self.HU, self.SPACING, GridConfig(crop="none", **settings))
        assert placement == Placement((0, 0, 0), (100, 80, 30), shape)
        assert placement.resamples is (settings["mode"] != "native")
        assert placement.is_whole((100, 80, 30)) is (settings["mode"] == "native")

    def test_the_scans_own_voxels_by_chance(self):
        placement = place_grid(self.HU, (1.5, 1.5, 5.0), GridConfig(crop="none"))
        assert placement.is_whole((100, 80, 30))

    def test_a_box_is_not_whole(self):
        assert not Placement((1, 0, 0), (9, 9, 9), (9, 9, 9)).is_whole((10, 9, 9))

    def test_body_then_spacing(self):
        hu = air((100, 80, 30))
        hu[20:60, 30:50] = 0
        # Sampled every 4, 3 and 1 voxels: 20..59 and 30..50; 3 mm more are 2 and 2 voxels (round(3 / 1.5), 3 / 2 -> 2).
        placement = place_grid(hu, (1.5, 2.0, 6.0), GridConfig(spacing_mm=3.0, body_margin_mm=3.0))
        assert placement.start == (18, 28, 0)
        assert placement.extent == (44, 25, 30)
        assert placement.shape == (22, 17, 30)
        assert placement.box() == (slice(18, 62), slice(28, 53), slice(0, 30))

    def test_a_grid_without_end_is_refused(self):
        with pytest.raises(
            GridError, match=r"at most 2147483648 voxels, got \(600000, 480000, 30\) .*check the scan's"
        ):
            place_grid(self.HU, (900.0, 900.0, 5.0), GridConfig(spacing_mm=0.15, crop="none"))


class TestBodyBox:
    def test_a_box_in_air(self):
        hu = air((60, 50, 40))
        hu[12:36, 18:30, 6:24] = 40
        assert body_box(hu, (6.0, 6.0, 6.0), 0) == ((12, 36), (18, 30), (6, 24))
        assert body_box(hu, (6.0, 6.0, 6.0), 12) == ((10, 38), (16, 32), (4, 26))
        # Sampled every other voxel, and every third (12 + 8 * 3 = 36).
        assert body_box(hu, (3.0, 2.0, 6.0), 0) == ((12, 36), (18, 30), (6, 24))

    def test_margins_end_at_the_scan(self):
        hu = air((20, 20, 20))
        hu[1:19, 2:18, :] = 0
        assert body_box(hu, (6.0, 6.0, 6.0), 100) == ((0, 20), (0, 20), (0, 20))

    def test_a_body_that_fills_the_scan_along_z_keeps_its_end_slices(self):
        hu = air((20, 20, 12))
        hu[4:16, 4:16, :] = 0
        assert body_box(hu, (6.0, 6.0, 6.0), 0) == ((4, 16), (4, 16), (0, 12))

    def test_a_thin_table_is_let_go_and_a_thick_thing_is_kept(self):
        hu = air((40, 40, 20))
        hu[10:30, 15:35, :] = 0
        table = hu.copy()
        table[2:38, 6:8, :] = 100  # two voxels thick, below what an opening keeps
        assert body_box(table, (6.0, 6.0, 6.0), 0) == ((10, 30), (15, 35), (0, 20))
        block = hu.copy()
        block[2:38, 4:9, :] = 100
        assert body_box(block, (6.0, 6.0, 6.0), 0) == ((2, 38), (4, 35), (0, 20))

    def test_both_legs_count_and_crumbs_do_not(self):
        hu = air((60, 30, 20))
        hu[5:20, 8:22, :] = 0
        hu[35:45, 10:20, :] = 0
        hu[52:55, 3:6, 5:8] = 0
        assert body_box(hu, (6.0, 6.0, 6.0), 0) == ((5, 45), (8, 22), (0, 20))

    def test_air_alone_is_kept_whole(self):
        assert body_box(air((5, 6, 7)), (1.0, 1.0, 1.0), 3) == ((0, 5), (0, 6), (0, 7))

    def test_what_an_opening_would_remove_altogether_is_kept(self):
        hu = air((20, 20, 20))
        hu[5, 6, 7:9] = 0
        assert body_box(hu, (6.0, 6.0, 6.0), 0) == ((5, 6), (6, 7), (7, 9))

    def test_a_slab_of_one_slice(self):
        hu = air((30, 30, 1))
        hu[10:20, 5:25] = 0
        assert body_box(hu, (6.0, 6.0, 6.0), 0) == ((10, 20), (5, 25), (0, 1))


def test_windows_by_hand():
    hu = np.array([[-1024, -200, 50], [300, 301, 3000]], np.int16)
    found = apply_windows(hu, ((-200.0, 300.0), (0.0, 100.0)))
    assert found.dtype == np.float32
    assert found.tolist() == [[[0, 0, 0.5], [1, 1, 1]], [[0, 0, 0.5], [1, 1, 1]]]
    assert apply_windows(np.array([25], np.int16), ((0.0, 100.0),)).tolist() == [[0.25]]


def test_padding_is_zero_in_every_window():
    assert apply_windows(np.array([AIR_HU], np.int16), ((-1000.0, 400.0),)).tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("shape", "multiple", "expected"),
    [((1, 16, 17), 16, (16, 16, 32)), ((5, 7), 1, (5, 7)), ((), 4, ()), ((256, 255), 16, (256, 256))],
)
def test_padded_shape(shape, multiple, expected):
    assert padded_shape(shape, multiple) == expected


def body_in_air(before, after, side=0):
    """A body of ten voxels of 4 mm along z, from so many and before so many of air; an arm's cable beside it."""
    hu = np.full((12, 12, 10 + before + after), AIR_HU, np.int16)
    hu[2:10, 2:10, before : before + 10] = 40
    hu[5, 5, side] = 40  # a single voxel is let go
    return hu


@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 0), (2, 9)])
def test_slices_lie_as_far_from_the_body_s_middle_whatever_is_around_it(before, after):
    found = slice_positions(body_in_air(before, after), (4.0, 4.0, 4.0))
    assert found.dtype == np.float32
    assert found[before : before + 10].tolist() == [-18, -14, -10, -6, -2, 2, 6, 10, 14, 18]
    assert np.diff(found).tolist() == [4.0] * (9 + before + after)


def test_positions_of_the_mirror_image_are_the_opposite():
    hu = body_in_air(5, 2)
    assert slice_positions(hu[:, :, ::-1], (4.0, 4.0, 4.0)).tolist() == [
        -mm for mm in slice_positions(hu, (4.0, 4.0, 4.0))[::-1].tolist()
    ]


def test_of_fine_voxels_the_middle_is_found_to_within_half_a_sample():
    for before in range(8):
        hu = np.full((40, 40, 220), AIR_HU, np.int16)
        hu[4:36, 4:36, 40 + before : 140 + before] = 40  # its middle lies between slices 89 and 90, and as many more
        found = slice_positions(hu, (1.0, 1.0, 1.0))
        assert abs(found[89 + before] + 0.5) <= 3


def test_of_air_alone_the_middle_is_the_array_s():
    assert slice_positions(np.full((4, 4, 4), AIR_HU, np.int16), (1.0, 1.0, 2.0)).tolist() == [-3, -1, 1, 3]
