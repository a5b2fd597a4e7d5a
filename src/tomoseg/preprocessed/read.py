"""Reading a preprocessed dataset: any slice in about a millisecond."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from jaxtyping import Float32, Int16, UInt8

from tomoseg.checks.in_distribution import ScanRange, evenly_spread, measurements_of, tissue_hu_of
from tomoseg.config import GridConfig
from tomoseg.errors import DatasetError
from tomoseg.grid import AIR_HU, slice_positions
from tomoseg.labels import LabelSet
from tomoseg.masks import reorder
from tomoseg.preprocessed.format import CASE_RECORD, CASES, CT, MASKS, NATIVE, CaseRecord, DatasetIndex, ScanSize
from tomoseg.views import ViewName, unordered
from tomoseg.volume import as_axial, spacing_of

ALL = slice(None)
MOST_LOOKED_AT, SLICES_LOOKED_AT = 200, 4
"""Number of cases, and of grid slices of each, that are measured if older records lack the HU of tissue."""
OPEN_FILES = 512
"""Number of arrays kept open; opening one costs more than reading a slice from it."""


class PreprocessedCase:
    """One case of a preprocessed dataset: its record, and its arrays, which are opened on first use.

    Args:
        folder: The folder of the case.
        split: `train`, `validation` or `test`.
        files: The open arrays of the dataset.
        view: The view of its slices; x, y and z below are the axes in the order of that view.

    Attributes:
        scored_on_grid: Whether it is scored on the network's grid: a former training case keeps no other masks.
    """

    def __init__(self, folder: Path, split: str, files: OpenArrays, view: ViewName = "axial") -> None:
        self.folder = folder
        self.split = split
        self.scored_on_grid = False
        self.view = view
        self.record = CaseRecord.load(folder / CASE_RECORD)
        self._files = files
        self._order: tuple[int | None, ...] | None = None

    @property
    def name(self) -> str:
        """The case's name."""
        return self.record.name

    @property
    def slices(self) -> int:
        """Number of slices on the grid."""
        return self.shape[2]

    @property
    def scan(self) -> ScanSize:
        """Size of the scan itself."""
        source = self.record.source
        return self.record.turned_from or ScanSize(source.canonical_shape, spacing_of(source.canonical_affine))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing in mm of the scan itself along x, y and z."""
        return self.scan.spacing_mm

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels of the grid along x, y and z."""
        return self.record.placement.shape

    @property
    def grid_spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing in mm of the grid along x, y and z."""
        placement, edges = self.record.placement, spacing_of(self.record.source.canonical_affine)
        x, y, z = (n * e / g for n, e, g in zip(edges, placement.extent, placement.shape, strict=True))
        return (x, y, z)

    @cached_property
    def positions_mm(self) -> Float32[np.ndarray, "z"]:
        """Signed distance in mm of each slice from the body's midline (`grid.slice_positions`); computed once."""
        return slice_positions(self.ct(), self.grid_spacing_mm)

    def ct_slice(self, k: int) -> Int16[np.ndarray, "x y"]:
        """HU of one axial slice on the grid."""
        return self._files.read(self.folder / CT, k).T

    def masks_slice(self, k: int) -> UInt8[np.ndarray, "b x y"]:
        """Packed masks of one axial slice on the grid."""
        return self._masks(MASKS, (ALL, k))

    def ct_block(self, first: int, past: int) -> Int16[np.ndarray, "x y z"]:
        """HU of the axial slices `first` to `past - 1` on the grid."""
        return self._files.read(self.folder / CT, slice(first, past)).T

    def masks_block(self, first: int, past: int) -> UInt8[np.ndarray, "b x y z"]:
        """Packed masks of the axial slices `first` to `past - 1` on the grid."""
        return self._masks(MASKS, (ALL, slice(first, past)))

    def ct(self) -> Int16[np.ndarray, "x y z"]:
        """HU of the whole case on the grid."""
        return self._files.read(self.folder / CT, ALL).T

    def check(self) -> None:
        """Check that the arrays can be opened and read to their end.

        Raises:
            DatasetError: If one is missing, truncated or of another size.
        """
        last, (x, y, _) = self.slices - 1, self.shape
        source = self.record.source.canonical_shape
        for found, shape in ((self.ct_slice(last), (x, y)), (self.masks_slice(last)[0], (x, y))):
            if found.shape != shape:
                raise DatasetError(_damaged(self.folder, ValueError(f"slices of {found.shape}")))
        if self.split != "train" and self.native_masks_slice(source[2] - 1).shape[1:] != source[:2]:
            raise DatasetError(_damaged(self.folder / NATIVE, ValueError("masks of another size")))

    def scan_hu(self) -> Int16[np.ndarray, "x y z"] | None:
        """HU of the scan itself, with air where it was cropped; None if the grid has other voxels than the scan."""
        placement, shape = self.record.placement, self.record.source.canonical_shape
        if placement.resamples:
            return None
        if placement.is_whole(shape):
            return self.ct()
        hu = np.full(shape, AIR_HU, np.int16)
        hu[placement.box()] = self.ct()
        return hu

    def masks(self) -> UInt8[np.ndarray, "b x y z"]:
        """Packed masks of the whole case on the grid."""
        return self._masks(MASKS, ALL)

    def in_split(self, split: str) -> PreprocessedCase:
        """A copy of the case in another split."""
        is_whole = self.record.placement.is_whole(self.record.source.canonical_shape)
        other = copy.copy(self)
        other.split = split
        other.scored_on_grid = not (is_whole or (self.folder / NATIVE).exists()) and self.split == "train" != split
        return other

    def in_order(self, order: tuple[int | None, ...]) -> PreprocessedCase:
        """A copy of the case with its structures in another order, without some, or with further, unannotated ones.

        Args:
            order: For each new channel the channel of this case that it takes; None for an unannotated structure.
        """
        other, own = copy.copy(self), self._order
        other.record = self.record.in_order(order)
        other._order = order if own is None else tuple(None if place is None else own[place] for place in order)
        return other

    def native_masks_slice(self, k: int) -> UInt8[np.ndarray, "b x y"]:
        """Packed masks of one axial slice of the scan itself.

        Raises:
            DatasetError: If the case has none, as training cases have.
        """
        if self.record.placement.is_whole(self.record.source.canonical_shape):
            return self.masks_slice(k)
        if not (self.folder / NATIVE).exists():
            raise DatasetError(
                f"{self.name}: expected masks on the scan's own grid, got a training case, which has none; "
                "score a validation or test case"
            )
        return self._masks(NATIVE, (ALL, k))

    def _masks(self, file: str, index: Any) -> np.ndarray:
        """Read packed masks of an array, as `(b, x, y[, z])`."""
        found = self._files.read(self.folder / file, index)
        packed = found.transpose(0, *range(found.ndim - 1, 0, -1))
        return packed if self._order is None else reorder(packed, self._order)


class OpenArrays:
    """The most recently used arrays, kept open; each process opens its own."""

    def __init__(self) -> None:
        self.get = lru_cache(OPEN_FILES)(_opened)

    def read(self, path: Path, index: Any) -> np.ndarray:
        """Read a part of the array at a path.

        Raises:
            DatasetError: If it cannot be opened or unpacked.
        """
        array = self.get(path)
        try:
            return np.asarray(array[index])
        except (RuntimeError, ValueError) as error:
            raise DatasetError(_damaged(path, error)) from None

    def __reduce__(self) -> tuple[type[OpenArrays], tuple[()]]:
        return OpenArrays, ()


def _opened(path: Path) -> Any:
    """Open an array, memory-mapped.

    Raises:
        DatasetError: If it cannot be opened, or would run code when opened.
    """
    try:
        return blosc2.open(str(path), mode="r", mmap_mode="r", deserialize="safe")
    except blosc2.UnsafeDeserializationError:
        raise DatasetError(
            f"{path}: expected a compressed array, got one that runs code when it is opened; do not trust this dataset"
        ) from None
    except (OSError, RuntimeError, ValueError) as error:
        raise DatasetError(_damaged(path, error)) from None


def _damaged(path: Path, error: Exception) -> str:
    return f"{path}: expected a compressed array, got: {error}; delete its folder and preprocess again"


class Preprocessed:
    """A preprocessed dataset.

    Args:
        folder: A folder written by `tomoseg preprocess`.

    Raises:
        DatasetError: If it is missing, incomplete or of another version.

    Example:
        >>> data = Preprocessed(Path("PREPROCESSED"))
        >>> len(data.cases), [case.name for case in data.split("train")]
        (4, ['case0', 'case1'])
        >>> hu, packed = data.cases[0].ct_slice(5), data.cases[0].masks_slice(5)
        >>> hu.dtype.name, packed.shape[1:] == hu.shape
        ('int16', True)
    """

    def __init__(self, folder: Path | str) -> None:
        folder = Path(folder)
        index = DatasetIndex.load(folder)
        files = OpenArrays()
        self.folder = folder
        self.labels: LabelSet = index.labels
        self.grid: GridConfig = index.grid
        view = self.grid.view
        self.cases = [PreprocessedCase(folder / CASES / n, s, files, view) for n, s in sorted(index.splits.items())]

    def split(self, name: str) -> list[PreprocessedCase]:
        """Return the cases of one split, sorted by name.

        Raises:
            DatasetError: If the split has no cases.
        """
        cases = [case for case in self.cases if case.split == name]
        if not cases:
            splits = [case.split for case in self.cases]
            counts = ", ".join(f"{one} {splits.count(one)}" for one in ("train", "validation", "test"))
            raise DatasetError(f"{self.folder}: expected cases in split {name!r}, got {counts}; choose another split")
        return cases

    def with_structures(self, labels: LabelSet) -> Preprocessed:
        """Return the dataset with other structures; nothing on disk changes.

        Args:
            labels: The structures. Those that the dataset lacks count as not annotated in any case.

        Example:
            >>> data = Preprocessed(Path("PREPROCESSED"))
            >>> data.with_structures(data.labels.subset(data.labels.names[::-1])).labels.names == data.labels.names
            True
        """
        if labels.names == self.labels.names:
            return self
        order = tuple(self.labels.channel(name) if name in self.labels else None for name in labels.names)
        other = copy.copy(self)
        other.labels = labels
        other.cases = [case.in_order(order) for case in self.cases]
        return other

    def resplit(self, splits: Mapping[str, str]) -> Preprocessed:
        """Return the dataset with some cases in other splits; nothing on disk changes.

        Args:
            splits: The new split of each case that moves, by its name.

        Example:
            >>> data = Preprocessed(Path("PREPROCESSED"))
            >>> [case.name for case in data.resplit({"case0": "validation"}).split("train")]
            ['case1']
        """
        other = copy.copy(self)
        other.cases = [case.in_split(splits.get(case.name, case.split)) for case in self.cases]
        return other


def range_of(cases: Sequence[PreprocessedCase]) -> ScanRange:
    """Return the range of the scans' properties.

    Args:
        cases: At least one.
    """
    looked_at = set(evenly_spread(len(cases), MOST_LOOKED_AT))
    measurements = []
    for number, case in enumerate(cases):
        tissue = case.record.tissue_hu
        if tissue is None and number in looked_at:
            tissue = tissue_hu_of(as_axial(case.ct(), case.view), SLICES_LOOKED_AT)
        spacing_mm, shape = unordered(case.scan.spacing_mm, case.view), unordered(case.scan.shape, case.view)
        measurements.append(measurements_of(tissue or None, spacing_mm, shape))
    return ScanRange.of(measurements, [case.record.parts or () for case in cases])
