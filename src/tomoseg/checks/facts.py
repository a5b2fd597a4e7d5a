"""What is kept of a labelled scan to judge it among others: some numbers for the scan and for each structure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from jaxtyping import Int64

from tomoseg.checks.holdings import extent_of
from tomoseg.checks.scan import check_scan
from tomoseg.grid import body_box
from tomoseg.masks import BoxedMask
from tomoseg.notices import Kind, Notice
from tomoseg.volume import Volume

Triple = tuple[float, float, float]

HU_BIN, HU_FROM, HU_TO = 25, -1050, 2000
"""Histograms of what lies inside of structures."""

SCAN_BIN, SCAN_FROM, SCAN_TO = 10, -3000, 5000
"""Histograms of whole scans, with room for values that are not in HU."""

REPORTED_ELSEWHERE: frozenset[Kind] = frozenset({"blank slices", "grey values"})
"""Warnings about a scan that are left out here, since the dataset check reports them as findings of its own."""

AXES = ("left to right", "back to front", "feet to head")


@dataclass(frozen=True)
class StructureFacts:
    """One mask of one case.

    Attributes:
        voxels: Voxels inside; with none, nothing else is known.
        volume_ml: Its volume.
        middle_mm: Its centre of mass along x, y and z, from the scan's first voxel.
        in_body: Where that lies in the box around the body in its slices, 0 to 1 along x and y.
        hu_median: Median of the scan inside.
        gaps: Slices without it between its first and its last one.
        blank_share: The share of it in slices of the scan that hold one value only.
        histograms: `(4, bins)` voxels by HU inside; then were the scan, but not the mask, mirrored along x, y and z.
        digest: Same in two masks of the same voxels.
    """

    voxels: int
    volume_ml: float = 0.0
    middle_mm: Triple = (0.0, 0.0, 0.0)
    in_body: tuple[float, float] = (0.5, 0.5)
    hu_median: float = 0.0
    gaps: int = 0
    blank_share: float = 0.0
    histograms: Int64[np.ndarray, "4 bins"] = field(default_factory=lambda: np.zeros((4, 0), np.int64))
    digest: str = ""


@dataclass(frozen=True)
class CaseFacts:
    """All that is kept of one case.

    Attributes:
        name: Unique in the dataset.
        patient: Whose scan it is.
        split: Where the dataset puts it.
        histogram: Voxels of the scan by value.
        levels: Different values.
        lowest: The lowest of them.
        highest: The highest.
        blank_slices: Slices of one value between others.
        warnings: What is odd about the scan alone.
        structures: By name, those that are annotated.
        overlaps: Pairs of structures and the share of the smaller one that lies in the other.
        unreadable: Why the scan (None) or a structure could not be read.
        digest: Same in two scans of the same voxels.
        spacing_mm: Voxel edges of the scan; None where it could not be read.
        extent_mm: What it shows along x, y and z; None likewise.
    """

    name: str
    patient: str
    split: str | None
    histogram: Int64[np.ndarray, " bins"]
    levels: int
    lowest: int
    highest: int
    blank_slices: int
    warnings: tuple[Notice, ...]
    structures: dict[str, StructureFacts]
    overlaps: dict[tuple[str, str], float]
    unreadable: dict[str | None, str]
    digest: str
    spacing_mm: Triple | None = None
    extent_mm: Triple | None = None

    def has(self, structure: str) -> bool:
        """Whether a structure is annotated and has voxels."""
        return structure in self.structures and self.structures[structure].voxels > 0


def case_facts(
    name: str,
    patient: str,
    split: str | None,
    volume: Volume,
    masks: Iterable[tuple[str, BoxedMask | str]],
) -> CaseFacts:
    """Measure a case, one structure after the other.

    Args:
        name: Unique in the dataset.
        patient: Whose scan it is.
        split: Where the dataset puts it.
        volume: The scan.
        masks: Structures with their masks, or with why they could not be read.
    """
    blank = _blank_slices(volume)
    varied = np.flatnonzero(~blank)
    inside = int(blank[varied[0] : varied[-1]].sum()) if varied.size else 0
    structures: dict[str, StructureFacts] = {}
    held: dict[str, BoxedMask] = {}
    unreadable: dict[str | None, str] = {}
    for structure, mask in masks:
        if isinstance(mask, str):
            unreadable[structure] = mask
            continue
        held[structure] = BoxedMask(mask.inside.copy(), mask.start, mask.shape)
        structures[structure] = structure_facts(mask, volume, blank)
    counts = np.bincount(volume.hu.ravel(order="K").astype(np.int32) + 32768, minlength=1 << 16)
    values = np.flatnonzero(counts)
    centres = np.clip(np.arange(1 << 16) - 32768, SCAN_FROM, SCAN_TO - 1)
    histogram = np.bincount((centres - SCAN_FROM) // SCAN_BIN, counts, minlength=(SCAN_TO - SCAN_FROM) // SCAN_BIN)
    return CaseFacts(
        name,
        patient,
        split,
        histogram.astype(np.int64),
        int(values.size),
        int(values[0]) - 32768,
        int(values[-1]) - 32768,
        inside,
        (*volume.warnings, *(notice for notice in check_scan(volume) if notice.kind not in REPORTED_ELSEWHERE)),
        structures,
        _overlaps(held),
        unreadable,
        _digest(volume.hu),
        volume.spacing_mm,
        extent_of(volume.source),
    )


def unreadable_case(name: str, patient: str, split: str | None, reason: str) -> CaseFacts:
    """What is known of a case whose scan cannot be read.

    Args:
        name: Unique in the dataset.
        patient: Whose scan it is.
        split: Where the dataset puts it.
        reason: Why not.
    """
    nothing = np.zeros((SCAN_TO - SCAN_FROM) // SCAN_BIN, np.int64)
    return CaseFacts(name, patient, split, nothing, 0, 0, 0, 0, (), {}, {}, {None: reason}, f"unreadable: {name}")


def structure_facts(mask: BoxedMask, volume: Volume, blank: np.ndarray) -> StructureFacts:
    """Measure a mask.

    Args:
        mask: On the scan's grid.
        volume: The scan.
        blank: Which slices of the scan hold one value only.
    """
    voxels = mask.voxels
    if voxels == 0:
        return StructureFacts(0)
    places = [part + start for part, start in zip(np.nonzero(mask.inside), mask.start, strict=True)]
    middle = [float(np.mean(place)) + 0.5 for place in places]
    along_z = np.bincount(places[2])[mask.start[2] :]
    in_slices = volume.hu[:, :, mask.box[2]]
    (x0, x1), (y0, y1), _ = body_box(in_slices, volume.spacing_mm, 0.0)
    hu = volume.hu[mask.box][mask.inside]
    flipped = (np.flip(volume.hu, axis)[mask.box][mask.inside] for axis in range(3))
    x, y, z = (m * edge for m, edge in zip(middle, volume.spacing_mm, strict=True))
    return StructureFacts(
        voxels,
        voxels * float(np.prod(volume.spacing_mm)) / 1000,
        (x, y, z),
        ((middle[0] - x0) / (x1 - x0), (middle[1] - y0) / (y1 - y0)),
        float(np.median(hu)),
        int(np.count_nonzero(along_z == 0)),
        float(along_z[blank[mask.box[2]]].sum() / voxels),
        np.stack([_histogram(values) for values in (hu, *flipped)]),
        _digest(np.array([*mask.start, *mask.inside.shape]), np.packbits(mask.inside)),
    )


def _histogram(hu: np.ndarray) -> Int64[np.ndarray, " bins"]:
    bins = (np.clip(hu, HU_FROM, HU_TO - 1).astype(np.int32) - HU_FROM) // HU_BIN
    return np.bincount(bins, minlength=(HU_TO - HU_FROM) // HU_BIN)


def _blank_slices(volume: Volume) -> np.ndarray:
    hu = volume.hu
    return np.asarray((hu == hu[:1, :1]).all(axis=(0, 1)))


def _overlaps(masks: dict[str, BoxedMask]) -> dict[tuple[str, str], float]:
    found = {}
    for (one, a), (other, b) in combinations(masks.items(), 2):
        smaller = min(a.voxels, b.voxels)
        shared = a.overlap(b) if smaller else 0
        if shared:
            found[one, other] = shared / smaller
    return found


def _digest(*parts: np.ndarray) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(np.ascontiguousarray(part.T).data)
    return digest.hexdigest()
