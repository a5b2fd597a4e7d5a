import bz2
import gzip
import lzma
import tarfile

import pytest

from tests.files.handmade import nifti1
from tests.files.test_nifti import RAMP
from tomoseg.errors import InputError
from tomoseg.files.nifti import read_ct, read_label_map, read_mask
from tomoseg.files.scan import read_scan

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
SCAN = nifti1(RAMP)
FILES = {
    "a git-lfs pointer, .*; fetch it with git lfs pull": POINTER,
    "a git-annex pointer": b"/annex/objects/MD5E-s12--0123.nii.gz\n",
    "a web page or XML": b"\n<!DOCTYPE html><html><body>Not found</body></html>",
    "a web page or XML, ": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "gzip within gzip": gzip.compress(gzip.compress(SCAN)),
    "a bzip2 archive; unpack it": bz2.compress(SCAN),
    "an xz archive": lzma.compress(SCAN),
    "a 7z archive": b"7z\xbc\xaf\x27\x1c" + bytes(30),
    "a rar archive": b"Rar!\x1a\x07\x01\x00" + bytes(30),
    "zeros, as a placeholder": bytes(4000),
}


@pytest.mark.parametrize("read", [read_scan, read_ct, read_mask, read_label_map])
@pytest.mark.parametrize("what", FILES)
def test_what_is_no_volume_is_called_by_name(tmp_path, read, what):
    path = tmp_path / "ct.nii.gz"
    path.write_bytes(FILES[what])
    with pytest.raises(InputError, match=rf"ct\.nii\.gz: expected a NIfTI file .*, got .*{what}"):
        read(path)


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_other_names_too(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(POINTER)
    with pytest.raises(InputError, match=f"{name}: expected .*, got a git-lfs pointer"):
        read_scan(path)


def test_a_packed_tar(tmp_path):
    (tmp_path / "a.nii").write_bytes(SCAN)
    with tarfile.open(tmp_path / "ct.nii.gz", "w:gz") as tar:
        tar.add(tmp_path / "a.nii", "a.nii")
    with pytest.raises(InputError, match="got a tar archive; unpack it"):
        read_ct(tmp_path / "ct.nii.gz")
