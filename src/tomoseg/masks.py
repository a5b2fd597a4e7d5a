"""Packed masks: many overlapping binary masks in few bytes.

Structure `c` is bit `c % 8` of byte `c // 8`, so that `(C, ...)` booleans become `(ceil(C / 8), ...)` uint8.
117 structures cost 15 bytes a voxel instead of 117 (bool) or 468 (float32).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from tomoseg.errors import InputError


def packed_bytes(structures: int) -> int:
    """Bytes a voxel that hold so many structures."""
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
    """Unpack to one boolean mask a structure.

    Args:
        packed: `(ceil(C / 8), ...)` uint8.
        structures: C.

    Returns:
        `(C, ...)` bool.

    Raises:
        InputError: If the bytes cannot hold that many structures.
    """
    check_packed(packed, structures)
    return np.unpackbits(packed, axis=0, count=structures, bitorder="little").view(bool)


def reorder(packed: UInt8[np.ndarray, "b *shape"], order: Sequence[int | None]) -> UInt8[np.ndarray, "k *shape"]:
    """Packed masks with their structures in another order, or others that are empty.

    Args:
        packed: `(ceil(C / 8), ...)` uint8.
        order: For each structure which one takes its place; None for none.

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
    """The mask of one structure by its channel.

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
    """The byte plane that holds a structure, and its bit in it, 0 to 7."""
    return divmod(channel, 8)


def by_byte(channels: Iterable[int]) -> dict[int, list[int]]:
    """Channels by the byte plane that holds them, both in the order given.

    Example:
        >>> by_byte([0, 7, 8])
        {0: [0, 7], 1: [8]}
    """
    planes: dict[int, list[int]] = {}
    for channel in channels:
        planes.setdefault(channel // 8, []).append(channel)
    return planes


def mask_in(plane: UInt8[np.ndarray, "*shape"], channel: int) -> Bool[np.ndarray, "*shape"]:
    """The mask of a structure in the byte plane that holds it.

    Example:
        >>> mask_in(np.array([0, 2, 3], np.uint8), 9).tolist()
        [False, True, True]
    """
    return (plane >> np.uint8(channel % 8) & 1).view(bool)


def bit_value(channel: int) -> np.uint8:
    """What a structure adds to its byte."""
    return np.uint8(1 << channel % 8)


def check_packed(packed: UInt8[np.ndarray, "b *shape"], structures: int) -> None:
    """Refuse bytes that cannot hold that many structures.

    Raises:
        InputError: If the first axis is not `ceil(structures / 8)`.
    """
    if packed.shape[0] != packed_bytes(structures):
        raise InputError(
            f"expected {packed_bytes(structures)} bytes a voxel for {structures} structures, "
            f"got {packed.shape[0]}; pack with the same label set"
        )


@dataclass(frozen=True)
class BoxedMask:
    """A mask as the box around it: most structures fill a small part of a scan.

    Attributes:
        inside: The mask within the box; nothing of it where the mask is empty.
        start: The box's first voxel.
        shape: The shape of the whole.
    """

    inside: Bool[np.ndarray, "bx by bz"]
    start: tuple[int, int, int]
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, mask: Bool[np.ndarray, "x y z"]) -> BoxedMask:
        """The tightest box around a mask; of a view, nothing is copied.

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
        """The box as an index into an array of the whole shape."""
        x, y, z = (slice(s, s + n) for s, n in zip(self.start, self.inside.shape, strict=True))
        return (x, y, z)

    @property
    def voxels(self) -> int:
        """Voxels inside."""
        return int(np.count_nonzero(self.inside))

    def whole(self) -> Bool[np.ndarray, "x y z"]:
        """The mask in its whole shape."""
        mask = np.zeros(self.shape, bool, order="F")
        mask[self.box] = self.inside
        return mask

    def within(self, start: tuple[int, ...], extent: tuple[int, int, int]) -> BoxedMask:
        """The part of the mask in a box of the whole, counted from that box's first voxel."""
        low = [max(s, b) for s, b in zip(self.start, start, strict=True)]
        high = [min(s + n, b + e) for s, n, b, e in zip(self.start, self.inside.shape, start, extent, strict=True)]
        cut = tuple(slice(a - s, max(a, b) - s) for a, b, s in zip(low, high, self.start, strict=True))
        x, y, z = (max(0, a - b) for a, b in zip(low, start, strict=True))
        return BoxedMask(self.inside[cut], (x, y, z), extent)

    def overlap(self, other: BoxedMask) -> int:
        """Voxels in both masks of one shape."""
        extent = (other.inside.shape[0], other.inside.shape[1], other.inside.shape[2])
        mine = self.within(other.start, extent)
        return int(np.count_nonzero(mine.inside & other.inside[mine.box]))


def add_mask(plane: UInt8[np.ndarray, "x y z"], channel: int, mask: BoxedMask) -> None:
    """Add a mask to a structure's bit of the byte plane that holds it, in place."""
    plane[mask.box] |= mask.inside.view(np.uint8) << np.uint8(channel % 8)


def clear_mask(plane: UInt8[np.ndarray, "x y z"], channel: int) -> None:
    """Take a structure out of the byte plane that holds it, in place."""
    plane &= ~bit_value(channel)


def _any_per_slice(mask: Bool[np.ndarray, "x y z"]) -> Bool[np.ndarray, "z"]:
    """Which axial slices hold any of a mask; slices that are whole lines of memory are searched as such."""
    lines = mask.T
    if lines.flags.c_contiguous and lines.size:
        return np.asarray(lines.reshape(len(lines), -1).any(axis=1))
    return np.asarray(mask.any(axis=(0, 1)))
