"""Baselines that a network has to beat: an HU interval and a mean-position atlas for each structure.

Neither learns what a structure looks like. A dataset on which one of them scores well is too easy to show that a
network works. Both are fitted one training case at a time, and predict packed masks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int16, UInt8, UInt16

from tomoseg.errors import InputError
from tomoseg.grid import body_box
from tomoseg.masks import check_packed, packed_bytes, set_structure, structure_mask, unpack

Cases = Iterable[tuple[Int16[np.ndarray, "x y z"], UInt8[np.ndarray, "b x y z"]]]
"""Scans in HU with their packed masks, in RAS+ order."""

BIN_HU = 10
LOWEST_HU, HIGHEST_HU = -1024, 3071
ATLAS_CELLS = (48, 48, 64)
_SAMPLE_MM = (3.0, 3.0, 3.0)


@dataclass(frozen=True)
class ThresholdBaseline:
    """Predicts each structure wherever HU lie in an interval, within the bounding box of the body.

    Attributes:
        intervals_hu: `(C, 2)`, lowest and highest HU of each structure, both included; if the lowest is above the
            highest, nothing is predicted.
    """

    intervals_hu: Int16[np.ndarray, "c 2"]

    def predict(self, hu: Int16[np.ndarray, "x y z"]) -> UInt8[np.ndarray, "b x y z"]:
        """Return the packed masks of one scan, on its grid in RAS+ order."""
        (x0, x1), (y0, y1), _ = body_box(hu, _SAMPLE_MM, 0.0)
        packed = np.zeros((packed_bytes(len(self.intervals_hu)), *hu.shape), np.uint8)
        body = hu[x0:x1, y0:y1]
        for channel, (low, high) in enumerate(self.intervals_hu):
            if low <= high:
                set_structure(packed[:, x0:x1, y0:y1], channel, (body >= low) & (body <= high))
        return packed


def fit_threshold_baseline(cases: Cases, structures: int) -> ThresholdBaseline:
    """Choose for each structure the interval with the best Dice over the voxels of all training cases together.

    Args:
        cases: One or more training cases.
        structures: Number of structures.

    Raises:
        InputError: If there is no case, or the masks hold another number of structures.
    """
    bins = (HIGHEST_HU - LOWEST_HU) // BIN_HU + 1
    inside = np.zeros((structures, bins), np.int64)
    everything = np.zeros(bins, np.int64)
    for hu, packed in cases:
        check_packed(packed, structures)
        (x0, x1), (y0, y1), _ = body_box(hu, _SAMPLE_MM, 0.0)
        number = (np.clip(hu, LOWEST_HU, HIGHEST_HU).astype(np.int32) - LOWEST_HU) // BIN_HU
        everything += np.bincount(number[x0:x1, y0:y1].ravel(), minlength=bins)
        for channel in range(structures):
            inside[channel] += np.bincount(number[structure_mask(packed, channel)], minlength=bins)
    if not everything.any():
        raise InputError("expected at least one training case, got none; pass some")
    return ThresholdBaseline(np.array([_best_interval(counts, everything) for counts in inside], np.int16))


@dataclass(frozen=True)
class AtlasBaseline:
    """Predicts each structure where it lay in training, relative to the body's box in x and y and to the scan in z.

    Attributes:
        counts: `(C, *ATLAS_CELLS)`, number of training cases in which the structure was at this place.
        thresholds: `(C,)`, count at or above which a structure is predicted; with 0 nothing is predicted.
    """

    counts: UInt16[np.ndarray, "c ax ay az"]
    thresholds: Float[np.ndarray, "c"]

    def predict(self, hu: Int16[np.ndarray, "x y z"]) -> UInt8[np.ndarray, "b x y z"]:
        """Return the packed masks of one scan, interpolated linearly between the cells of the atlas."""
        box = body_box(hu, _SAMPLE_MM, 0.0)
        spans = (box[0], box[1], (0, hu.shape[2]))
        packed = np.zeros((packed_bytes(len(self.counts)), *hu.shape), np.uint8)
        weights = [_weights(low, high, cells) for (low, high), cells in zip(spans, ATLAS_CELLS, strict=True)]
        where = tuple(slice(low, high) for low, high in spans)
        for channel, (counts, threshold) in enumerate(zip(self.counts, self.thresholds, strict=True)):
            if threshold > 0:
                set_structure(packed[(slice(None), *where)], channel, _interpolated(counts, weights) >= threshold)
        return packed


def fit_atlas_baseline(cases: Cases, structures: int) -> AtlasBaseline:
    """Count the positions of structures, and choose for each the threshold with the best Dice over all training cases.

    Args:
        cases: One or more training cases.
        structures: Number of structures.

    Raises:
        InputError: If there is no case, or the masks hold another number of structures.
    """
    counts = np.zeros((structures, *ATLAS_CELLS), np.uint16)
    number = 0
    for hu, packed in cases:
        check_packed(packed, structures)
        box = body_box(hu, _SAMPLE_MM, 0.0)
        spans = (box[0], box[1], (0, hu.shape[2]))
        x, y, z = (
            (low + (np.arange(cells) + 0.5) * (high - low) / cells).astype(int)
            for (low, high), cells in zip(spans, ATLAS_CELLS, strict=True)
        )
        counts += unpack(packed[:, x[:, None, None], y[:, None], z], structures)
        number += 1
    if number == 0:
        raise InputError("expected at least one training case, got none; pass some")
    return AtlasBaseline(counts, np.array([_best_count(c, number) for c in counts], float))


def _best_interval(inside: np.ndarray, everything: np.ndarray) -> tuple[int, int]:
    """Return the interval of bins with the largest pooled Dice, in HU."""
    if not inside.any():
        return (1, 0)
    hits, total = (np.concatenate([[0], np.cumsum(counts)]) for counts in (inside, everything))
    caught = hits[None, 1:] - hits[:-1, None]
    predicted = total[None, 1:] - total[:-1, None]
    dice = np.triu(2 * caught / np.maximum(predicted + hits[-1], 1))
    low, high = np.unravel_index(int(dice.argmax()), dice.shape)
    return (LOWEST_HU + int(low) * BIN_HU, min(LOWEST_HU + (int(high) + 1) * BIN_HU - 1, HIGHEST_HU))


def _best_count(counts: UInt16[np.ndarray, "ax ay az"], cases: int) -> float:
    """Return the count with the largest pooled Dice on the atlas's cells, less 0.5 so that interpolation keeps it."""
    cells = np.bincount(counts.ravel(), minlength=cases + 1)
    if cells[1:].sum() == 0:
        return 0.0
    predicted = cells[::-1].cumsum()[::-1] * cases
    caught = (cells * np.arange(cases + 1))[::-1].cumsum()[::-1]
    dice = 2 * caught / (predicted + caught[0])
    return float(dice[1:].argmax() + 1) - 0.5


def _weights(low: int, high: int, cells: int) -> Float32[np.ndarray, "n cells"]:
    """Weights of linear interpolation from the centres of cells to those of voxels."""
    position = np.clip((np.arange(high - low) + 0.5) * cells / (high - low) - 0.5, 0, cells - 1)
    return np.clip(1 - np.abs(position[:, None] - np.arange(cells)), 0, 1).astype(np.float32)


def _interpolated(counts: UInt16[np.ndarray, "ax ay az"], weights: list[np.ndarray]) -> Float32[np.ndarray, "x y z"]:
    values = counts.astype(np.float32)
    for weight in weights:
        values = np.moveaxis(np.tensordot(weight, values, (1, 0)), 0, -1)
    return values
