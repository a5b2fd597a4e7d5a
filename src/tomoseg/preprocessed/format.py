"""File format of a preprocessed dataset.

    PREPROCESSED/
      preprocessed.json         format version, label set, grid, cases with their splits
      cases/NAME/
        case.json               original grid, placement, annotated structures, where each occurs, slices' difficulty
        ct.b2nd                 int16 HU on the network's grid
        masks.b2nd              packed masks there
        native.b2nd             packed masks on the scan's own grid (validation and test, where that differs)

A case is stored in the axis order of the grid's view: for a coronal grid x, y and z below stand for the body's x, z
and y, and its slices are coronal (`views.py`). Arrays are stored `(z, y, x)` and `(byte, z, y, x)`, the order of a
NIfTI file, one compressed block per slice (and byte), so that a slice is read without decompressing anything else;
readers return `(x, y)` views. `preprocessed.json` is written last, and a case folder is renamed into place when it is
complete: what can be opened is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import blosc2
import numpy as np

from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError, DatasetError, LabelError
from tomoseg.grid import Placement
from tomoseg.labels import LabelSet
from tomoseg.notices import Notice
from tomoseg.settings import validate_config
from tomoseg.volume import SourceGrid

Of = TypeVar("Of")

FORMAT_VERSION = 1
INDEX = "preprocessed.json"
CASES = "cases"
CASE_RECORD = "case.json"
CT, MASKS, NATIVE = "ct.b2nd", "masks.b2nd", "native.b2nd"

SPLITS = ("train", "validation", "test")

CHUNK_SLICES = 16
"""Slices (blocks) per chunk: one slice per chunk takes ten times as long to write and to open, and reads no faster."""

COMPRESSION = {
    CT: {"codec": blosc2.Codec.ZSTD, "clevel": 3, "filters": [blosc2.Filter.BITSHUFFLE]},
    MASKS: {"codec": blosc2.Codec.LZ4, "clevel": 5, "filters": [blosc2.Filter.NOFILTER]},
    NATIVE: {"codec": blosc2.Codec.LZ4, "clevel": 5, "filters": [blosc2.Filter.NOFILTER]},
}


@dataclass(frozen=True)
class ScanSize:
    """Size of a scan, in the axis order of the dataset's view.

    Attributes:
        shape: Number of voxels along each axis.
        spacing_mm: Voxel spacing.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class CaseRecord:
    """Metadata of a case.

    Attributes:
        name: Unique name in the dataset.
        patient: Name of the patient, who is in one split only.
        shape: The scan's shape in its file's order.
        affine: The scan's affine, file index to RAS+ mm.
        placement: Position of the network's grid in the scan (RAS+ order).
        annotated: Channels that are annotated; the others are unknown, not absent.
        occurrence: Runs `[first, past last]` of the grid slices that contain each channel.
        voxels: Number of voxels of each channel on the grid.
        ceiling: Dice of each channel's mask with itself after resampling to the grid and back; no entry if empty.
        fingerprint: Digest of its sources; the case is made again when it changes.
        warnings: Notices from preprocessing.
        difficulty: Difficulty of each grid slice, 0 to 1 (`difficulty.py`); None in older records.
        parts: Parts of the body that the scan shows, as far as recognised (`checks/region.py`); None in older records.
        contents: SHA-256 of the case's arrays on disk; None in older records.
        tissue_hu: `ScanMeasurements.tissue_hu` of the scan itself; empty if it shows no tissue, None in older records.
        turned_from: Size of the original scan for a case in another view (`turn.py`); None if `shape` and `affine` are
            the scan's own.
    """

    name: str
    patient: str
    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    placement: Placement
    annotated: tuple[int, ...]
    occurrence: dict[int, tuple[tuple[int, int], ...]]
    voxels: dict[int, int]
    ceiling: dict[int, float]
    fingerprint: str
    warnings: tuple[Notice, ...] = ()
    difficulty: tuple[float, ...] | None = None
    parts: tuple[str, ...] | None = None
    contents: str | None = None
    tissue_hu: tuple[float, ...] | None = None
    turned_from: ScanSize | None = None

    @property
    def source(self) -> SourceGrid:
        """The scan's own grid."""
        return SourceGrid(self.shape, np.array(self.affine, np.float64))

    def slices_of(self, channel: int) -> np.ndarray:
        """Return the grid slices that contain a structure, `(n,)` int64."""
        runs = [np.arange(first, last) for first, last in self.occurrence.get(channel, ())]
        return np.concatenate(runs) if runs else np.empty(0, np.int64)

    def in_order(self, order: Sequence[int | None]) -> CaseRecord:
        """Return the record with its structures in another order, without some, or with further, unannotated ones.

        Args:
            order: Channel of this record for each new channel; None for an unannotated structure.
        """
        new = {channel: place for place, channel in enumerate(order) if channel is not None}
        return replace(
            self,
            annotated=tuple(sorted(new[channel] for channel in self.annotated if channel in new)),
            occurrence=_moved(self.occurrence, new),
            voxels=_moved(self.voxels, new),
            ceiling=_moved(self.ceiling, new),
        )

    def save(self, path: Path) -> None:
        """Write as JSON."""
        content = asdict(self) | {"warnings": [notice.as_dict() for notice in self.warnings]}
        if self.turned_from is None:
            del content["turned_from"]
        path.write_text(json.dumps(content, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> CaseRecord:
        """Read what `save` wrote.

        Raises:
            DatasetError: If the file is missing or is not a case record.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            by_channel = {key: {int(c): v for c, v in data[key].items()} for key in ("occurrence", "voxels", "ceiling")}
            by_channel["occurrence"] = {c: tuple((a, b) for a, b in r) for c, r in by_channel["occurrence"].items()}
            placement = Placement(**{key: tuple(value) for key, value in data["placement"].items()})
            fixed = {
                "shape": tuple(data["shape"]),
                "affine": tuple(tuple(row) for row in data["affine"]),
                "annotated": tuple(data["annotated"]),
                "warnings": tuple(map(_noticed, data["warnings"])),
                "placement": placement,
                "difficulty": _difficulty(data.get("difficulty"), placement.shape[2]),
                "parts": None if data.get("parts") is None else tuple(map(str, data["parts"])),
                "tissue_hu": _tissue(data.get("tissue_hu")),
                "turned_from": None if data.get("turned_from") is None else _size(**data["turned_from"]),
            }
            return cls(**{**data, **by_channel, **fixed})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DatasetError(
                f"{path}: expected a case record, got: {error!r}; preprocess this dataset again"
            ) from None


def _size(shape: list[int], spacing_mm: list[float]) -> ScanSize:
    (a, b, n), (first, second, along) = shape, spacing_mm
    return ScanSize((a, b, n), (first, second, along))


def _noticed(written: Any) -> Notice:
    """Return one of a record's warnings; older records have the sentence alone."""
    return Notice(written, "former record") if isinstance(written, str) else Notice.from_dict(written)


def _difficulty(values: Any, slices: int) -> tuple[float, ...] | None:
    """Return a record's difficulties.

    Raises:
        ValueError: If they are not one number from 0 to 1 per slice.
    """
    if values is None:
        return None
    if len(values) != slices or not all(0 <= value <= 1 for value in values):
        raise ValueError(f"difficulty: expected {slices} values from 0 to 1")
    return tuple(values)


def _tissue(values: Any) -> tuple[float, ...] | None:
    """Return a record's HU of tissue.

    Raises:
        ValueError: If they are not three numbers, or none.
    """
    if values is None:
        return None
    if len(values) not in (0, 3):
        raise ValueError("tissue_hu: expected three values")
    return tuple(float(value) for value in values)


@dataclass(frozen=True)
class DatasetIndex:
    """The content of `preprocessed.json`.

    Attributes:
        labels: The structures, in channel order.
        grid: Settings of the network's grid.
        splits: `train`, `validation` or `test` by case name.
    """

    labels: LabelSet
    grid: GridConfig
    splits: dict[str, str]

    def to_json(self) -> str:
        """Return JSON text."""
        content = {
            "format": FORMAT_VERSION,
            "grid": self.grid.model_dump(mode="json"),
            "splits": self.splits,
            "labels": self.labels.to_dicts(),
        }
        return json.dumps(content, indent=1)

    @classmethod
    def load(cls, folder: Path) -> DatasetIndex:
        """Read the index of a preprocessed dataset.

        Raises:
            DatasetError: If it is missing, is of another version, or cannot be understood.
        """
        path = folder / INDEX
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            version = data["format"]
        except OSError:
            raise DatasetError(
                f"{folder}: expected a preprocessed dataset ({INDEX}), found none; run `tomoseg preprocess` to its end"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{path}: expected an index of cases, got: {error!r}; delete it and preprocess again"
            ) from None
        if version != FORMAT_VERSION:
            raise DatasetError(
                f"{path}: expected format version {FORMAT_VERSION}, got {version!r}; delete it and preprocess again "
                "with this version"
            )
        try:
            splits = {str(name): str(split) for name, split in data["splits"].items()}
            labels, grid = LabelSet.from_dicts(data["labels"]), validate_config(GridConfig, data["grid"], "grid")
        except (KeyError, TypeError, AttributeError, LabelError, ConfigError) as error:
            raise DatasetError(
                f"{path}: expected splits, labels and grid, got: {error!r}; delete it and preprocess again"
            ) from None
        return cls(labels, grid, splits)


def _moved(by_channel: dict[int, Of], new: Mapping[int, int]) -> dict[int, Of]:
    """Renumber channels; those without a new number are dropped."""
    return {new[channel]: value for channel, value in by_channel.items() if channel in new}
