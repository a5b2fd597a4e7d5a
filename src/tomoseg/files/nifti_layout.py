"""Layout of NIfTI headers, and conversion of quaternions.

NiBabel's header classes are not used because importing NiBabel takes 0.2 s of processor time and 48 MB, since it loads
pydicom, and its `get_qform` refuses quaternions that nifti1_io.c normalises. The tests compare with it.

Source: NIfTI-1 and NIfTI-2 data format, https://nifti.nimh.nih.gov.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_Fields = dict[str, tuple[str, int]]


def _layout(itemsize: int, fields: _Fields, affine: tuple[str, int, int]) -> np.dtype:
    """Return a structured type with fields at their offsets in bytes; bytes between them are written as zero."""
    number, first, row_bytes = affine
    place = first
    for name in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        fields[name] = (number, place)
        place += row_bytes // 4
    for name in ("srow_x", "srow_y", "srow_z"):
        fields[name] = (f"4{number}", place)
        place += row_bytes
    names = sorted(fields, key=lambda name: fields[name][1])
    return np.dtype(
        {
            "names": names,
            "formats": [fields[name][0] for name in names],
            "offsets": [fields[name][1] for name in names],
            "itemsize": itemsize,
        }
    )


NIFTI1 = _layout(
    348,
    {
        "sizeof_hdr": ("i4", 0), "dim": ("8i2", 40), "datatype": ("i2", 70), "bitpix": ("i2", 72),
        "pixdim": ("8f4", 76), "vox_offset": ("f4", 108), "scl_slope": ("f4", 112), "scl_inter": ("f4", 116),
        "xyzt_units": ("u1", 123), "descrip": ("S80", 148), "qform_code": ("i2", 252), "sform_code": ("i2", 254),
        "magic": ("S4", 344),
    },
    ("f4", 256, 16),
)  # fmt: skip
"""The header of NIfTI-1."""

NIFTI2 = _layout(
    540,
    {
        "sizeof_hdr": ("i4", 0), "magic": ("S4", 4), "eol_check": ("4i1", 8), "datatype": ("i2", 12),
        "bitpix": ("i2", 14), "dim": ("8i8", 16), "pixdim": ("8f8", 104), "vox_offset": ("i8", 168),
        "scl_slope": ("f8", 176), "scl_inter": ("f8", 184), "descrip": ("S80", 240), "qform_code": ("i4", 344),
        "sform_code": ("i4", 348), "xyzt_units": ("i4", 500),
    },
    ("f8", 352, 32),
)  # fmt: skip
"""The header of NIfTI-2."""


def rotation_of(quaternion: Float[np.ndarray, "4"]) -> Float[np.ndarray, "3 3"]:
    """Return the rotation matrix of a quaternion of any length.

    Args:
        quaternion: `(4,)`, w, x, y, z; not all zero.

    Example:
        >>> rotation_of(np.array([0.0, 0.0, 0.0, 2.0])).tolist()
        [[-1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]

    Source: NIfTI-1 standard, "Orientation and location in space", method 2.
    """
    w, x, y, z = quaternion
    twice = 2.0 / (w * w + x * x + y * y + z * z) * quaternion[1:]
    wx, wy, wz = w * twice
    xx, xy, xz = x * twice
    yy, yz = y * twice[1:]
    zz = z * twice[2]
    rows = (1 - (yy + zz), xy - wz, xz + wy), (xy + wz, 1 - (xx + zz), yz - wx), (xz - wy, yz + wx, 1 - (xx + yy))
    return np.array(rows)


def quaternion_of(rotation: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "4"]:
    """Return the quaternion `(4,)` of the rotation nearest to a matrix, with w not negative.

    Args:
        rotation: `(3, 3)`, a rotation up to rounding.

    Example:
        >>> quaternion_of(np.eye(3)).tolist()
        [1.0, 0.0, 0.0, 0.0]

    Source: Bar-Itzhack, I. Y. (2000). Journal of Guidance, Control and Dynamics 23(6), 1085-1087.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation
    lower = np.array(
        [
            [xx - yy - zz, 0, 0, 0],
            [xy + yx, yy - xx - zz, 0, 0],
            [xz + zx, yz + zy, zz - xx - yy, 0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    values, vectors = np.linalg.eigh(lower / 3.0)
    found = vectors[[3, 0, 1, 2], values.argmax()]
    return -found if found[0] < 0 else found
