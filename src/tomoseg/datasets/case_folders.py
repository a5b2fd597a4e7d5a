"""Cases as people lay them out by hand: one folder a case, or scans and label maps side by side in one folder.

`layouts.py` describes the layouts; this module reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tomoseg.datasets.cases import Case, Split
from tomoseg.errors import DatasetError, GridError, InputError, LabelError, unknown_name_message
from tomoseg.files.label_files import SEG_NRRD, SUFFIXES, label_stem, label_suffix, segment_values
from tomoseg.files.label_names import (
    check_told_apart,
    parse_label_names,
    read_json,
    read_label_names,
    structure_name,
    values_in,
)
from tomoseg.files.nifti import read_label_map
from tomoseg.files.results import NIFTI_SUFFIXES, nifti_stem, sidecar_path
from tomoseg.labels import LabelSet, composed

SPLIT_FOLDERS: dict[str, Split] = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}

LABELS_FILE = "labels.json"
MASKS_FOLDER = "segmentations"

_LABEL_STEMS = ("labels", "seg")


@dataclass(frozen=True)
class CaseFolders:
    """What was found: the cases, and a sentence for each that was left out."""

    cases: list[Case]
    warnings: list[str]


def find_case_folders(root: Path) -> CaseFolders:
    """Read one folder a case, directly in `root` or under folders named after splits.

    Raises:
        DatasetError: If a case is in two splits, or its files cannot be told apart.
        InputError: If a `labels.json` cannot be read.
        LabelError: If a `labels.json` says a name or a value twice.
    """
    shared = shared_labels(root)
    cases, warnings = [], []
    for folder, split in _folders(root):
        case, warning = _read_case(folder, split, shared)
        cases += case
        warnings += warning
    check_names_unique(cases)
    return CaseFolders(cases, warnings)


def find_flat_cases(folder: Path) -> CaseFolders:
    """Read `<stem>.nii.gz` with `<stem>_labels*.nii.gz`, or `ct.nii.gz` with `labels*.nii.gz`, from one folder.

    A folder with a plain `ct.nii.gz` is one patient's; otherwise every stem is a patient.

    Raises:
        DatasetError: If a scan has two label maps.
        InputError: If a `labels.json` cannot be read.
        LabelError: If a `labels.json` says a name or a value twice.
    """
    shared = shared_labels(folder)
    files = {nifti_stem(path): path for path in nifti_files(folder)}
    scans = [stem for stem in files if not _is_flat_label(stem, files)]
    labels = [path for stem, path in files.items() if stem not in scans]
    maps = _by_scan([*labels, *_other_label_maps(folder)], scans)
    cases, warnings = [], []
    for stem in scans:
        if not maps[stem]:
            warnings.append(f"{files[stem]}: a scan without a label map was left out; add {stem}_labels.nii.gz.")
            continue
        label_map = the_only(maps[stem], f"label map for {stem}", folder)
        patient = folder.resolve().name if "ct" in files else stem
        cases.append(label_map_case(stem, files[stem], label_map, shared, patient))
    return CaseFolders(cases, warnings)


def nifti_files(folder: Path) -> list[Path]:
    """The NIfTI files of a folder by name, hidden ones (`._*` of macOS among them) left out.

    Raises:
        DatasetError: If one is there as `.nii` and as `.nii.gz`.
    """
    found = sorted(
        p for p in folder.iterdir() if p.name.lower().endswith(NIFTI_SUFFIXES) and not p.name.startswith(".")
    )
    stems = [nifti_stem(path) for path in found]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise DatasetError(f"{folder}: expected each file once, got .nii and .nii.gz of {', '.join(twice)}; remove one")
    return found


def _by_scan(labels: Sequence[Path], scans: Sequence[str]) -> dict[str, list[Path]]:
    """The files of labels that go with each scan: named after it, or as it in another format."""
    maps: dict[str, list[Path]] = {stem: [] for stem in scans}
    for path in labels:
        stem = label_stem(path)
        scan = stem if stem in maps else _scan_of(stem, scans)
        if scan:
            maps[scan].append(path)
    return maps


def label_files(folder: Path) -> list[Path]:
    """The files of masks in a folder by name, all of one kind: NIfTI where there is any, then as in `SUFFIXES`.

    Raises:
        DatasetError: If a NIfTI file is there as `.nii` and as `.nii.gz`.
    """
    found = nifti_files(folder)
    if found:
        return found
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file())
    kinds = {suffix: [path for path in visible if label_suffix(path) == suffix] for suffix in SUFFIXES}
    return next((files for files in kinds.values() if files), [])


def visible_folders(folder: Path) -> list[Path]:
    """Folders in a folder that are neither hidden nor an archive's leavings, by name."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))


def _folders(root: Path) -> list[tuple[Path, Split | None]]:
    if _looks_like_case(root):
        return [(root.resolve(), None)]
    folders: list[tuple[Path, Split | None]] = []
    for folder in visible_folders(root):
        split = SPLIT_FOLDERS.get(folder.name.lower())
        if split is None or _looks_like_case(folder):
            folders.append((folder, None))
        else:
            folders += [(inner, split) for inner in visible_folders(folder)]
    return folders


def _looks_like_case(folder: Path) -> bool:
    return (folder / MASKS_FOLDER).is_dir() or bool(nifti_files(folder))


def _read_case(folder: Path, split: Split | None, shared: dict[int, str] | None) -> tuple[list[Case], list[str]]:
    """The case in a folder, if there is one, and what is odd about it; a folder without any NIfTI is no case."""
    files = nifti_files(folder)
    mask_files = _mask_files(folder)
    if not files and not mask_files:
        return [], []
    ct, label_maps = _scan_and_label_maps(files, folder)
    label_maps += _other_label_maps(folder)
    if ct is None:
        return [], [f"{folder}: a folder without a scan was left out; add ct.nii.gz."]
    if mask_files:
        odd = [f"{folder}: the label map is not used, since there are masks in {MASKS_FOLDER}."] if label_maps else []
        case = Case(
            name=folder.name, patient=folder.name, ct=ct, masks=mask_files, annotated=tuple(mask_files), split=split
        )
        return [case], odd
    if not label_maps:
        return [], [
            f"{folder}: a scan without masks was left out; add {MASKS_FOLDER}/<structure>.nii.gz or a label map."
        ]
    label_map = the_only(label_maps, "label map", folder)
    return [replace(label_map_case(folder.name, ct, label_map, shared, folder.name), split=split)], []


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


def _scan_and_label_maps(files: Sequence[Path], folder: Path) -> tuple[Path | None, list[Path]]:
    scans = [path for path in files if nifti_stem(path) == "ct"]
    label_maps = [path for path in files if _is_label_stem(nifti_stem(path)) and path not in scans]
    scans = scans or [path for path in files if path not in label_maps]
    return (the_only(scans, "scan (or one named ct.nii.gz)", folder) if scans else None), label_maps


def _other_label_maps(folder: Path) -> list[Path]:
    """Files of labels that are no NIfTI: segmentations of 3D Slicer, and what is called a label map."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    others = [path for path in files if label_suffix(path) not in {None, *NIFTI_SUFFIXES}]
    return sorted(path for path in others if label_suffix(path) == SEG_NRRD or _is_label_stem(label_stem(path)))


def the_only(paths: Sequence[Path], what: str, folder: Path) -> Path:
    """The one path of several.

    Args:
        paths: One or more.
        what: What is expected once, for the message.
        folder: Where they lie.

    Raises:
        DatasetError: If there are several.
    """
    if len(paths) > 1:
        names = ", ".join(sorted(path.name for path in paths))
        raise DatasetError(f"{folder}: expected one {what}, got {names}; move the others out of the folder")
    return paths[0]


def _is_label_stem(stem: str) -> bool:
    return "labels" in stem.lower() or stem.lower().startswith("seg")


def _scan_of(stem: str, files: Collection[str]) -> str:
    """The longest scan's stem that a label map's stem goes with; empty if it goes with none."""
    fitting = [s for s in files if any(stem.startswith(f"{s}_{word}") for word in _LABEL_STEMS)]
    if "ct" in files and stem.startswith(_LABEL_STEMS):
        fitting.append("ct")
    return max(fitting, key=len, default="")


def _is_flat_label(stem: str, files: dict[str, Path]) -> bool:
    return _scan_of(stem, files) != ""


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
    if values is None:
        values = _values_by_file_name(label_map)
    names = tuple(values.values())
    if annotated is not None:
        names = _annotated_subset(annotated, names, own)
    by_name = {structure: (value,) for value, structure in values.items()}
    return Case(name=name, patient=patient, ct=ct, label_map=label_map, annotated=names, label_values=by_name)


def _values_by_file_name(label_map: Path) -> dict[int, str]:
    if "total" not in nifti_stem(label_map).lower():
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
