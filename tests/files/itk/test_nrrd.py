import gzip
import re
import tracemalloc
import zlib

import numpy as np
import pytest
import SimpleITK

from tomoseg.errors import GridError, InputError
from tomoseg.files.itk.nrrd import NRRD, _check_unit
from tomoseg.files.scan import read_scan

FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 3 2",
    "space directions": "(0.5,0,0) (0,0.75,0) (0,0,2)",
    "space origin": "(10,20,30)",
    "endian": "little",
    "encoding": "raw",
}


def header(**fields):
    """A header with other fields; one of None is left out. Underscores are spaces."""
    given = FIELDS | {key.replace("_", " "): value for key, value in fields.items()}
    lines = ["NRRD0004", "# a comment: none"] + [f"{key}: {value}" for key, value in given.items() if value is not None]
    return ("\n".join([*lines, "a key:=a value", "", ""])).encode()


@pytest.fixture
def stored(rng):
    """(z, y, x), as it lies in the file."""
    return rng.integers(-1000, 2000, (2, 3, 4), np.int16)


def written(path, stored, data=None, **fields):
    path.write_bytes(header(**fields) + (stored.tobytes() if data is None else data))
    return path


class TestRead:
    def check(self, volume, stored):
        # LPS: columns to the left and rows to the back, so both are turned round
        assert volume.warnings == ()
        np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0)[::-1, ::-1])
        assert volume.spacing_mm == (0.5, 0.75, 2.0)
        np.testing.assert_array_equal(volume.source.affine[:3, 3], (-10, -20, 30))

    def test_raw(self, tmp_path, stored):
        self.check(NRRD.scan(written(tmp_path / "a.nrrd", stored)), stored)

    def test_found_by_its_content(self, tmp_path, stored):
        self.check(read_scan(written(tmp_path / "a.data", stored)), stored)

    def test_gzip(self, tmp_path, stored):
        data = gzip.compress(stored.tobytes())
        self.check(NRRD.scan(written(tmp_path / "a.nrrd", stored, data, encoding="gzip")), stored)

    def test_ascii(self, tmp_path, stored):
        data = "\n".join(" ".join(map(str, row)) for row in stored.reshape(6, 4)).encode()
        self.check(NRRD.scan(written(tmp_path / "a.nrrd", stored, data, encoding="ascii")), stored)

    def test_big_endian_of_another_type(self, tmp_path, stored):
        data = stored.astype(">i4").tobytes()
        self.check(NRRD.scan(written(tmp_path / "a.nrrd", stored, data, type="int", endian="big")), stored)

    def test_detached_with_skips(self, tmp_path, stored):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "a.raw").write_bytes(b"line one\nline two\n" + stored.tobytes())
        path = written(tmp_path / "a.nhdr", stored, b"", data_file="data/a.raw", line_skip="2")
        self.check(NRRD.scan(path), stored)
        path = written(tmp_path / "b.nhdr", stored, b"", data_file="data/a.raw", byte_skip="-1")
        self.check(NRRD.scan(path), stored)

    def test_ras(self, tmp_path, stored):
        volume = NRRD.scan(written(tmp_path / "a.nrrd", stored, space="right-anterior-superior"))
        np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0))
        np.testing.assert_array_equal(volume.affine[:3, 3], (10, 20, 30))

    def test_axes_in_any_order(self, tmp_path, stored):
        """The first axis runs to the head, the second to the left, the third to the back."""
        directions = "(0,0,2) (0.5,0,0) (0,0.75,0)"
        volume = NRRD.scan(written(tmp_path / "a.nrrd", stored, space_directions=directions))
        np.testing.assert_array_equal(volume.hu, stored.transpose(1, 0, 2)[::-1, ::-1])

    def test_a_real_file_is_its_series(self, test_data):
        examples = test_data / "hostile" / "seg_examples"
        mask, series = read_scan(examples / "liver_seg.nrrd"), read_scan(examples / "ct-3slice")
        assert mask.shape == series.shape
        np.testing.assert_allclose(mask.affine, series.affine, rtol=0, atol=1e-4)


AS_ITK = {
    "spacings alone": {"space": None, "space_directions": None, "space_origin": None, "spacings": "0.5 0.75 2"},
    "another space": {"space": "3D-right-handed"},
}
FOUR_AXES = {
    "a fourth axis first": {
        "sizes": "1 4 3 2",
        "dimension": "4",
        "space_directions": "none (.5,0,0) (0,.75,0) (0,0,2)",
    },
    "a fourth axis last": {"sizes": "4 3 2 1", "dimension": "4", "space_directions": "(.5,0,0) (0,.75,0) (0,0,2) none"},
}


@pytest.mark.parametrize("fields", AS_ITK.values(), ids=AS_ITK)
@pytest.mark.parametrize("assume_spacing", [None, (7.0, 8.0, 9.0)])
def test_what_a_file_does_not_say_is_taken_as_itk_takes_it(tmp_path, stored, fields, assume_spacing):
    path = written(tmp_path / "a.nrrd", stored, **fields)
    volume, by_itk = NRRD.scan(path, assume_spacing), SimpleITK.ReadImage(str(path))
    turns = np.diag([-1, -1, 1]) @ np.reshape(by_itk.GetDirection(), (3, 3))
    np.testing.assert_array_equal(volume.source.affine[:3, :3], turns @ np.diag(by_itk.GetSpacing()))
    np.testing.assert_array_equal(volume.source.affine[:3, 3], np.array(by_itk.GetOrigin()) * (-1, -1, 1))
    assert volume.spacing_mm == (0.5, 0.75, 2.0)
    assert [one.kind for one in volume.warnings] == ["assumed geometry"]


def test_directions_without_a_space_are_kept(tmp_path, stored):
    path = written(tmp_path / "a.nrrd", stored, space=None, space_directions="(0,0.5,0) (0.75,0,0) (0,0,2)")
    volume = NRRD.scan(path, (7.0, 8.0, 9.0))
    np.testing.assert_array_equal(volume.source.affine[:3], [[0, -0.75, 0, -10], [-0.5, 0, 0, -20], [0, 0, 2, 30]])


@pytest.mark.parametrize("fields", FOUR_AXES.values(), ids=FOUR_AXES)
def test_four_axes_and_one_volume(tmp_path, stored, fields):
    volume = NRRD.scan(written(tmp_path / "a.nrrd", stored, **fields))
    whole = NRRD.scan(written(tmp_path / "b.nrrd", stored))
    np.testing.assert_array_equal(volume.hu, whole.hu)
    np.testing.assert_array_equal(volume.affine, whole.affine)
    assert volume.warnings == ()


class TestRefused:
    def test_edges_that_are_not_known_unless_they_are_assumed(self, tmp_path, stored):
        path = written(tmp_path / "a.nrrd", stored, space_directions=None)
        with pytest.raises(GridError, match=r"expected a voxel size, got none; give it in mm with --assume-spacing X"):
            NRRD.scan(path)
        volume = NRRD.scan(path, (1.0, 2.0, 3.0))
        assert volume.spacing_mm == (1, 2, 3)
        assert "voxels of 1 x 2 x 3 mm and axes to the left, back and head were assumed" in volume.warnings[0].message
        assert "Left and right may be swapped" in volume.warnings[0].message
        np.testing.assert_array_equal(volume.source.affine[:3, 3], (-10, -20, 30))  # the file says where it begins
        np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0)[::-1, ::-1])

    @pytest.mark.parametrize(
        ("fields", "error", "words"),
        [
            ({"sizes": "4 3"}, InputError, "expected 3 axes of 1 voxel or more, got '4 3'"),
            ({"sizes": "4 3 0"}, InputError, "expected 3 axes"),
            ({"sizes": "3 4 3 2"}, InputError, "expected 3 axes"),
            ({"sizes": "4 3 " + "0" * 11 + "1" + "0" * 5000}, InputError, "expected 3 axes"),
            ({"line_skip": "999999999999"}, InputError, "expected 48 more bytes of voxels, got 0"),
            ({"sizes": None}, InputError, "expected a header with sizes"),
            ({"sizes": "4000 3000 2000"}, InputError, "got a file that cannot hold them"),
            ({"type": "block"}, InputError, "expected type signed char"),
            ({"encoding": "bzip2"}, InputError, "expected encoding raw, gzip"),
            ({"byte_skip": "x"}, InputError, "expected a whole number as byte skip"),
            ({"byte_skip": "-1", "encoding": "gzip"}, InputError, "expected raw voxels with byte skip -1,"),
            ({"data_file": "../a.raw"}, InputError, "expected a data file beside the header, got one elsewhere"),
            ({"data_file": "/etc/passwd"}, InputError, "expected a data file beside the header"),
            ({"data_file": r"C:\\a.raw"}, InputError, "expected a data file beside the header"),
            ({"data_file": "gone.raw"}, InputError, "expected the data file that it names, got nothing of that name"),
            ({"data_file": "a%03d.raw 1 3 1"}, InputError, "got a list of them"),
            ({"data_file": "LIST"}, InputError, "got a list of them"),
            ({"space_directions": "(0.5,0,0) (0.2,0.75,0) (0,0,2)"}, GridError, "got a sheared affine"),
            ({"space_directions": "none (0.5,0,0) (0,0.75,0)"}, GridError, "expected three space directions"),
            ({"space_directions": "(nan,0,0) (0,1,0) (0,0,2)"}, GridError, "expected three space directions"),
            ({"space_origin": "(1,2)"}, GridError, "expected a space origin of three numbers"),
        ],
    )
    def test_what_cannot_be_used(self, tmp_path, stored, fields, error, words):
        with pytest.raises(error, match=re.escape(words)):
            NRRD.scan(written(tmp_path / "a.nrrd", stored, **fields))

    def test_cut_files(self, tmp_path, stored):
        path = written(tmp_path / "a.nrrd", stored, gzip.compress(stored.tobytes())[:-20], encoding="gzip")
        with pytest.raises(InputError, match=r"it is cut short: copy it again"):
            NRRD.scan(path)
        path = written(tmp_path / "a.nrrd", stored, b"1 2 x " * 24, encoding="ascii")
        with pytest.raises(InputError, match=r"got something else; the file is damaged"):
            NRRD.scan(path)
        path = written(tmp_path / "a.nrrd", stored, b"\x1f\x8b" + bytes(60), encoding="gzip")
        with pytest.raises(InputError, match=r"expected complete compressed voxels"):
            NRRD.scan(path)

    def test_a_sum_that_is_wrong_or_lacks(self, tmp_path, stored):
        data = bytearray(gzip.compress(stored.tobytes()))
        data[-6] ^= 1
        path = written(tmp_path / "a.nrrd", stored, bytes(data), encoding="gzip")
        with pytest.raises(InputError, match=r"expected complete compressed voxels, got: .*incorrect data check"):
            NRRD.scan(path)
        path = written(tmp_path / "a.nrrd", stored, gzip.compress(stored.tobytes())[:-3], encoding="gzip")
        with pytest.raises(InputError, match=r"it is cut short: copy it again"):
            NRRD.scan(path)

    def test_a_stream_that_goes_on_is_not_unpacked_further(self, tmp_path, stored):
        """The header claims 48 bytes, the stream holds 64 MiB."""
        bomb = zlib.compressobj(9, wbits=31)
        data = bomb.compress(stored.tobytes()) + b"".join(bomb.compress(bytes(1 << 20)) for _ in range(64))
        path = written(tmp_path / "a.nrrd", stored, data + bomb.flush(), encoding="gzip")
        tracemalloc.start()
        volume = NRRD.scan(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0)[::-1, ::-1])
        assert peak < 8 << 20

    def test_no_finite_voxels(self, tmp_path, stored):
        values = stored.astype("<f4")
        values[0, 0, 0] = np.nan
        with pytest.raises(InputError, match=r"got NaN or infinity"):
            NRRD.scan(written(tmp_path / "a.nrrd", values, type="float"))

    def test_a_header_without_an_end(self, tmp_path):
        (tmp_path / "a.nrrd").write_bytes(b"NRRD0004\n" + b"#" * (2 << 20))
        with pytest.raises(InputError, match=r"got one without an end"):
            NRRD.scan(tmp_path / "a.nrrd")


@pytest.mark.parametrize(
    ("units", "is_read"), [('"mm" "mm" "mm"', True), ('"m" "m" "m"', False), ('"um" "um" "um"', False)]
)
def test_units_of_length(units, is_read):
    if is_read:
        _check_unit(units, "a.nrrd")
    else:
        with pytest.raises(GridError, match="expected lengths in mm, got other space units"):
            _check_unit(units, "a.nrrd")


@pytest.mark.parametrize("unit", ["cm", "um", "inch", "m"])
def test_a_file_in_another_unit_is_refused(tmp_path, stored, unit):
    path = written(tmp_path / "a.nrrd", stored, **{"space units": f'"{unit}" "{unit}" "{unit}"'})
    with pytest.raises(GridError, match="expected lengths in mm, got other space units; convert it"):
        NRRD.scan(path)
