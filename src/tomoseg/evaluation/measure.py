"""What is measured of each structure of a result: volume, HU, place."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import Volume

NOT_FOUND = "no voxel found: absent, outside the field of view, or missed"

Box = tuple[slice, ...]


@dataclass(frozen=True)
class Measurement:
    """One structure. What cannot be said is None, and `reason` says why; it is never 0 instead.

    Attributes:
        structure: Its name.
        volume_ml: Of what lies inside the scan.
        mean_hu: Over its voxels, as the two below.
        median_hu: See above.
        std_hu: Standard deviation; None for a single voxel.
        centroid_mm: Mean position in the scan's world, RAS+.
        touches_border: Whether it reaches the border of the scan, so that a part of it may lie outside.
        reason: Why something is None.
    """

    structure: str
    volume_ml: float | None
    mean_hu: float | None
    median_hu: float | None
    std_hu: float | None
    centroid_mm: tuple[float, float, float] | None
    touches_border: bool | None
    reason: str | None


def measure(result: Segmentation | LabelMap, volume: Volume) -> list[Measurement]:
    """Measure every structure of a result.

    Args:
        result: Of this scan.
        volume: The scan.

    Returns:
        One entry a structure, in channel order.
    """
    boxes = _boxes_of_values(result) if isinstance(result, LabelMap) else _boxes_of_bits(result)
    return [_measured(name, mask, box, volume) for name, mask, box in boxes]


def _measured(name: str, mask: Bool[np.ndarray, "x y z"] | None, box: Box, volume: Volume) -> Measurement:
    if mask is None:
        return Measurement(name, None, None, None, None, None, None, NOT_FOUND)
    hu = volume.hu[box][mask].astype(np.float64)
    axes = (np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) + box[axis].start for axis in range(3))
    border = any(line[0] == 0 or line[-1] == n - 1 for line, n in zip(axes, volume.shape, strict=True))
    middle = [float(np.mean(place)) + side.start for place, side in zip(np.nonzero(mask), box, strict=True)]
    x, y, z = (volume.affine @ [*middle, 1.0])[:3].tolist()
    return Measurement(
        name,
        hu.size * float(np.prod(volume.spacing_mm)) / 1000,
        float(hu.mean()),
        float(np.median(hu)),
        float(hu.std(ddof=1)) if hu.size > 1 else None,
        (x, y, z),
        border,
        None if hu.size > 1 else "one voxel has no standard deviation",
    )


def _boxes_of_values(result: LabelMap) -> Iterator[tuple[str, Bool[np.ndarray, "x y z"] | None, Box]]:
    """Each structure's mask in its box; None where it has no voxel."""
    found = ndimage.find_objects(result.values)
    for structure in result.labels:
        box = found[structure.id - 1] if structure.id <= len(found) else None
        if box is None:
            yield structure.name, None, ()
        else:
            yield structure.name, result.values[box] == structure.id, box


def _boxes_of_bits(result: Segmentation) -> Iterator[tuple[str, Bool[np.ndarray, "x y z"] | None, Box]]:
    """Each structure's mask in its box, a byte plane at a time."""
    plane: UInt8[np.ndarray, "x y z"] = np.zeros((0, 0, 0), np.uint8)
    for channel, structure in enumerate(result.labels):
        if channel % 8 == 0:
            plane = result.byte_plane(channel // 8)
            along_z = np.bitwise_or.reduce(plane, axis=(0, 1))
        bit = np.uint8(1 << channel % 8)
        slices = np.flatnonzero(along_z & bit)
        if slices.size == 0:
            yield structure.name, None, ()
            continue
        low, high = int(slices[0]), int(slices[-1]) + 1
        box = (slice(0, plane.shape[0]), slice(0, plane.shape[1]), slice(low, high))
        yield structure.name, (plane[:, :, low:high] & bit) != 0, box
