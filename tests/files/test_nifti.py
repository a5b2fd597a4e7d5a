import contextlib
import gzip
import itertools
import struct

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from nibabel.orientations import apply_orientation, inv_ornt_aff

from tests.files.handmade import nifti1, nifti2
from tomoseg.errors import GridError, InputError, OutputError
from tomoseg.files.nifti import read_ct, read_geometry, read_label_map, read_mask, write_bit, write_nifti
from tomoseg.volume import SourceGrid, Volume

ORIENTATIONS = [
    np.array(list(zip(axes, signs, strict=True)), float)
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]
RAMP = np.arange(24, dtype=np.int16).reshape(2, 3, 4) * 100 - 1000
GRID = SourceGrid((2, 3, 4), np.diag([1.0, 2.0, 3.0, 1.0]))


@pytest.fixture
def scan(tmp_path):
    """Write bytes as a scan and give its path back."""

    def write(content: bytes, name: str = "ct.nii"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def header_field(path, offset, kind):
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return struct.unpack_from(kind, data, offset)


@pytest.mark.parametrize("make", [nifti1, nifti2])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_reads_either_version_and_byte_order(scan, make, order, compress):
    volume = read_ct(scan(compress(make(RAMP, order, sform=((2, 0, 0, -5), (0, 3, 0, 6), (0, 0, 4, 7))))))
    np.testing.assert_array_equal(volume.hu, RAMP)
    np.testing.assert_array_equal(volume.affine, [[2, 0, 0, -5], [0, 3, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
    assert volume.hu.dtype == np.int16
    assert volume.warnings == ()


def test_flips_axes_that_point_left_or_back(scan):
    volume = read_ct(scan(nifti1(RAMP, sform=((-1, 0, 0, 9), (0, -1, 0, 8), (0, 0, 1, 0)))))
    np.testing.assert_array_equal(volume.hu, RAMP[::-1, ::-1])
    np.testing.assert_array_equal(volume.affine[:3, 3], [8, 6, 0])  # 9 - 1 * 1 and 8 - 2 * 1


@pytest.mark.parametrize(
    "orientation", ORIENTATIONS, ids=lambda o: "".join("xyz"[int(a)] + "+-"[int(s < 0)] for a, s in o)
)
def test_reads_and_writes_all_orientations_as_nibabel_does(tmp_path, rng, orientation):
    canonical = rng.integers(-1000, 2000, (3, 4, 5)).astype(np.int16)
    tilt = nib.eulerangles.euler2mat(0.02, -0.03, 0.05)
    affine = nib.affines.from_matvec(tilt * (0.7, 0.8, 2.5), (-100.3, 20.7, 5.1))
    to_file = nib.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), orientation)
    stored = apply_orientation(canonical, to_file)
    image = nib.Nifti1Image(stored, affine @ inv_ornt_aff(to_file, canonical.shape))
    nib.save(image, tmp_path / "ct.nii.gz")

    volume = read_ct(tmp_path / "ct.nii.gz")
    expected = nib.as_closest_canonical(nib.load(tmp_path / "ct.nii.gz"))
    np.testing.assert_array_equal(volume.hu, np.asarray(expected.dataobj))
    np.testing.assert_allclose(volume.affine, expected.affine, rtol=0, atol=1e-12)

    write_nifti(tmp_path / "out.nii.gz", volume.hu > 500, volume.source)
    back = nib.load(tmp_path / "out.nii.gz")
    np.testing.assert_array_equal(np.asarray(back.dataobj), stored > 500)
    assert back.get_data_dtype() == np.uint8
    assert back.affine.tobytes() == nib.load(tmp_path / "ct.nii.gz").affine.tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_all_voxel_types_with_scaling(scan, dtype, order):
    stored = np.arange(24).reshape(2, 3, 4).astype(dtype)
    volume = read_ct(scan(nifti1(stored, order, scaling=(2, -24))))
    np.testing.assert_array_equal(volume.hu, np.arange(24).reshape(2, 3, 4) * 2 - 24)


@given(
    hnp.arrays(np.float32, (3, 2, 2), elements=st.floats(-3000, 3000, width=32)),
    st.sampled_from([0.5, 1.0, 2.0, -1.0]),
    st.integers(-1024, 1024),
)
def test_real_values_are_scaled_and_rounded(tmp_path_factory, stored, slope, intercept):
    path = tmp_path_factory.mktemp("scaled") / "ct.nii"
    path.write_bytes(nifti1(stored, scaling=(slope, intercept)))
    exact = stored.astype(np.float64) * slope + intercept
    assert np.abs(read_ct(path).hu - exact).max() <= 0.5 + 1e-3


def test_halves_round_to_even(scan):
    stored = np.array([0.5, 1.5, -2.5, 2.4], np.float32).reshape(4, 1, 1)
    assert read_ct(scan(nifti1(stored))).hu.ravel().tolist() == [0, 2, -2, 2]


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf])
def test_a_slope_of_zero_or_not_finite_means_none(scan, slope):
    np.testing.assert_array_equal(read_ct(scan(nifti1(RAMP, scaling=(slope, 7)))).hu, RAMP)


def test_a_volume_of_many_slabs(scan, rng):
    stored = rng.integers(0, 4000, (300, 200, 60)).astype(np.uint16)  # 7.2 MB: two slabs
    volume = read_ct(scan(nifti1(stored, scaling=(1, -1024))))
    np.testing.assert_array_equal(volume.hu, stored.astype(np.int16) - 1024)


def test_values_outside_int16_are_clipped_with_a_warning(scan):
    stored = np.array([40000, -40000, 5, 32767], np.int32).reshape(4, 1, 1)
    volume = read_ct(scan(nifti1(stored)))
    assert volume.hu.ravel().tolist() == [32767, -32768, 5, 32767]
    assert (
        "clipped 2 voxels outside -32768..32767 HU (the scan runs from -40000 to 40000)" in volume.warnings[0].message
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_voxels_that_are_not_finite_are_refused(scan, bad, dtype):
    stored = np.zeros((3, 3, 3), dtype)
    stored[1, 2, 0] = bad
    with pytest.raises(InputError, match="expected finite HU, got NaN or infinity"):
        read_ct(scan(nifti1(stored)))


@pytest.mark.parametrize(
    ("dim", "got"),
    [
        ((4, 2, 3, 4, 2), r"expected 3 axes, got \(2, 3, 4, 2\); pass one volume"),
        ((2, 2, 3), r"expected 3 axes, got \(2, 3\); pass one volume"),
        ((3, 2, 0, 4), r"expected axes of 1 voxel or more, got \(2, 0, 4\)"),
        ((3, 2, -3, 4), r"expected axes of 1 voxel or more, got \(2, -3, 4\)"),
        ((0, 2, 3, 4), "expected 3 axes, got 0; the header is damaged"),
        ((9, 2, 3, 4), "expected 3 axes, got 9; the header is damaged"),
    ],
)
def test_other_axes_are_refused(scan, dim, got):
    with pytest.raises(InputError, match=f"ct.nii: {got}"):
        read_ct(scan(nifti1(RAMP, dim=dim)))


@pytest.mark.parametrize("shape", [(2, 3, 4, 1), (2, 3, 4, 1, 1), (2, 12, 1)])
def test_axes_of_length_one_are_accepted(scan, shape):
    volume = read_ct(scan(nifti1(RAMP, dim=(len(shape), *shape))))
    assert volume.shape == shape[:3]
    np.testing.assert_array_equal(volume.hu, RAMP.reshape(shape[:3], order="F"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datatype": 128}, r"expected one number per voxel, got RGB \(datatype 128\)"),
        ({"datatype": 32}, r"got complex \(datatype 32\)"),
        ({"datatype": 77}, r"got an unknown type \(datatype 77\)"),
        ({"vox_offset": 0}, "expected voxels after the header, got vox_offset 0"),
        ({"vox_offset": np.nan}, "got vox_offset nan"),
        ({"vox_offset": 1e30}, r"got a file that cannot hold them"),
        ({"magic": b"ni1\0"}, "got the header of a .hdr/.img pair"),
        ({"magic": b"abcd"}, "expected the NIfTI magic"),
        ({"scaling": (1, np.nan)}, "expected a finite scl_inter, got nan"),
        ({"dim": (3, 2000, 2000, 2000)}, r"expected 16000000000 bytes of voxels for \(2000, 2000, 2000\)"),
    ],
)
def test_headers_that_lie_are_refused(scan, changes, message):
    with pytest.raises(InputError, match=message):
        read_ct(scan(nifti1(RAMP, **changes)))


@pytest.mark.parametrize("read", [read_ct, read_mask, read_label_map, read_geometry])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty one"),
        (b"hello, this is no scan", "expected a NIfTI file .*, got something else"),
        (b"\x1f\x8bgarbage" * 20, "expected a whole gzip file"),
        (nifti1(RAMP)[:200], "expected a header of 348 bytes, got 200"),
        (gzip.compress(nifti1(RAMP), mtime=0)[:60], "expected a whole gzip file"),
        (nifti1(RAMP, dim=(3, 2000, 2000, 2000)), "a file that cannot hold them"),
        (gzip.compress(nifti1(RAMP, dim=(3, 2000, 2000, 2000))), "a file that cannot hold them"),
    ],
)
def test_files_that_are_no_scan_are_refused(scan, read, content, message):
    with pytest.raises(InputError, match=message):
        read(scan(content))


@pytest.mark.parametrize("read", [read_ct, read_mask, read_label_map, read_geometry])
def test_paths_that_are_no_file_are_refused(tmp_path, read):
    with pytest.raises(InputError, match=r"none\.nii: expected a file, got nothing of that name"):
        read(tmp_path / "none.nii")
    with pytest.raises(InputError, match="expected a NIfTI file, got a folder"):
        read(tmp_path)


@pytest.mark.parametrize("read", [read_ct, read_mask, read_label_map])
def test_a_file_cut_short_anywhere_is_refused(scan, read):
    whole = nifti1(np.zeros((6, 5, 4), np.uint8))
    packed = gzip.compress(whole)
    for cut in (352, 353, len(whole) - 1):
        with pytest.raises(InputError, match="cut short"):
            read(scan(whole[:cut]))
    with pytest.raises(InputError, match="cut short"):
        read(scan(gzip.compress(whole[:-1])))
    for cut in (20, len(packed) - 9, len(packed) - 1):
        with pytest.raises(InputError, match=r"expected a whole gzip file|cut short"):
            read(scan(packed[:cut]))


@given(st.sampled_from([nifti1, nifti2]), st.dictionaries(st.integers(4, 347), st.integers(0, 255), max_size=6))
def test_damaged_bytes_are_read_or_refused_but_never_crash(tmp_path_factory, make, damage):
    content = bytearray(make(np.ones((3, 4, 5), np.float32)))
    for position, value in damage.items():
        content[position] = value
    path = tmp_path_factory.mktemp("damaged") / "ct.nii"
    path.write_bytes(bytes(content))
    for read in (read_ct, read_mask, read_label_map):
        with contextlib.suppress(InputError, GridError):
            read(path)


@pytest.mark.parametrize("read", [read_ct, read_mask, read_label_map])
def test_a_wrong_checksum_is_refused(scan, read):
    packed = bytearray(gzip.compress(nifti1(np.zeros((3, 3, 3), np.uint8))))
    packed[-6] ^= 1
    with pytest.raises(InputError, match="expected a whole gzip file, got"):
        read(scan(bytes(packed)))


def test_bytes_after_the_voxels_are_noticed(scan):
    volume = read_ct(scan(nifti1(RAMP) + b"more"))
    np.testing.assert_array_equal(volume.hu, RAMP)
    assert "bytes follow the last voxel and were ignored" in volume.warnings[0].message


def test_header_extensions_are_passed_over(scan):
    content = nifti1(RAMP, vox_offset=352 + 32, padding=b"\1\0\0\0" + b"x" * 32)
    np.testing.assert_array_equal(read_ct(scan(gzip.compress(content))).hu, RAMP)


class TestGeometry:
    def test_sform_wins_and_a_different_qform_is_told(self, scan):
        content = nifti1(RAMP, sform_code=2, qform_code=1, qoffset=(50, 0, 0))
        volume = read_ct(scan(content))
        assert volume.affine[0, 3] == 0
        assert "the sform and the qform of the header place the voxels differently" in volume.warnings[0].message

    def test_a_qform_that_agrees_is_not_mentioned(self, scan):
        assert read_ct(scan(nifti1(RAMP, sform_code=2, qform_code=1, qoffset=(0.1, 0, 0)))).warnings == ()

    def test_the_qform_serves_where_there_is_no_sform(self, scan):
        # half a turn about z: left and posterior up; qfac -1 turns z over
        content = nifti1(
            RAMP, sform_code=0, qform_code=1, quaternion=(0, 0, 1), qoffset=(5, 6, 7), pixdim=(-1, 2, 3, 4, 0, 0, 0, 0)
        )
        source = read_geometry(scan(content))
        np.testing.assert_array_equal(source.affine, [[-2, 0, 0, 5], [0, -3, 0, 6], [0, 0, -4, 7], [0, 0, 0, 1]])

    @given(
        st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1 and abs(q[0]) > 0.1)
    )
    def test_any_rotation_as_nibabel_reads_it(self, tmp_path_factory, quaternion):
        unit = np.array(quaternion) / np.linalg.norm(quaternion) * np.sign(quaternion[0])
        path = tmp_path_factory.mktemp("qform") / "ct.nii"
        path.write_bytes(
            nifti1(RAMP, sform_code=0, qform_code=1, quaternion=tuple(unit[1:]), pixdim=(1, 2, 3, 4, 0, 0, 0, 0))
        )
        np.testing.assert_allclose(read_geometry(path).affine, nib.load(path).affine, rtol=0, atol=1e-6)

    @pytest.mark.parametrize(
        ("columns", "pixdim", "edges", "used"),
        [
            ((1, 1, 1), (2, 3, 4), (2, 3, 4), "pixdim is used"),  # unit columns
            ((2, 2, 0.8), (2, 2, 0.5), (2, 2, 0.5), "pixdim is used"),  # the thickness in place of the step
            ((2, 2, 4), (1, 1, 1), (2, 2, 4), "the sform is used, as pixdim was never set"),
        ],
    )
    def test_edges_that_disagree_are_told_and_are_one_size_in_results(
        self, scan, tmp_path, columns, pixdim, edges, used
    ):
        # columns point left, to the back and to the head; the first voxel lies at 5, 6, 7
        sform = ((-columns[0], 0, 0, 5), (0, -columns[1], 0, 6), (0, 0, columns[2], 7))
        volume = read_ct(scan(nifti1(RAMP, sform=sform, pixdim=(1, *pixdim, 0, 0, 0, 0))))
        assert [notice.kind for notice in volume.warnings] == ["two edges"]
        assert f"the voxel size of {used}" in volume.warnings[0].message
        assert volume.spacing_mm == pytest.approx(edges, abs=1e-6)
        np.testing.assert_allclose(volume.source.affine[:3, 3], (5, 6, 7))
        np.testing.assert_allclose(np.diag(volume.source.affine), (-edges[0], -edges[1], edges[2], 1), atol=1e-6)
        write_nifti(tmp_path / "out.nii", volume.hu, volume.source)
        written = nib.load(tmp_path / "out.nii")
        assert written.header.get_zooms() == pytest.approx(edges, abs=1e-6)
        np.testing.assert_allclose(np.linalg.norm(written.affine[:3, :3], axis=0), edges, atol=1e-6)
        np.testing.assert_allclose(written.header.get_qform(), written.affine, atol=1e-5)
        assert read_ct(tmp_path / "out.nii").warnings == ()

    @pytest.mark.parametrize("edge", [0.995, 1.005, 0, -1, np.nan])
    def test_rounded_or_unset_edges_leave_the_sform(self, scan, edge):
        sform = ((1, 0, 0, 0), (0, 2, 0, 0), (0, 0, 3, 0))
        volume = read_ct(scan(nifti1(RAMP, sform=sform, pixdim=(1, edge, 2, 3, 0, 0, 0, 0))))
        assert (volume.spacing_mm, volume.warnings) == ((1, 2, 3), ())

    def test_edges_are_settled_before_the_qform_is_compared(self, scan):
        content = nifti1(RAMP, qform_code=1, pixdim=(1, 2, 3, 4, 0, 0, 0, 0))
        assert [notice.kind for notice in read_ct(scan(content)).warnings] == ["two edges"]

    def test_edges_of_kilometres_are_refused(self, scan):
        with pytest.raises(GridError, match=r"expected lengths below 1e\+07 mm, got 1e\+20 x 1 x 1; repair"):
            read_ct(scan(nifti1(RAMP, pixdim=(1, 1e20, 1, 1, 0, 0, 0, 0))))

    @pytest.mark.parametrize("name", ["sform_thickness", "sform_unit"])
    def test_a_reported_file_has_the_size_of_a_body(self, test_data, name):
        volume = read_ct(test_data / "reports" / f"{name}.nii.gz")
        assert volume.spacing_mm == pytest.approx((3, 3, 5))
        assert [notice.kind for notice in volume.warnings] == ["two edges"]

    def test_no_orientation_is_refused(self, scan):
        with pytest.raises(GridError, match="expected an orientation, got sform_code and qform_code 0"):
            read_ct(scan(nifti1(RAMP, sform_code=0)))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"sform": ((1, 0.5, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))},
                "expected perpendicular axes, got a sheared affine",
            ),
            ({"sform": ((0, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))}, "expected a positive spacing"),
            ({"sform": ((np.nan, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))}, "expected a finite affine"),
            ({"sform_code": 0, "qform_code": 1, "pixdim": (1, 1, 0, 1, 0, 0, 0, 0)}, "expected a positive spacing"),
            ({"sform": ((1, 0, 0, 1e30), (0, 1, 0, 0), (0, 0, 1, 0))}, r"expected lengths below 1e\+07 mm"),
            ({"sform_code": 0, "qform_code": 1, "quaternion": (np.nan, 0, 0)}, "expected a finite affine"),
        ],
    )
    def test_geometry_that_cannot_be_used_is_refused(self, scan, changes, message):
        with pytest.raises(GridError, match=message):
            read_ct(scan(nifti1(RAMP, **changes)))

    def test_edges_too_short_to_have_a_length_are_refused(self, scan):
        data = bytearray(nifti2(RAMP))
        data[112:120] = struct.pack("<d", 1e-202)  # pixdim along x
        with pytest.raises(GridError, match="expected a positive spacing"):
            read_ct(scan(bytes(data)))

    @pytest.mark.parametrize(("units", "factor", "name"), [(1, 1000, "metres"), (3, 0.001, "micrometres")])
    def test_other_units_become_mm_with_a_warning(self, scan, tmp_path, units, factor, name):
        path = scan(nifti1(RAMP, units=units))
        volume = read_ct(path)
        assert volume.spacing_mm == (factor, factor, factor)
        assert f"the header gives lengths in {name}" in volume.warnings[0].message
        write_nifti(tmp_path / "out.nii", volume.hu, volume.source)
        assert read_geometry(tmp_path / "out.nii").affine.tobytes() == volume.source.affine.tobytes()

    @pytest.mark.parametrize("units", [0, 2, 2 + 8])
    def test_unknown_units_are_mm_and_time_is_left_alone(self, scan, units):
        volume = read_ct(scan(nifti1(RAMP, units=units)))
        assert (volume.spacing_mm, volume.warnings) == ((1, 1, 1), ())


class TestMasks:
    @pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "i8", "f4", "f8"])
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_zeros_and_ones_of_any_type(self, scan, rng, dtype, order):
        mask = rng.random((5, 4, 3)) > 0.5
        read = read_mask(scan(gzip.compress(nifti1(mask.astype(dtype), order)), "liver.nii.gz"))
        assert read.dtype == bool
        np.testing.assert_array_equal(read, mask)

    def test_zeros_and_ones_after_scaling(self, scan):
        stored = np.array([0, 255], np.uint8).reshape(2, 1, 1)
        assert read_mask(scan(nifti1(stored, scaling=(1 / 255, 0)))).ravel().tolist() == [False, True]

    def test_an_empty_mask_is_an_absent_structure(self, scan):
        assert not read_mask(scan(nifti1(np.zeros((2, 2, 2), np.uint8)))).any()

    @pytest.mark.parametrize(
        ("stored", "values"),
        [
            (np.array([0, 1, 2, 255], np.uint8), "2, 255"),
            (np.array([0, 1, -1, 1], np.int8), "-1"),
            (np.array([0, 1, 5, 0], np.int16), "5"),
            (np.array([0, 0.5, 1, 0], np.float32), "0.5"),
            (np.array([0, np.nan, 1, 0], np.float32), "nan"),
            (np.arange(10, dtype=np.int32), "2, 3, 4, 5, 6, 7, ..."),
        ],
    )
    def test_other_values_are_named(self, scan, stored, values):
        with pytest.raises(InputError, match=f"expected only 0 and 1, got {values}; export it again"):
            read_mask(scan(nifti1(stored.reshape(-1, 1, 1))))

    @pytest.mark.parametrize("read", [read_mask, read_label_map])
    def test_another_grid_is_refused_with_both(self, scan, read):
        path = scan(nifti1(np.zeros((2, 3, 4), np.uint8)), "liver.nii")
        expected = (
            "liver.nii: expected the grid of ct, got voxel size along y of 1 mm, not 2; voxel size along z of 1 mm"
        )
        with pytest.raises(GridError, match=expected):
            read(path, GRID, "ct")

    @pytest.mark.parametrize("read", [read_mask, read_label_map])
    def test_another_orientation_of_the_same_grid_is_accepted(self, tmp_path, rng, read):
        mask = rng.integers(0, 2, (2, 3, 4)).astype(np.uint8)
        lps = SourceGrid((3, 2, 4), np.array([[0, -1, 0, 1], [-2, 0, 0, 4], [0, 0, 3, 0], [0, 0, 0, 1]], float))
        write_nifti(tmp_path / "liver.nii.gz", mask, lps)
        assert nib.aff2axcodes(nib.load(tmp_path / "liver.nii.gz").affine) == ("P", "L", "S")
        np.testing.assert_array_equal(read(tmp_path / "liver.nii.gz", GRID), mask)


class TestLabelMaps:
    @pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
    def test_small_labels_of_any_type_become_uint8(self, scan, dtype):
        stored = np.array([0, 3, 117], dtype).reshape(3, 1, 1)
        labels = read_label_map(scan(nifti1(stored)))
        assert (labels.dtype, labels.ravel().tolist()) == (np.uint8, [0, 3, 117])

    def test_large_labels_become_uint16(self, scan):
        labels = read_label_map(scan(nifti1(np.array([0, 256, 65535], np.int32).reshape(3, 1, 1))))
        assert (labels.dtype, labels.ravel().tolist()) == (np.uint16, [0, 256, 65535])

    @pytest.mark.parametrize("stored", [[0, -3], [1.5, 2], [np.nan, 0], [np.inf, 0], [65536, 0]])
    def test_other_values_are_refused(self, scan, stored):
        with pytest.raises(InputError, match=r"expected whole numbers from 0 to 65535, got (-3|1\.5|nan|inf|65536)"):
            read_label_map(scan(nifti1(np.array(stored, np.float64).reshape(2, 1, 1))))


class TestWriting:
    @pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int16, np.float32])
    @pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
    def test_without_a_source_header(self, tmp_path, rng, dtype, name):
        array = rng.integers(0, 2, (2, 3, 4)).astype(dtype)
        write_nifti(tmp_path / "new" / name, array, GRID)
        image = nib.load(tmp_path / "new" / name)
        np.testing.assert_array_equal(np.asarray(image.dataobj), array)
        np.testing.assert_array_equal(image.affine, GRID.affine)
        assert image.header["sform_code"] == image.header["qform_code"] == 1
        assert image.header.get_xyzt_units()[0] == "mm"
        assert image.header.get_data_dtype() == (np.uint8 if dtype is bool else dtype)

    @pytest.mark.parametrize("orientation", ORIENTATIONS[::5])
    def test_the_qform_made_agrees_with_the_sform(self, tmp_path, orientation):
        tilt = nib.eulerangles.euler2mat(0.1, -0.2, 0.3)
        affine = nib.affines.from_matvec(tilt * (0.5, 0.6, 2), (9, 8, 7)) @ inv_ornt_aff(orientation, (2, 3, 4))
        grid = SourceGrid((2, 3, 4), affine)
        write_nifti(tmp_path / "out.nii", np.zeros(grid.canonical_shape, np.uint8), grid)
        header = nib.load(tmp_path / "out.nii").header
        np.testing.assert_allclose(header.get_qform(), affine, atol=1e-5)
        np.testing.assert_allclose(header.get_sform(), affine, atol=1e-5)

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_the_source_header_is_kept_to_the_last_bit(self, scan, tmp_path, order):
        content = nifti1(
            RAMP,
            order,
            sform=((-0.7324219, 1e-7, 0, 187.3), (0, -0.7324219, 0, 201.9), (0, 0, 1.2500001, -733.25)),
            sform_code=2,
            qform_code=1,
            quaternion=(0.0, 0.0, 1.0),
            qoffset=(187.3, 201.9, -733.25),
            pixdim=(1, 0.7324219, 0.7324219, 1.2500001, 2.5, 0, 0, 0),
            units=10,
            descrip=b"Doe^Jane 1970",
            scaling=(1, -1024),
        )
        volume = read_ct(scan(content))
        write_nifti(tmp_path / "out.nii", volume.hu, volume.source)
        for offset, kind in ((76, "8f"), (123, "B"), (252, "2h"), (256, "6f"), (280, "12f")):
            assert header_field(tmp_path / "out.nii", offset, f"<{kind}") == struct.unpack_from(
                order + kind, content, offset
            )
        assert header_field(tmp_path / "out.nii", 112, "<2f") == (1, 0)
        assert b"Doe" not in (tmp_path / "out.nii").read_bytes()
        assert header_field(tmp_path / "out.nii", 148, "<7s") == (b"tomoseg",)

    def test_nifti2_stays_nifti2(self, scan, tmp_path):
        sform = ((1 / 3, 0, 0, 1 / 7), (0, 1 / 3, 0, 0), (0, 0, 1 / 3, 0))  # no float32 holds these
        volume = read_ct(scan(nifti2(RAMP, sform=sform)))
        write_nifti(tmp_path / "out.nii", volume.hu, volume.source)
        assert nib.load(tmp_path / "out.nii").affine[0].tolist() == [1 / 3, 0, 0, 1 / 7]

    def test_a_header_of_another_grid_is_not_used(self, scan, tmp_path):
        source = read_geometry(scan(nifti1(RAMP)))
        for header in (source.header, b"no NIfTI header"):
            grid = SourceGrid((2, 3, 4), np.diag([2.0, 2.0, 2.0, 1.0]), header)
            write_nifti(tmp_path / "out.nii", RAMP, grid)
            np.testing.assert_array_equal(nib.load(tmp_path / "out.nii").affine, grid.affine)

    def test_an_axis_too_long_for_nifti1(self, tmp_path):
        grid = SourceGrid((40000, 1, 1), np.eye(4))
        write_nifti(tmp_path / "out.nii", np.ones((40000, 1, 1), np.uint8), grid)
        assert nib.load(tmp_path / "out.nii").shape == (40000, 1, 1)

    def test_the_same_input_gives_the_same_bytes(self, tmp_path):
        for name in ("one", "other"):
            write_nifti(tmp_path / name / f"{name}.nii.gz", RAMP, GRID)
        assert (tmp_path / "one/one.nii.gz").read_bytes() == (tmp_path / "other/other.nii.gz").read_bytes()

    def test_big_endian_and_strided_arrays(self, tmp_path):
        write_nifti(tmp_path / "out.nii.gz", RAMP.astype(">i2")[::-1][::-1], GRID)
        np.testing.assert_array_equal(read_ct(tmp_path / "out.nii.gz").hu, RAMP)

    @pytest.mark.parametrize("bit", [0, 3, 7])
    def test_one_bit_of_packed_masks(self, tmp_path, rng, bit):
        packed = rng.integers(0, 256, (2, 3, 4)).astype(np.uint8)
        write_bit(tmp_path / "out.nii.gz", packed, bit, GRID)
        np.testing.assert_array_equal(read_mask(tmp_path / "out.nii.gz"), (packed & (1 << bit)) > 0)

    def test_what_cannot_be_written_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"expected a name that ends in \.nii or \.nii\.gz, got out\.img"):
            write_nifti(tmp_path / "out.img", RAMP, GRID)
        with pytest.raises(InputError, match="expected bool, uint8, uint16, int16, float32, got float64"):
            write_nifti(tmp_path / "out.nii", RAMP.astype(float), GRID)
        with pytest.raises(GridError, match="expected an array on the scan's grid"):
            write_nifti(tmp_path / "out.nii", RAMP[1:], GRID)
        assert list(tmp_path.iterdir()) == []

    def test_a_file_where_the_folder_should_be(self, tmp_path):
        (tmp_path / "taken").write_text("")
        with pytest.raises(OutputError, match="choose a folder, not a file, to write into"):
            write_nifti(tmp_path / "taken" / "out.nii", RAMP, GRID)


def test_volume_from_a_file_equals_volume_from_its_array(scan):
    volume = read_ct(scan(nifti1(RAMP, sform=((0, 0, -3, 9), (1, 0, 0, 8), (0, -2, 0, 0)))))
    other = Volume.from_array(RAMP, volume.source.affine)
    np.testing.assert_array_equal(volume.hu, other.hu)
    np.testing.assert_array_equal(volume.affine, other.affine)


@pytest.mark.parametrize("name", ["AIL", "IRP", "LPS", "PIR", "RAS", "SAR"])
def test_one_real_volume_in_six_orientations(test_data, name):
    folder = test_data / "hostile" / "orientations"
    path = folder / f"{name}.nii.gz"
    expected = nib.as_closest_canonical(nib.load(path))
    volume = read_ct(path)
    assert nib.aff2axcodes(volume.source.affine) == tuple(name)
    np.testing.assert_allclose(volume.hu, np.asarray(expected.dataobj), atol=0.5 + 1e-3)


def test_real_files_that_must_be_refused(test_data):
    hostile = test_data / "hostile"
    with pytest.raises(GridError, match="sheared affine"):
        read_ct(hostile / "orientations" / "shear.nii.gz")
    scan = read_geometry(hostile / "ct_for_mask_on_another_grid.nii.gz")
    with pytest.raises(GridError, match="expected the grid of the scan, got"):
        read_mask(hostile / "mask_on_another_grid.nii.gz", scan)


@pytest.mark.parametrize(
    ("values", "slope", "intercept", "expected"),
    [
        # As NiBabel saves 0, 2, 4 of reals in uint8: 255 steps, so that 2 lies half a step from a stored value.
        ([0, 127, 128, 255], 4 / 255, 0, [0, 2, 2, 4]),
        ([0, 64, 255], 116 / 255, 0, [0, 29, 116]),  # 64 steps of 0.4549 are 29.11
    ],
)
def test_whole_numbers_saved_in_steps_are_read_within_half_a_step(scan, values, slope, intercept, expected):
    stored = np.array(values, np.uint8).reshape(-1, 1, 1)
    assert read_label_map(scan(nifti1(stored, scaling=(slope, intercept)))).ravel().tolist() == expected


def test_steps_that_do_not_tell_whole_numbers_apart_are_refused(scan):
    stored = np.array([0, 3], np.uint8).reshape(-1, 1, 1)  # 3 steps of 0.6 are 1.8
    with pytest.raises(InputError, match=r"expected whole numbers from 0 to 65535, got 1\.8"):
        read_label_map(scan(nifti1(stored, scaling=(0.6, 0))))
    half = np.array([0, 5], np.uint8).reshape(-1, 1, 1)  # 5 tenths lie between two whole numbers
    with pytest.raises(InputError, match=r"got 0\.5"):
        read_label_map(scan(nifti1(half, scaling=(0.1, 0))))
    with pytest.raises(InputError, match=r"expected only 0 and 1, got 0\.5"):
        read_mask(scan(nifti1(half, scaling=(0.1, 0))))
