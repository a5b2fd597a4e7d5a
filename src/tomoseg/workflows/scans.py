"""Which scans a command is about, and where each one's result goes."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tomoseg.errors import InputError, OutputError
from tomoseg.files.dicom.entries import walk
from tomoseg.files.results import NIFTI_SUFFIXES
from tomoseg.files.scan import SCAN_SUFFIXES, is_dicom, scan_stem

SCAN_NAMES = ("ct.nii.gz", "ct.nii")
"""What a scan is called in a folder a case."""

WRITTEN_SUFFIXES = (".dcm", ".nrrd", ".stl", ".ply")
"""How files end that get their names by themselves, in a folder or beside a label map."""

LIST_SUFFIX = ".txt"
"""A file of this kind lists scans, one path a line."""


@dataclass(frozen=True)
class Scan:
    """A scan to be segmented and where its result goes: a file for a label map, else a folder."""

    name: str
    path: Path
    output: Path


def find_scans(scans: Path, output: Path, label_map: bool, part: str | None = None) -> list[Scan]:
    """The scans of a path and where their results go.

    Args:
        scans: A scan (a file, or a folder of DICOM), a folder of scans or of folders with `ct.nii.gz` each, a pattern
            such as `scans/*.nii.gz`, or a `.txt` file with one path a line (from where the list lies).
        output: For one scan its result, for many the folder of all results.
        label_map: Whether a result is a file.
        part: `2/8` keeps every eighth scan, from the second.

    Raises:
        InputError: If there is none, two would write to one place, or the part is none.
        OutputError: If the output is a file where a folder is needed, or a result would take the place of a scan.
    """
    if is_scan(scans):
        found = [_only_scan(scans, output, label_map)]
    else:
        paths = [path for path in _listed(scans) if not is_result(path, scans, output)]
        found = _to_folder(_named(paths), output, label_map)
    inputs = {scan.path.resolve() for scan in found}
    for scan in found:
        if scan.output.resolve() in inputs:
            raise OutputError(f"{scan.output}: expected another place than the scan's own; choose another output")
    if part is None:
        return found
    if is_scan(scans):
        raise InputError(f"{scans}: expected a folder of scans for a part of them, got one scan; leave --part off")
    return _part_of(found, part)


def is_result(path: Path, scans: Path, output: Path) -> bool:
    """Whether a file below the scans' folder lies where an earlier run has written, in a folder of that folder."""
    inside, place = scans.resolve(), output.resolve()
    return inside in place.parents and path.resolve().is_relative_to(place)


def is_scan(scans: Path) -> bool:
    """Whether a path is a scan itself, not a list, folder or pattern of scans.

    A folder is one if it holds DICOM, in whatever folders of it, and no scans of other kinds beside them.
    """
    if scans.is_dir():
        return not _beside(scans) and is_dicom(scans)
    return scans.is_file() and scans.suffix != LIST_SUFFIX


def _listed(scans: Path) -> list[Path]:
    """The scans of a list, a folder or a pattern.

    Raises:
        InputError: If there is none.
    """
    if scans.is_file():
        try:
            lines = [line.strip() for line in scans.read_text(encoding="utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise InputError(f"{scans}: expected a list in UTF-8, got: {error}; save it in UTF-8") from None
        paths = [scans.parent / line for line in lines if line]
        wanted = "one path a line"
    elif scans.is_dir():
        paths = _in_folder(scans)
        wanted = f"DICOM, NIfTI, NRRD or MetaImage files, or folders with a {SCAN_NAMES[0]} each"
    elif glob.has_magic(str(scans)):
        paths = [Path(match) for match in sorted(glob.glob(str(scans), recursive=True))]  # noqa: PTH207  # absolute too
        wanted = "scans that fit this pattern"
    else:
        raise InputError(f"{scans}: expected a scan or a folder of scans, found nothing there; check the path")
    if not paths:
        raise InputError(f"{scans}: expected {wanted}, found none; check the path")
    return paths


def _in_folder(folder: Path) -> list[Path]:
    return _beside(folder) or _below(folder)


def _beside(folder: Path) -> list[Path]:
    """Scans in a folder, and in folders of it that hold a case each."""
    paths = []
    for path in sorted(p for p in folder.iterdir() if not p.name.startswith(".")):
        inner = next((path / name for name in SCAN_NAMES if (path / name).is_file()), None)
        if path.is_file() and path.name.lower().endswith(SCAN_SUFFIXES):
            paths.append(path)
        elif inner is not None:
            paths.append(inner)
    return paths


def _below(folder: Path) -> list[Path]:
    """Scans in folders of folders: those that are called as scans are, if there are such, among masks perhaps."""
    paths = [path for path in walk(folder) if path.name.lower().endswith(SCAN_SUFFIXES)]
    return [path for path in paths if path.name in SCAN_NAMES] or paths


def _named(paths: Iterable[Path]) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in paths:
        name = _name(path)
        if name in named:
            raise InputError(f"expected scans of different names, got {named[name]} and {path}; rename one")
        named[name] = path
    return named


def _name(path: Path) -> str:
    return path.resolve().parent.name if path.name in SCAN_NAMES else scan_stem(path)


def _only_scan(path: Path, output: Path, label_map: bool) -> Scan:
    names_file = output.name.endswith(NIFTI_SUFFIXES)
    _check_is_folder(output)
    if label_map and not names_file:
        output = output / f"{_name(path)}.nii.gz"
    elif not label_map and (names_file or output.is_file()):
        raise OutputError(
            f"{output}: expected a folder for one mask a structure, got a file; add --ml or name a folder"
        )
    return Scan(_name(path), path, output)


def _check_is_folder(output: Path) -> None:
    if output.name.endswith(WRITTEN_SUFFIXES):
        raise OutputError(f"{output}: expected a folder for files of this format, got a file's name; name a folder")


def _to_folder(named: dict[str, Path], output: Path, label_map: bool) -> list[Scan]:
    _check_is_folder(output)
    if output.is_file() or output.name.endswith(NIFTI_SUFFIXES):
        raise OutputError(
            f"{output}: expected a folder for the results of {len(named)} scans, got a file; name a folder"
        )
    return [
        Scan(name, path, output / (f"{name}.nii.gz" if label_map else name)) for name, path in sorted(named.items())
    ]


def _part_of(scans: list[Scan], part: str) -> list[Scan]:
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    number, parts = (int(group) for group in match.groups()) if match else (0, 0)
    if not 1 <= number <= parts:
        raise InputError(f"expected a part such as 2/8, from 1/8 to 8/8, got {part}; correct it")
    return scans[number - 1 :: parts]
