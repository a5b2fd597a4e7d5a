"""The scans of a command, the files left out, and the place of each result."""

from __future__ import annotations

import glob
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tomoseg.errors import InputError, OutputError
from tomoseg.files.cohort import CASE_NAMES, Cohort, find_cohort, find_in_archive
from tomoseg.files.paths import real, shown
from tomoseg.files.scan import look, scan_stem
from tomoseg.files.source import Lost, ScanSource
from tomoseg.files.stores.addresses import is_mirrored, is_url, place_of, url_of
from tomoseg.files.stores.mirror import mirror
from tomoseg.formats import LABEL_MAP_SUFFIXES, endings_of_their_own
from tomoseg.workflows.maps import without_maps
from tomoseg.workflows.scan_names import names_of

LIST_SUFFIX = ".txt"
"""Suffix of lists of scans, one path per line."""


@dataclass(frozen=True)
class Scan:
    """A scan to be segmented.

    Attributes:
        name: Name of the scan.
        path: Path of the scan.
        output: Place of its result: a file for a label map, else a folder.
        is_only: Whether it was given itself, or is the only DICOM scan of a folder; its result is the output itself.
        found: The source at the path, if it was opened to find the scan.
    """

    name: str
    path: Path
    output: Path
    is_only: bool = False
    found: ScanSource | None = None

    def source(self) -> ScanSource:
        """Return the source at the path, as found, or else opened now.

        Raises:
            InputError: If it cannot be read, or is a folder without DICOM that does not hold exactly one scan.
        """
        return self.found or look(self.path)


@dataclass(frozen=True)
class FoundScans:
    """The scans found at a place.

    Attributes:
        place: The given path.
        scans: The scans.
        left_out: Possible scans that are left out, with the reason.
        others: Counts of files that are not scans, by kind.
    """

    place: Path
    scans: list[Scan]
    left_out: tuple[Lost, ...] = ()
    others: Counter[str] = field(default_factory=Counter)

    def reasons(self) -> list[str]:
        """Return the files left out with their reasons, as text."""
        return [f"{shown(one.path, self.place)} ({one.why})" for one in self.left_out]


def find_scans(
    scans: Path,
    output: Path,
    label_map: bool,
    part: str | None = None,
    *,
    series: int | None = None,
    force: bool = False,
) -> FoundScans:
    """Find the scans at a path, and the places of their results.

    Args:
        scans: A scan (a file, or a folder of DICOM), a folder with scans at any depth (`files.cohort`), a pattern such
            as `scans/*.nii.gz`, or a `.txt` file with one path per line (relative to the list).
        output: The result of a single scan, or the folder of all results.
        label_map: Whether a result is a file.
        part: `2/8` keeps every eighth scan, from the second.
        series: Number of the requested DICOM series; a folder of DICOM of one study is then one scan.
        force: Whether label maps count as scans.

    Raises:
        InputError: If there is no scan, or the part is invalid.
        OutputError: If the output is a file where a folder is needed, or a result would overwrite a scan.
    """
    found = _found(scans, output, label_map, series, force)
    _check_spares_scans(found.scans)
    if part is None:
        return found
    if any(scan.is_only for scan in found.scans):
        raise InputError(f"{scans}: expected a folder of scans for a part of them, got one scan; leave --part off")
    return replace(found, scans=_part_of(found.scans, part))


def _found(scans: Path, output: Path, label_map: bool, series: int | None, force: bool) -> FoundScans:
    if scans.is_file() and scans.suffix != LIST_SUFFIX:
        return _of_file(scans, output, label_map, series)
    if not scans.is_dir():
        found, left_out = _at(_listed(scans), series)
        return FoundScans(scans, _to_folder(found, output, label_map), left_out)
    cohort = find_cohort(scans, output)
    lost = _lost(cohort, series)
    only = _only_dicom(cohort, series)
    if only is not None:
        return FoundScans(scans, [_only_scan(scans, output, label_map, only)], lost, cohort.others)
    kept, maps = (cohort.scans, []) if force else without_maps(cohort.scans)
    left_out = tuple(sorted((*lost, *maps), key=lambda one: one.path.parts))
    among = FoundScans(scans, [], left_out, cohort.others)
    if not kept:
        told = f"; left out: {'; '.join(among.reasons()[:5])}" if left_out else ""
        raise InputError(f"{scans}: expected {_SCANS_IN_A_FOLDER}, found none; check the path{told}")
    return replace(among, scans=_to_folder([(one.path, one) for one in kept], output, label_map, scans))


def _of_file(path: Path, output: Path, label_map: bool, series: int | None) -> FoundScans:
    """Find the scans of a file: one, or several for an archive."""
    cohort = _in_file(path)
    found = FoundScans(path, [], _lost(cohort, series), cohort.others)
    if len(cohort.scans) < 2 or (series is not None and cohort.is_one_study):
        return replace(found, scans=[_only_scan(path, output, label_map, cohort.dicom)])
    return replace(found, scans=_to_folder([(one.path, one) for one in cohort.scans], output, label_map, path.parent))


def _lost(cohort: Cohort, series: int | None) -> tuple[Lost, ...]:
    """Return the files left out: without a requested series, also the unused series of each study."""
    return cohort.left_out if series is not None else (*cohort.left_out, *cohort.unchosen)


def scans_below(place: Path) -> FoundScans | None:
    """Find the scans of a folder or an archive; None if it holds a single scan and nothing else.

    Raises:
        InputError: If it cannot be read.
    """
    cohort = find_cohort(place) if place.is_dir() else _in_file(place)
    kept, maps = without_maps(cohort.scans)
    others = (*cohort.left_out, *maps)
    if not kept or (len(kept) == 1 and not others):
        return None
    found = FoundScans(place, [], (*others, *cohort.unchosen), cohort.others)
    root = place if place.is_dir() else place.parent
    return replace(found, scans=_to_folder([(one.path, one) for one in kept], root, False, root))


def _only_dicom(cohort: Cohort, series: int | None) -> ScanSource | None:
    """Return the DICOM of a folder that counts as one scan: a single one without volumes, or a series of one study.

    Without any slices all files are taken, so that reading reports what they are.
    """
    if cohort.dicom is None or any(scan.kind != "dicom" for scan in cohort.scans):
        return None
    if len(cohort.scans) == 1:
        return replace(cohort.scans[0], path=cohort.folder)
    return cohort.dicom if not cohort.scans or (series is not None and cohort.is_one_study) else None


def _at(paths: Sequence[Path], series: int | None) -> tuple[list[tuple[Path, ScanSource | None]], tuple[Lost, ...]]:
    """Return the scans at listed paths, with all scans of each folder, and the files left out."""
    found: list[tuple[Path, ScanSource | None]] = []
    left_out: list[Lost] = []
    for path in paths:
        cohort = find_cohort(path) if path.is_dir() else _in_file(path)
        only = _only_dicom(cohort, None) if path.is_dir() else cohort.dicom
        several = [(one.path, one) for one in cohort.scans] if len(cohort.scans) > 1 else []
        found += several or [(path, only)]
        left_out += _lost(cohort, series)
    return found, tuple(left_out)


def _in_file(path: Path) -> Cohort:
    """Return the scans of a file, several for an archive; unreadable ones fail later when read."""
    try:
        source = look(path)
    except InputError:
        return Cohort(path, ())
    return find_in_archive(source) if source.kind == "zip" else Cohort(path, (), dicom=source)


def _check_spares_scans(found: list[Scan]) -> None:
    inputs = {real(scan.path) for scan in found}
    for scan in found:
        if real(scan.output) in inputs:
            raise OutputError(
                f"{scan.output}: expected an output other than the scan itself, got the same path; choose another "
                "output"
            )


def is_result(path: Path, scans: Path, output: Path) -> bool:
    """Return whether a file in the scans' folder is a result of an earlier run, in an output folder inside it."""
    inside, place = real(scans), real(output)
    return inside in place.parents and real(path).is_relative_to(place)


def _listed(scans: Path) -> list[Path]:
    """Return the paths of a list or a pattern.

    Raises:
        InputError: If there is none.
    """
    if scans.is_file():
        try:
            lines = [line.strip() for line in scans.read_text(encoding="utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise InputError(f"{scans}: expected a list in UTF-8, got: {error}; save it as UTF-8") from None
        return _some([_of_line(line, scans.parent) for line in lines if line], scans, "one path a line")
    if glob.has_magic(str(scans)):
        paths = [Path(match) for match in sorted(glob.glob(str(scans), recursive=True))]  # noqa: PTH207  # absolute too
        return _some(paths, scans, "scans that fit this pattern")
    raise InputError(f"{scans}: expected a scan or a folder of scans, found nothing there; check the path")


def _of_line(line: str, folder: Path) -> Path:
    """Return the path in a line of a list; a URL is looked up now.

    Raises:
        InputError: If there is nothing at a URL.
    """
    path = place_of(line) if is_url(line) else folder / line
    if is_mirrored(path) and not mirror(path, lazily=True):
        raise InputError(f"{url_of(path)}: expected an object, or some below it, found none; check the address")
    return path


_SCANS_IN_A_FOLDER = f"DICOM, NIfTI, NRRD or MetaImage files, or folders with a {CASE_NAMES[0]} each"


def _some(paths: list[Path], scans: Path, wanted: str) -> list[Path]:
    if not paths:
        raise InputError(f"{scans}: expected {wanted}, found none; check the path")
    return paths


def _name(path: Path) -> str:
    return path.resolve().parent.name if path.name in CASE_NAMES else scan_stem(path)


def _only_scan(path: Path, output: Path, label_map: bool, source: ScanSource | None) -> Scan:
    names_file = output.name.endswith(LABEL_MAP_SUFFIXES)
    _check_is_folder(output)
    if label_map and not names_file:
        output = output / f"{_name(path)}.nii.gz"
    elif not label_map and (names_file or output.is_file()):
        raise OutputError(
            f"{output}: expected a folder for one mask per structure, got a file; add --ml or name a folder"
        )
    return Scan(_name(path), path, output, True, source)


def _check_is_folder(output: Path) -> None:
    if output.name.endswith(endings_of_their_own()):
        raise OutputError(f"{output}: expected a folder for files of this format, got a file's name; name a folder")


def _to_folder(
    found: Sequence[tuple[Path, ScanSource | None]], output: Path, label_map: bool, root: Path | None = None
) -> list[Scan]:
    _check_is_folder(output)
    if output.is_file() or output.name.endswith(LABEL_MAP_SUFFIXES):
        raise OutputError(
            f"{output}: expected a folder for the results of {len(found)} scans, got a file; name a folder"
        )
    called = names_of([(_as_if_unpacked(path, source), source) for path, source in found], root)
    named = sorted(zip(called, found, strict=True), key=lambda pair: pair[0])
    return [
        Scan(name, path, output / (f"{name}.nii.gz" if label_map else name), found=source)
        for name, (path, source) in named
    ]


def _as_if_unpacked(path: Path, source: ScanSource | None) -> Path:
    """Return the path of a scan as if its archive of several scans were a folder."""
    if source is None or source.members is None:
        return path
    return path.parent / scan_stem(path) / source.inside


def _part_of(scans: list[Scan], part: str) -> list[Scan]:
    match = re.fullmatch(r"(\d+)/(\d+)", part)
    number, parts = (int(group) for group in match.groups()) if match else (0, 0)
    if not 1 <= number <= parts:
        raise InputError(f"expected a part such as 2/8, from 1/8 to 8/8, got {part}; correct it")
    return scans[number - 1 :: parts]
