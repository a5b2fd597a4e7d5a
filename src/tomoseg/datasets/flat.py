"""Scans and label maps side by side in one folder.

`layouts.py` describes the layouts; this module reads this one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from tomoseg.datasets.case_folders import CaseFolders, LeftOut, label_map_case, shared_labels
from tomoseg.datasets.scan_files import (
    DICOM_SUFFIX,
    SCAN,
    by_stem,
    holds_dicom,
    the_only,
    visible_folders,
    volume_files,
)
from tomoseg.files.label_files import label_stem, label_suffix, names_itself

_LABEL_STEMS = ("labels", "seg")


def find_flat_cases(folder: Path) -> CaseFolders:
    """Find `<stem>.nii.gz` with `<stem>_labels*.nii.gz`, or `ct.nii.gz` with `labels*.nii.gz`, in one folder.

    A scan may be of any supported kind, including a folder of DICOM. A folder with a plain `ct` is one patient's;
    otherwise every stem is a patient.

    Raises:
        DatasetError: If a scan has two label maps.
        InputError: If a `labels.json` cannot be read.
        LabelError: If a `labels.json` has a name or a value twice.
    """
    scans, maps, unmatched = _scans_and_label_maps(folder)
    shared = shared_labels(folder)
    whose = folder.resolve().name if SCAN in scans else None
    alone = [
        LeftOut(path, f"a scan without a label map was left out; add {stem}_labels.nii.gz")
        for stem, path in scans.items()
        if not maps[stem]
    ]
    alone += [
        LeftOut(path, "a label map without a scan of the same name was left out; name it after its scan")
        for path in unmatched
    ]
    cases = [
        label_map_case(stem, scans[stem], the_only(found, f"label map for {stem}", folder), shared, whose or stem)
        for stem, found in maps.items()
        if found
    ]
    return CaseFolders(cases, alone)


def _scans_and_label_maps(folder: Path) -> tuple[dict[str, Path], dict[str, list[Path]], list[Path]]:
    """Return the scans of a folder by name, the label maps of each, and label maps without a scan."""
    labels = sorted(path for path in folder.iterdir() if label_suffix(path) and not path.name.startswith("."))
    files = by_stem(volume_files(folder))
    named = files | _dicom_with_labels(folder, labels, files)
    scans = {stem: path for stem, path in named.items() if not _scan_of(stem, named)}
    return scans, *_by_scan([path for path in labels if path not in scans.values()], list(scans))


def _dicom_with_labels(folder: Path, labels: Sequence[Path], volumes: Collection[str]) -> dict[str, Path]:
    """Return the folders of DICOM, and single DICOM files, that have a label map."""
    if not labels:
        return {}
    files = {p.name[: -len(DICOM_SUFFIX)]: p for p in folder.iterdir() if p.name.lower().endswith(DICOM_SUFFIX)}
    places = files | {inner.name: inner for inner in visible_folders(folder)}
    stems = {*volumes, *places}
    wanted = {_scan_of(label_stem(path), stems) for path in labels} - {"", *volumes}
    return {stem: places[stem] for stem in sorted(wanted) if holds_dicom(places[stem])}


def _by_scan(labels: Sequence[Path], scans: Sequence[str]) -> tuple[dict[str, list[Path]], list[Path]]:
    """Assign label maps to scans by name, and return those without a scan separately.

    A file that names its structures may have exactly its scan's name, or any name if there is only one scan.
    """
    maps: dict[str, list[Path]] = {stem: [] for stem in scans}
    unmatched = []
    for path in labels:
        stem = label_stem(path)
        is_free = names_itself(path)
        scan = stem if is_free and stem in maps else _scan_of(stem, scans)
        if is_free and not scan and len(scans) == 1:
            scan = scans[0]
        if scan:
            maps[scan].append(path)
        else:
            unmatched.append(path)
    return maps, unmatched


def _scan_of(stem: str, scans: Collection[str]) -> str:
    """Return the longest stem of a scan that a label map is named after; empty if there is none."""
    fitting = [scan for scan in scans if any(stem.startswith(f"{scan}_{word}") for word in _LABEL_STEMS)]
    if SCAN in scans and stem.startswith(_LABEL_STEMS):
        fitting.append(SCAN)
    return max(fitting, key=len, default="")
