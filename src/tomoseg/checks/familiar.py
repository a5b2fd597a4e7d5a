"""Whether a scan is like those that a model was trained on: voxels, extent, HU of what is not air, part of the body.

A model is sure of itself on scans that it knows nothing of. This says so before it happens; nothing is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int16

from tomoseg.notices import Notice
from tomoseg.volume import Volume

Range = tuple[float, float]

TISSUE_HU = -500
"""Above this lies the patient, and the table."""

PERCENTILES = (5, 50, 95)
LOOKED_AT = 16
"""Axial slices of a scan whose HU are looked at, evenly spread."""

SPACING_FACTOR = 1.5
EXTENT_FACTOR = 1.5
TISSUE_MARGIN_HU = 60.0
"""How far beyond the training scans is still taken for like them."""

NEARLY_ALL = 0.9
"""A part of the body that so many of the training scans show is looked for in a scan."""

_AXES = ("left to right", "back to front", "feet to head")
_PERCENTILES = ("soft (5 % of the tissue lie below)", "middling", "dense (5 % of the tissue lie above)")


@dataclass(frozen=True)
class ScanFacts:
    """What is compared.

    Attributes:
        spacing_mm: Voxel edges along x, y and z.
        extent_mm: Edges of the scan.
        tissue_hu: `PERCENTILES` of what is not air; None where all is.
    """

    spacing_mm: tuple[float, ...]
    extent_mm: tuple[float, ...]
    tissue_hu: tuple[float, ...] | None


@dataclass(frozen=True)
class ScanRange:
    """From the least to the largest of many scans, each as in `ScanFacts`.

    Attributes:
        spacing_mm: Voxel edges.
        extent_mm: Edges of the scan.
        tissue_hu: Percentiles of what is not air.
        parts: Parts of the body that nearly all of them show; none if there is no such part.
    """

    spacing_mm: tuple[Range, ...]
    extent_mm: tuple[Range, ...]
    tissue_hu: tuple[Range, ...]
    parts: tuple[str, ...] = ()

    @classmethod
    def of(cls, scans: Sequence[ScanFacts], parts: Sequence[Sequence[str]] = ()) -> ScanRange:
        """The range of at least one scan with tissue.

        Args:
            scans: What is known of each.
            parts: Parts of the body that each shows.
        """
        with_tissue = [scan.tissue_hu for scan in scans if scan.tissue_hu is not None]
        return cls(
            _ranges([scan.spacing_mm for scan in scans]),
            _ranges([scan.extent_mm for scan in scans]),
            _ranges(with_tissue),
            _of_nearly_all(parts),
        )

    def joined(self, other: ScanRange) -> ScanRange:
        """The range of the scans of both."""
        return ScanRange(
            _joined(self.spacing_mm, other.spacing_mm),
            _joined(self.extent_mm, other.extent_mm),
            _joined(self.tissue_hu or other.tissue_hu, other.tissue_hu or self.tissue_hu),
            tuple(part for part in self.parts if part in other.parts),
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ScanRange:
        """The inverse of `dataclasses.asdict`, of what JSON made of it.

        Raises:
            KeyError: If something is missing.
            ValueError: If a range is no pair of numbers.
        """
        spacing, extent, tissue = (
            tuple(_pair(each) for each in data[key]) for key in ("spacing_mm", "extent_mm", "tissue_hu")
        )
        return cls(spacing, extent, tissue, tuple(map(str, data.get("parts", ()))))


def facts_of(
    slices: Iterable[Int16[np.ndarray, "x y"]], spacing_mm: Sequence[float], shape: Sequence[int]
) -> ScanFacts:
    """What is compared of one scan.

    Args:
        slices: Some of its axial slices, in HU.
        spacing_mm: Its voxel edges.
        shape: Its voxels.
    """
    parts = [part[part > TISSUE_HU] for part in slices]
    tissue = np.concatenate(parts) if parts else np.zeros(0)
    return ScanFacts(
        tuple(round(float(edge), 4) for edge in spacing_mm),
        tuple(round(float(n * edge), 1) for n, edge in zip(shape, spacing_mm, strict=True)),
        tuple(round(float(hu), 1) for hu in np.percentile(tissue, PERCENTILES)) if tissue.size else None,
    )


def spread_over(slices: int, count: int = LOOKED_AT) -> list[int]:
    """Up to so many slices, evenly spread.

    Example:
        >>> spread_over(10, 3), spread_over(2, 3)
        ([1, 5, 8], [0, 1])
    """
    return sorted({int((k + 0.5) * slices / count) for k in range(count)})


def unlike(
    volume: Volume, trained_on: ScanRange, parts: Sequence[str] = (), averaged: Sequence[bool] = (False, False, False)
) -> tuple[Notice, ...]:
    """In what a scan differs from all that a model was trained on.

    Args:
        volume: The scan.
        trained_on: The model's training scans.
        parts: Parts of the body that the scan shows; none if that cannot be told.
        averaged: Along which axes its voxels do not count, since the model is given averages over them.

    Returns:
        A sentence or two for each, the part of the body first: what was seen, what was expected, what to do.
    """
    found = facts_of((volume.hu[:, :, k] for k in spread_over(volume.shape[2])), volume.spacing_mm, volume.shape)
    texts = [
        *_other_tissue(found, trained_on),
        *_other_lengths("Voxels measure", found.spacing_mm, trained_on.spacing_mm, SPACING_FACTOR, averaged),
        *_other_lengths("The scan measures", found.extent_mm, trained_on.extent_mm, EXTENT_FACTOR),
    ]
    return (
        *(Notice(text, "other body part") for text in _other_parts(parts, trained_on.parts)),
        *(Notice(text, "unlike training") for text in texts),
    )


def _other_parts(parts: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    if parts and known and not set(parts) & set(known):
        yield (
            f"The scan seems to show {', '.join(parts)}; nearly all that the model was trained on show "
            f"{', '.join(known)}. Check that it is the right model for this scan, and look at the masks."
        )


def _other_lengths(
    what: str,
    lengths_mm: Sequence[float],
    ranges: Sequence[Range],
    factor: float,
    passed_over: Sequence[bool] = (False, False, False),
) -> Iterator[str]:
    """One sentence for all axes that differ; what is the same is said once."""
    seen: dict[str, list[str]] = {}
    known: list[str] = []
    for axis, value, (low, high), passed in zip(_AXES, lengths_mm, ranges, passed_over, strict=True):
        if not passed and not low / factor <= value <= high * factor:
            seen.setdefault(f"{value:.4g} mm", []).append(f"from {axis}")
            known.append(_written(low, high))
    if seen:
        told = ", ".join(f"{value} {_listed(axes)}" for value, axes in seen.items())
        ranges_mm = known[0] if len(set(known)) == 1 else _listed(known)
        yield f"{what} {told}; the model was trained on {ranges_mm} mm. Expect worse masks, and look at them."


def _other_tissue(found: ScanFacts, trained_on: ScanRange) -> Iterator[str]:
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
