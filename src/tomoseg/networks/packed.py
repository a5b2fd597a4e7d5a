"""Packed masks (see `tomoseg.masks`) as tensors."""

from __future__ import annotations

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor


def unpack_bits(packed: UInt8[Tensor, "n b *xyz"], structures: int) -> Bool[Tensor, "n c *xyz"]:
    """Unpack masks to one boolean channel per structure, on the device of the bytes.

    Args:
        packed: `(n, ceil(C / 8), ...)` uint8, structure `c` is bit `c % 8` of byte `c // 8`.
        structures: The number of structures, C.
    """
    bit = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=packed.device)
    bit = bit.view(1, 1, 8, *[1] * (packed.ndim - 2))
    return packed.unsqueeze(2).bitwise_and(bit).ne(0).flatten(1, 2)[:, :structures]


def pack_bits(masks: Bool[Tensor, "n c *xyz"]) -> UInt8[Tensor, "n b *xyz"]:
    """Pack masks, the inverse of `unpack_bits`."""
    n, structures, *shape = masks.shape
    padded = torch.zeros((n, -(-structures // 8) * 8, *shape), dtype=torch.uint8, device=masks.device)
    padded[:, :structures] = masks
    weights = torch.tensor([1, 2, 4, 8, 16, 32, 64, 128], dtype=torch.uint8, device=masks.device)
    grouped = padded.unflatten(1, (-1, 8)) * weights.view(1, 1, 8, *[1] * len(shape))
    return grouped.sum(2, dtype=torch.uint8)
