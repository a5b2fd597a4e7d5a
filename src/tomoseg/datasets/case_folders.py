"""Datasets with one folder per case, and reading of the names in label maps.

`layouts.py` describes the layouts; this module reads them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tomoseg.datasets.cases import Case, Split
from tomoseg.datasets.scan_files import (
    SCAN,
    loose_dicom,
    nifti_files,
    scan_of_case,
    the_only,
    visible_folders,
    volume_files,
)
from tomoseg.errors import DatasetError, GridError, InputError, LabelError, unknown_name_message
from tomoseg.files.channels import channel_names
from tomoseg.files.cohort import MASKS_FOLDER
from tomoseg.files.label_files import SUFFIXES, label_stem, label_suffix, names_itself, segment_values
from tomoseg.files.label_names import (
    check_told_apart,
    parse_label_names,
    read_json,
    read_label_names,
    structure_name,
    values_in,
)
from tomoseg.files.nifti import read_label_map
from tomoseg.files.no_scan import CORRECTION
from tomoseg.files.paths import without_uids
from tomoseg.files.results import NIFTI_SUFFIXES, sidecar_path
from tomoseg.labels import LabelSet, composed

SPLIT_FOLDERS: dict[str, Split] = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}

LABELS_FILE = "labels.json"


@dataclass(frozen=True)
class LeftOut:
    """A file or folder of a dataset that is not used.

    Attributes:
        path: The path named in the message.
        why: The rest of the message, with advice.
        files: The files concerned, if they are not the path itself.
    """

    path: Path
    why: str
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{without_uids(str(self.path))}: {self.why}."


@dataclass(frozen=True)
class CaseFolders:
    """The cases that were found, and what was left out."""

    cases: list[Case]
    left_out: list[LeftOut]


def find_case_folders(root: Path) -> CaseFolders:
    """Find one case per folder, at any depth below `root` or below folders named after splits.

    Raises:
        DatasetError: If a case is in two splits, or its files cannot be told apart.
        InputError: If a `labels.json` cannot be read.
        LabelError: If a `labels.json` has a name or a value twice.
    """
    shared = shared_labels(root)
    if (root / MASKS_FOLDER).is_dir() or (_label_maps(root) and loose_dicom(root)):
        return CaseFolders(*_read_case(root, shared))
    found, left_out = _below(root, shared, {root.resolve()})
    cases = _named(found)
    check_names_unique(cases)
    return CaseFolders(cases, left_out)


@dataclass(frozen=True)
class _Place:
    """A case, and the names of the folders that lead to it from the dataset's folder or its split's."""

    case: Case
    folders: tuple[str, ...]


def _below(folder: Path, shared: dict[int, str] | None, around: Set[Path]) -> tuple[list[_Place], list[LeftOut]]:
    """Find the cases in subfolders; links to an enclosing folder are not followed."""
    found: list[_Place] = []
    left_out: list[LeftOut] = []
    for inner in visible_folders(folder):
        target = inner.resolve()
        if target in around or inner.name == MASKS_FOLDER or (inner / CORRECTION).is_file():
            continue
        split = SPLIT_FOLDERS.get(inner.name.lower())
        case, odd = _read_case(inner, shared)
        left_out += odd
        found += [_Place(one, (inner.name,)) for one in case]
        if case:
            continue
        below, odd = _below(inner, shared, around | {target})
        left_out += odd
        found += [_in_split(one, split) if split else replace(one, folders=(inner.name, *one.folders)) for one in below]
    return found, left_out


def _in_split(place: _Place, split: Split) -> _Place:
    return replace(place, case=replace(place.case, split=place.case.split or split))


def _named(found: Sequence[_Place]) -> list[Case]:
    """Name cases after their folders, and if two have the same name, also after the parents: `berlin_p1`."""
    times = Counter(place.case.name.casefold() for place in found)
    cases = []
    for place in found:
        case = place.case
        name = "_".join(place.folders) if times[case.name.casefold()] > 1 else case.name
        cases.append(replace(case, name=name, patient=name))
    return cases


def label_files(folder: Path) -> list[Path]:
    """Return the mask files in a folder, sorted, all of one kind: NIfTI if there are any, then by `SUFFIXES`.

    Raises:
        DatasetError: If a NIfTI file exists as `.nii` and as `.nii.gz`.
    """
    found = nifti_files(folder)
    if found:
        return found
    kinds: dict[str, list[Path]] = {}
    for path in _visible_files(folder):
        if (suffix := label_suffix(path)) is not None:
            kinds.setdefault(suffix, []).append(path)
    return next((kinds[suffix] for suffix in SUFFIXES if suffix in kinds), [])


def _visible_files(folder: Path) -> list[Path]:
    """Return the files, and broken links, which are reported when they are read."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())


def _read_case(folder: Path, shared: dict[int, str] | None) -> tuple[list[Case], list[LeftOut]]:
    """Read the case in a folder, if there is one; it needs a volume and masks."""
    label_maps, mask_files = _label_maps(folder), _mask_files(folder)
    masks = (*label_maps, *mask_files.values())
    files = {*volume_files(folder), *masks}
    if not files:
        return [], []
    try:
        ct = scan_of_case(folder, label_maps)
        label_map = the_only(label_maps, "label map", folder) if label_maps and not mask_files else None
    except DatasetError as error:
        return [], [LeftOut(folder, str(error).removeprefix(f"{folder}: "), tuple(files))]
    if ct is None or not masks:
        return [], [_half(folder, ct, masks)]
    return [_case(folder, ct, mask_files, label_map, shared)], _unused(folder, label_maps if mask_files else [])


def _half(folder: Path, ct: Path | None, masks: tuple[Path, ...]) -> LeftOut:
    """Describe a folder with only masks or only a scan."""
    if ct is None:
        return LeftOut(folder, f"a folder without a scan was left out; add {SCAN}.nii.gz", masks)
    why = f"a scan without masks was left out; add {MASKS_FOLDER}/<structure>.nii.gz or a label map"
    return LeftOut(folder, why, (ct,))


def _case(
    folder: Path, ct: Path, masks: dict[str, Path], label_map: Path | None, shared: dict[int, str] | None
) -> Case:
    name = folder.resolve().name if folder.name in {"", ".."} else folder.name
    if label_map is not None:
        return label_map_case(name, ct, label_map, shared, name)
    return Case(name=name, patient=name, ct=ct, masks=masks, annotated=tuple(masks))


def _unused(folder: Path, label_maps: Sequence[Path]) -> list[LeftOut]:
    why = f"the label map is not used, since there are masks in {MASKS_FOLDER}"
    return [LeftOut(folder, why, tuple(label_maps))] if label_maps else []


def _mask_files(folder: Path) -> dict[str, Path]:
    inner = folder / MASKS_FOLDER
    return named_masks(label_files(inner), inner) if inner.is_dir() else {}


def named_masks(files: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Return mask files by structure, after which they are named.

    Args:
        files: One file per structure.
        folder: Their folder, for messages.

    Raises:
        LabelError: If two structures have the same name, or names that differ only in case, or a name cannot be used.
    """
    masks: dict[str, Path] = {}
    for path in files:
        name = structure_name(label_stem(path), str(folder))
        if name in masks:
            raise LabelError(f"{folder}: expected one mask per structure, got two files for {name}; remove one")
        masks[name] = path
    check_told_apart(masks, str(folder))
    return masks


def _label_maps(folder: Path) -> list[Path]:
    """Return the label maps in a folder, recognised by name, and files that name their structures themselves."""
    return [path for path in nifti_files(folder) if _is_called_labels(path)] + other_label_maps(folder)


def other_label_maps(folder: Path) -> list[Path]:
    """Return files of labels other than NIfTI: those that name their structures, and those named as label maps."""
    others = [path for path in _visible_files(folder) if label_suffix(path) not in {None, *NIFTI_SUFFIXES}]
    return [path for path in others if names_itself(path) or _is_called_labels(path)]


def _is_called_labels(path: Path) -> bool:
    stem = label_stem(path).lower()
    return stem != SCAN and ("labels" in stem or stem.startswith("seg"))


def shared_labels(root: Path) -> dict[int, str] | None:
    """Read the names of label map values from the `labels.json` of a folder; None without one.

    Raises:
        InputError: If it cannot be read.
        LabelError: If it has a name or a value twice.
    """
    path = root / LABELS_FILE
    return read_label_names(path) if path.is_file() else None


def label_map_case(name: str, ct: Path, label_map: Path, shared: dict[int, str] | None, patient: str) -> Case:
    """Make a case with a label map, whose values are named by files beside it, or by the dataset.

    Args:
        name: Name of the case.
        ct: Its scan.
        label_map: Its label map.
        shared: Structures by value for the whole dataset; files beside the label map override it.
        patient: Its patient.

    Raises:
        DatasetError: If nothing names the values.
        InputError: If a `labels.json` cannot be read.
        LabelError: If one has a name or a value twice.
    """
    if (segments := segment_values(label_map)) is not None:
        by_name = {structure: tuple(values) for structure, values in segments.items()}
        return Case(
            name=name, patient=patient, ct=ct, segments=label_map, annotated=tuple(by_name), label_values=by_name
        )
    values, annotated = _values_beside(label_map, shared)
    channels = channel_names(label_map, tuple((values or {}).values()))
    if values is None:
        values = dict(enumerate(channels, start=1)) or _values_by_file_name(label_map)
    names = tuple(values.values())
    if annotated is not None:
        names = _annotated_subset(annotated, names, label_map.parent / LABELS_FILE)
    case = Case(
        name=name,
        patient=patient,
        ct=ct,
        label_map=label_map,
        annotated=names,
        label_values={structure: (value,) for value, structure in values.items()},
    )
    return replace(case, label_map=None, segments=label_map, channels=channels) if channels else case


def _values_beside(label_map: Path, shared: dict[int, str] | None) -> tuple[dict[int, str] | None, list[Any] | None]:
    """Read structures by value, and the names of annotated structures, from files beside a label map, if any."""
    values, annotated = shared, None
    own = label_map.parent / LABELS_FILE
    if own.is_file():
        data = read_json(own)
        if isinstance(data, list):
            annotated = data
        else:
            values = parse_label_names(data, str(own))
    if sidecar_path(label_map).is_file():
        values = read_label_names(sidecar_path(label_map))
    return values, annotated


def _values_by_file_name(label_map: Path) -> dict[int, str]:
    if "total" not in label_stem(label_map).lower():
        raise DatasetError(
            f"{label_map}: expected names for its values, got no {LABELS_FILE}; "
            f"write {_names_to_write(label_map)} to {LABELS_FILE} beside it or in the dataset's folder"
        )
    total = LabelSet.total()
    return dict(zip(total.ids, total.names, strict=True))


def _names_to_write(label_map: Path) -> str:
    """Return the `labels.json` to write for a label map, for a message; an example if it cannot be read."""
    try:
        found = [value for value in values_in(read_label_map(label_map)) if value]
    except (InputError, GridError):
        found = []
    if not found:
        return '{"1": "spleen", ...}'
    listed = ", ".join(f'"{value}": "NAME"' for value in found[:12])
    return f"{{{listed}{', ...' if len(found) > 12 else ''}}}, with the structures' names,"


def _annotated_subset(data: list[Any], names: tuple[str, ...], path: Path) -> tuple[str, ...]:
    data = [composed(entry) if isinstance(entry, str) else entry for entry in data]
    for entry in data:
        if entry not in names:
            raise DatasetError(f"{path}: {unknown_name_message(str(entry), names)}")
        if data.count(entry) > 1:
            raise DatasetError(f"{path}: expected each name once, got {entry!r} twice; remove one")
    return tuple(name for name in names if name in data)


def check_names_unique(cases: Sequence[Case]) -> None:
    """Check that case names are unique.

    Raises:
        DatasetError: If two cases have the same name.
    """
    seen: dict[str, Case] = {}
    for case in cases:
        first = seen.setdefault(case.name, case)
        if first is not case:
            raise DatasetError(
                f"expected each case in one split, got {case.name} in {first.ct.parent} and {case.ct.parent}; "
                "remove one"
            )
