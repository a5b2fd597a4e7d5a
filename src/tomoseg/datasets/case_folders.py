"""Cases as people lay them out by hand: one folder a case, and what its label map says.

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
    """What was found in a dataset and is not used.

    Attributes:
        path: What is named.
        why: The rest of the sentence, with what to do.
        files: What it is about, where that is something else than the path.
    """

    path: Path
    why: str
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return f"{without_uids(str(self.path))}: {self.why}."


@dataclass(frozen=True)
class CaseFolders:
    """What was found: the cases, and what was left out."""

    cases: list[Case]
    left_out: list[LeftOut]


def find_case_folders(root: Path) -> CaseFolders:
    """Read one folder a case, as deep as they lie in `root` or under folders named after splits.

    Raises:
        DatasetError: If a case is in two splits, or its files cannot be told apart.
        InputError: If a `labels.json` cannot be read.
        LabelError: If a `labels.json` says a name or a value twice.
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
    """A case, and the folders that lead to it, from the dataset's folder or that of its split on."""

    case: Case
    folders: tuple[str, ...]


def _below(folder: Path, shared: dict[int, str] | None, around: Set[Path]) -> tuple[list[_Place], list[LeftOut]]:
    """The cases in folders in a folder; a link that leads back into one of those around it is not followed."""
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
    """Cases called by their folders; where two have one name, by those above them too: `berlin/p1` is `berlin_p1`."""
    times = Counter(place.case.name.casefold() for place in found)
    cases = []
    for place in found:
        case = place.case
        name = "_".join(place.folders) if times[case.name.casefold()] > 1 else case.name
        cases.append(replace(case, name=name, patient=name))
    return cases


def label_files(folder: Path) -> list[Path]:
    """The files of masks in a folder by name, all of one kind: NIfTI where there is any, then as in `SUFFIXES`.

    Raises:
        DatasetError: If a NIfTI file is there as `.nii` and as `.nii.gz`.
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
    """Files, and links to nothing, which reading tells."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())


def _read_case(folder: Path, shared: dict[int, str] | None) -> tuple[list[Case], list[LeftOut]]:
    """The case in a folder, if there is one, and what is left out; a folder without a volume and masks is no case."""
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
    """A folder with masks or a scan alone."""
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
    """Mask files by the structures that they are named after.

    Args:
        files: One a structure.
        folder: Where they lie.

    Raises:
        LabelError: If two structures have one name, or names that differ in capitals alone, or one has a name that
            cannot be used.
    """
    masks: dict[str, Path] = {}
    for path in files:
        name = structure_name(label_stem(path), str(folder))
        if name in masks:
            raise LabelError(f"{folder}: expected one mask a structure, got two files of {name}; remove one")
        masks[name] = path
    check_told_apart(masks, str(folder))
    return masks


def _label_maps(folder: Path) -> list[Path]:
    """Files of labels by what they are called, and segmentations of 3D Slicer."""
    return [path for path in nifti_files(folder) if _is_called_labels(path)] + other_label_maps(folder)


def other_label_maps(folder: Path) -> list[Path]:
    """Files of labels that are no NIfTI: what names its structures itself, and what is called a label map."""
    others = [path for path in _visible_files(folder) if label_suffix(path) not in {None, *NIFTI_SUFFIXES}]
    return [path for path in others if names_itself(path) or _is_called_labels(path)]


def _is_called_labels(path: Path) -> bool:
    stem = label_stem(path).lower()
    return stem != SCAN and ("labels" in stem or stem.startswith("seg"))


def shared_labels(root: Path) -> dict[int, str] | None:
    """What the values stand for, by the `labels.json` of a folder; None without one.

    Raises:
        InputError: If it cannot be read.
        LabelError: If it says a name or a value twice.
    """
    path = root / LABELS_FILE
    return read_label_names(path) if path.is_file() else None


def label_map_case(name: str, ct: Path, label_map: Path, shared: dict[int, str] | None, patient: str) -> Case:
    """A case with a label map, whose values are named by what lies beside it, or by what the dataset shares.

    Args:
        name: The case's name.
        ct: Its scan.
        label_map: Its label map.
        shared: Value to structure, where nothing beside the label map says so.
        patient: Whose it is.

    Raises:
        DatasetError: If nothing names the values.
        InputError: If a `labels.json` cannot be read.
        LabelError: If one says a name or a value twice.
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
    """What the values stand for, and which structures are annotated, as files beside a label map say it, if they do."""
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
    """What a `labels.json` of a label map would be, as words for a message; an example where it cannot be read."""
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
    """Refuse two cases of one name.

    Raises:
        DatasetError: If there are such.
    """
    seen: dict[str, Case] = {}
    for case in cases:
        first = seen.setdefault(case.name, case)
        if first is not case:
            raise DatasetError(
                f"expected each case in one split, got {case.name} in {first.ct.parent} and {case.ct.parent}; "
                "remove one"
            )
