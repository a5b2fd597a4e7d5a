"""Datasets described by a `dataset.json`: nnU-Net raw and Medical Decathlon."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from tomoseg.datasets.case_folders import CaseFolders, LeftOut
from tomoseg.datasets.cases import Case
from tomoseg.errors import DatasetError
from tomoseg.files.channels import channel_names
from tomoseg.files.label_files import SEG_NRRD, SUFFIXES, label_stem
from tomoseg.files.label_names import check_told_apart, parse_label_names, read_json, structure_name

DATASET_FILE = "dataset.json"

_CHANNEL = "_0000"
_ENDINGS = tuple(suffix for suffix in SUFFIXES if suffix != SEG_NRRD and not suffix.endswith(".dcm"))
"""Supported file endings in nnU-Net's layout, for scans and label maps."""


def find_listed_cases(root: Path) -> CaseFolders:
    """Find the cases that a Medical Decathlon `dataset.json` lists under `training`.

    A file that exists only with nnU-Net's channel number (`liver_0_0000.nii.gz`) is found too.

    Raises:
        InputError: If the file cannot be read.
        DatasetError: If it lists paths outside of its folder, missing files, several channels or a label to ignore.
        LabelError: If a name or a value occurs twice.
    """
    path = root / DATASET_FILE
    data = _description(path)
    label_values = _label_values(data, path)
    cases, left_out = [], []
    entries = data["training"]
    if not isinstance(entries, list):
        raise DatasetError(f"{path}: expected a list under 'training', got {str(entries)[:80]}; correct the file")
    for entry in entries:
        if not isinstance(entry, dict) or "image" not in entry:
            raise DatasetError(
                f"{path}: expected an image and a label for each case, got {str(entry)[:80]}; correct the file"
            )
        if "label" not in entry:
            image = _inside(root, entry["image"], path)
            left_out.append(LeftOut(image, f"a scan without a label in {DATASET_FILE} was left out"))
            continue
        label_map = _inside(root, entry["label"], path)
        cases.append(_case(_inside(root, entry["image"], path), label_map, label_values))
    return CaseFolders(_told_apart(cases, root, path), left_out)


def _told_apart(cases: list[Case], root: Path, path: Path) -> list[Case]:
    """Name cases after their label files, and if two have the same name, also after the folders: `p1_seg`.

    Raises:
        DatasetError: If a label file belongs to several images.
    """
    if len({case.name for case in cases}) == len(cases):
        return cases
    names = []
    for case in cases:
        folder = case.first_file.parent.relative_to(root)
        names.append("_".join([*folder.parts, case.name]))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DatasetError(
            f"{path}: expected a separate label for each image, got several images with "
            f"{', '.join(twice[:4])}; correct it"
        )
    return [replace(case, name=name, patient=name) for case, name in zip(cases, names, strict=True)]


def find_numbered_cases(root: Path) -> CaseFolders:
    """Find the cases of an nnU-Net raw dataset: `labelsTr/<case>.nii.gz` with `imagesTr/<case>_0000.nii.gz`.

    Raises:
        InputError: If `dataset.json` cannot be read.
        DatasetError: If a folder or the channel's file is missing, there are several channels or a label to ignore, or
            the files are of an unsupported kind.
        LabelError: If a name or a value occurs twice.
    """
    path = root / DATASET_FILE
    data = _description(path)
    label_values = _label_values(data, path)
    ending = data.get("file_ending", ".nii.gz")
    if ending not in _ENDINGS:
        raise DatasetError(
            f"{path}: expected files ending in {', '.join(_ENDINGS[:-1])} or {_ENDINGS[-1]}, got {ending!r}; "
            "convert them to NIfTI"
        )
    images, labels = root / "imagesTr", root / "labelsTr"
    for folder in (images, labels):
        if not folder.is_dir():
            raise DatasetError(f"{root}: expected a folder {folder.name} beside {DATASET_FILE}, got none; add it")
    files = _files_ending(labels, ending)
    if not files:
        raise DatasetError(f"{labels}: expected files ending in {ending}, got none; correct file_ending in {path.name}")
    labelled = {file.name.removesuffix(ending) for file in files}
    cases = [
        _case(images / f"{file.name.removesuffix(ending)}{_CHANNEL}{ending}", file, label_values) for file in files
    ]
    alone = [
        LeftOut(file, f"a scan without a label map in {labels.name} was left out")
        for file in _files_ending(images, ending)
        if file.name.removesuffix(ending).removesuffix(_CHANNEL) not in labelled
    ]
    return CaseFolders(cases, alone)


def is_listed(root: Path) -> bool:
    """Whether `dataset.json` lists its cases, as in the Medical Decathlon.

    Raises:
        InputError: If the file cannot be read.
        DatasetError: If it describes no labels.
        LabelError: If a key occurs twice.
    """
    return "training" in _description(root / DATASET_FILE)


def read_label_values(path: Path) -> dict[str, tuple[int, ...]]:
    """Read the label map values of each structure from a `dataset.json`.

    Args:
        path: The file.

    Raises:
        DatasetError: If it names no structures, or has unsupported labels or channels.
        InputError: If it cannot be read.
        LabelError: If it has a name or a value twice.
    """
    return _label_values(_description(path), path)


def _files_ending(folder: Path, ending: str) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name.endswith(ending) and not p.name.startswith("."))


def _description(path: Path) -> dict[str, Any]:
    data = read_json(path)
    if not isinstance(data, dict) or not isinstance(data.get("labels"), dict):
        raise DatasetError(f"{path}: expected 'labels' with the structures' names, got none; correct the file")
    channels = data.get("channel_names", data.get("modality", {}))
    if isinstance(channels, dict) and len(channels) > 1:
        raise DatasetError(f"{path}: expected one channel, CT, got {len(channels)}; pass a CT dataset")
    return data


def _label_values(data: dict[str, Any], path: Path) -> dict[str, tuple[int, ...]]:
    labels = data["labels"]
    if "ignore" in labels or "ignore" in labels.values():
        raise DatasetError(
            f"{path}: expected every voxel to be labelled, got a label 'ignore'; leave out the cases that use "
            "it and remove it from the labels, since only whole structures of a case can be unknown here, not "
            "single voxels"
        )
    lists = {name: tuple(value) for name, value in labels.items() if isinstance(value, list)}
    regions = {structure_name(name, str(path)): _region(name, values, path) for name, values in lists.items()}
    plain = {key: value for key, value in labels.items() if key not in lists}
    names = parse_label_names(plain, str(path)) if plain else {}
    check_told_apart([*names.values(), *regions], str(path))
    return {name: (value,) for value, name in names.items()} | regions


def _region(name: str, values: tuple[Any, ...], path: Path) -> tuple[int, ...]:
    if not values or not all(type(v) is int and 0 < v <= 65535 for v in values):
        raise DatasetError(f"{path}: expected a region's values from 1 to 65535, got {name!r}: {values}; renumber")
    return values


def _inside(root: Path, text: Any, path: Path) -> Path:
    relative = PurePosixPath(text) if isinstance(text, str) else PurePosixPath("..")
    if relative.is_absolute() or ".." in relative.parts or "\\" in str(text):
        raise DatasetError(f"{path}: expected paths inside the dataset's folder, got {text!r}; correct the file")
    file = root / relative
    suffix = next((s for s in _ENDINGS if file.name.endswith(s)), "")
    numbered = file.with_name(file.name.removesuffix(suffix) + _CHANNEL + suffix)
    return numbered if not file.exists() and numbered.is_file() else file


def _case(ct: Path, label_map: Path, label_values: dict[str, tuple[int, ...]]) -> Case:
    for file in (ct, label_map):
        if not file.is_file() and not (file == ct and ct.is_dir()):
            what = "a link to a file that is not there" if file.is_symlink() else "no such file"
            raise DatasetError(f"{file.parent}: expected {file.name}, got {what}; add it or leave the case out")
    name = label_stem(label_map)
    channels = channel_names(label_map, tuple(label_values))
    return Case(
        name=name,
        patient=name,
        ct=ct,
        label_map=None if channels else label_map,
        segments=label_map if channels else None,
        channels=channels,
        annotated=tuple(label_values),
        label_values=label_values,
    )
