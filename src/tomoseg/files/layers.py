"""Conversion of masks to label maps: one if no masks overlap, otherwise several layers.

Formats with one structure per voxel (DICOM LABELMAP) or with layers of these (NRRD of 3D Slicer) need to know first
which masks overlap. This is determined slab by slab; the masks are never all unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt16, UInt64
from scipy import ndimage

from tomoseg.kernels import kernel
from tomoseg.labels import label_type
from tomoseg.segmentation import LabelMap, Segmentation

SLAB_SLICES = 8
"""Axial slices of a label map that are yielded at a time."""


@dataclass(frozen=True)
class Survey:
    """The bounding boxes of the masks of a result, and their overlaps.

    Attributes:
        boxes: `(c, 3, 2)`, first and last voxel of each structure along x, y and z; -1 if it has none.
        overlaps: `(c, c)`, whether two structures share a voxel.
    """

    boxes: Int64[np.ndarray, "c 3 2"]
    overlaps: Bool[np.ndarray, "c c"]

    @property
    def found(self) -> tuple[int, ...]:
        """Channels of the structures that have a voxel."""
        return tuple(np.flatnonzero(self.boxes[:, 0, 0] >= 0).tolist())

    @property
    def is_disjoint(self) -> bool:
        """Whether no voxel is in two structures, so that one label map can hold all."""
        return not self.overlaps.any()

    @property
    def layers(self) -> tuple[int, ...]:
        """For each structure, the first layer in which it overlaps no earlier structure."""
        layers: list[int] = []
        for channel, overlaps in enumerate(self.overlaps):
            taken = {layers[other] for other in np.flatnonzero(overlaps[:channel]).tolist()}
            layers.append(next(layer for layer in range(channel + 1) if layer not in taken))
        return tuple(layers)


def survey(result: Segmentation | LabelMap) -> Survey:
    """Find the bounding boxes and overlaps of all masks in one pass.

    Args:
        result: The masks, or a label map.
    """
    channels = len(result.labels)
    boxes = np.full((channels, 3, 2), -1, np.int64)
    overlaps = np.zeros((channels, channels), bool)
    if isinstance(result, LabelMap):
        found = ndimage.find_objects(result.values)
        for channel, structure in enumerate(result.labels):
            box = found[structure.id - 1] if structure.id <= len(found) else None
            if box is not None:
                boxes[channel] = [(side.start, side.stop - 1) for side in box]
        return Survey(boxes, overlaps)
    for start, packed in result.slabs():
        seen = np.zeros(packed[0].size, np.uint8)
        for plane, bits in enumerate(packed):
            if bits.any():
                _find(bits, _words(bits), start, boxes[8 * plane : 8 * plane + 8], seen)
        several = np.flatnonzero(seen == 2)
        if several.size:
            _meet(packed.reshape(len(packed), -1), several, overlaps)
    return Survey(boxes, overlaps)


def _words(bits: UInt8[np.ndarray, "s y x"]) -> UInt64[np.ndarray, "w"]:
    """Return a view of eight voxels per word, so that empty ones are skipped together; the last few are left out."""
    flat = bits.reshape(-1)
    return flat[: flat.size // 8 * 8].view(np.uint64)


@kernel()
def _find(
    bits: UInt8[np.ndarray, "s y x"],
    words: UInt64[np.ndarray, "w"],
    start: int,
    boxes: Int64[np.ndarray, "c 3 2"],
    seen: UInt8[np.ndarray, "v"],
) -> None:
    """Extend the boxes of eight structures, and count the structures of each voxel: 0, 1, or 2 for several."""
    _, rows, columns = bits.shape
    flat = bits.reshape(-1)
    voxel = 0
    while voxel < flat.size:
        if voxel % 8 == 0 and voxel // 8 < words.size and words[voxel // 8] == 0:
            voxel += 8
            continue
        byte = flat[voxel]
        if byte:
            seen[voxel] = 1 if seen[voxel] == 0 and byte & (byte - 1) == 0 else 2
            line = voxel // columns
            _widen(boxes, byte, voxel - line * columns, line % rows, start + line // rows)
        voxel += 1


@kernel()
def _widen(boxes: Int64[np.ndarray, "c 3 2"], byte: int, i: int, j: int, k: int) -> None:
    for bit in range(8):
        if byte >> bit & 1:
            box = boxes[bit]
            if box[0, 0] < 0:
                box[0, 0] = box[0, 1] = i
                box[1, 0] = box[1, 1] = j
                box[2, 0] = k
            box[0, 0] = min(box[0, 0], i)
            box[0, 1] = max(box[0, 1], i)
            box[1, 0] = min(box[1, 0], j)
            box[1, 1] = max(box[1, 1], j)
            box[2, 1] = k


@kernel()
def _meet(packed: UInt8[np.ndarray, "b v"], voxels: Int64[np.ndarray, "n"], overlaps: Bool[np.ndarray, "c c"]) -> None:
    """Mark the structures that share any of these voxels."""
    here = np.empty(len(overlaps), np.int64)
    for voxel in voxels:
        count = 0
        for channel in range(len(overlaps)):
            if packed[channel // 8, voxel] >> (channel % 8) & 1:
                here[count] = channel
                count += 1
        for one in range(count):
            for other in range(one):
                overlaps[here[one], here[other]] = True
                overlaps[here[other], here[one]] = True


def layered_slabs(
    result: Segmentation | LabelMap, layers: Sequence[int], descending: bool = False
) -> Iterator[tuple[int, UInt8[np.ndarray, "l s y x"] | UInt16[np.ndarray, "l s y x"]]]:
    """Yield layered label maps of a few axial slices at a time, with the number of the most inferior one.

    Args:
        result: The masks, or a label map, which is its own only layer.
        layers: The layer of each structure (see `Survey.layers`).
        descending: Go from the most superior slab to the most inferior one; within a slab, slices always ascend.

    Raises:
        LabelError: If an id is above 65535.
    """
    if isinstance(result, LabelMap):
        values = result.values.transpose(2, 1, 0)
        starts = range(0, len(values), SLAB_SLICES)
        for start in reversed(starts) if descending else starts:
            yield start, values[None, start : start + SLAB_SLICES]
        return
    ids = np.array(result.labels.ids, label_type(result.labels.ids))
    layer_of = np.array(layers, np.int64)
    for start, packed in result.slabs(descending):
        out = np.zeros((max(layers) + 1, *packed.shape[1:]), ids.dtype)
        for plane, bits in enumerate(packed):
            if bits.any():
                _fold(bits, _words(bits), 8 * plane, layer_of, ids, out.reshape(len(out), -1))
        yield start, out


@kernel()
def _fold(
    bits: UInt8[np.ndarray, "s y x"],
    words: UInt64[np.ndarray, "w"],
    first: int,
    layer_of: Int64[np.ndarray, "c"],
    ids: UInt8[np.ndarray, "c"] | UInt16[np.ndarray, "c"],
    out: UInt8[np.ndarray, "l v"] | UInt16[np.ndarray, "l v"],
) -> None:
    """Write eight structures into their layers."""
    flat = bits.reshape(-1)
    voxel = 0
    while voxel < flat.size:
        if voxel % 8 == 0 and voxel // 8 < words.size and words[voxel // 8] == 0:
            voxel += 8
            continue
        byte = flat[voxel]
        channel = first
        while byte:
            if byte & 1:
                out[layer_of[channel], voxel] = ids[channel]
            byte >>= 1
            channel += 1
        voxel += 1
