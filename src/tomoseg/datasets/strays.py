"""Files in a dataset's folder that belong to no case: scans, archives, files that cannot be read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tomoseg.datasets.case_folders import LeftOut
from tomoseg.datasets.cases import Case
from tomoseg.errors import counted
from tomoseg.files.cohort import MASKS_FOLDER, Known, find_cohort
from tomoseg.files.source import ScanKind

TESTS_FOLDER = "imagests"
"""Folder of unlabelled scans in nnU-Net and the Medical Decathlon, in lower case."""


def strays(folder: Path, cases: Sequence[Case], left_out: Iterable[LeftOut]) -> tuple[list[LeftOut], list[str]]:
    """Find files that belong to no case, at any depth below a folder; files of cases are not opened.

    Args:
        folder: Folder of the dataset.
        cases: Its cases.
        left_out: Files that have already been reported.

    Returns:
        The files that are left out, and notes about unlabelled test scans.

    Raises:
        InputError: If the folder cannot be listed.
    """
    known = _known(cases, left_out)
    cohort = find_cohort(folder, known=known)
    tests = [scan.path for scan in cohort.scans if _is_test(scan.path, folder)]
    times = Counter(scan.path for scan in cohort.scans)
    scans = {scan.path: scan.kind for scan in cohort.scans if scan.path not in tests}
    folders = _folders_of_cases(cases, folder)
    found = [LeftOut(path, _why(path, _called(kind, times[path]), folders)) for path, kind in scans.items()]
    found += [LeftOut(lost.path, f"left out: {lost.why}") for lost in cohort.left_out if lost.path not in known.files]
    return sorted(found, key=lambda one: one.path.parts), _notes(tests, folder)


def _notes(tests: Sequence[Path], folder: Path) -> list[str]:
    if not tests:
        return []
    return [f"{folder}: {counted(len(tests), 'scan')} in {tests[0].parent.name} without labels: not used."]


def _is_test(path: Path, folder: Path) -> bool:
    return any(part.lower() == TESTS_FOLDER for part in path.relative_to(folder).parts)


def _called(kind: ScanKind, times: int) -> str:
    if kind == "dicom":
        return counted(times, "DICOM scan")
    return "a zip archive" if kind == "zip" else "a volume"


def _why(path: Path, what: str, folders: Mapping[Path, Case]) -> str:
    case = next((folders[around] for around in path.parents if around in folders), None)
    if case is not None:
        return f"left out: {what} beside {case.ct.name}, which is the scan of its case"
    return f"left out: {what} that belongs to no case; add masks for it, or move it out of the dataset"


def _folders_of_cases(cases: Iterable[Case], root: Path) -> dict[Path, Case]:
    """Return the folders that hold the scan and the masks of a single case."""
    by_folder: defaultdict[Path, list[Case]] = defaultdict(list)
    for case in cases:
        inner = case.first_file.parent
        by_folder[inner.parent if inner.name == MASKS_FOLDER else inner].append(case)
    return {
        folder: held[0]
        for folder, held in by_folder.items()
        if folder != root and len(held) == 1 and folder in (held[0].ct, *held[0].ct.parents)
    }


def _known(cases: Iterable[Case], left_out: Iterable[LeftOut]) -> Known:
    places = [case.ct for case in cases]
    files = {path for case in cases for path in case.mask_files}
    for one in left_out:
        files.update(one.files or (one.path,))
    folders = {path for path in files | set(places) if path.is_dir()}
    masks = {path.parent for path in files if path.parent.name == MASKS_FOLDER}
    return Known(frozenset({*files, *places} - folders), frozenset(masks), frozenset(folders))
