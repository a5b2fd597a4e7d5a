from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tomoseg.errors import GridError
from tomoseg.volume import SourceGrid, Volume, check_affine, check_same_grid, same_grid, spacing_of

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]
SPACING_MM = (0.7, 1.5, 3.0)
SHAPE = (3, 4, 5)


def _affine(order=(0, 1, 2), signs=(1, 1, 1), spacing_mm=SPACING_MM, origin_mm=(-10.0, 20.0, 30.0)):
    """File axis `i` lies along patient axis `order[i]`, in the direction `signs[i]`."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis in range(3):
        affine[order[axis], axis] = signs[axis] * spacing_mm[axis]
    affine[:3, 3] = origin_mm
    return affine


def _tilted(affine, degrees):
    turned = affine.copy()
    turned[:3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() @ affine[:3]
    return turned


def _numbered(shape=SHAPE):
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (18.5, 0, 0), (7, -11, 20)])
@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_canonical_order_is_nibabels_and_keeps_every_voxel_in_its_place(order, signs, degrees):
    array, affine = _numbered(), _tilted(_affine(order, signs), degrees)
    grid = SourceGrid(array.shape, affine)
    canonical = grid.to_canonical(array)

    oracle = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
    np.testing.assert_array_equal(canonical, np.asarray(oracle.dataobj))
    np.testing.assert_allclose(grid.canonical_affine, oracle.affine, atol=1e-9)
    assert grid.canonical_shape == canonical.shape

    for marked in (0, 17, 59):  # every value occurs once, so that it marks its voxel
        there, here = np.argwhere(array == marked)[0], np.argwhere(canonical == marked)[0]
        np.testing.assert_allclose(grid.canonical_affine @ [*here, 1], affine @ [*there, 1], atol=1e-9)

    back = grid.from_canonical(canonical)
    np.testing.assert_array_equal(back, array, strict=True)
    assert np.shares_memory(canonical, array)
    assert np.shares_memory(back, array)


def test_canonical_order_by_hand():
    # The file's axes run inferior to superior, right to left, posterior to anterior (SLA).
    grid = SourceGrid((2, 1, 3), _affine(order=(2, 0, 1), signs=(1, -1, 1)))
    canonical = grid.to_canonical(np.array([[[1, 2, 3]], [[4, 5, 6]]]))
    assert canonical.shape == grid.canonical_shape == (1, 3, 2)
    assert canonical[0].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert spacing_of(grid.canonical_affine) == pytest.approx((1.5, 3.0, 0.7))


@given(st.sampled_from(ORIENTATIONS), st.tuples(*[st.integers(1, 5)] * 3), st.integers(0, 2**16))
def test_back_and_forth_in_any_orientation_and_shape(orientation, shape, seed):
    grid = SourceGrid(shape, _affine(*orientation))
    array = np.random.default_rng(seed).integers(-1000, 3000, shape, np.int16)
    np.testing.assert_array_equal(grid.from_canonical(grid.to_canonical(array)), array)
    canonical = np.random.default_rng(seed).integers(-1000, 3000, grid.canonical_shape, np.int16)
    np.testing.assert_array_equal(grid.to_canonical(grid.from_canonical(canonical)), canonical)


def test_the_files_affine_is_kept_to_the_last_bit():
    affine = _tilted(_affine((1, 2, 0), (-1, 1, -1)), (3, 5, 7))
    volume = Volume.from_array(_numbered(), affine)
    assert volume.source.affine.tobytes() == affine.tobytes()


def test_an_array_of_another_scan_is_refused():
    grid = SourceGrid(SHAPE, _affine((1, 0, 2)))
    with pytest.raises(GridError, match=r"scan's grid \(4, 3, 5\) in RAS\+ order, got \(3, 4, 5\)"):
        grid.from_canonical(_numbered())


def test_volume_in_canonical_order():
    volume = Volume.from_array(_numbered(), _affine((2, 1, 0), (1, -1, 1)))
    assert volume.shape == volume.hu.shape == (5, 4, 3)
    assert volume.spacing_mm == pytest.approx((3.0, 1.5, 0.7))
    # File voxel (2, 3, 4) holds 59 and lies right-most, posterior-most and superior-most.
    assert volume.hu[4, 0, 2] == 59
    np.testing.assert_allclose(volume.affine @ [4, 0, 2, 1], [-10 + 4 * 3.0, 20 - 3 * 1.5, 30 + 2 * 0.7, 1])
    assert volume.warnings == ()


@given(st.sampled_from(ORIENTATIONS), st.tuples(*[st.floats(-25, 25)] * 3))
def test_spacing_does_not_depend_on_tilt(orientation, degrees):
    assert spacing_of(_tilted(_affine(*orientation), degrees)) == pytest.approx(SPACING_MM)


def _changed(row, column, value):
    affine = _affine()
    affine[row, column] = value
    return affine


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (_changed(0, 3, np.nan), r"ct.nii: expected a finite affine, got .*nan.*; repair the header"),
        (_changed(1, 1, np.inf), r"ct.nii: expected a finite affine, got .*inf.*; repair the header"),
        (_changed(2, 2, 0.0), r"ct.nii: expected a positive spacing, got \[0.7, 1.5, 0.0\] mm; repair the header"),
        # Off by 0.3 along y for 3.0 along z: cosine 0.3 / sqrt(3.0^2 + 0.3^2) = 0.0995.
        (_changed(1, 2, 0.3), r"ct.nii: expected perpendicular axes, got .* \(cosine 0.100 between"),
        (np.ones((4, 4)), r"ct.nii: expected perpendicular axes, got .* \(cosine 1.000 between"),
    ],
)
def test_affines_that_cannot_place_voxels(affine, message):
    with pytest.raises(GridError, match=message):
        check_affine(affine, "ct.nii")
    with pytest.raises(GridError, match=message.replace("ct.nii", "the affine")):
        Volume.from_array(_numbered(), affine)


def test_a_shear_within_rounding_is_let_pass():
    check_affine(_changed(1, 2, 0.0029), "ct.nii")  # cosine 0.00097
    with pytest.raises(GridError, match=r"cosine 0\.001 between"):
        check_affine(_changed(1, 2, 0.0031), "ct.nii")


@pytest.mark.parametrize(("order", "signs"), ORIENTATIONS)
def test_the_same_voxels_in_another_orientation_are_the_same_grid(order, signs):
    one = SourceGrid(SHAPE, _tilted(_affine(), (5, -9, 13)))
    ornt = np.array([[axis, sign] for axis, sign in zip(order, signs, strict=True)])
    other = nib.Nifti1Image(_numbered(), one.affine).as_reoriented(ornt)
    assert same_grid(one, SourceGrid(other.shape, other.affine))


@pytest.mark.parametrize(
    ("shift_mm", "same"), [(0.0, True), (0.069, True), (-0.069, True), (0.071, False), (3.0, False)]
)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_shifts_up_to_a_tenth_of_the_shortest_edge_are_rounding(axis, shift_mm, same):
    shifted = _affine()  # edges of 0.7, 1.5 and 3 mm
    shifted[axis, 3] += shift_mm
    assert same_grid(SourceGrid(SHAPE, _affine()), SourceGrid(SHAPE, shifted)) is same


def test_the_far_corner_counts():
    # 0.001 mm more a voxel: 0.069 mm at the last of 70 voxels, 0.071 mm at the last of 72.
    for voxels, same in ((70, True), (72, False)):
        stretched = _affine(spacing_mm=(0.701, 1.5, 3.0))
        shape = (voxels, 4, 5)
        assert same_grid(SourceGrid(shape, _affine()), SourceGrid(shape, stretched)) is same


def test_affines_in_float32_are_the_same_grid():
    affine = _tilted(_affine(origin_mm=(-249.51171875, 312.7, -1204.3)), (1, 2, 3))
    shape = (512, 512, 600)
    assert same_grid(SourceGrid(shape, affine), SourceGrid(shape, affine.astype(np.float32).astype(np.float64)))


def _box(shape=(40, 30, 20), spacing_mm=(1.0, 2.0, 5.0), origin_mm=(-10.0, 20.0, 30.0)):
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = origin_mm
    return SourceGrid(shape, affine)


ANOTHER = "it probably belongs to another scan or patient; check that both belong together"
CUT = "one is a crop of the other; pad or crop it"
RESAMPLED = "it covers the same region with other voxels, so it was resampled; resample it back with nearest neighbour"


@pytest.mark.parametrize(
    ("grid", "got", "reason"),
    [
        (_box(shape=(40, 30, 21)), "40 x 30 x 21 voxels, not 40 x 30 x 20", CUT),
        (_box(shape=(40, 30, 12)), "40 x 30 x 12 voxels, not 40 x 30 x 20", CUT),
        (_box(shape=(44, 30, 12)), "44 x 30 x 12 voxels, not 40 x 30 x 20", ANOTHER),
        (_box(origin_mm=(-10.0, 21.0, 30.0)), r"its first voxel moved by \+1 mm along y", RESAMPLED),
        (_box(origin_mm=(-10.0, 60.5, 22.0)), r"its first voxel moved by \+40.5 mm along y and -8 mm along z", ANOTHER),
        (_box(spacing_mm=(1.0, 2.0, 4.0)), "voxel size along z of 4 mm, not 5", ANOTHER),
        (
            _box((20, 30, 20), (2.0, 2.0, 5.0), (-9.5, 20.0, 30.0)),
            r"20 x 30 x 20 voxels, not 40 x 30 x 20; voxel size along x of 2 mm, not 1; its first voxel moved by "
            r"\+0.5 mm along x",
            RESAMPLED,
        ),
        (
            SourceGrid((40, 30, 20), np.array([[-1, 0, 0, 10.0], [0, 2, 0, 20], [0, 0, 5, 30], [0, 0, 0, 1]])),
            "its first voxel moved by -19 mm along x",
            r"as if the signs of x were flipped \(LPS instead of RAS\); export it again",
        ),
    ],
)
def test_what_differs_between_two_grids_and_what_it_looks_like(grid, got, reason):
    ct = _box()
    check_same_grid(ct, ct, "ct.nii", "liver.nii")
    with pytest.raises(GridError, match=f"^liver.nii: expected the grid of ct.nii, got {got}: .*{reason}"):
        check_same_grid(ct, grid, "ct.nii", "liver.nii")


def test_a_turned_grid_says_by_how_much():
    ct = _box()
    turned = SourceGrid(ct.shape, _tilted(ct.affine, (0, 0, 3)))
    with pytest.raises(
        GridError,
        match=r"turned by 3 degrees; its first .* -1.03 mm along x and -0.551 mm along y: .* another",
    ):
        check_same_grid(ct, turned, "ct.nii", "liver.nii")
