"""Parsing and building of NIfTI headers.

Supported and refused are:

- NIfTI-1 and NIfTI-2 in one file (magic `n+1`, `n+2`), either byte order.
- Three axes; further axes of length 1 are dropped. More than one volume, two axes, empty axes: refused.
- Integers and reals of 8 to 64 bits; complex numbers and colours are refused.
- Geometry: the sform if `sform_code > 0`, otherwise the qform if `qform_code > 0`; without either the file is refused,
  because left and right would be unknown. If both are set and differ by more than `DISAGREEMENT_VOXELS`, the sform is
  used, with a warning.
- Edges: if the lengths of the sform's columns are not the edges in `pixdim`, directions and the first voxel's position
  are those of the sform, and the edges those of `pixdim`, with a warning: an sform may map to an atlas, or have unit
  columns or slice thicknesses. A `pixdim` of ones was never set, and is not used.
- Units: the affine is converted to mm if the header states metres or micrometres; an unknown unit counts as mm.
- Scaling: `scl_slope` of zero or not finite means none.

A header is built from the source's header if there is one: `pixdim`, units, sform, qform and their codes are copied to
the last bit, in the same NIfTI version, unless its edges disagree; all other fields (descriptions, names, intensity
range, extensions), which may name a patient, are left out. Otherwise it is made from the affine, with sform and qform
of code 1 (scanner coordinates). The byte order is always little-endian.

Source: NIfTI-1 and NIfTI-2 data format, https://nifti.nimh.nih.gov.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from tomoseg.errors import GridError, InputError
from tomoseg.files.impostors import called
from tomoseg.files.nifti_layout import NIFTI1, NIFTI2, quaternion_of, rotation_of
from tomoseg.language.words import part
from tomoseg.notices import Notice
from tomoseg.volume import SourceGrid, check_affine, spacing_of

DISAGREEMENT_VOXELS = 0.5
"""Maximum distance of sform and qform at any corner. A quaternion in float32 has an error of up to 0.1 mm there."""

EDGE_SHARE = 0.01
"""Maximum relative difference of an sform's column length and the edge in `pixdim`, since edges are rounded."""

LARGEST_MM = 1e7
"""Maximum plausible length in mm; larger numbers are damage, and their squares may overflow."""

_BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
_LARGEST_NIFTI1_AXIS = 32767
_DTYPES = {
    2: "u1", 256: "i1", 4: "i2", 512: "u2", 8: "i4", 768: "u4", 1024: "i8", 1280: "u8", 16: "f4", 64: "f8",
}  # fmt: skip
_CODES = {np.dtype(text): code for code, text in _DTYPES.items()}
_REFUSED_DTYPES = {
    1: "bits", 32: "complex", 128: "RGB", 1536: "float128", 1792: "complex", 2048: "complex", 2304: "RGBA",
}  # fmt: skip
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
_UNIT_NAMES = {1: "metres", 3: "micrometres"}
_GEOMETRY_FIELDS = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """A checked NIfTI header.

    Attributes:
        grid: The file's grid; its `header` holds the raw bytes.
        dtype: Type of the stored voxels, with its byte order.
        offset: Offset of the voxels in bytes.
        slope: Factor of the stored values; 1 if the file has no scaling.
        intercept: Summand after that; 0 if the file has no scaling.
        warnings: Notices about the header.
        volumes: Number of volumes.
    """

    grid: SourceGrid
    dtype: np.dtype
    offset: int
    slope: float
    intercept: float
    warnings: tuple[Notice, ...]
    volumes: int = 1

    @property
    def is_scaled(self) -> bool:
        """Whether stored values have to be scaled."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    @property
    def voxel_bytes(self) -> int:
        """Bytes of all voxels, according to the header."""
        x, y, z = self.grid.shape
        return x * y * z * self.dtype.itemsize * self.volumes


def read_header(stream: Any) -> bytes:
    """Read the header's bytes from the start of a stream, fewer if the stream ends before."""
    raw: bytes = stream.read(NIFTI1.itemsize)
    is_second = any(raw[:4] == NIFTI2.itemsize.to_bytes(4, order) for order in _BYTE_ORDERS)
    return raw + bytes(stream.read(NIFTI2.itemsize - NIFTI1.itemsize)) if is_second else raw


def parse_header(
    raw: bytes, name: str, assume_spacing: tuple[float, float, float] | None = None, several: bool = False
) -> Header:
    """Parse and check a header.

    Args:
        raw: The first bytes of the file: 348, or 540 for NIfTI-2.
        name: Name of the file in messages.
        assume_spacing: Voxel spacing in mm of a file without an orientation, whose axes are then taken to be RAS+.
        several: Whether there may be several volumes, along one further axis.

    Returns:
        The checked header.

    Raises:
        InputError: If it is not a NIfTI header, or has unsupported axes, voxel type or scaling.
        GridError: If the file has no orientation, or one that cannot be used.
    """
    fields = _fields(raw, name)
    shape, volumes = _shape(fields, name, several)
    slope, intercept = _scaling(fields, name)
    with np.errstate(over="ignore", invalid="ignore"):  # absurd numbers are refused with a message
        affine, warnings = _affine(fields, shape, name, assume_spacing)
    disagrees = any(notice.kind == "two edges" for notice in warnings)
    used = None if disagrees or volumes > 1 else raw[: fields.dtype.itemsize]  # all readers must get the same size
    return Header(
        SourceGrid(shape, affine, used),
        _voxel_dtype(fields, name),
        _offset(fields, name),
        slope,
        intercept,
        warnings,
        volumes,
    )


def build_header(grid: SourceGrid, dtype: np.dtype) -> bytes:
    """Build the header of a file on a grid, up to the start of its voxels.

    Args:
        grid: The grid; its own header is used if it is that of a NIfTI file with this affine.
        dtype: Type of the voxels.

    Returns:
        352 bytes (NIfTI-1) or 544 (NIfTI-2), little-endian, slope 1, intercept 0.

    Raises:
        InputError: If voxels of that type cannot be written.
    """
    dtype = np.dtype(dtype)
    if dtype not in _CODES:
        raise InputError(f"expected voxels of {', '.join(map(str, _CODES))}, got {dtype}; convert the array")
    source = _source_fields(grid)
    if source is not None:
        layout = NIFTI2 if source.dtype.itemsize == NIFTI2.itemsize else NIFTI1
    else:
        layout = NIFTI2 if max(grid.shape) > _LARGEST_NIFTI1_AXIS else NIFTI1
    fields = np.zeros((), layout.newbyteorder("<"))
    fields["sizeof_hdr"] = layout.itemsize
    fields["magic"] = b"n+1" if layout is NIFTI1 else b"n+2"
    if layout is NIFTI2:
        fields["eol_check"] = (13, 10, 26, 10)
    fields["dim"] = (3, *grid.shape, 1, 1, 1, 1)
    fields["datatype"] = _CODES[dtype]
    fields["bitpix"] = 8 * dtype.itemsize
    fields["vox_offset"] = layout.itemsize + 4
    fields["scl_slope"] = 1
    fields["descrip"] = b"tomoseg"
    if source is None:
        _set_geometry(fields, grid.affine)
    else:
        for field in _GEOMETRY_FIELDS:
            fields[field] = source[field]
    return fields.tobytes() + bytes(4)


def _fields(raw: bytes, name: str) -> np.ndarray:
    for layout in (NIFTI1, NIFTI2):
        for order in _BYTE_ORDERS:
            if raw[:4] != layout.itemsize.to_bytes(4, order):
                continue
            if len(raw) < layout.itemsize:
                raise InputError(
                    f"{name}: expected a header of {layout.itemsize} bytes, got {len(raw)}; copy the file again"
                )
            fields = np.frombuffer(raw, layout.newbyteorder(order), 1).reshape(())
            _check_magic(bytes(fields["magic"].item()), name)
            return fields
    what, do = called(raw) or (part("something else"), part("convert it to NIfTI"))
    raise InputError(f"{name}: expected a NIfTI file (a scan may also be DICOM, NRRD or MetaImage), got {what}; {do}")


def _check_magic(magic: bytes, name: str) -> None:
    if magic.rstrip(b"\0") in {b"ni1", b"ni2"}:
        raise InputError(f"{name}: expected one .nii file, got the header of a .hdr/.img pair; convert it to .nii")
    if magic.rstrip(b"\0") not in {b"n+1", b"n+2"}:
        raise InputError(f"{name}: expected the NIfTI magic n+1 or n+2, got {magic!r}; convert it to NIfTI")


def _shape(fields: np.ndarray, name: str, several: bool) -> tuple[tuple[int, int, int], int]:
    """Return the shape of a volume, and the number of volumes.

    Raises:
        InputError: If they cannot be those of a volume.
    """
    axes = int(fields["dim"][0])
    if not 1 <= axes <= 7:
        raise InputError(f"{name}: expected 3 axes, got {axes}; the header is damaged")
    shape = tuple(int(n) for n in fields["dim"][1 : axes + 1])
    if min(shape) < 1:
        raise InputError(f"{name}: expected axes of 1 voxel or more, got {shape}; the header is damaged")
    further = [n for n in shape[3:] if n > 1]
    if axes < 3 or len(further) > several:
        raise InputError(f"{name}: expected 3 axes, got {shape}; pass one volume")
    return (shape[0], shape[1], shape[2]), further[0] if further else 1


def _voxel_dtype(fields: np.ndarray, name: str) -> np.dtype:
    code = int(fields["datatype"])
    if code not in _DTYPES:
        got = _REFUSED_DTYPES.get(code, part("an unknown type"))
        raise InputError(f"{name}: expected one number per voxel, got {got} (datatype {code}); convert it to int16")
    return np.dtype(_DTYPES[code]).newbyteorder(fields.dtype["datatype"].byteorder)


def _offset(fields: np.ndarray, name: str) -> int:
    offset = float(fields["vox_offset"])
    if not np.isfinite(offset) or offset < fields.dtype.itemsize or offset != int(offset):
        raise InputError(f"{name}: expected voxels after the header, got vox_offset {offset:g}; the header is damaged")
    return int(offset)


def _scaling(fields: np.ndarray, name: str) -> tuple[float, float]:
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or not np.isfinite(slope):
        return 1.0, 0.0
    if not np.isfinite(intercept):
        raise InputError(f"{name}: expected a finite scl_inter, got {intercept}; repair the header")
    return slope, intercept


def _affine(
    fields: np.ndarray,
    shape: tuple[int, int, int],
    name: str,
    assume_spacing: tuple[float, float, float] | None,
) -> tuple[np.ndarray, tuple[Notice, ...]]:
    """Return the affine from index to RAS+ mm, and notices.

    Raises:
        GridError: If the file has no orientation, or one that cannot be used.
    """
    has_sform, has_qform = int(fields["sform_code"]) > 0, int(fields["qform_code"]) > 0
    if not has_sform and not has_qform:
        affine, notice = _assumed(assume_spacing, name)
        return affine, (notice,)
    affine = _sform(fields) if has_sform else _qform(fields)
    if np.abs(affine).max() > LARGEST_MM:
        raise GridError(
            f"{name}: expected lengths below {LARGEST_MM:g} mm, got {affine[:3].tolist()}; repair the header"
        )
    check_affine(affine, name)
    warnings = _settle_edges(affine, fields, name) if has_sform else []
    if has_sform and has_qform and not _distance_voxels(affine, _qform(fields), shape) <= DISAGREEMENT_VOXELS:
        text = (
            f"{name}: the sform and the qform of the header place the voxels differently; the sform is used. "
            "Other programs may use the qform: make both the same if results look shifted or mirrored."
        )
        warnings.append(Notice(text, "two orientations"))
    affine, notices = _in_mm(affine, int(fields["xyzt_units"]) & 7, warnings, name)
    check_affine(affine, name)  # edges as short as 1e-200 vanish when lengths are computed
    return affine, notices


def _settle_edges(affine: Float[np.ndarray, "4 4"], fields: np.ndarray, name: str) -> list[Notice]:
    """Give an sform the edges of `pixdim`, in place, if its columns have other lengths; return a notice.

    Raises:
        GridError: If the edges are not below `LARGEST_MM`.
    """
    lengths, edges = np.array(spacing_of(affine)), fields["pixdim"][1:4].astype(np.float64)
    is_set = np.isfinite(edges).all() and (edges > 0).all()
    if not is_set or (np.abs(lengths - edges) <= EDGE_SHARE * edges).all():
        return []
    by_columns, by_pixdim = (" x ".join(f"{edge:.4g}" for edge in those) for those in (lengths, edges))
    never_set = (edges == 1).all()
    if not never_set:
        if edges.max() > LARGEST_MM:
            raise GridError(f"{name}: expected lengths below {LARGEST_MM:g} mm, got {by_pixdim}; repair the header")
        affine[:3, :3] *= edges / lengths
    text = (
        f"{name}: the columns of the sform give voxels of {by_columns}, pixdim gives {by_pixdim}; the voxel "
        f"size of {'the sform is used, as pixdim was never set' if never_set else 'pixdim is used'}, in all "
        "results too. Other programs may use the other: make both the same, from the slice spacing of the "
        "scan's DICOM."
    )
    return [Notice(text, "two edges")]


def _assumed(assume_spacing: tuple[float, float, float] | None, name: str) -> tuple[np.ndarray, Notice]:
    if assume_spacing is None:
        raise GridError(
            f"{name}: expected an orientation, got sform_code and qform_code 0; "
            "convert the scan from its DICOM again, or give the voxel size in mm with --assume-spacing X Y Z"
        )
    assumed = np.diag([*assume_spacing, 1.0])
    check_affine(assumed, name)
    text = (
        f"{name}: no orientation; axes to the right, front and head and voxels of "
        f"{' x '.join(f'{edge:g}' for edge in assume_spacing)} mm were assumed. Left and right may be swapped: "
        "check them."
    )
    return assumed, Notice(text, "assumed geometry")


def _in_mm(affine: np.ndarray, unit: int, warnings: list[Notice], name: str) -> tuple[np.ndarray, tuple[Notice, ...]]:
    if unit not in _MM_PER_UNIT:
        return affine, tuple(warnings)
    affine[:3] *= _MM_PER_UNIT[unit]
    text = (
        f"{name}: the header gives lengths in {_UNIT_NAMES[unit]}; they were turned into mm, which makes voxels of "
        f"{' x '.join(f'{edge:.4g}' for edge in spacing_of(affine))} mm. Correct xyzt_units if that is wrong."
    )
    return affine, (*warnings, Notice(text, "unit of length"))


def _sform(fields: np.ndarray) -> Float[np.ndarray, "4 4"]:
    affine = np.eye(4)
    for row, axis in enumerate("xyz"):
        affine[row] = fields[f"srow_{axis}"]
    return affine


def _qform(fields: np.ndarray) -> Float[np.ndarray, "4 4"]:
    """Compute the qform as nifti1_io.c does: a quaternion longer than 1 is normalised, a half turn is exact."""
    vector = np.array([fields[f"quatern_{c}"] for c in "bcd"], np.float64)
    rest = 1.0 - vector @ vector
    quaternion = np.array([np.sqrt(rest) if rest >= 1e-7 else 0.0, *vector])
    pixdim = fields["pixdim"].astype(np.float64)
    spacing = np.where(pixdim[1:4] > 0, pixdim[1:4], 0.0)  # a header without spacing is refused as such
    spacing[2] *= -1 if pixdim[0] < 0 else 1
    affine = np.eye(4)
    affine[:3, :3] = rotation_of(quaternion) * spacing if np.isfinite(quaternion).all() else np.nan
    affine[:3, 3] = [fields[f"qoffset_{axis}"] for axis in "xyz"]
    return affine


def _distance_voxels(one: np.ndarray, other: np.ndarray, shape: tuple[int, int, int]) -> float:
    """Return the largest distance of two affines at any corner, in shortest voxel edges; NaN if one is not finite."""
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)], np.float64)
    corners[:, :3] *= np.array(shape) - 1
    return float(np.abs(corners @ (one - other).T).max() / min(spacing_of(one)))


def _set_geometry(fields: np.ndarray, affine: Float[np.ndarray, "4 4"]) -> None:
    spacing = np.array(spacing_of(affine))
    rotation = affine[:3, :3] / spacing
    handedness = -1.0 if np.linalg.det(rotation) < 0 else 1.0
    rotation = rotation * (1.0, 1.0, handedness)
    fields["pixdim"] = (handedness, *spacing, 0, 0, 0, 0)
    fields["xyzt_units"] = 2
    fields["qform_code"] = fields["sform_code"] = 1
    for letter, turn in zip("bcd", quaternion_of(rotation)[1:], strict=True):
        fields[f"quatern_{letter}"] = turn
    for row, axis in enumerate("xyz"):
        fields[f"qoffset_{axis}"] = affine[row, 3]
        fields[f"srow_{axis}"] = affine[row]


def _source_fields(grid: SourceGrid) -> np.ndarray | None:
    """Return the fields of the grid's own header, if it is that of a NIfTI file and describes this very grid."""
    if grid.header is None:
        return None
    try:
        header = parse_header(grid.header, "header")
    except (InputError, GridError):
        return None
    same = header.grid.shape == grid.shape and np.array_equal(header.grid.affine, grid.affine)
    return _fields(grid.header, "header") if same else None
