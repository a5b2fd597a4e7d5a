"""Grouping of the DICOM files below a folder to scans.

The images of each patient and study in a folder with slices are a scan. If a series continues in other folders, these
are joined with it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np

from tomoseg.files.dicom.headers import ImageHeader
from tomoseg.files.dicom.series import Stack, kind_of_other, largest_axial, rivals_of, slices_among, stacks_of
from tomoseg.files.dicom.whose import by_patient_and_study
from tomoseg.files.scan import of_lost
from tomoseg.files.source import DicomFolder, Headers, Lost, ScanSource, SourceFile
from tomoseg.files.stack import SAME_PLACE_MM
from tomoseg.language import words

FEWEST_SLICES = 3
"""Minimum slices of a scan; a series of fewer is a localizer or a bolus tracking image."""

_MODALITY = "images of modality "
_MADE_FROM_SCANS = {
    f"{_MODALITY}RTDOSE": words.part("dose grids"),
    f"{_MODALITY}SEG": words.part("DICOM segmentations"),
    f"{_MODALITY}RTSTRUCT": words.part("structure sets"),
    f"{_MODALITY}SR": words.part("reports"),
    f"{_MODALITY}PR": words.part("presentation states"),
    f"{_MODALITY}REG": words.part("registrations"),
}
"""DICOM objects made from scans, by their names in `slices_among`."""


@dataclass
class Places:
    """The DICOM below a folder.

    Attributes:
        scans: One scan per place, patient and study.
        left_out: Images that are not CT, and files that cannot be read.
        unchosen: Series that are left out unless requested, since another of their study is taken.
        others: Kinds of objects made from scans, with their numbers.
        together: All of it as one scan.
        is_one_study: Whether all slices are of one study.
    """

    together: ScanSource
    scans: list[ScanSource] = field(default_factory=list)
    left_out: list[Lost] = field(default_factory=list)
    unchosen: list[Lost] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    is_one_study: bool = False


@dataclass(eq=False)
class _Part:
    """Images of one patient and study, in folders that belong together."""

    folders: list[DicomFolder]
    images: list[ImageHeader]

    @property
    def path(self) -> Path:
        """Common parent of its folders."""
        return Path(os.path.commonpath([folder.path for folder in self.folders]))

    @property
    def series(self) -> set[tuple[str, ...]]:
        """Patient, study and series of each series in it."""
        return {(image.patient, image.study, image.series) for image in self.images}


def dicom_places(root: Path, folders: Sequence[DicomFolder]) -> Places:
    """Group the DICOM files of folders to scans.

    Args:
        root: Common parent of the folders.
        folders: Folders with DICOM, sorted by path.
    """
    found = Places(_source(root, folders, [file for folder in folders for file in folder.files]))
    parts = _joined(folders)
    with_slices = [part for part in parts if slices_among(part.images)[0]]
    _tell_of_others([part for part in parts if part not in with_slices], found)
    _tell_of_files_without_images(folders, with_slices, found)
    found.is_one_study = _are_of_one_study(with_slices)
    found.unchosen = list(chain.from_iterable(map(_unchosen, with_slices)))
    found.scans = _scans(with_slices, Counter(folder.path for part in parts for folder in part.folders))
    return found


def _are_of_one_study(parts: Sequence[_Part]) -> bool:
    return len({image.study for part in parts for image in part.images}) == 1


def _unchosen(part: _Part) -> list[Lost]:
    """Return the series of a study that are not read unless requested, without single slices."""
    stacks = stacks_of(slices_among(part.images)[0])
    taken = largest_axial(stacks)
    if rivals_of(stacks[taken], stacks):  # none is taken, and the error lists all
        return []
    return [
        Lost(part.path, f"series {number + 1} of {len(stacks)}, {stack}; --series {number + 1} takes it")
        for number, stack in enumerate(stacks)
        if number != taken and _is_scan(stack)
    ]


def _is_scan(stack: Stack) -> bool:
    places = stack.places_mm()
    return len(stack.images) >= FEWEST_SLICES and (places is None or float(np.ptp(places)) >= SAME_PLACE_MM)


def _scans(parts: Sequence[_Part], in_folder: Counter[Path]) -> list[ScanSource]:
    """Return the source of each part, numbered if several have the same path."""
    at_path, numbers = Counter(part.path for part in parts), Counter[Path]()
    scans = []
    for part in parts:
        is_alone = all(in_folder[folder.path] == 1 for folder in part.folders)
        source = _source(part.path, part.folders, _files(part, is_alone))
        numbers[part.path] += 1
        scans.append(replace(source, number=numbers[part.path] if at_path[part.path] > 1 else 0))
    return scans


def _source(path: Path, folders: Iterable[DicomFolder], files: Sequence[SourceFile]) -> ScanSource:
    lost = [one for folder in folders for one in folder.lost if one.path not in {file.path for file in folder.files}]
    headers: Headers = {}
    for folder in folders:
        headers |= folder.headers
    ordered = sorted(files, key=lambda file: file.path.parts)
    known = {file.path: headers[file.path] for file in ordered if file.path in headers}
    return ScanSource("dicom", path, tuple(ordered), notices=of_lost(lost, path), headers=known)


def _files(part: _Part, is_alone: bool) -> list[SourceFile]:
    """Return the files of a part and damaged ones; all files if it is alone in its folders."""
    own = {image.entry.place for image in part.images}
    return [
        file
        for folder in part.folders
        for file in folder.files
        if is_alone or file.path in own or file.path not in folder.headers
    ]


def _apart(folder: DicomFolder) -> list[_Part]:
    """Split the images of a folder by patient and study."""
    images = [image for of_file in folder.headers.values() for image in of_file or ()]
    return [_Part([folder], group) for group in by_patient_and_study(images)]


def _joined(folders: Iterable[DicomFolder]) -> list[_Part]:
    """Return the parts of all folders, joined where a series continues in another folder.

    Copies, and parts that merely have the same identifiers, are not joined.
    """
    joined: list[_Part] = []
    for part in (part for folder in folders for part in _apart(folder)):
        for other in joined:
            if _goes_on(other, part):
                other.folders += [folder for folder in part.folders if folder not in other.folders]
                other.images += part.images
                break
        else:
            joined.append(part)
    return joined


def _goes_on(part: _Part, other: _Part) -> bool:
    """Whether two parts have series in common, but no position and no number of an image in these."""
    shared = part.series & other.series
    if not shared or part.folders == other.folders:
        return False
    return _of_shared(part, shared).isdisjoint(_of_shared(other, shared))


def _of_shared(part: _Part, shared: set[tuple[str, ...]]) -> set[tuple]:
    """Return the positions and the numbers of the images in some series."""
    found: set[tuple] = set()
    for image in part.images:
        series = (image.patient, image.study, image.series)
        if series not in shared:
            continue
        place = None if image.position_mm is None else tuple(round(float(mm), 2) for mm in image.position_mm)
        if place is not None or image.number is None:
            found.add((series, "place", place))
        if image.number is not None:
            found.add((series, "number", image.frame, image.number))
    return found


def _tell_of_others(parts: Iterable[_Part], found: Places) -> None:
    """Add images that no scan can be made of to the counts or to what is left out."""
    for part in parts:
        files = {image.entry: str(kind_of_other(image)) for image in part.images}  # a file may have many frames
        for kind, count in sorted(Counter(files.values()).items()):
            if kind in _MADE_FROM_SCANS:
                found.others[_MADE_FROM_SCANS[kind]] += count
            elif kind.startswith(_MODALITY):
                found.left_out.append(Lost(part.path, f"{kind} ({count})"))
            else:
                found.others[kind] += count


def _tell_of_files_without_images(folders: Iterable[DicomFolder], scans: Iterable[_Part], found: Places) -> None:
    """Count structure sets, reports and the like in folders without a scan; others are in a scan's notices."""
    holding = {folder.path for part in scans for folder in part.folders}
    headers = [images for one in folders if one.path not in holding for images in one.headers.values()]
    if () in headers:
        found.others["DICOM files without images"] += headers.count(())
