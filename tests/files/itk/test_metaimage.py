import re
import zlib

import numpy as np
import pytest
import SimpleITK

from tomoseg.errors import GridError, InputError
from tomoseg.files.itk.metaimage import METAIMAGE
from tomoseg.files.scan import read_scan

FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "10 20 30",
    "AnatomicalOrientation": "RAI",
    "ElementSpacing": "0.5 0.75 2",
    "DimSize": "4 3 2",
    "ElementType": "MET_SHORT",
}


@pytest.fixture
def stored(rng):
    """(z, y, x), as it lies in the file."""
    return rng.integers(-1000, 2000, (2, 3, 4), np.int16)


def written(path, data, file="LOCAL", **fields):
    lines = [f"{key} = {value}" for key, value in (FIELDS | fields).items() if value is not None]
    path.write_bytes("\n".join([*lines, f"ElementDataFile = {file}", ""]).encode() + data)
    return path


def check(volume, stored):
    assert volume.warnings == ()
    np.testing.assert_array_equal(volume.hu, stored.transpose(2, 1, 0)[::-1, ::-1])
    assert volume.spacing_mm == (0.5, 0.75, 2.0)
    np.testing.assert_array_equal(volume.source.affine[:3, 3], (-10, -20, 30))


def test_local(tmp_path, stored):
    check(read_scan(written(tmp_path / "a.mha", stored.tobytes())), stored)


@pytest.mark.parametrize("unit", ["mm", "?", None])
def test_millimetres(tmp_path, stored, unit):
    check(read_scan(str(written(tmp_path / "a.mha", stored.tobytes(), DistanceUnits=unit))), stored)


@pytest.mark.parametrize("unit", ["um", "cm"])
def test_another_unit_of_length_is_refused(tmp_path, stored, unit):
    with pytest.raises(GridError, match=f"expected lengths in mm, got DistanceUnits '{unit}'"):
        read_scan(written(tmp_path / "a.mha", stored.tobytes(), DistanceUnits=unit))


def test_compressed(tmp_path, stored):
    check(METAIMAGE.scan(written(tmp_path / "a.mha", zlib.compress(stored.tobytes()), CompressedData="True")), stored)


def test_text(tmp_path, stored):
    check(
        METAIMAGE.scan(written(tmp_path / "a.mha", " ".join(map(str, stored.flat)).encode(), BinaryData="False")),
        stored,
    )


def test_a_file_beside_it_big_endian(tmp_path, stored):
    (tmp_path / "a.raw").write_bytes(stored.astype(">f4").tobytes())
    path = written(tmp_path / "a.mhd", b"", "a.raw", ElementType="MET_FLOAT", BinaryDataByteOrderMSB="True")
    check(read_scan(path), stored)


@pytest.mark.parametrize("size", ["-1", "7"])
def test_a_header_in_the_data_file(tmp_path, stored, size):
    (tmp_path / "a.raw").write_bytes(b"1234567" + stored.tobytes())
    check(METAIMAGE.scan(written(tmp_path / "a.mhd", b"", "a.raw", HeaderSize=size)), stored)


def test_directions_are_those_of_axes(tmp_path, stored):
    """Nine numbers, three an axis: the first runs to the head, the second to the left, the third to the back."""
    path = written(tmp_path / "a.mha", stored.tobytes(), TransformMatrix="0 0 1 1 0 0 0 1 0")
    volume = METAIMAGE.scan(path)
    np.testing.assert_array_equal(volume.hu, stored.transpose(1, 0, 2)[::-1, ::-1])
    assert volume.spacing_mm == (0.75, 2.0, 0.5)


def test_a_real_file(test_data):
    volume = read_scan(test_data / "hostile" / "3DCT_lung_baseline_small.mha")
    assert (volume.shape, volume.spacing_mm) == ((57, 78, 64), (2.732, 2.732, 5.0))
    np.testing.assert_array_equal(volume.source.affine[:3, 3], (152.461, 148.986, -1432))
    assert volume.hu.min() < -900


def test_edges_that_are_not_known_are_refused_unless_they_are_assumed(tmp_path, stored):
    path = written(tmp_path / "a.mha", stored.tobytes(), ElementSpacing=None)
    with pytest.raises(GridError, match=r"expected a voxel size, got none; give it in mm with --assume-spacing"):
        read_scan(path)
    volume = read_scan(path, assume_spacing=(1.0, 2.0, 3.0))
    assert volume.spacing_mm == (1, 2, 3)
    np.testing.assert_array_equal(volume.source.affine[:3, 3], (-10, -20, 30))
    assert "voxels of 1 x 2 x 3 mm were assumed." in volume.warnings[0].message


@pytest.mark.parametrize("assume_spacing", [None, (7.0, 8.0, 9.0)])
def test_directions_that_are_not_known_are_those_of_axes_as_itk_has_them(tmp_path, stored, assume_spacing):
    volume = read_scan(written(tmp_path / "a.mha", stored.tobytes(), TransformMatrix=None), None, assume_spacing)
    by_itk = SimpleITK.ReadImage(str(tmp_path / "a.mha"))
    assert by_itk.GetDirection() == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert volume.spacing_mm == by_itk.GetSpacing() == (0.5, 0.75, 2.0)
    np.testing.assert_array_equal(volume.source.affine[:3, 3] * (-1, -1, 1), by_itk.GetOrigin())
    assert [one.kind for one in volume.warnings] == ["assumed geometry"]


def test_four_axes_and_one_volume(tmp_path, stored):
    four = {
        "NDims": "4",
        "DimSize": "4 3 2 1",
        "ElementSpacing": "0.5 0.75 2 1",
        "TransformMatrix": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
        "Offset": "10 20 30 0",
    }
    check(read_scan(written(tmp_path / "a.mha", stored.tobytes(), **four)), stored)


@pytest.mark.parametrize(
    ("file", "fields", "error", "words"),
    [
        ("LOCAL", {"NDims": "4"}, InputError, "expected 3 axes of one volume, got NDims '4'"),
        ("LOCAL", {"DimSize": "4 3 -2"}, InputError, "expected 3 axes"),
        ("LOCAL", {"DimSize": "4000 3000 2000"}, InputError, "got a file that cannot hold them"),
        (
            "LOCAL",
            {"ElementType": "MET_OTHER"},
            InputError,
            "expected one number per voxel, got ElementType 'MET_OTHER'",
        ),
        ("LOCAL", {"ElementNumberOfChannels": "3"}, InputError, "expected one number per voxel"),
        ("LOCAL", {"HeaderSize": "-2"}, InputError, "expected a whole number as HeaderSize"),
        ("LOCAL", {"TransformMatrix": "1 0 0 0.3 1 0 0 0 1"}, GridError, "got a sheared affine"),
        ("LOCAL", {"ElementSpacing": "1 1"}, GridError, "expected finite numbers"),
        ("LOCAL", {"ElementSpacing": "1 1 0"}, GridError, "expected a positive spacing"),
        ("a\0.raw", {}, InputError, "expected a data file beside the header"),
        ("../a.raw", {}, InputError, "expected a data file beside the header"),
        ("a%03d.raw 1 3 1", {}, InputError, "got a list of them"),
        ("LIST", {}, InputError, "got a list of them"),
    ],
)
def test_what_cannot_be_used(tmp_path, stored, file, fields, error, words):
    with pytest.raises(error, match=re.escape(words)):
        METAIMAGE.scan(written(tmp_path / "a.mha", stored.tobytes(), file, **fields))


def test_no_header(tmp_path):
    (tmp_path / "a.mha").write_bytes(bytes(1000))
    with pytest.raises(InputError, match=r"expected a MetaImage header up to ElementDataFile"):
        METAIMAGE.scan(tmp_path / "a.mha")
