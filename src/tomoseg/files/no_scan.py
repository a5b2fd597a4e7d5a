"""Recognition of files that are not scans, by their headers or by records of tomoseg.

Values are not looked at here; label maps are recognised by their values in `checks.values`.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from tomoseg.errors import InputError
from tomoseg.files.source import ScanKind, ScanSource
from tomoseg.notices import Kind, Notice

RECORD = "prediction.json"
"""Ending of the file that lists the files of a prediction, relative to its folder."""

CORRECTION = "correction.json"
"""Name of the file that marks a folder with a mask corrected by a person."""

OURS, SEGMENTATION, LABELS = "a result of tomoseg", "a segmentation of 3D Slicer", "a label map"
"""Names of recognised things that are not scans."""

OF_OURS = "results of tomoseg"
"""Name under which files written by tomoseg are counted."""

MAPS: dict[Kind, str] = {
    "probability map": "a probability map or a normalised scan",
    "label map": LABELS,
    "dose grid": "a dose grid",
}
"""Names of things other than scans, by the kind of the notice about their values; the surest first."""

_MODALITIES = {
    "MR": "an MR", "PT": "a PET", "PET": "a PET", "NM": "an image of nuclear medicine", "US": "an ultrasound",
    "RTDOSE": "a dose grid", "SEG": "a segmentation", "XA": "an angiogram", "MG": "a mammogram", "CR": "an X-ray",
    "DX": "an X-ray",
}  # fmt: skip
"""Modalities other than CT in headers of NRRD and MetaImage."""

_MODALITY = re.compile(rb"^[^\n:=]{0,40}modality\s*:?=\s*(?:MET_MOD_)?(\w+)", re.IGNORECASE | re.MULTILINE)
_HEADER_ENDS = {"nrrd": b"\n\n", "metaimage": b"ElementDataFile"}
_SEGMENT_KEYS = (b"\nSegment0_", b"\nSegmentation_")
_LABEL_INTENT = 1002
_INTENT_PLACES = {348: slice(68, 70), 540: slice(504, 508)}
"""Position of the intent code by the size of a NIfTI header."""
_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")


def known_as(source: ScanSource) -> str | None:
    """Return the name of a thing that is known not to be a scan; otherwise None."""
    if source.says is not None:
        return source.says
    is_ours = not source.is_dicom and source.path in _written_near(source.path)
    return OURS if is_ours or (source.path.parent / CORRECTION).is_file() else None


def refuse_known(source: ScanSource, path: Path, otherwise: str) -> None:
    """Refuse a file that is known not to be a scan, before it is read.

    Args:
        source: The source found at the path.
        path: Path in the message.
        otherwise: Advice for segmenting it nevertheless.

    Raises:
        InputError: If it is known not to be a scan.
    """
    known = known_as(source)
    if known is not None:
        raise InputError(_refusal(path, known, otherwise))


def map_among(notices: Iterable[Notice]) -> str | None:
    """Return the name of a thing that is not a scan by its values; otherwise None.

    Args:
        notices: Notices from reading and checking the values.
    """
    kinds = {notice.kind for notice in notices}
    return next((what for kind, what in MAPS.items() if kind in kinds), None)


def refuse_map(notices: Iterable[Notice], path: Path, otherwise: str) -> None:
    """Refuse a scan whose values are those of a label map, of probabilities or of a dose.

    Args:
        notices: Notices from reading and checking the values.
        path: Path in the message.
        otherwise: Advice for segmenting it nevertheless.

    Raises:
        InputError: If they are.
    """
    known = map_among(notices)
    if known is not None:
        raise InputError(_refusal(path, known, otherwise))


def _refusal(path: Path, known: str, otherwise: str) -> str:
    return f"{path}: expected a CT scan, got {known}; pass the scan itself, or {otherwise} to segment it anyway"


def says_it_is(kind: ScanKind, start: bytes) -> str | None:
    """Return the name of a thing that is not a scan according to its header; None for all others, also damaged ones.

    Args:
        kind: Kind of the file.
        start: Its first bytes, enough for a header.
    """
    if kind == "nrrd" and any(key in start for key in _SEGMENT_KEYS):
        return SEGMENTATION
    if kind in _HEADER_ENDS:
        found = _MODALITY.search(start.replace(b"\r", b"").split(_HEADER_ENDS[kind])[0])
        return None if found is None else _MODALITIES.get(found[1].decode().upper())
    return LABELS if kind == "nifti" and _intent(start) == _LABEL_INTENT else None


def written_by(records: Iterable[Path]) -> set[Path]:
    """Return the files that predictions wrote, according to their records.

    Args:
        records: Files that end in `RECORD`; those of other programs, and unreadable ones, are ignored.
    """
    return {path for record in records for path in _named_in(record)}


def looked_for(path: Path) -> tuple[str, ...]:
    """Return the structures that the prediction that wrote a file looked for; empty if no record lists it."""
    for record in _records_near(path):
        if path in _named_in(record):
            structures = _content(record).get("structures")
            return tuple(map(str, structures)) if isinstance(structures, list) else ()
    return ()


def _written_near(path: Path) -> set[Path]:
    """Return the files listed in records in a file's folder and its parent."""
    return written_by(_records_near(path))


def _records_near(path: Path) -> list[Path]:
    folders = (path.parent, path.parent.parent)
    stems = [path.name[:end] for end, letter in enumerate(path.name) if letter in "._"]
    names = (RECORD, *(f"{stem}.{RECORD}" for stem in stems))
    return [record for folder in folders for name in names if _is_there(record := folder / name)]


def _is_there(record: Path) -> bool:
    try:
        return record.is_file()
    except OSError:  # a scan's name may be as long as names can be, and a record's is longer
        return False


def _named_in(record: Path) -> list[Path]:
    try:
        return [record.parent / name for name in _content(record).get("files", [])]
    except TypeError:
        return []


def _content(record: Path) -> dict[str, Any]:
    """Return the content of a record of tomoseg; empty for any other file."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and "model_sha256" in content else {}


def _intent(start: bytes) -> int:
    """Return the intent code of a NIfTI header; 0 without one."""
    if start[:2] == b"\x1f\x8b":
        try:
            start = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(start, 540)
        except zlib.error:
            return 0
    for order in _ORDERS:
        place = _INTENT_PLACES.get(int.from_bytes(start[:4], order))
        if place is not None:
            return int.from_bytes(start[place], order)
    return 0
