"""Reading of NRRD files: a text header followed by the voxels (`.nrrd`) or with a file of them (`.nhdr`).

Supported are three axes in an anatomical space, with raw, gzip and ascii encoding. Files that cannot be a CT volume
(colours, vectors, blocks, lists of files) are refused.

pynrrd is not used because it reads a size of twenty digits as another number, raises errors of several kinds on damaged
fields that are not needed (`thicknesses`, `labels`), and would save only the twenty lines of `read_fields`.

Source: the definition of the NRRD file format, https://teem.sourceforge.net/nrrd/format.html.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from jaxtyping import Float

from tomoseg.errors import GridError, InputError
from tomoseg.files.itk.text_headed import TextHeaded
from tomoseg.files.itk.voxels import (
    Edges,
    Placing,
    Stored,
    beside,
    header_lines,
    numbers,
    placed,
    whole_shape,
)
from tomoseg.notices import Notice

MAGIC = b"NRRD"

_TO_RAS = {
    "right-anterior-superior": (1, 1, 1), "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1), "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1), "lps": (-1, -1, 1),
}  # fmt: skip
_TYPES = {
    "i1": ("signed char", "int8", "int8_t"), "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"), "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",), "f8": ("double",),
}  # fmt: skip
_DTYPES = {name: np.dtype(code) for code, names in _TYPES.items() for name in names}
_ENCODINGS: dict[str, Literal["raw", "deflate", "text"]] = {
    "raw": "raw", "gzip": "deflate", "gz": "deflate", "ascii": "text", "txt": "text", "text": "text",
}  # fmt: skip
_VECTOR = re.compile(r"\(([^()]*)\)|none")


def _described(stream: IO[bytes], path: Path, assume_spacing: Edges | None) -> tuple[Stored, tuple[Notice, ...]]:
    """Read a header; return the storage of its voxels, and notices of assumptions.

    Raises:
        InputError: If it is damaged, or the voxels cannot be those of a scan.
    """
    fields, end = read_fields(stream, str(path))
    return stored_of(fields, end, path, assume_spacing)


def stored_of(
    fields: dict[str, str], end: int, path: Path, assume_spacing: Edges | None = None
) -> tuple[Stored, tuple[Notice, ...]]:
    """Return the storage of the voxels of a header, and notices of assumptions.

    Args:
        fields: The header's fields, from `read_fields`.
        end: Offset of the end of the header.
        path: Its file.
        assume_spacing: Voxel spacing in mm, used if the file states none.

    Raises:
        InputError: If it is damaged, or the voxels cannot be those of a scan.
        GridError: If the geometry is unknown.
    """
    name = str(path)
    sizes = _needed(fields, "sizes", name).split()
    axes = _axes(sizes, fields)
    shape = whole_shape(" ".join(sizes[axis] for axis in axes), name)
    affine, words = _affine(fields, axes, assume_spacing, name)
    data = fields.get("data file", fields.get("datafile"))
    skip = _skip(fields, "byte skip", name)
    encoding = _choice(fields, "encoding", _ENCODINGS, name)
    if skip == -1 and encoding != "raw":
        raise InputError(f"{name}: expected raw voxels with byte skip -1, got encoded ones; the header is damaged")
    stored = Stored(
        shape,
        _choice(fields, "type", _DTYPES, name).newbyteorder(">" if fields.get("endian", "").lower() == "big" else "<"),
        affine,
        path if data is None else beside(path, _one_file(data, name), name),
        None if skip == -1 else skip + (end if data is None else 0),
        encoding,
        max(_skip(fields, "line skip", name), 0),
    )
    return stored, tuple(words)


def read_fields(stream: IO[bytes], name: str) -> tuple[dict[str, str], int]:
    """Read the header's fields; return them, custom ones as `key:=`, with the offset of its end.

    Raises:
        InputError: If it is not an NRRD header.
    """
    fields: dict[str, str] = {}
    lines = header_lines(stream, name)
    if not next(lines, "").startswith(MAGIC.decode()):
        raise InputError(f"{name}: expected an NRRD file, got something else; check the path")
    for line in lines:
        if not line:
            break
        key, colon, value = line.partition(":")
        if colon and not line.startswith("#"):
            own = value.startswith("=")
            fields[f"{key}:=" if own else key.strip().lower()] = value[1:] if own else value.strip()
    return fields, stream.tell()


def _needed(fields: dict[str, str], key: str, name: str) -> str:
    if key not in fields:
        raise InputError(f"{name}: expected a header with {key}, got one without; the file is damaged")
    return fields[key]


def _choice(fields: dict[str, str], key: str, choices: dict[str, Any], name: str) -> Any:
    value = _needed(fields, key, name).lower()
    if value not in choices:
        raise InputError(f"{name}: expected {key} {', '.join(choices)}, got {value[:40]!r}; convert the file")
    return choices[value]


def _skip(fields: dict[str, str], key: str, name: str) -> int:
    text = fields.get(key, fields.get(key.replace(" ", ""), "0"))
    if not re.fullmatch(r"-1|\d{1,12}", text, re.ASCII):
        raise InputError(f"{name}: expected a whole number as {key}, got {text[:40]!r}; the header is damaged")
    return int(text)


def _one_file(data: str, name: str) -> str:
    if data.split()[:1] == ["LIST"] or "%" in data:
        raise InputError(f"{name}: expected one data file, got a list of them; convert the volume to one file")
    return data


def _check_unit(units: str, name: str) -> None:
    """Check that lengths are in mm.

    Raises:
        GridError: If they are not.
    """
    named = {one.strip().lower() for one in re.findall(r'"([^"]*)"', units)} - {"", "mm", "millimeter", "millimeters"}
    if named:
        raise GridError(f"{name}: expected lengths in mm, got other space units; convert it, or correct the header")


def _axes(sizes: Sequence[str], fields: dict[str, str]) -> list[int]:
    """Return three axes of a volume, dropping others of length 1: first those without a direction, then the last."""
    axes = list(range(len(sizes)))
    vectors = [found[0] for found in _VECTOR.finditer(fields.get("space directions", ""))]
    while len(axes) > 3:
        single = [axis for axis in axes if sizes[axis] == "1"]
        aside = [axis for axis in single if len(vectors) == len(sizes) and vectors[axis] == "none"]
        if not single:
            break  # several volumes, which `whole_shape` refuses
        axes.remove((aside or single)[-1])
    return axes


def _affine(
    fields: dict[str, str], axes: Sequence[int], assume_spacing: Edges | None, name: str
) -> tuple[Float[np.ndarray, "4 4"], list[Notice]]:
    """Return the affine from index to RAS+ mm, and notices of assumptions.

    Raises:
        GridError: If the spacing is unknown, or something is not a number.
    """
    _check_unit(fields.get("space units", ""), name)
    to_ras = _TO_RAS.get(fields.get("space", "").lower())
    origin = _origin(fields, name)
    if "space directions" in fields:
        steps = _steps(fields["space directions"], axes, name)
        return placed(Placing(steps, np.ones(3), origin, to_ras), assume_spacing, name)
    return placed(Placing(None, _spacings(fields, axes, name), origin, to_ras), assume_spacing, name)


def _origin(fields: dict[str, str], name: str) -> Float[np.ndarray, "3"] | None:
    if "space origin" not in fields:
        return None
    origin = numbers(fields["space origin"].strip("() "), None)
    if origin is None or len(origin) < 3:
        raise GridError(f"{name}: expected a space origin of three numbers, got another; repair the header")
    return np.array(origin[:3])


def _spacings(fields: dict[str, str], axes: Sequence[int], name: str) -> Float[np.ndarray, "3"] | None:
    if "spacings" not in fields:
        return None
    words = fields["spacings"].split()
    found = numbers(" ".join(words[axis] for axis in axes if axis < len(words)), 3)
    if found is None:
        raise GridError(f"{name}: expected a finite spacing for each axis, got others; repair the header")
    return np.array(found)


def _steps(text: str, axes: Sequence[int], name: str) -> Float[np.ndarray, "3 3"]:
    """Return the step along each axis of the volume, `(3, 3)` with one row per axis.

    Raises:
        GridError: If there are not three steps of three numbers.
    """
    vectors = [numbers(found[1] or "", None) for found in _VECTOR.finditer(text)]
    steps = [vector[:3] for axis in axes if axis < len(vectors) and (vector := vectors[axis]) is not None]
    if len(steps) != 3 or any(len(step) != 3 for step in steps):
        raise GridError(f"{name}: expected three space directions of three numbers, got others; repair the header")
    return np.array(steps)


NRRD = TextHeaded(_described)
"""Reader of NRRD files."""
