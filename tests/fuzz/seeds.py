"""Small valid files of every kind that is read, for fuzzing to start from; the project makes them itself."""

import gzip
import io
import tempfile
import zipfile
import zlib
from functools import cache
from pathlib import Path

import gdcm
import numpy as np
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tests.files.dicom.series import enhanced, image
from tests.files.handmade import nifti1, nifti2

NEXT_FILE = b"\n--next file--\n"
"""Between files that lie in one folder, in the input of a reader of several."""

LARGEST_SEED_BYTES = 64 << 10

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4) * 90 - 1000
_STORED = VOXELS.tobytes("F")

_NRRD = """NRRD0004
# a comment
type: {type}
dimension: 3
space: left-posterior-superior
sizes: 2 3 4
space directions: (1,0,0) (0,1.5,0) (0,0,2)
space origin: (-10,5,7.5)
endian: {endian}
encoding: {encoding}
{more}
"""
_MHA = """ObjectType = Image
NDims = 3
BinaryData = {binary}
BinaryDataByteOrderMSB = False
CompressedData = {compressed}
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = -10 5 7.5
ElementSpacing = 1 1.5 2
DimSize = 2 3 4
ElementType = {type}
ElementDataFile = {file}
"""


@cache
def seeds(reader: str) -> dict[str, bytes]:
    """Inputs by name, the same in every run; each is one file, or several with `NEXT_FILE` between."""
    made: dict[str, bytes] = {"nifti": _nifti, "nrrd": _nrrd, "mha": _mha, "dicom": _dicom, "zip": _zip}[reader]()
    return made


def real_seeds(reader: str, data: Path) -> dict[str, bytes]:
    """Small real files of the kind, where there are any."""
    kinds = {"nifti": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha", "dicom": ".dcm", "zip": ".zip"}
    found = sorted((data / "hostile").rglob("*" + kinds[reader])) if data.is_dir() else []
    return {f"real-{path.name}": path.read_bytes() for path in found if path.stat().st_size <= LARGEST_SEED_BYTES}


def _nifti() -> dict[str, bytes]:
    turned = {"sform_code": 0, "qform_code": 1, "quaternion": (0, 0, 1), "pixdim": (-1, 2, 3, 4, 0, 0, 0, 0)}
    real = VOXELS.astype(np.float32)
    return {
        "plain": nifti1(VOXELS),
        "big": nifti1(VOXELS, ">"),
        "second": nifti2(VOXELS),
        "qform": nifti1(VOXELS, **turned),
        "scaled": nifti1(VOXELS.astype(np.uint8), scaling=(2, -1024)),
        "real": nifti1(real),
        "gzip": gzip.compress(nifti1(VOXELS), mtime=0),
        "gzip-second": gzip.compress(nifti2(real, ">"), mtime=0),
        "mask": nifti1((VOXELS > 0).astype(np.uint8)),
        "pair": nifti1(VOXELS, magic=b"ni1\0"),
    }


def _nrrd() -> dict[str, bytes]:
    def written(data: bytes, more: str = "", encoding: str = "raw", kind: str = "short", endian: str = "little"):
        return _NRRD.format(type=kind, endian=endian, encoding=encoding, more=more).encode() + data

    text = " ".join(map(str, VOXELS.ravel("F"))).encode()
    return {
        "raw": written(_STORED, "line skip: 0\n"),
        "gzip": written(gzip.compress(_STORED, mtime=0), encoding="gzip"),
        "text": written(text, encoding="ascii"),
        "big": written(VOXELS.astype(">f4").tobytes("F"), kind="float", endian="big"),
        "from the end": written(_STORED, "byte skip: -1\n"),
        "detached": written(b"", "data file: b.dat\n") + NEXT_FILE + _STORED,
        "list": written(b"", "data file: LIST\n") + NEXT_FILE + _STORED,
        "elsewhere": written(b"", "data file: ../outside.raw\n"),
        "absolute": written(b"", "data file: /etc/hostname\n"),
        "no space": written(_STORED).replace(b"space", b"spice"),
    }


def _mha() -> dict[str, bytes]:
    def written(data: bytes, **changes: str):
        fields = {"binary": "True", "compressed": "False", "type": "MET_SHORT", "file": "LOCAL"} | changes
        return _MHA.format(**fields).encode() + data

    return {
        "raw": written(_STORED),
        "zlib": written(zlib.compress(_STORED), compressed="True"),
        "text": written(" ".join(map(str, VOXELS.ravel("F"))).encode(), binary="False"),
        "real": written(VOXELS.astype("<f8").tobytes("F"), type="MET_DOUBLE"),
        "detached": written(b"", file="b.dat") + NEXT_FILE + _STORED,
        "elsewhere": written(b"", file="../outside.raw"),
        "skipped": written(_STORED).replace(b"NDims", b"HeaderSize = -1\nNDims"),
    }


def _dicom() -> dict[str, bytes]:
    stored = VOXELS.transpose(2, 1, 0)
    tilted = (1, 0, 0, 0, 0.96, 0.28)
    made = {
        "classic": [image(one, (0, 0, 2 * k), k) for k, one in enumerate(stored)],
        "tilted": [image(one, (0, 0, 2.5 * k), k, orientation=tilted) for k, one in enumerate(stored[:3])],
        "repeated": [image(one, (0, 0, 2 * (k // 2)), k, AcquisitionNumber=k % 2) for k, one in enumerate(stored)],
        "single": [image(stored[0], PixelPaddingValue=-1000)],
        "enhanced": [enhanced(stored, [(0, 0, 3 * k) for k in range(4)], scales=[(1, -k) for k in range(4)])],
        "implicit": [image(stored[0], syntax=ImplicitVRLittleEndian)],
        "big": [image(stored[0], syntax=ExplicitVRBigEndian)],
        "deflated": [image(stored[0], syntax=DeflatedExplicitVRLittleEndian)],
    }
    squares = np.arange(1024, dtype=np.int16).reshape(32, 32) - 600
    for name, syntax in (("rle", RLELossless), ("jls", JPEGLSLossless), ("j2k", JPEG2000Lossless)):
        coded = image(squares)
        coded.compress(syntax, generate_instance_uid=False)
        made[name] = [coded]
    for images in made.values():
        for number, one in enumerate(images):
            one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    found = {name: NEXT_FILE.join(_bytes_of(one) for one in images) for name, images in made.items()}
    return found | {"jpeg": _jpeg(_bytes_of(image(squares)))}


def _jpeg(plain: bytes) -> bytes:
    """A file in lossless JPEG, which pydicom cannot write and GDCM can."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = (str(Path(folder) / name) for name in ("plain.dcm", "jpeg.dcm"))
        Path(source).write_bytes(plain)
        reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
        reader.SetFileName(source)
        assert reader.Read()
        change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
        change.SetInput(reader.GetImage())
        assert change.Change()
        writer.SetFile(reader.GetFile())
        writer.SetImage(change.GetOutput())
        writer.SetFileName(made)
        assert writer.Write()
        return Path(made).read_bytes()


def _zip() -> dict[str, bytes]:
    slices = _dicom()["classic"].split(NEXT_FILE)
    members = {f"series/{number}.dcm": data for number, data in enumerate(slices)}
    return {
        "stored": _packed(members, zipfile.ZIP_STORED),
        "deflated": _packed(members, zipfile.ZIP_DEFLATED),
        "nested": _packed({"a.zip": _packed(members, zipfile.ZIP_DEFLATED)}, zipfile.ZIP_STORED),
        "climbing": _packed({"../a.dcm": slices[0]}, zipfile.ZIP_DEFLATED),
        "notes": _packed({"notes.txt": b"no scan"} | members, zipfile.ZIP_DEFLATED),
    }


def _packed(members: dict[str, bytes], how: int) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", how) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, how)
    return made.getvalue()


def _bytes_of(dataset) -> bytes:
    made = io.BytesIO()
    dataset.save_as(made, enforce_file_format=True)
    return made.getvalue()
