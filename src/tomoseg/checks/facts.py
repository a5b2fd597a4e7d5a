"""Facts of a labelled scan by which it is compared with others: some numbers for the scan and for each structure."""

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
"""Bin width and range of the histograms inside of structures."""

SCAN_BIN, SCAN_FROM, SCAN_TO = 10, -3000, 5000
"""Bin width and range of the histograms of whole scans, with room for values that are not HU."""

REPORTED_ELSEWHERE: frozenset[Kind] = frozenset({"blank slices", "grey values"})
"""Kinds of notice that are left out here, since the dataset check reports them as findings of its own."""


@dataclass(frozen=True)
class StructureFacts:
    """Facts of one mask of one case.

    Attributes:
        voxels: Number of voxels; if 0, the other values are meaningless.
        volume_ml: Volume in ml.
        middle_mm: Centre of mass along x, y and z in mm, from the first corner of the scan.
        in_body: Its position in the body's bounding box in these slices, 0 to 1 along x and y.
        hu_median: Median HU inside.
        gaps: Number of slices without it between its first and its last one.
        blank_share: Share of it in slices of the scan that hold one value only.
        histograms: `(4, bins)`, voxels by HU inside: as it is, and with the scan, not the mask, mirrored along x, y, z.
        digest: Hash of the voxels of the mask.
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
    """Facts of one case.

    Attributes:
        name: Name of the case, unique in the dataset.
        patient: Patient of the scan.
        split: Split that the dataset assigns it to, if any.
        histogram: `(bins,)`, voxels of the scan by value.
        levels: Number of different values; 0 if the scan could not be read.
        lowest: Lowest value.
        highest: Highest value.
        blank_slices: Number of slices of one value between others.
        warnings: Notices about the scan alone.
        structures: Facts of the annotated structures by name.
        overlaps: For pairs of structures that overlap, the share of the smaller one that lies in the other.
        unreadable: Reasons why the scan (key None) or structures could not be read.
        digest: Hash of the voxels of the scan.
        spacing_mm: Voxel spacing in mm; None if the scan could not be read.
        extent_mm: Extent along x, y and z in mm; None if the scan could not be read.
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
    """Measure a case, structure by structure.

    Args:
        name: Name of the case, unique in the dataset.
        patient: Patient of the scan.
        split: Split that the dataset assigns it to, if any.
        volume: The scan.
        masks: Names of structures with their masks, or with the reasons why they could not be read.
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
    """Return the facts of a case whose scan cannot be read.

    Args:
        name: Name of the case, unique in the dataset.
        patient: Patient of the scan.
        split: Split that the dataset assigns it to, if any.
        reason: Reason why it cannot be read.
    """
    nothing = np.zeros((SCAN_TO - SCAN_FROM) // SCAN_BIN, np.int64)
    return CaseFacts(name, patient, split, nothing, 0, 0, 0, 0, (), {}, {}, {None: reason}, f"unreadable: {name}")


def structure_facts(mask: BoxedMask, volume: Volume, blank: np.ndarray) -> StructureFacts:
    """Measure a mask.

    Args:
        mask: The mask on the scan's grid.
        volume: The scan.
        blank: `(z,)`, whether each slice of the scan holds one value only.
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
    for array in parts:
        digest.update(np.ascontiguousarray(array.T).data)
    return digest.hexdigest()
