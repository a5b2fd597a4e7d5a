"""Scans in one folder and their label maps in another, paired by name, without a `dataset.json`.

The folders are `images/` with `labels/`, or `imagesTr/` with `labelsTr/` and the like.
`layouts.py` describes the layouts; this module reads this one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tomoseg.datasets.case_folders import (
    SPLIT_FOLDERS,
    CaseFolders,
    LeftOut,
    check_names_unique,
    label_map_case,
    shared_labels,
)
from tomoseg.datasets.cases import Case, Split
from tomoseg.datasets.scan_files import (
    DICOM_SUFFIX,
    by_stem,
    dicom_folders,
    loose_dicom,
    nifti_files,
    the_only,
    visible_folders,
    volume_files,
)
from tomoseg.errors import DatasetError
from tomoseg.files.label_files import SUFFIXES, label_stem, label_suffix

CHANNEL = "_0000"
"""nnU-Net's suffix for the name of a scan with one channel."""

_PARTS: dict[str, Split | None] = {"": None, "tr": "train", "va": "validation", "val": "validation", "ts": "test"}
"""Suffixes of `images` and `labels`, and the splits that they stand for if there are several."""

_LABEL_WORDS = re.compile(r"[_-](labels?|seg(mentations?)?|masks?)$", re.IGNORECASE)
_OTHER_CHANNEL = re.compile(r"_\d{4}$")


@dataclass(frozen=True)
class _Pair:
    """A folder of scans and a folder of label maps that belong together."""

    images: Path
    labels: Path
    split: Split | None


def has_paired_folders(root: Path) -> bool:
    """Whether a folder, or a subfolder named after a split, has paired folders of scans and label maps."""
    return bool(_pairs(root))


def find_paired_cases(root: Path) -> CaseFolders:
    """Find `images/<case>.nii.gz` with `labels/<case>.nii.gz`.

    A scan may be of any supported kind, including a folder of DICOM. A label map has its scan's name, with or without
    nnU-Net's channel number and words such as `_seg`.

    Raises:
        DatasetError: If a case is in two splits, a scan has two label maps or several channels, or nothing names the
            values of a label map.
        InputError: If a `labels.json` cannot be read.
        LabelError: If a `labels.json` has a name or a value twice.
    """
    shared = shared_labels(root)
    cases: list[Case] = []
    left_out = [
        LeftOut(path, "a file beside the folders of scans and label maps was left out; move it into one of them")
        for path in volume_files(root)
    ]
    for pair in _pairs(root):
        inner = shared_labels(pair.labels.parent) or shared
        found, alone = _of_pair(pair, inner)
        cases += found
        left_out += alone
    check_names_unique(cases)
    return CaseFolders(cases, left_out)


def _pairs(root: Path) -> list[_Pair]:
    """Return the paired folders, with their splits if there is more than one pair."""
    places: list[tuple[Path, Split | None]] = [(root, None)]
    places += [
        (folder, SPLIT_FOLDERS[folder.name.lower()])
        for folder in visible_folders(root)
        if folder.name.lower() in SPLIT_FOLDERS
    ]
    found = [replace(pair, split=split or pair.split) for folder, split in places for pair in _in_folder(folder)]
    return [replace(found[0], split=None)] if len(found) == 1 else found


def _in_folder(folder: Path) -> Iterator[_Pair]:
    inside = {inner.name.lower(): inner for inner in visible_folders(folder)}
    for part, split in _PARTS.items():
        images, labels = inside.get(f"images{part}"), inside.get(f"labels{part}")
        if images is not None and labels is not None:
            nested = list(_nested(images, labels))
            yield from nested or [_Pair(images, labels, split)]


def _nested(images: Path, labels: Path) -> Iterator[_Pair]:
    """Yield `images/train/` with `labels/train/`, and so on."""
    others = {folder.name.lower(): folder for folder in visible_folders(labels)}
    for folder in visible_folders(images):
        name = folder.name.lower()
        if name in SPLIT_FOLDERS and name in others:
            yield _Pair(folder, others[name], SPLIT_FOLDERS[name])


def _of_pair(pair: _Pair, shared: dict[int, str] | None) -> tuple[list[Case], list[LeftOut]]:
    """Return the cases of two folders, and the scans and label maps without a counterpart."""
    labels = _label_files(pair.labels)
    scans = _scans(pair.images, labels)
    maps: dict[str, list[Path]] = {stem: [] for stem in scans}
    left_out = []
    for path in labels:
        stem = _scan_of(label_stem(path), scans)
        if stem is None:
            why = f"a label map without a scan of the same name in {pair.images.name} was left out"
            left_out.append(LeftOut(path, why))
        else:
            maps[stem].append(path)
    _check_one_channel(maps, pair.images)
    cases = []
    for stem, found in maps.items():
        if not found:
            why = f"a scan without a label map in {pair.labels.name} was left out"
            left_out.append(LeftOut(scans[stem], why))
            continue
        label_map = the_only(found, f"label map for {stem}", pair.labels)
        name = stem if label_stem(label_map) == stem else stem.removesuffix(CHANNEL)
        cases.append(replace(label_map_case(name, scans[stem], label_map, shared, name), split=pair.split))
    return cases, left_out


def _label_files(folder: Path) -> list[Path]:
    """Return the files of labels in a folder; of several with the same name, the first in `SUFFIXES`."""
    nifti_files(folder)  # refuses .nii beside .nii.gz
    found = [path for path in folder.iterdir() if label_suffix(path) and not path.name.startswith(".")]
    found.sort(key=lambda path: SUFFIXES.index(label_suffix(path) or SUFFIXES[-1]))
    first: dict[str, Path] = {}
    for path in found:
        first.setdefault(label_stem(path), path)
    return sorted(first.values())


def _scans(folder: Path, labels: Sequence[Path]) -> dict[str, Path]:
    """Return the scans of a folder by name: volumes, folders of DICOM, and DICOM files that have a label map."""
    scans = by_stem([*volume_files(folder), *dicom_folders(folder)])
    files = {path.name[: -len(DICOM_SUFFIX)]: path for path in loose_dicom(folder) if path.suffix == DICOM_SUFFIX}
    named = {_scan_of(label_stem(path), scans | files) for path in labels}
    return scans | {stem: path for stem, path in files.items() if stem in named and stem not in scans}


def _scan_of(label: str, scans: dict[str, Path]) -> str | None:
    """Return the stem of a label map's scan: its own, or without a word such as `_seg`, or with a channel number."""
    plain = _LABEL_WORDS.sub("", label)
    tried = (label, label + CHANNEL, plain, plain + CHANNEL, plain.removesuffix(CHANNEL))
    return next((stem for stem in tried if stem in scans), None)


def _check_one_channel(maps: dict[str, list[Path]], folder: Path) -> None:
    """Check that there are no scans without label maps that are further channels of a scan with one.

    Raises:
        DatasetError: If there are.
    """
    for stem, found in maps.items():
        numbered = _OTHER_CHANNEL.search(stem)
        first = _OTHER_CHANNEL.sub(CHANNEL, stem)
        if numbered and not found and stem != first and any(label_stem(one) != first for one in maps.get(first, [])):
            raise DatasetError(f"{folder}: expected one channel, CT, got {first} and {stem}; pass a CT dataset")
