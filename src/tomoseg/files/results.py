"""Writing of segmentations as NIfTI: one label map, or one mask per structure, atomically."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from tomoseg.errors import InputError, LabelError
from tomoseg.files.atomic import remove_file, whole_file, whole_folder
from tomoseg.files.label_names import check_file_name, format_label_names, label_set_of, read_label_names, values_in
from tomoseg.files.label_tables import itksnap_labels, slicer_colours
from tomoseg.files.nifti import read_geometry, read_label_map, used_bits, write_bit, write_nifti
from tomoseg.files.target import Target
from tomoseg.formats import LABEL_MAP_SUFFIXES
from tomoseg.labels import LabelSet
from tomoseg.masks import by_byte, byte_of
from tomoseg.segmentation import Confidence, LabelMap, Segmentation
from tomoseg.volume import SourceGrid

NIFTI_SUFFIXES = LABEL_MAP_SUFFIXES

_WRITERS = min(4, os.cpu_count() or 1)


def nifti_stem(path: Path) -> str:
    """Return the name of a file without `.nii` or `.nii.gz`, in upper or lower case."""
    for suffix in NIFTI_SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def sidecar_path(path: Path) -> Path:
    """Return the file with the names of a label map's structures: `liver.labels.json` for `liver.nii.gz`."""
    return path.with_name(f"{nifti_stem(path)}.labels.json")


def label_map_files(path: Path) -> list[str]:
    """Return the names of the files that `write_label_map` writes: the map, and files with names and colours."""
    stem = nifti_stem(path)
    return [path.name, sidecar_path(path).name, f"{stem}.label", f"{stem}.ctbl"]


def write_label_map(label_map: LabelMap, path: Path | str) -> None:
    """Write a label map on its scan's grid, with files next to it that name the structure of each value.

    These are a JSON file and tables for ITK-SNAP (`.label`) and 3D Slicer (`.ctbl`).

    Args:
        label_map: The label map.
        path: A `.nii.gz` or `.nii` file; an existing one is replaced, and a missing folder is created.

    Raises:
        InputError: If the name has another ending.
        GridError: If the values do not fit the grid.
        OutputError: If it cannot be written.

    Example:
        >>> write_label_map(read_labelled(Path("map.nii.gz")), Path("copy.nii.gz"))
        >>> sorted(path.name for path in Path().glob("copy*"))
        ['copy.ctbl', 'copy.label', 'copy.labels.json', 'copy.nii.gz']
    """
    labels, path = label_map.labels, Path(path)
    write_nifti(path, label_map.values, label_map.grid)
    write_names(labels, path)
    tables = (itksnap_labels(labels), slicer_colours(labels))
    for name, text in zip(label_map_files(path)[2:], tables, strict=True):
        with whole_file(path.with_name(name)) as aside:
            aside.write_text(text, encoding="utf-8")


def write_names(labels: LabelSet, path: Path) -> Path:
    """Write the names of a label map's structures next to it, for formats that do not contain them; return the file.

    Raises:
        OutputError: If it cannot be written.
    """
    names = dict(sorted(zip(labels.ids, labels.names, strict=True)))
    with whole_file(sidecar_path(path)) as aside:
        aside.write_text(format_label_names(names), encoding="utf-8")
    return sidecar_path(path)


def read_labelled(path: Path | str) -> LabelMap:
    """Read a label map and the names of its structures, as written by `write_label_map`.

    Args:
        path: A `.nii.gz` or `.nii` file with `<name>.labels.json` next to it.

    Returns:
        The label map in RAS+ order, with its structures and the grid of the file.

    Raises:
        InputError: If either file is missing or cannot be read.
        GridError: If the label map's geometry cannot be used.
        LabelError: If the names are not a valid label set, or the map contains a value without a name.

    Example:
        >>> label_map = read_labelled(Path("map.nii.gz"))
        >>> label_map.labels.names, label_map.values.shape
        (('spleen', 'liver'), (48, 40, 12))
    """
    path = Path(path)
    sidecar = sidecar_path(path)
    if not sidecar.is_file():
        raise InputError(
            f'{path}: expected names in {sidecar.name}, got no such file; write {{"1": "spleen", ...}} there'
        )
    labels = label_set_of(read_label_names(sidecar))
    values = read_label_map(path)
    unnamed = sorted(set(values_in(values)) - {0, *labels.ids})
    if unnamed:
        listed = ", ".join(map(str, unnamed[:8]))
        raise LabelError(f"{path}: expected a name in {sidecar.name} for every value, got none for {listed}; name them")
    return LabelMap(values, labels, read_geometry(path))


def write_masks(segmentation: Segmentation, folder: Path | str, names: Sequence[str] | None = None) -> None:
    """Write one `<structure>.nii.gz` per structure, on the scan's grid; the file of an absent structure is all zeros.

    Only eight structures are decompressed at a time. A new folder appears completely or not at all. In an existing
    folder each file is replaced; masks of structures of the label set that are not among `names` are removed, since
    they belong to an earlier result; other files stay.

    Args:
        segmentation: The masks.
        folder: Folder to write to.
        names: Names of the structures to write; None writes all.

    Raises:
        LabelError: If a name is unknown, or cannot be used as a file name.
        OutputError: If they cannot be written.

    Example:
        >>> result = read_labelled(Path("map.nii.gz"))
        >>> masks = Segmentation(result.labels.subset(["liver"]), result.grid)
        >>> for k in range(result.values.shape[2]):
        ...     masks.append((result.values[None, :, :, k] == 5).view(np.uint8))
        >>> write_masks(masks, Path("written"))
        >>> [path.name for path in Path("written").iterdir()]
        ['liver.nii.gz']
    """
    labels, folder = segmentation.labels, Path(folder)
    wanted = labels if names is None else labels.subset(names)
    for structure in wanted:
        check_file_name(structure.name, str(folder))
    with whole_folder(folder) as aside, ThreadPoolExecutor(_WRITERS) as writers:
        for plane, channels in by_byte(labels.channel(structure.name) for structure in wanted).items():
            packed = _in_file_order(segmentation.byte_plane(plane), segmentation.grid)
            used = used_bits(packed, segmentation.grid)
            structures = [(byte_of(channel)[1], labels.names[channel]) for channel in channels]
            list(writers.map(partial(_write_bit, packed, used, segmentation.grid, aside), structures))
    for name in set(labels.names) - set(wanted.names):
        if (former := folder / f"{name}.nii.gz").exists():
            remove_file(former)


def write_nifti_result(result: Segmentation | LabelMap, target: Target) -> list[Path]:
    """Write the format `nifti`, by `write_label_map` or `write_masks`, and return the paths."""
    if isinstance(result, LabelMap):
        write_label_map(result, target.path)
        return [target.path.with_name(name) for name in label_map_files(target.path)]
    write_masks(result, target.path)
    return [target.path / f"{name}.nii.gz" for name in result.labels.names]


def write_confidence(confidence: Confidence, folder: Path) -> list[str]:
    """Write one uint8 file per probability map, in which 0 to 255 stand for 0 to 1, on the scan's grid.

    Args:
        confidence: The probability maps; one is in memory at a time.
        folder: Folder to write to; existing files of the maps are replaced.

    Returns:
        The names of the files.

    Raises:
        LabelError: If a name cannot be used as a file name.
        OutputError: If they cannot be written.
    """
    for name in confidence.names:
        check_file_name(name, str(folder))
    with whole_folder(folder, replace=True) as aside:
        for name in confidence.names:
            write_nifti(aside / f"{name}.nii.gz", confidence.map(name), confidence.grid)
    return [f"{name}.nii.gz" for name in confidence.names]


def _in_file_order(plane: UInt8[np.ndarray, "x y z"], grid: SourceGrid) -> UInt8[np.ndarray, "x y z"]:
    """Return the array with its memory in the file's order, so that it is reordered only once for eight masks."""
    return grid.to_canonical(np.asfortranarray(grid.from_canonical(plane)))


def _write_bit(
    packed: UInt8[np.ndarray, "x y z"],
    used: UInt8[np.ndarray, "k"],
    grid: SourceGrid,
    folder: Path,
    structure: tuple[int, str],
) -> None:
    bit, name = structure
    write_bit(folder / f"{name}.nii.gz", packed, bit, grid, used)
