"""Which scans a command is about, and where each one's result goes."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tomoseg.errors import InputError, OutputError
from tomoseg.files.scan import SCAN_SUFFIXES, dicom_among, look, scan_stem
from tomoseg.files.source import Folder, ScanSource, list_folder
from tomoseg.formats import LABEL_MAP_SUFFIXES, endings_of_their_own

SCAN_NAMES = ("ct.nii.gz", "ct.nii")
"""What a scan is called in a folder a case."""

LIST_SUFFIX = ".txt"
"""A file of this kind lists scans, one path a line."""


@dataclass(frozen=True)
class Scan:
    """A scan to be segmented.

    Attributes:
        name: What it is called.
        path: Where it lies.
        output: Where its result goes: a file for a label map, else a folder.
        is_only: It was named itself, not found in a folder, a list or by a pattern.
        found: What lies there, if that had to be known to tell that it is a scan.
    """

    name: str
    path: Path
    output: Path
    is_only: bool = False
    found: ScanSource | None = None

    def source(self) -> ScanSource:
        """What lies there: as it was found, else looked at now.

        Raises:
            InputError: If it cannot be looked into, or is a folder without DICOM that does not hold just one scan.
        """
        return self.found or look(self.path)


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
    is_file = scans.is_file() and scans.suffix != LIST_SUFFIX
    only, paths = _in_folder(scans) if scans.is_dir() else (None, [] if is_file else _listed(scans))
    if is_file or only is not None:
        found = [_only_scan(scans, output, label_map, only)]
        if part is not None:
            raise InputError(f"{scans}: expected a folder of scans for a part of them, got one scan; leave --part off")
    else:
        others = (path for path in _some(paths, scans) if not is_result(path, scans, output))
        found = _to_folder(_named(others), output, label_map)
    _check_spares_scans(found)
    return found if part is None else _part_of(found, part)


def _check_spares_scans(found: list[Scan]) -> None:
    inputs = {scan.path.resolve() for scan in found}
    for scan in found:
        if scan.output.resolve() in inputs:
            raise OutputError(f"{scan.output}: expected another place than the scan's own; choose another output")


def is_result(path: Path, scans: Path, output: Path) -> bool:
    """Whether a file below the scans' folder lies where an earlier run has written, in a folder of that folder."""
    inside, place = scans.resolve(), output.resolve()
    return inside in place.parents and path.resolve().is_relative_to(place)


def _in_folder(path: Path) -> tuple[ScanSource | None, list[Path]]:
    """A folder that is a scan itself, or else the scans in it; each folder is listed once.

    A folder is a scan if it holds DICOM, in whatever folders of it, and no scans of other kinds beside them. Scans
    further down are those that are called as scans are, if there are such, among masks perhaps.

    Raises:
        InputError: If it cannot be looked into.
    """
    try:
        folder = list_folder(path)
        if beside := _beside(folder):
            return None, beside
        files = list(folder.walk())
    except OSError as error:
        raise InputError(f"{path}: expected a readable folder, got: {error.strerror or error}; check it") from None
    only = dicom_among(files, path)
    below = [file.path for file in files if file.path.name.lower().endswith(SCAN_SUFFIXES)]
    return only, [] if only else [file for file in below if file.name in SCAN_NAMES] or below


def _beside(folder: Folder) -> list[Path]:
    """Scans in a folder, and in folders of it that hold a case each."""
    files = [file.path for file in folder.files if file.path.name.lower().endswith(SCAN_SUFFIXES)]
    inner = [next(_case_scans(case), None) for case in (*folder.folders, *folder.linked)]
    return sorted([*files, *(path for path in inner if path is not None)], key=lambda path: path.parts)


def _case_scans(case: Path) -> Iterator[Path]:
    return (case / name for name in SCAN_NAMES if (case / name).is_file())


def _listed(scans: Path) -> list[Path]:
    """The scans of a list or a pattern.

    Raises:
        InputError: If there is none.
    """
    if scans.is_file():
        try:
            lines = [line.strip() for line in scans.read_text(encoding="utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise InputError(f"{scans}: expected a list in UTF-8, got: {error}; save it in UTF-8") from None
        return _some([scans.parent / line for line in lines if line], scans, "one path a line")
    if glob.has_magic(str(scans)):
        paths = [Path(match) for match in sorted(glob.glob(str(scans), recursive=True))]  # noqa: PTH207  # absolute too
        return _some(paths, scans, "scans that fit this pattern")
    raise InputError(f"{scans}: expected a scan or a folder of scans, found nothing there; check the path")


_SCANS_IN_A_FOLDER = f"DICOM, NIfTI, NRRD or MetaImage files, or folders with a {SCAN_NAMES[0]} each"


def _some(paths: list[Path], scans: Path, wanted: str = _SCANS_IN_A_FOLDER) -> list[Path]:
    if not paths:
        raise InputError(f"{scans}: expected {wanted}, found none; check the path")
    return paths


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


def _only_scan(path: Path, output: Path, label_map: bool, source: ScanSource | None) -> Scan:
    names_file = output.name.endswith(LABEL_MAP_SUFFIXES)
    _check_is_folder(output)
    if label_map and not names_file:
        output = output / f"{_name(path)}.nii.gz"
    elif not label_map and (names_file or output.is_file()):
        raise OutputError(
            f"{output}: expected a folder for one mask a structure, got a file; add --ml or name a folder"
        )
    return Scan(_name(path), path, output, True, source)


def _check_is_folder(output: Path) -> None:
    if output.name.endswith(endings_of_their_own()):
        raise OutputError(f"{output}: expected a folder for files of this format, got a file's name; name a folder")


def _to_folder(named: dict[str, Path], output: Path, label_map: bool) -> list[Scan]:
    _check_is_folder(output)
    if output.is_file() or output.name.endswith(LABEL_MAP_SUFFIXES):
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
