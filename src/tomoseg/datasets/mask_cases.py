"""Masks without their scans: predictions, or references to compare them with.

They may be a dataset of any layout (`layouts.py`), or files without scans:

- *label maps*: `<case>.nii.gz`, with names of values in `<case>.labels.json` beside it, or in `labels.json` or
  `dataset.json` in the folder or its parent, or with `total` in the file name; or a single such file;
- *mask folders*: `<case>/<structure>.nii.gz` or `<case>/segmentations/<structure>.nii.gz`;
- *one case*: `<structure>.nii.gz` in the folder itself;
- *files that name their structures*: `<case>.seg.nrrd`, a DICOM segmentation or a DICOM structure set of any name, or
  one of them in `<case>/`;
- *channels*: label maps with four axes, one mask per structure, named as the values are, or numbered.

`.nii`, `.mha`, `.mhd`, `.nrrd` and `.nhdr` are read as `.nii.gz` is. If a folder has several kinds, which `predict` can
write side by side, only the first of `label_files.SUFFIXES` is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped
from scipy import ndimage

from tomoseg.datasets.case_folders import LABELS_FILE, label_files, named_masks
from tomoseg.datasets.cases import MaskCase, check_values_known, named_alike
from tomoseg.datasets.dataset_json import DATASET_FILE, read_label_values
from tomoseg.datasets.layouts import find_dataset
from tomoseg.datasets.scan_files import visible_folders
from tomoseg.errors import DatasetError
from tomoseg.files.channels import channel_names
from tomoseg.files.cohort import MASKS_FOLDER
from tomoseg.files.label_files import (
    label_stem,
    label_suffix,
    needs_scan,
    open_segments,
    read_geometry,
    read_label_map,
    read_mask,
    segment_values,
)
from tomoseg.files.label_names import read_label_names
from tomoseg.files.no_scan import looked_for
from tomoseg.files.paths import lacking
from tomoseg.files.results import sidecar_path
from tomoseg.files.segments import Segments
from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask
from tomoseg.volume import SourceGrid, same_grid

Values = dict[str, tuple[int, ...]]


def find_mask_cases(path: Path) -> list[MaskCase]:
    """Find cases without opening an image.

    Args:
        path: A folder of one of the kinds above, or a file of all masks.

    Returns:
        The cases, with unique names.

    Raises:
        DatasetError: If no masks of these kinds are found.
        InputError: If a JSON file cannot be read.
        LabelError: If a file of labels has a name or a value twice.
    """
    if path.is_file():
        return [_file_case(path)]
    if not path.is_dir():
        raise DatasetError(f"{path}: expected masks, got {lacking(path)}")
    try:
        found = find_dataset(path)
    except DatasetError as error:
        cases = _without_scans(path)
        if not cases:
            raise DatasetError(
                f"{path}: expected masks as <case>.nii.gz with names in labels.json, as <case>.seg.nrrd, as "
                f"<case>/<structure>.nii.gz, or a dataset, got none of them; as a dataset: {error}"
            ) from None
        return named_alike(cases)
    return named_alike(_without_scans(path)) if found.layout == "predictions" else list(found.cases)


class OpenMasks:
    """The masks of a case, read one at a time, or once if they are a label map.

    Args:
        case: The case.
        onto: The grid that they must have; None for their own.
        owner: Name of the owner of that grid in messages.
        resample: Resample masks on another grid to this one (nearest neighbour) instead of refusing them.

    Raises:
        InputError: If the label map cannot be read.
        GridError: If the label map is on another grid.
        LabelError: If the label map has a value without a name.
    """

    def __init__(
        self, case: MaskCase, onto: SourceGrid | None = None, owner: str = "the reference", *, resample: bool = False
    ) -> None:
        self.case = case
        self.grid = onto or read_geometry(case.first_file)
        self._owner = owner
        self._resample = resample
        self._values: np.ndarray | None = None
        self._segments: Segments | None = None
        if case.segments is not None:
            moves = resample and not needs_scan(case.segments)
            self._segments = open_segments(case.segments, None if moves else self.grid, owner, case.channels)
        if case.label_map is not None:
            self._values = self._read(case.label_map, read_label_map)
            self._boxes = ndimage.find_objects(self._values)
            known = [value for values in case.label_values.values() for value in values]
            check_values_known(case.label_map, known, [v for v, box in enumerate(self._boxes, start=1) if box])

    def mask(self, name: str) -> BoxedMask:
        """Return the mask of a structure; empty if there is none.

        Raises:
            InputError: If its file cannot be read.
            GridError: If it is on another grid.
        """
        if name in self.case.corrected:
            return BoxedMask.of(self._read(self.case.corrected[name], read_mask))
        if self._values is not None:
            return self._of_values(self._values, self.case.label_values.get(name, ()))
        masks = self._parts(self.case.parts(name))
        mask = next(masks, None)
        if mask is None:
            return BoxedMask(np.zeros((0, 0, 0), bool), (0, 0, 0), self.grid.canonical_shape)
        for other in masks:
            mask = mask | other
        return BoxedMask.of(mask)

    def _parts(self, names: Sequence[str]) -> Iterator[Bool[np.ndarray, "x y z"]]:
        """Yield the masks with these names that exist."""
        if self._segments is None:
            files = self.case.masks or {}
            yield from (self._read(files[name], read_mask) for name in names if name in files)
            return
        for name in names:
            if name in self._segments.names:
                mask = self._segments.mask(name)
                own = self._segments.grid
                yield mask if same_grid(own, self.grid) else resampled(mask, own, self.grid)

    def _read(self, path: Path, read: Callable[..., np.ndarray]) -> np.ndarray:
        if not self._resample:
            return read(path, self.grid, self._owner)
        own = read_geometry(path)
        return read(path) if same_grid(own, self.grid) else resampled(read(path), own, self.grid)

    def _of_values(self, values: np.ndarray, wanted: Sequence[int]) -> BoxedMask:
        boxes = [self._boxes[v - 1] for v in wanted if v <= len(self._boxes) and self._boxes[v - 1] is not None]
        if not boxes:
            return BoxedMask(np.zeros((0, 0, 0), bool), (0, 0, 0), self.grid.canonical_shape)
        box = tuple(slice(min(b[a].start for b in boxes), max(b[a].stop for b in boxes)) for a in range(3))
        inside: Bool[np.ndarray, "x y z"] = values[box] == wanted[0]
        for value in wanted[1:]:
            inside |= values[box] == value
        return BoxedMask(inside, (box[0].start, box[1].start, box[2].start), self.grid.canonical_shape)


def resampled(
    values: Shaped[np.ndarray, "x y z"], from_: SourceGrid, onto: SourceGrid
) -> Shaped[np.ndarray, "x2 y2 z2"]:
    """Resample a label map or a mask to another grid (nearest neighbour), with 0 outside of its own.

    Args:
        values: `(x, y, z)` in RAS+ order.
        from_: Their grid.
        onto: The other grid.
    """
    step = np.linalg.inv(from_.canonical_affine) @ onto.canonical_affine
    # padded with 0, since SciPy takes everything beyond the centre of the last voxel as outside
    numbers = np.pad(values.view(np.uint8) if values.dtype == bool else values, 1)
    out = ndimage.affine_transform(
        numbers, step[:3, :3], step[:3, 3] + 1, output_shape=onto.canonical_shape, order=0, mode="constant", cval=0
    )
    return out.astype(values.dtype, copy=False)


def _without_scans(folder: Path) -> list[MaskCase]:
    files = label_files(folder)
    if not files:
        return [case for inner in visible_folders(folder) if (case := _folder_case(inner)) is not None]
    found = [_case_of_all(path) for path in files]
    if any(found):
        return [case or _file_case(path) for path, case in zip(files, found, strict=True)]
    return [_mask_folder_case(folder.resolve().name, files, folder)]


def _folder_case(folder: Path) -> MaskCase | None:
    inner = folder / MASKS_FOLDER
    files = label_files(inner) if inner.is_dir() else label_files(folder)
    if len(files) == 1 and (case := _case_of_all(files[0])) is not None:
        return replace(case, name=folder.name, patient=folder.name)
    return _mask_folder_case(folder.name, files, folder) if files else None


def _mask_folder_case(name: str, files: Sequence[Path], folder: Path) -> MaskCase:
    masks = named_masks(files, folder)
    return MaskCase(name=name, patient=name, masks=masks, annotated=tuple(masks))


def _file_case(path: Path) -> MaskCase:
    """Make a case from one file.

    Raises:
        DatasetError: If nothing names its values.
    """
    if label_suffix(path) is None:
        raise DatasetError(
            f"{path}: expected masks (.nii.gz, .seg.nrrd, .nrrd, .mha, a DICOM segmentation or structure set), got "
            "another kind of file; pass one of them"
        )
    case = _case_of_all(path)
    if case is None:
        raise DatasetError(
            f'{path}: expected names for its values, got no {LABELS_FILE}; write {{"1": "spleen", ...}} to '
            f"{sidecar_path(path).name} or {LABELS_FILE} beside it"
        )
    return case


def _case_of_all(path: Path) -> MaskCase | None:
    """Make a case from one file with all masks; None if nothing names its values."""
    name = label_stem(path)
    segments = segment_values(path)
    if segments is not None:
        values = {structure: tuple(own) for structure, own in segments.items()}
        annotated = tuple(dict.fromkeys([*values, *looked_for(path)]))  # files may lack structures that were not found
        return MaskCase(name=name, patient=name, segments=path, annotated=annotated, label_values=values)
    values = _values_of(path)
    channels = channel_names(path, tuple(values))
    if channels:
        values = values or {structure: (number,) for number, structure in enumerate(channels, start=1)}
        return MaskCase(
            name=name, patient=name, segments=path, channels=channels, annotated=channels, label_values=values
        )
    if not values:
        return None
    return MaskCase(name=name, patient=name, label_map=path, annotated=tuple(values), label_values=values)


def _values_of(path: Path) -> Values:
    """Return the values of a label map by structure; empty if nothing names them."""
    for file in (sidecar_path(path), path.parent / LABELS_FILE, path.parent.parent / LABELS_FILE):
        if file.is_file():
            return {name: (value,) for value, name in read_label_names(file).items()}
    for folder in (path.parent, path.parent.parent):
        if (folder / DATASET_FILE).is_file():
            return read_label_values(folder / DATASET_FILE)
    if "total" in label_stem(path).lower():
        return {structure.name: (structure.id,) for structure in LabelSet.total()}
    return {}
