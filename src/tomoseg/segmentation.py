"""The result of a prediction: which voxels belong to which structure, on the scan's own grid.

Two kinds. Independent masks (`Segmentation`) may overlap; 117 of them on 512 x 512 x 300 voxels are 1.18 GB
even packed, so they are compressed by slab with blosc2. A label map (`LabelMap`) has one structure per voxel.
Both are in RAS+ order like everything in memory; `files` turns them back into the scan's orientation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import blosc2
import numpy as np
from jaxtyping import Bool, Shaped, UInt8, UInt16
from scipy import ndimage

from tomoseg.errors import GridError, LabelError, unknown_name_message
from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask, bit_value, by_byte, byte_of, check_packed, mask_in, packed_bytes, unpack
from tomoseg.volume import SourceGrid

SLAB_SLICES = 8
"""Axial slices compressed together: 2 MB per byte plane at 512 x 512, which fits a processor's cache."""

_CPARAMS = {"codec": blosc2.Codec.LZ4, "clevel": 5, "filters": [blosc2.Filter.NOFILTER], "nthreads": 1}


@dataclass(frozen=True)
class LabelMap:
    """A label map: one structure per voxel.

    Attributes:
        values: `(x, y, z)`, 0 for background, otherwise the `id` of a structure in `labels`.
        labels: The structures that may occur.
        grid: The grid of the scan.

    Example:
        >>> labels = LabelSet.from_names(["liver", "spleen"])
        >>> label_map = LabelMap(np.full((4, 4, 1), 2, np.uint8), labels, SourceGrid((4, 4, 1), np.eye(4)))
        >>> int(label_map.mask("spleen").sum())
        16
    """

    values: UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"]
    labels: LabelSet
    grid: SourceGrid

    def mask(self, name: str) -> Bool[np.ndarray, "x y z"]:
        """Return the mask of one structure, `(x, y, z)` bool.

        Args:
            name: Name of the structure.

        Raises:
            LabelError: If there is no structure of that name.
        """
        return self.values == self.labels[name].id

    @property
    def is_empty(self) -> bool:
        """Whether all voxels are background."""
        return not self.values.any()


class Slabs:
    """Several uint8 volumes on the grid of one scan, compressed in memory and filled slice by slice.

    Args:
        volumes: Number of volumes.
        grid: The grid of the scan.
        depth: Number of axial slices that are compressed together, as a slab.
    """

    def __init__(self, volumes: int, grid: SourceGrid, depth: int) -> None:
        self.grid = grid
        x, y, _ = grid.canonical_shape
        self._slabs: list[list[bytes]] = []
        self._open = np.zeros((volumes, depth, y, x), np.uint8)
        self._filled = 0

    def append(self, values: UInt8[np.ndarray, "v x y"]) -> None:
        """Add the next axial slice of every volume, from inferior to superior.

        Args:
            values: `(volumes, x, y)`, the slice of each volume.

        Raises:
            GridError: If the slice does not have the size of the scan, or the scan has no further slice.
        """
        x, y, z = self.grid.canonical_shape
        if values.shape[1:] != (x, y) or self._filled >= z:
            raise GridError(f"expected {z} slices of {(x, y)}, got slice {self._filled} of {values.shape[1:]}")
        depth = self._open.shape[1]
        self._open[:, self._filled % depth] = values.transpose(0, 2, 1)
        self._filled += 1
        if self._filled % depth == 0 or self._filled == z:
            held = (self._filled - 1) % depth + 1
            self._slabs.append([_compress(volume[:held]) for volume in self._open])

    def volume(self, number: int) -> UInt8[np.ndarray, "x y z"]:
        """Return one whole volume, `(x, y, z)`.

        Raises:
            GridError: If slices are still missing.
        """
        self._check_complete()
        x, y, z = self.grid.canonical_shape
        out = np.empty((z, y, x), np.uint8)
        depth = self._open.shape[1]
        for k, slab in enumerate(self._slabs):
            out[k * depth : (k + 1) * depth] = _decompress(slab[number], x, y)
        return out.T

    def with_volumes(self, changed: Mapping[int, UInt8[np.ndarray, "x y z"]]) -> Slabs:
        """Return a copy in which some volumes are replaced.

        Args:
            changed: The new volumes by number, from 0.
        """
        depth = self._open.shape[1]
        copy = Slabs(0, self.grid, depth)
        copy._open, copy._filled = self._open, self._filled
        for k, slab in enumerate(self._slabs):
            fresh = {number: values.T[k * depth : (k + 1) * depth] for number, values in changed.items()}
            copy._slabs.append([_compress(fresh[n]) if n in fresh else volume for n, volume in enumerate(slab)])
        return copy

    def slice(self, k: int) -> UInt8[np.ndarray, "v x y"]:
        """Return one axial slice of every volume, `(volumes, x, y)`.

        Args:
            k: Number of the slice, from 0 for the most inferior one.

        Raises:
            GridError: If the scan has no such slice, or its slab is not complete yet.
        """
        x, y, z = self.grid.canonical_shape
        depth = self._open.shape[1]
        readable = self._filled if self._filled == z else self._filled // depth * depth
        if not 0 <= k < readable:
            raise GridError(f"expected a slice below {readable}, got {k}; append more or ask for another")
        return np.stack([_decompress(slab, x, y)[k % depth].T for slab in self._slabs[k // depth]])

    def slabs(self, descending: bool = False) -> Iterator[tuple[int, UInt8[np.ndarray, "v s y x"]]]:
        """Yield a few axial slices of every volume at a time, with the number of the most inferior one.

        Args:
            descending: Go from the most superior slab to the most inferior one; within a slab, slices always ascend.

        Raises:
            GridError: If slices are still missing.
        """
        self._check_complete()
        x, y, _ = self.grid.canonical_shape
        numbers = range(len(self._slabs))
        for number in reversed(numbers) if descending else numbers:
            slab = self._slabs[number]
            yield number * self._open.shape[1], np.stack([_decompress(volume, x, y) for volume in slab])

    @property
    def compressed_bytes(self) -> int:
        """Size in memory in bytes."""
        return sum(len(volume) for slab in self._slabs for volume in slab)

    def _check_complete(self) -> None:
        """Refuse to read volumes before they are complete.

        Raises:
            GridError: If slices are still missing.
        """
        z = self.grid.canonical_shape[2]
        if self._filled != z:
            raise GridError(f"expected all {z} slices before reading, got {self._filled}; append the rest")


class Segmentation:
    """One independent mask per structure, compressed in memory and filled slice by slice; masks may overlap.

    Args:
        labels: The structures, in channel order.
        grid: The grid of the scan.

    Example:
        >>> masks = Segmentation(LabelSet.from_names(["liver", "spleen"]), SourceGrid((4, 4, 1), np.eye(4)))
        >>> masks.append(np.full((1, 4, 4), 0b10, np.uint8))
        >>> int(masks.mask("liver").sum()), int(masks.mask("spleen").sum())
        (0, 16)
    """

    def __init__(self, labels: LabelSet, grid: SourceGrid) -> None:
        self.labels = labels
        self.grid = grid
        self._slabs = Slabs(packed_bytes(len(labels)), grid, SLAB_SLICES)

    @classmethod
    def from_packed(cls, packed: UInt8[np.ndarray, "b x y z"], labels: LabelSet, grid: SourceGrid) -> Segmentation:
        """Compress masks that are already in memory.

        Args:
            packed: `(bytes, x, y, z)`, eight structures per byte, in RAS+ order.
            labels: The structures, in channel order.
            grid: The grid of the scan.
        """
        segmentation = cls(labels, grid)
        for k in range(packed.shape[3]):
            segmentation.append(packed[..., k])
        return segmentation

    @classmethod
    def from_masks(cls, masks: Sequence[BoxedMask], labels: LabelSet, grid: SourceGrid) -> Segmentation:
        """Compress masks that are each cropped to their bounding box.

        Args:
            masks: One mask per structure, in channel order.
            labels: The structures.
            grid: The grid of the scan.

        Example:
            >>> ones = [BoxedMask.of(np.ones((2, 2, 1), bool)), BoxedMask.of(np.zeros((2, 2, 1), bool))]
            >>> grid = SourceGrid((2, 2, 1), np.eye(4))
            >>> made = Segmentation.from_masks(ones, LabelSet.from_names(["liver", "spleen"]), grid)
            >>> int(made.mask("liver").sum()), int(made.mask("spleen").sum())
            (4, 0)
        """
        segmentation = cls(labels, grid)
        x, y, z = grid.canonical_shape
        for k in range(z):
            packed = np.zeros((packed_bytes(len(labels)), x, y), np.uint8)
            for channel, mask in enumerate(masks):
                if 0 <= k - mask.start[2] < mask.inside.shape[2]:
                    inside = mask.inside[:, :, k - mask.start[2]]
                    packed[byte_of(channel)[0]][mask.box[:2]] |= inside.view(np.uint8) << np.uint8(channel % 8)
            segmentation.append(packed)
        return segmentation

    def append(self, packed: UInt8[np.ndarray, "b x y"]) -> None:
        """Add the next axial slice, from inferior to superior.

        Args:
            packed: `(bytes, x, y)`, eight structures per byte.

        Raises:
            GridError: If the slice does not have the size of the scan, or the scan has no further slice.
            InputError: If the number of bytes does not fit the label set.
        """
        check_packed(packed, len(self.labels))
        self._slabs.append(packed)

    def byte_plane(self, plane: int) -> UInt8[np.ndarray, "x y z"]:
        """Return the masks of structures `8 * plane` to `8 * plane + 7`, one bit each, `(x, y, z)`.

        Args:
            plane: Number of the byte, from 0.

        Raises:
            GridError: If slices are still missing.
        """
        return self._slabs.volume(plane)

    def with_planes(self, changed: Mapping[int, UInt8[np.ndarray, "x y z"]]) -> Segmentation:
        """Return a copy in which some byte planes are replaced.

        Args:
            changed: The new byte planes by number, from 0.
        """
        copy = Segmentation(self.labels, self.grid)
        copy._slabs = self._slabs.with_volumes(changed)
        return copy

    def mask(self, name: str) -> Bool[np.ndarray, "x y z"]:
        """Return the mask of one structure, `(x, y, z)` bool.

        Args:
            name: Name of the structure.

        Raises:
            GridError: If slices are still missing.
            LabelError: If there is no structure of that name.
        """
        channel = self.labels.channel(name)
        return mask_in(self.byte_plane(byte_of(channel)[0]), channel)

    def slice(self, k: int) -> Bool[np.ndarray, "c x y"]:
        """Return all masks of one axial slice, `(structures, x, y)` bool.

        Args:
            k: Number of the slice, from 0 for the most inferior one.

        Raises:
            GridError: If the scan has no such slice, or its slab is not complete yet.
        """
        return unpack(self._slabs.slice(k), len(self.labels))

    def slabs(self, descending: bool = False) -> Iterator[tuple[int, UInt8[np.ndarray, "b s y x"]]]:
        """Yield the packed masks of a few axial slices at a time, with the number of the most inferior one.

        Args:
            descending: Go from the most superior slab to the most inferior one; within a slab, slices always ascend.

        Raises:
            GridError: If slices are still missing.
        """
        return self._slabs.slabs(descending)

    @property
    def is_empty(self) -> bool:
        """Whether all masks are empty; reading stops at the first voxel that is set.

        Raises:
            GridError: If slices are still missing.
        """
        return not any(slab.any() for _, slab in self.slabs())

    @property
    def compressed_bytes(self) -> int:
        """Size of the masks in memory in bytes."""
        return self._slabs.compressed_bytes


class Confidence:
    """Probability maps, in which 0 to 255 stand for 0 to 1, compressed in memory and filled slice by slice.

    Args:
        names: Names of the maps: one per structure, or a single one of the most probable structure in each voxel.
        grid: The grid of the scan.
    """

    def __init__(self, names: tuple[str, ...], grid: SourceGrid) -> None:
        self.names = names
        self.grid = grid
        self._slabs = Slabs(len(names), grid, 1)

    def append(self, values: UInt8[np.ndarray, "n x y"]) -> None:
        """Add the next axial slice, from inferior to superior.

        Args:
            values: `(maps, x, y)`, the slice of each map.

        Raises:
            GridError: If the slice does not have the size of the scan, or the scan has no further slice.
        """
        self._slabs.append(values)

    def map(self, name: str) -> UInt8[np.ndarray, "x y z"]:
        """Return one probability map, `(x, y, z)`.

        Args:
            name: One of `names`.

        Raises:
            GridError: If slices are still missing.
            LabelError: If there is no map of that name.
        """
        if name not in self.names:
            raise LabelError(unknown_name_message(name, self.names))
        return self._slabs.volume(self.names.index(name))


def boxed_masks(
    result: Segmentation | LabelMap, onto: Callable[[np.ndarray], np.ndarray] = lambda values: values
) -> Iterator[BoxedMask]:
    """Yield the mask of each structure in channel order, cropped to its bounding box.

    Only one byte plane, of eight structures, is decompressed at a time.

    Args:
        result: Masks or a label map.
        onto: Function that resamples a volume to another grid, such as `SourceGrid.to_slices`; by default none.
    """
    if isinstance(result, LabelMap):
        yield from _boxed_values(onto(result.values), result.labels)
        return
    for number, channels in by_byte(range(len(result.labels))).items():
        plane = onto(result.byte_plane(number))
        in_slice = np.bitwise_or.reduce(plane, axis=(0, 1))
        for channel in channels:
            bit = bit_value(channel)
            slices = np.flatnonzero(in_slice & bit)
            low, high = (int(slices[0]), int(slices[-1]) + 1) if slices.size else (0, 0)
            part = BoxedMask.of((plane[:, :, low:high] & bit) != 0)
            yield BoxedMask(part.inside, (*part.start[:2], part.start[2] + low), _three(plane.shape))


def _boxed_values(values: Shaped[np.ndarray, "x y z"], labels: LabelSet) -> Iterator[BoxedMask]:
    boxes = ndimage.find_objects(values)
    shape = _three(values.shape)
    for structure in labels:
        box = boxes[structure.id - 1] if structure.id <= len(boxes) else None
        if box is None:
            yield BoxedMask(np.zeros((0, 0, 0), bool), (0, 0, 0), shape)
        else:
            x, y, z = (side.start for side in box)
            yield BoxedMask(values[box] == structure.id, (x, y, z), shape)


def _three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    return (shape[0], shape[1], shape[2])


def _compress(plane: UInt8[np.ndarray, "s y x"]) -> bytes:
    """Compress a byte plane of a slab, in the memory order of a NIfTI file, so that writing one copies whole lines."""
    return blosc2.compress2(np.ascontiguousarray(plane), typesize=1, **_CPARAMS)


def _decompress(slab: bytes, x: int, y: int) -> UInt8[np.ndarray, "s y x"]:
    return np.frombuffer(blosc2.decompress(slab), np.uint8).reshape(-1, y, x)
