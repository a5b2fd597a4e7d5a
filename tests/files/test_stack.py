import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomoseg.errors import GridError
from tomoseg.files.stack import AIR_HU, Slices, arrange, resample

ACROSS, DOWN = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])


def stack(places, pixel_mm=(1.0, 1.0), shape=(4, 3), thickness_mm=None):
    """Axial slices at these places: z, or (x, y, z)."""
    positions = np.array([(0, 0, place) if np.isscalar(place) else place for place in places], float)
    return Slices(positions, ACROSS, DOWN, pixel_mm, shape, thickness_mm)


class TestArrange:
    def test_even_slices_are_the_planes(self):
        found = arrange(stack([6, 2, 4]))
        assert (found.order, found.shape, found.findings) == ((1, 2, 0), (4, 3, 3), ())
        np.testing.assert_array_equal(found.affine, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 2, 2], [0, 0, 0, 1]])
        np.testing.assert_array_equal(found.offsets_voxels, [(0, 0, 0), (0, 0, 1), (0, 0, 2)])

    def test_rounded_positions_are_even(self):
        assert arrange(stack([0, 0.6, 1.3, 1.9, 2.5, 3.1, 3.8])).findings != ()  # a tenth of a millimetre is too much
        assert arrange(stack([0, 0.62, 1.25, 1.88, 2.5])).findings == ()

    def test_a_single_slice_is_as_thick_as_it_says(self):
        found = arrange(stack([7], thickness_mm=5.0))
        assert found.shape == (4, 3, 1)
        assert found.affine[2].tolist() == [0, 0, 5, 7]

    def test_a_single_slice_without_thickness_is_refused(self):
        with pytest.raises(GridError, match=r"expected a slice thickness, got a single slice without one"):
            arrange(stack([7]))

    def test_repeated_slices_are_left_out_and_named(self):
        found = arrange(stack([0, 2, 4, 2, 0.001]))
        assert found.order == (0, 1, 2)
        assert found.repeated == ((4, 0), (3, 1))
        assert tuple(map(str, found.findings)) == (
            "Left out: 2 slices of 5, at the position of another. Check that it is one scan.",
        )

    def test_missing_slices_are_named_and_planes_are_made_for_them(self):
        found = arrange(stack([0, 2, 8, 10, 14]))
        assert found.shape == (4, 3, 8)
        assert found.offsets_voxels[:, 2].tolist() == [0, 1, 4, 5, 7]
        assert tuple(map(str, found.findings)) == (
            "3 slices are missing (after slice 2, 4 of 5 in order of position, 2 mm apart otherwise) and filled "
            "in by interpolation. Export the series again if it should be complete.",
        )

    def test_uneven_gaps_are_named(self):
        found = arrange(stack([0, 4, 8, 9.08, 16.08, 23.08], shape=(4, 3)))
        (finding,) = found.findings
        assert finding.message.startswith(
            "Gaps between slices are uneven (1.08, 4, 7 mm); the scan was resampled to planes"
        )
        np.testing.assert_allclose(
            found.affine[2, 2] * found.offsets_voxels[:, 2], [0, 4, 8, 9.08, 16.08, 23.08], atol=1e-9
        )

    def test_one_odd_gap_does_not_decide(self):
        places = np.concatenate([np.arange(14) * 4.0, 53.08 + np.arange(14) * 7.0])
        assert arrange(stack(places.tolist())).affine[2, 2] == 4.0

    def test_a_tilt_is_named_by_its_angle(self):
        shift = 2 * np.tan(np.radians(15))
        found = arrange(stack([(0, -shift * k, 2 * k) for k in range(5)]))
        (finding,) = found.findings
        assert finding.message.startswith("The gantry was tilted by 15.0 degrees against the table; ")
        assert found.shape == (4, 3 + 3, 5)  # 4 x 0.536 rows = 2.14 more
        for number, offset in enumerate(found.offsets_voxels):  # each slice is where it was
            np.testing.assert_allclose(
                (found.affine @ [*offset, 1])[:3], (0, -shift * number, 2 * number), rtol=0, atol=1e-9
            )

    def test_a_shift_that_is_no_tilt_is_named_too(self):
        (finding,) = arrange(stack([0, 2, (3, 0, 4), 6])).findings
        assert finding.message.startswith("Slices are shifted against each other by up to 3.0 mm")

    def test_slices_side_by_side_are_refused(self):
        with pytest.raises(GridError, match=r"got two side by side in one plane"):
            arrange(stack([0, (40, 0, 0), 2]))

    def test_a_damaged_position_does_not_fill_the_memory(self):
        with pytest.raises(GridError, match=r"got 4 that need a grid of 4 x 3 x \d+ voxels"):
            arrange(stack([0, 1, 2, 9e6]))

    @given(st.permutations(range(6)), st.floats(0.3, 8), st.floats(-40, 40))
    def test_the_order_of_files_does_not_matter(self, order, gap, degrees):
        shift = gap * np.tan(np.radians(degrees))
        places = [(0, shift * k, gap * k) for k in range(6)]
        one, other = arrange(stack(places)), arrange(stack([places[k] for k in order]))
        assert [order[k] for k in other.order] == list(range(6))
        np.testing.assert_allclose(one.affine, other.affine, rtol=0, atol=1e-9)
        np.testing.assert_allclose(one.offsets_voxels, other.offsets_voxels, rtol=0, atol=1e-9)


class TestResample:
    def test_whole_shifts_only_move(self, rng):
        hu = rng.integers(-1000, 1000, (2, 3, 4), np.int16)
        arrangement = arrange(stack([0, (0, 2, 1)]))
        out = resample(hu, arrangement)
        assert out.shape == (2, 5, 4)
        np.testing.assert_array_equal(out[0, :3], hu[0])
        np.testing.assert_array_equal(out[1, 2:], hu[1])
        assert (out[0, 3:] == AIR_HU).all()
        assert (out[1, :2] == AIR_HU).all()

    def test_half_way_between_two_slices_is_their_mean(self):
        hu = np.stack([np.full((3, 4), 100 * k, np.int16) for k in (0, 1, 3)])
        out = resample(hu, arrange(stack([0, 1, 3])))
        assert out[:, 0, 0].tolist() == [0, 100, 200, 300]

    @given(st.floats(-2, 2), st.floats(-1, 1), st.lists(st.floats(0.5, 3), min_size=1, max_size=5))
    def test_a_linear_field_comes_back(self, across, down, gaps):
        """Linear interpolation of a linear field is exact up to rounding, wherever the slices lie."""
        z = np.concatenate([[0], np.cumsum(gaps)])
        places = np.stack([across * z / z[-1], down * z / z[-1], z], axis=1)
        slices = stack([tuple(place) for place in places], pixel_mm=(1.5, 0.75), shape=(6, 5))
        columns, rows = np.meshgrid(np.arange(6) * 1.5, np.arange(5) * 0.75)
        hu = np.stack([10 * (columns + x) - 20 * (rows + y) + 30 * zz for x, y, zz in places])
        arrangement = arrange(slices)
        out = resample(np.rint(hu).astype(np.int16), arrangement)
        k, j, i = np.indices(out.shape)
        x, y, zz = (arrangement.affine[:3, :3] @ np.stack([i, j, k]).reshape(3, -1)) + arrangement.affine[:3, 3:]
        expected = (10 * x - 20 * y + 30 * zz).reshape(out.shape)
        inside = out != AIR_HU
        inside &= (zz.reshape(out.shape) <= z[-1]) & _covered(arrangement, out.shape)
        assert inside.any()
        assert np.abs(out - expected)[inside].max() <= 1 + 0.05 * (15 + 15 + 30 * max(gaps))


def _covered(arrangement, shape):
    """Where every slice has a pixel, less one at each side, where pixels take the nearest."""
    _, j, i = np.indices(shape)
    low, high = arrangement.offsets_voxels.min(axis=0), arrangement.offsets_voxels.max(axis=0)
    return (i >= high[0]) & (i <= low[0] + 5) & (j >= high[1]) & (j <= low[1] + 4)
