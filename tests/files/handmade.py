"""NIfTI files made byte for byte, without the code under test and without nibabel."""

import struct

import numpy as np

CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
IDENTITY_SFORM = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))


def _edges(sform: tuple) -> list[float]:
    return np.linalg.norm(np.array(sform, float)[:, :3], axis=0).tolist()


def nifti1(
    voxels: np.ndarray,
    order: str = "<",
    dim: tuple[int, ...] | None = None,
    sform: tuple = IDENTITY_SFORM,
    sform_code: int = 1,
    qform_code: int = 0,
    quaternion: tuple = (0, 0, 0),
    qoffset: tuple = (0, 0, 0),
    pixdim: tuple | None = None,
    scaling: tuple = (0, 0),
    units: int = 2,
    datatype: int | None = None,
    vox_offset: float = 352,
    magic: bytes = b"n+1\0",
    descrip: bytes = b"",
    padding: bytes = b"\0" * 4,
) -> bytes:
    """A NIfTI-1 file as the standard's table has it; `pixdim` agrees with the sform if it is left out."""
    pixdim = (1, *_edges(sform), 0, 0, 0, 0) if pixdim is None else pixdim
    code = CODES[voxels.dtype.str[1:]] if datatype is None else datatype
    dim = (voxels.ndim, *voxels.shape) if dim is None else dim
    header = struct.pack(f"{order}i10s18sihcB", 348, b"", b"", 0, 0, b"r", 0)
    header += struct.pack(f"{order}8h", *dim, *[1] * (8 - len(dim)))
    header += struct.pack(f"{order}3f4h", 0, 0, 0, 0, code, 8 * voxels.itemsize, 0)
    header += struct.pack(f"{order}8f", *pixdim)
    header += struct.pack(f"{order}3fhBB", vox_offset, *scaling, 0, 0, units)
    header += struct.pack(f"{order}4f2i", 0, 0, 0, 0, 0, 0)
    header += struct.pack(f"{order}80s24s2h", descrip, b"", qform_code, sform_code)
    header += struct.pack(f"{order}6f", *quaternion, *qoffset)
    header += b"".join(struct.pack(f"{order}4f", *row) for row in sform)
    header += struct.pack(f"{order}16s4s", b"", magic)
    assert len(header) == 348
    return header + padding + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes("F")


def nifti2(voxels: np.ndarray, order: str = "<", sform: tuple = IDENTITY_SFORM) -> bytes:
    """A NIfTI-2 file as the standard's table has it."""
    header = struct.pack(f"{order}i8s2h", 540, b"n+2\0\r\n\x1a\n", CODES[voxels.dtype.str[1:]], 8 * voxels.itemsize)
    header += struct.pack(f"{order}8q", 3, *voxels.shape, 1, 1, 1, 1)
    header += struct.pack(f"{order}3d8d", 0, 0, 0, 1, *_edges(sform), 0, 0, 0, 0)
    header += struct.pack(f"{order}q6d2q", 544, 0, 0, 0, 0, 0, 0, 0, 0)
    header += struct.pack(f"{order}80s24s2i", b"", b"", 0, 1)
    header += struct.pack(f"{order}6d", 0, 0, 0, 0, 0, 0)
    header += b"".join(struct.pack(f"{order}4d", *row) for row in sform)
    header += struct.pack(f"{order}3i16sB15s", 0, 2, 0, b"", 0, b"")
    assert len(header) == 540
    return header + b"\0" * 4 + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes("F")
