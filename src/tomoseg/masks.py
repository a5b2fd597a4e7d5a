"""Packed masks: many overlapping binary masks in few bytes.

Structure `c` is bit `c % 8` of byte `c // 8`, so that `(C, ...)` booleans become `(ceil(C / 8), ...)` uint8.
117 structures cost 15 bytes per voxel instead of 117 (bool) or 468 (float32).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from tomoseg.errors import InputError


def packed_bytes(structures: int) -> int:
    """Return the number of bytes per voxel for a number of structures."""
    return -(-structures // 8)


def pack(masks: Bool[np.ndarray, "c *shape"]) -> UInt8[np.ndarray, "b *shape"]:
    """Pack masks, structures first.

    Args:
        masks: `(C, ...)` bool.

    Returns:
        `(ceil(C / 8), ...)` uint8.

    Example:
        >>> pack(np.array([[True], [False], [True]])).tolist()
        [[5]]
    """
    return np.packbits(masks, axis=0, bitorder="little")


def unpack(packed: UInt8[np.ndarray, "b *shape"], structures: int) -> Bool[np.ndarray, "c *shape"]:
    """Unpack to one boolean mask per structure.

    Args:
        packed: `(ceil(C / 8), ...)` uint8.
        structures: Number of structures, C.

    Returns:
        `(C, ...)` bool.

    Raises:
        InputError: If the bytes cannot hold that many structures.
    """
    check_packed(packed, structures)
    return np.unpackbits(packed, axis=0, count=structures, bitorder="little").view(bool)


def reorder(packed: UInt8[np.ndarray, "b *shape"], order: Sequence[int | None]) -> UInt8[np.ndarray, "k *shape"]:
    """Reorder the structures of packed masks; structures may be dropped, and empty ones added.

    Args:
        packed: `(ceil(C / 8), ...)` uint8.
        order: For each structure of the result, its channel in `packed`; None for an empty mask.

    Example:
        >>> reorder(np.array([[0b011]], np.uint8), (2, 0, 1)).tolist()
        [[6]]
        >>> reorder(np.array([[0b011]], np.uint8), (None, 1)).tolist()
        [[2]]
    """
    out = np.zeros((packed_bytes(len(order)), *packed.shape[1:]), np.uint8)
    for channel, own in enumerate(order):
        if own is not None:
            out[channel // 8] |= (packed[own // 8] >> np.uint8(own % 8) & np.uint8(1)) << np.uint8(channel % 8)
    return out


def structure_mask(packed: UInt8[np.ndarray, "b *shape"], index: int) -> Bool[np.ndarray, "*shape"]:
    """Return the mask of one structure by its channel.

    Raises:
        InputError: If the bytes hold no such channel.
    """
    if not 0 <= index < 8 * packed.shape[0]:
        raise InputError(f"expected a channel below {8 * packed.shape[0]}, got {index}; check the label set")
    return mask_in(packed[index // 8], index)


def set_structure(packed: UInt8[np.ndarray, "b *shape"], index: int, mask: Shaped[np.ndarray, "*shape"]) -> None:
    """Add a mask (non-zero is inside) to a structure's bits, in place."""
    packed[index // 8] |= (mask != 0).view(np.uint8) << np.uint8(index % 8)


def byte_of(channel: int) -> tuple[int, int]:
    """Return the byte plane that holds a channel, and its bit there, 0 to 7."""
    return divmod(channel, 8)


def by_byte(channels: Iterable[int]) -> dict[int, list[int]]:
    """Group channels by the byte plane that holds them, in the order given.

    Example:
        >>> by_byte([0, 7, 8])
        {0: [0, 7], 1: [8]}
    """
    planes: dict[int, list[int]] = {}
    for channel in channels:
        planes.setdefault(channel // 8, []).append(channel)
    return planes


def mask_in(plane: UInt8[np.ndarray, "*shape"], channel: int) -> Bool[np.ndarray, "*shape"]:
    """Return the mask of a structure from the byte plane that holds it.

    Example:
        >>> mask_in(np.array([0, 2, 3], np.uint8), 9).tolist()
        [False, True, True]
    """
    return (plane >> np.uint8(channel % 8) & 1).view(bool)


def bit_value(channel: int) -> np.uint8:
    """Return the value of a structure's bit in its byte, a power of 2."""
    return np.uint8(1 << channel % 8)


def check_packed(packed: UInt8[np.ndarray, "b *shape"], structures: int) -> None:
    """Check that packed masks have the number of bytes for a number of structures.

    Raises:
        InputError: If the first axis is not `ceil(structures / 8)`.
    """
    if packed.shape[0] != packed_bytes(structures):
        raise InputError(
            f"expected {packed_bytes(structures)} bytes per voxel for {structures} structures, "
            f"got {packed.shape[0]}; pack with the same label set"
        )


@dataclass(frozen=True)
class BoxedMask:
    """A mask cropped to a box, since most structures fill a small part of a scan.

    Attributes:
        inside: The mask within the box; of size 0 if the mask is empty.
        start: First voxel of the box.
        shape: Shape of the whole volume.
    """

    inside: Bool[np.ndarray, "bx by bz"]
    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, mask: Bool[np.ndarray, "x y z"]) -> BoxedMask:
        """Crop a mask to its bounding box; the result is a view, without a copy.

        Example:
            >>> BoxedMask.of(np.arange(8).reshape(2, 2, 2) == 5).start
            (1, 0, 1)
        """
        along_z = np.flatnonzero(_any_per_slice(mask))
        shape = (mask.shape[0], mask.shape[1], mask.shape[2])
        if along_z.size == 0:
            return cls(mask[:0, :0, :0], (0, 0, 0), shape)
        cut = mask[:, :, along_z[0] : along_z[-1] + 1]
        flat = np.asarray(cut.any(axis=2))
        along_x, along_y = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
        inside = cut[along_x[0] : along_x[-1] + 1, along_y[0] : along_y[-1] + 1]
        return cls(inside, (int(along_x[0]), int(along_y[0]), int(along_z[0])), shape)

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The box as an index into an array of `shape`."""
        x, y, z = (slice(s, s + n) for s, n in zip(self.start, self.inside.shape, strict=True))
        return (x, y, z)

    @property
    def voxels(self) -> int:
        """Number of voxels in the mask."""
        return int(np.count_nonzero(self.inside))

    def whole(self) -> Bool[np.ndarray, "x y z"]:
        """Return the mask as an array of `shape`, in Fortran order."""
        mask = np.zeros(self.shape, bool, order="F")
        mask[self.box] = self.inside
        return mask

    def within(self, start: tuple[int, ...], extent: tuple[int, int, int]) -> BoxedMask:
        """Return the part of the mask in another box, with coordinates that start at that box's first voxel.

        Args:
            start: First voxel of that box.
            extent: Voxels of that box along each axis.
        """
        low = [max(s, b) for s, b in zip(self.start, start, strict=True)]
        high = [min(s + n, b + e) for s, n, b, e in zip(self.start, self.inside.shape, start, extent, strict=True)]
        cut = tuple(slice(a - s, max(a, b) - s) for a, b, s in zip(low, high, self.start, strict=True))
        x, y, z = (max(0, a - b) for a, b in zip(low, start, strict=True))
        return BoxedMask(self.inside[cut], (x, y, z), extent)

    def overlap(self, other: BoxedMask) -> int:
        """Return the number of voxels that two masks of the same shape share."""
        extent = (other.inside.shape[0], other.inside.shape[1], other.inside.shape[2])
        mine = self.within(other.start, extent)
        return int(np.count_nonzero(mine.inside & other.inside[mine.box]))

    def dice(self, reference: BoxedMask) -> float | None:
        """Return the Dice with a reference of the same shape; None if that is empty, as in an evaluation.

        Example:
            >>> one, none = (BoxedMask.of(np.full((1, 1, 1), inside)) for inside in (True, False))
            >>> one.dice(one), none.dice(one), one.dice(none)
            (1.0, 0.0, None)
        """
        size = reference.voxels
        return 2 * self.overlap(reference) / (self.voxels + size) if size else None


def add_mask(plane: UInt8[np.ndarray, "x y z"], channel: int, mask: BoxedMask) -> None:
    """Add a mask to the bit of a structure in the byte plane that holds it, in place."""
    plane[mask.box] |= mask.inside.view(np.uint8) << np.uint8(channel % 8)


def clear_mask(plane: UInt8[np.ndarray, "x y z"], channel: int) -> None:
    """Clear the bit of a structure in the byte plane that holds it, in place."""
    plane &= ~bit_value(channel)


def _any_per_slice(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "z"]:
    """For each axial slice, whether the mask has voxels there; contiguous slices are searched as flat memory."""
    lines = mask.T
    if lines.flags.c_contiguous and lines.size:
        return np.asarray(lines.reshape(len(lines), -1).any(axis=1))
    return np.asarray(mask.any(axis=(0, 1)))
