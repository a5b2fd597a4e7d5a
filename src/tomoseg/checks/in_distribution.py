"""Whether a scan lies within the range of a model's training scans: voxel spacing, extent, HU of tissue, body part.

Models are overconfident on scans outside of that range, so it is checked beforehand. The check only warns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int16

from tomoseg.language.words import part
from tomoseg.notices import Notice
from tomoseg.volume import Volume

Range = tuple[float, float]

TISSUE_HU = -500
"""HU above which voxels are the patient or the table."""

PERCENTILES = (5, 50, 95)
SLICES_MEASURED = 16
"""Number of axial slices of a scan, evenly spread, in which HU are measured."""

SPACING_FACTOR = 1.5
EXTENT_FACTOR = 1.5
TISSUE_MARGIN_HU = 60.0
"""Tolerances, as factors and in HU, by which a scan may exceed the range of the training scans."""

NEARLY_ALL = 0.9
"""Share of the training scans that must show a body part for it to be expected in a scan."""

_ALONG = (part("{} mm from left to right"), part("{} mm from back to front"), part("{} mm from feet to head"))
_PERCENTILES = (
    part("soft (5 % of the tissue lie below)"),
    part("middling"),
    part("dense (5 % of the tissue lie above)"),
)


@dataclass(frozen=True)
class ScanMeasurements:
    """The measurements of one scan that are compared.

    Attributes:
        spacing_mm: Voxel spacing along x, y and z.
        extent_mm: Extent of the scan along x, y and z.
        tissue_hu: `PERCENTILES` of the HU above `TISSUE_HU`; None if there are none.
    """

    spacing_mm: tuple[float, ...]
    extent_mm: tuple[float, ...]
    tissue_hu: tuple[float, ...] | None


@dataclass(frozen=True)
class ScanRange:
    """The smallest and largest measurements of many scans.

    Attributes:
        spacing_mm: Range of the voxel spacing along x, y and z.
        extent_mm: Range of the extent along x, y and z.
        tissue_hu: Range of each of `PERCENTILES` of tissue HU.
        parts: Body parts that nearly all of the scans show; may be empty.
    """

    spacing_mm: tuple[Range, ...]
    extent_mm: tuple[Range, ...]
    tissue_hu: tuple[Range, ...]
    parts: tuple[str, ...] = ()

    @classmethod
    def of(cls, scans: Sequence[ScanMeasurements], parts: Sequence[Sequence[str]] = ()) -> ScanRange:
        """Compute the range over one or more scans, of which at least one shows tissue.

        Args:
            scans: The measurements of each scan.
            parts: The body parts that each scan shows.
        """
        with_tissue = [scan.tissue_hu for scan in scans if scan.tissue_hu is not None]
        return cls(
            _ranges([scan.spacing_mm for scan in scans]),
            _ranges([scan.extent_mm for scan in scans]),
            _ranges(with_tissue),
            _of_nearly_all(parts),
        )

    def joined(self, other: ScanRange) -> ScanRange:
        """Return the range over the scans of both."""
        return ScanRange(
            _joined(self.spacing_mm, other.spacing_mm),
            _joined(self.extent_mm, other.extent_mm),
            _joined(self.tissue_hu or other.tissue_hu, other.tissue_hu or self.tissue_hu),
            tuple(part for part in self.parts if part in other.parts),
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ScanRange:
        """Read a range from JSON that was written from `dataclasses.asdict`.

        Raises:
            KeyError: If an entry is missing.
            ValueError: If a range is not a pair of numbers.
        """
        spacing, extent, tissue = (
            tuple(_pair(each) for each in data[key]) for key in ("spacing_mm", "extent_mm", "tissue_hu")
        )
        return cls(spacing, extent, tissue, tuple(map(str, data.get("parts", ()))))


def measurements_of(
    tissue_hu: tuple[float, ...] | None, spacing_mm: Sequence[float], shape: Sequence[int]
) -> ScanMeasurements:
    """Return the measurements of one scan.

    Args:
        tissue_hu: Result of `tissue_hu_of`.
        spacing_mm: Its voxel spacing along x, y and z.
        shape: Its number of voxels along x, y and z.
    """
    return ScanMeasurements(
        tuple(round(float(edge), 4) for edge in spacing_mm),
        tuple(round(float(n * edge), 1) for n, edge in zip(shape, spacing_mm, strict=True)),
        tissue_hu,
    )


def tissue_hu_of(hu: Int16[np.ndarray, "x y z"], slices: int = SLICES_MEASURED) -> tuple[float, ...] | None:
    """Measure `PERCENTILES` of the HU above `TISSUE_HU` in some axial slices; None if there are none.

    Training and use both measure the scan's own voxels: on a coarse grid, air is averaged into the tissue at its edge.

    Args:
        hu: The scan in RAS+ order.
        slices: Number of slices, evenly spread.

    Example:
        >>> tissue_hu_of(np.array([[[-1000, 0, 100]]], np.int16))
        (5.0, 50.0, 95.0)
    """
    tissue = np.concatenate(
        [part[part > TISSUE_HU] for part in (hu[:, :, k] for k in evenly_spread(hu.shape[2], slices))]
    )
    return tuple(round(float(value), 1) for value in np.percentile(tissue, PERCENTILES)) if tissue.size else None


def evenly_spread(slices: int, count: int = SLICES_MEASURED) -> list[int]:
    """Indices of up to `count` evenly spread slices.

    Example:
        >>> evenly_spread(10, 3), evenly_spread(2, 3)
        ([1, 5, 8], [0, 1])
    """
    return sorted({int((k + 0.5) * slices / count) for k in range(count)})


def out_of_distribution(
    volume: Volume, trained_on: ScanRange, parts: Sequence[str] = (), averaged: Sequence[bool] = (False, False, False)
) -> tuple[Notice, ...]:
    """Return warnings about properties of a scan that are out of the range of a model's training scans.

    Args:
        volume: The scan.
        trained_on: The range of the model's training scans.
        parts: Body parts that the scan shows; empty if they could not be recognised.
        averaged: Whether the spacing along each axis is ignored, because the model is given averages over its voxels.

    Returns:
        One notice per difference, body part first: what was found, what was expected, what to do.
    """
    found = measurements_of(tissue_hu_of(volume.hu), volume.spacing_mm, volume.shape)
    texts = [
        *_other_tissue(found, trained_on),
        *_other_lengths(part("Voxels measure {}"), found.spacing_mm, trained_on.spacing_mm, SPACING_FACTOR, averaged),
        *_other_lengths(part("The scan measures {}"), found.extent_mm, trained_on.extent_mm, EXTENT_FACTOR),
    ]
    return (
        *(Notice(text, "other body part") for text in _other_parts(parts, trained_on.parts)),
        *(Notice(text, "unlike training") for text in texts),
    )


def _other_parts(parts: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    if parts and known and not set(parts) & set(known):
        yield (
            f"The scan seems to show {', '.join(parts)}; nearly all the scans that the model was trained on "
            f"show {', '.join(known)}. Check that it is the right model for this scan, and look at the masks."
        )


def _other_lengths(
    what: str,
    lengths_mm: Sequence[float],
    ranges: Sequence[Range],
    factor: float,
    passed_over: Sequence[bool] = (False, False, False),
) -> Iterator[str]:
    """Yield one sentence about all axes that differ."""
    seen: list[str] = []
    known: list[str] = []
    for along, value, (low, high), passed in zip(_ALONG, lengths_mm, ranges, passed_over, strict=True):
        if not passed and not low / factor <= value <= high * factor:
            seen.append(along.format(f"{value:.4g}"))
            known.append(_written(low, high))
    if seen:
        ranges_mm = known[0] if len(set(known)) == 1 else _listed(known)
        told = what.format(", ".join(seen))
        yield f"{told}; the model was trained on {ranges_mm} mm. Expect worse masks, and look at them."


def _other_tissue(found: ScanMeasurements, trained_on: ScanRange) -> Iterator[str]:
    other = [
        (name, f"{hu:.0f}", _written(low, high))
        for name, hu, (low, high) in zip(_PERCENTILES, found.tissue_hu or (), trained_on.tissue_hu, strict=False)
        if not low - TISSUE_MARGIN_HU <= hu <= high + TISSUE_MARGIN_HU
    ]
    if other:
        seen = _listed([f"what is {name} has {hu} HU" for name, hu, _ in other])
        known = _listed([known for _, _, known in other])
        yield (
            f"{seen[0].upper()}{seen[1:]}; in the model's training scans it has {known} HU. "
            "Check that the scan is in HU and shows the same part of the body, and look at the masks."
        )


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _of_nearly_all(parts: Sequence[Sequence[str]]) -> tuple[str, ...]:
    counts = Counter(part for each in parts for part in set(each))
    return tuple(sorted(part for part, count in counts.items() if count >= NEARLY_ALL * len(parts)))


def _ranges(rows: Sequence[Sequence[float]]) -> tuple[Range, ...]:
    return tuple((min(column), max(column)) for column in zip(*rows, strict=True))


def _joined(one: Sequence[Range], two: Sequence[Range]) -> tuple[Range, ...]:
    return tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(one, two, strict=True))


def _pair(values: Sequence[float]) -> Range:
    low, high = (float(value) for value in values)
    return low, high


def _written(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
