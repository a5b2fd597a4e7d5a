"""Reading of MetaImage files: a text header followed by the voxels (`.mha`) or with a file of them (`.mhd`).

Coordinates are LPS+, as in ITK, whatever AnatomicalOrientation says of the axes.

SimpleITK is not used because it takes 264 MB on disk. The tests compare with it.

Source: the MetaIO documentation, https://itk.org/Wiki/ITK/MetaIO/Documentation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np
from jaxtyping import Float

from tomoseg.errors import GridError, InputError
from tomoseg.files.impostors import START_BYTES, called
from tomoseg.files.itk.layered import Layered
from tomoseg.files.itk.text_headed import TextHeaded
from tomoseg.files.itk.voxels import (
    Edges,
    Placing,
    Stored,
    beside,
    header_lines,
    numbers,
    opened,
    placed,
    whole_shape,
)
from tomoseg.language.words import part
from tomoseg.notices import Notice

SUFFIXES = (".mha", ".mhd")

_DTYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip


def _described(stream: IO[bytes], path: Path, assume_spacing: Edges | None) -> tuple[Stored, tuple[Notice, ...]]:
    """Read a header; return the storage of its voxels, and notices of assumptions.

    Raises:
        InputError: If it is damaged, or the voxels cannot be those of a scan.
    """
    name = str(path)
    fields, end = _fields(stream, name)
    return _stored(fields, end, path, assume_spacing)


def layers_of_metaimage(path: Path) -> Layered:
    """Return the storage of the volumes in a file with four axes or several channels, or of its one volume.

    Raises:
        InputError: If it is damaged, or the voxels cannot be those of labels.
        GridError: If the geometry is unknown.
    """
    with opened(path, str(path)) as stream:
        fields, end = _fields(stream, str(path))
    sizes, channels = fields.get("dimsize", "").split(), fields.get("elementnumberofchannels", "1")
    count, is_first = (channels, True) if channels != "1" else (sizes[3] if len(sizes) == 4 else "1", False)
    if not re.fullmatch(r"[1-9]\d{0,4}", count, re.ASCII):
        raise InputError(f"{path}: expected a number of channels, got {count[:40]!r}; the header is damaged")
    one = {"dimsize": " ".join([*sizes[:3], *("1" for _ in sizes[3:])]), "elementnumberofchannels": "1"}
    return Layered(_stored(fields | one, end, path, None)[0], int(count), is_first)


def _stored(
    fields: dict[str, str], end: int, path: Path, assume_spacing: Edges | None
) -> tuple[Stored, tuple[Notice, ...]]:
    name = str(path)
    dtype = _dtype(fields, name)
    _check_unit(fields.get("distanceunits", ""), name)
    axes = _axes(fields, name)
    shape = whole_shape(" ".join(fields.get("dimsize", "").split()[:3]), name)
    affine, words = _affine(fields, axes, assume_spacing, name)
    local = fields["elementdatafile"].upper() == "LOCAL"
    data = path if local else _data_file(fields["elementdatafile"], path, name)
    offset = _offset(fields, end if local else 0, name)
    return Stored(shape, dtype, affine, data, offset, _encoding(fields)), tuple(words)


def _fields(stream: IO[bytes], name: str) -> tuple[dict[str, str], int]:
    """Read the header's fields up to ElementDataFile, and return them with the offset of its end.

    Raises:
        InputError: If it is not a MetaImage header.
    """
    fields: dict[str, str] = {}
    for line in header_lines(stream, name):
        key, equals, value = line.partition("=")
        if not equals:
            break
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            return fields, stream.tell()
    stream.seek(0)
    what, do = called(stream.read(START_BYTES)) or (part("something else"), part("check the path"))
    raise InputError(f"{name}: expected a MetaImage header up to ElementDataFile, got {what}; {do}")


def _check_unit(unit: str, name: str) -> None:
    """Check that lengths are in mm.

    Raises:
        GridError: If they are not.
    """
    if unit.strip().lower() not in {"", "?", "mm"}:
        raise GridError(
            f"{name}: expected lengths in mm, got DistanceUnits {unit[:20]!r}; convert it, or correct the header"
        )


def _dtype(fields: dict[str, str], name: str) -> np.dtype:
    kind = fields.get("elementtype", "")
    if kind not in _DTYPES or fields.get("elementnumberofchannels", "1") != "1":
        raise InputError(f"{name}: expected one number per voxel, got ElementType {kind[:40]!r}; convert the file")
    big = _true(fields, "binarydatabyteordermsb") or _true(fields, "elementbyteordermsb")
    return np.dtype(_DTYPES[kind]).newbyteorder(">" if big else "<")


def _data_file(data: str, header: Path, name: str) -> Path:
    if data.upper().startswith("LIST") or "%" in data:
        raise InputError(f"{name}: expected one data file, got a list of them; convert the volume to one file")
    return beside(header, data, name)


def _encoding(fields: dict[str, str]) -> Literal["raw", "deflate", "text"]:
    if not _true(fields, "binarydata", "True"):
        return "text"
    return "deflate" if _true(fields, "compresseddata") else "raw"


def _true(fields: dict[str, str], key: str, default: str = "False") -> bool:
    return fields.get(key, default).lower() in {"true", "1", "t"}


def _offset(fields: dict[str, str], end: int, name: str) -> int | None:
    text = fields.get("headersize", "0")
    if not re.fullmatch(r"-1|\d{1,12}", text, re.ASCII):
        raise InputError(f"{name}: expected a whole number as HeaderSize, got {text[:40]!r}; the header is damaged")
    return None if text == "-1" else max(int(text), end)


def _axes(fields: dict[str, str], name: str) -> int:
    """Return the number of axes: three, and possibly more of length 1.

    Raises:
        InputError: If there is more than one volume, or none.
    """
    sizes = fields.get("dimsize", "").split()
    if fields.get("ndims", "3") != str(len(sizes)) or len(sizes) < 3 or any(size != "1" for size in sizes[3:]):
        told = f"NDims {fields.get('ndims', '')[:20]!r} and DimSize {fields.get('dimsize', '')[:40]!r}"
        raise InputError(f"{name}: expected 3 axes of one volume, got {told}; pass one volume")
    return len(sizes)


def _affine(
    fields: dict[str, str], axes: int, assume_spacing: Edges | None, name: str
) -> tuple[Float[np.ndarray, "4 4"], list[Notice]]:
    """Return the affine from index to RAS+ mm, and notices of assumptions.

    Raises:
        GridError: If the spacing is unknown, or something is not a number.
    """
    turns = _numbers_of(fields, ("transformmatrix", "rotation", "orientation"), axes * axes, name)
    edges = _numbers_of(fields, ("elementspacing",), axes, name)
    origin = _numbers_of(fields, ("offset", "position", "origin"), axes, name)
    said = Placing(
        None if turns is None else turns.reshape(axes, axes)[:3, :3],
        None if edges is None else edges[:3],
        None if origin is None else origin[:3],
        (-1, -1, 1),
    )
    return placed(said, assume_spacing, name)


def _numbers_of(fields: dict[str, str], keys: Sequence[str], count: int, name: str) -> Float[np.ndarray, "n"] | None:
    """Return the numbers of the first key that exists; None if none does.

    Raises:
        GridError: If they are not `count` finite numbers.
    """
    text = next((fields[key] for key in keys if key in fields), None)
    if text is None:
        return None
    found = numbers(text, count)
    if found is None:
        raise GridError(f"{name}: expected finite numbers for spacing, directions and origin, got others; repair them")
    return np.array(found)


METAIMAGE = TextHeaded(_described)
"""Reader of MetaImage files."""
