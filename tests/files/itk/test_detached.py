import numpy as np
import pytest
import SimpleITK

from tomoseg.errors import InputError
from tomoseg.files.itk.detached import detached
from tomoseg.files.scan import look, read_scan


@pytest.mark.parametrize(
    ("name", "voxels"),
    [("a.mhd", ["a.raw"]), ("a.nhdr", ["a.raw"]), ("a.mha", []), ("a.nrrd", []), ("a.nii", [])],
)
def test_voxels_beside_a_header_are_found(tmp_path, name, voxels):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.int16)), str(tmp_path / name))
    assert [file.path.name for file in detached(look(tmp_path / name))] == voxels
    assert [file.size for file in detached(look(tmp_path / name))] == [120] * len(voxels)


@pytest.mark.parametrize("named", ["gone.raw", "\0", "a.mhd", "LIST"])
def test_what_is_not_there_is_left_out(tmp_path, named):
    (tmp_path / "a.mhd").write_text(f"ObjectType = Image\nElementDataFile = {named}\n")
    assert list(detached(look(tmp_path / "a.mhd"))) == []


def test_a_name_that_may_be_a_patients_or_cannot_be_printed_is_not_told(tmp_path):
    header = (
        b"ObjectType = Image\nNDims = 3\nDimSize = 2 2 2\nElementSpacing = 1 1 1\nElementType = MET_SHORT\n"
        b"ElementDataFile = out\x02side\xff.raw\n"
    )
    (tmp_path / "a.mhd").write_bytes(header)
    with pytest.raises(InputError, match=r"expected the data file that it names, got nothing of that name") as found:
        read_scan(tmp_path / "a.mhd")
    assert str(found.value).isprintable()
