"""Packed masks: many overlapping binary masks in few bytes.

Structure `c` is bit `c % 8` of byte `c // 8`, so that `(C, ...)` booleans become `(ceil(C / 8), ...)` uint8.
117 structures cost 15 bytes a voxel instead of 117 (bool) or 468 (float32).
"""

from __future__ import annotations

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


def structure_mask(packed: UInt8[np.ndarray, "b *shape"], index: int) -> Bool[np.ndarray, "*shape"]:
    """The mask of one structure by its channel.

    Raises:
        InputError: If the bytes hold no such channel.
    """
    if not 0 <= index < 8 * packed.shape[0]:
        raise InputError(f"expected a channel below {8 * packed.shape[0]}, got {index}; check the label set")
    return (packed[index // 8] >> np.uint8(index % 8) & 1).view(bool)


def set_structure(packed: UInt8[np.ndarray, "b *shape"], index: int, mask: Shaped[np.ndarray, "*shape"]) -> None:
    """Add a mask (non-zero is inside) to a structure's bits, in place."""
    packed[index // 8] |= (mask != 0).view(np.uint8) << np.uint8(index % 8)


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
