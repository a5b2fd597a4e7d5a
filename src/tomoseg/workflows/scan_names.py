"""Unique names for scans, from their files and folders, without identifiers."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tomoseg.files.cohort import CASE_NAMES
from tomoseg.files.paths import without_uids
from tomoseg.files.scan import scan_stem
from tomoseg.files.source import ScanSource

MOST_BYTES = 150
"""Maximum length of a name in bytes, which leaves room for the suffixes of files next to a result."""

_PLACEHOLDER = "UID"


def names_of(found: Sequence[tuple[Path, ScanSource | None]], root: Path | None = None) -> list[str]:
    """Return a unique name for each scan, in the same order.

    A volume is named after its file, a `ct.nii.gz` after its folder, DICOM after all folders from the root. Names that
    are equal except for case get the folders above them as a prefix, and numbers if necessary.

    Args:
        found: Path of each scan, and its source if known.
        root: The common folder; the nearest one if None.

    Example:
        >>> names_of([(Path("c/a/x.nii.gz"), None), (Path("c/b/X.nii.gz"), None), (Path("c/p/ct.nii.gz"), None)])
        ['a_x', 'b_X', 'p']
    """
    root = root or _around([path for path, _ in found])
    short = [_short(path, source, root) for path, source in found]
    counts = Counter(map(_folded, short))
    names = [
        name if counts[_folded(name)] == 1 else _long(path, root) for name, (path, _) in zip(short, found, strict=True)
    ]
    return _numbered([_cut(name) for name in names])


def _around(paths: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([path.absolute().parent for path in paths]))


def _short(path: Path, source: ScanSource | None, root: Path) -> str:
    if source is not None and source.kind == "dicom":
        return _long(path, root)
    own = path.absolute().parent.name if path.name in CASE_NAMES else scan_stem(path)
    return _clean(own) or _long(path, root)


def _long(path: Path, root: Path) -> str:
    """Return the name from all folders below the root, and the file."""
    path, root = path.absolute(), root.absolute()
    inside = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    parts = list(inside.parts)
    if parts and not path.is_dir():
        parts[-1:] = [] if path.name in CASE_NAMES else [scan_stem(path)]
    return "_".join(filter(None, map(_clean, parts))) or _clean(root.resolve().name) or "scan"


def _clean(part: str) -> str:
    """Return a normalised part of a path; empty if it is only an identifier."""
    text = unicodedata.normalize("NFC", without_uids(part)).replace("\ufffd", "_")
    return "" if text == _PLACEHOLDER else text


def _folded(name: str) -> str:
    return name.casefold()


def _cut(name: str) -> str:
    data = name.encode("utf-8")
    if len(data) <= MOST_BYTES:
        return name
    digest = hashlib.sha256(data).hexdigest()[:8]
    return f"{data[: MOST_BYTES - 9].decode('utf-8', 'ignore')}_{digest}"


def _numbered(names: Sequence[str]) -> list[str]:
    """Make names unique by numbering equal ones from 1."""
    counts = Counter(map(_folded, names))
    taken = {name for name, count in counts.items() if count == 1}
    numbers = Counter[str]()
    told = []
    for name in names:
        unique = name
        while counts[_folded(name)] > 1 and (unique is name or _folded(unique) in taken):
            numbers[_folded(name)] += 1
            unique = f"{name}_{numbers[_folded(name)]}"
        taken.add(_folded(unique))
        told.append(unique)
    return told
