"""From logits on the network's grid to decisions on the scan's own.

Logits are interpolated first and decided after, so edges are as smooth as the scan's voxels allow. Eight structures are
worked on at a time, which keeps them in cache and memory bounded: nothing of size structures x volume exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8, UInt16
from torch import Tensor
from torch.nn.functional import interpolate

from tomoseg.grid import Placement, linear_positions
from tomoseg.masks import packed_bytes
from tomoseg.networks.packed import pack_bits

GROUP = 8
"""Structures interpolated at once: one byte of packed masks."""

Decision = Callable[[Float[Tensor, "c gx gy"]], Any]


def scan_slices(logits: Iterable[Float[Tensor, "c gx gy"]], placement: Placement) -> Iterator[Float[Tensor, "c gx gy"]]:
    """Logits at each of the scan's slices in the grid's box, from those of the grid's slices, in order.

    Interpolates along z where the grid has other slices than the scan; two slices are held.

    Args:
        logits: Of the grid's slices from inferior to superior.
        placement: Where the grid lies in the scan.
    """
    depth, extent = placement.shape[2], placement.extent[2]
    if depth == extent:
        yield from logits
        return
    source = enumerate(logits)
    held: dict[int, Tensor] = {}
    for low, high, share in zip(*linear_positions(depth, extent), strict=True):
        while int(high) not in held:
            number, slice_logits = next(source)
            held = {k: v for k, v in held.items() if k >= low} | {number: slice_logits}
        lower, upper = held[int(low)].float(), held[int(high)].float()
        yield lower if share == 0 else torch.lerp(lower, upper, float(share))


def decide_masks(logits: Float[Tensor, "c gx gy"], size: tuple[int, int]) -> UInt8[np.ndarray, "b x y"]:
    """Packed masks of one slice: each structure where its interpolated logit is above 0.

    Args:
        logits: Of all structures on the grid.
        size: Pixels of the scan's slice in the box, along x and y.
    """
    out = np.empty((packed_bytes(logits.shape[0]), *size), np.uint8)
    for plane, group in enumerate(_interpolated(logits, size)):
        out[plane] = pack_bits(group[None] > 0)[0, 0].cpu().numpy()
    return out


def decide_labels(
    logits: Float[Tensor, "c gx gy"], size: tuple[int, int], ids: Sequence[int]
) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
    """Label map of one slice: the structure of the highest interpolated logit, where that is above 0.

    Ties go to the lower channel.

    Args:
        logits: Of all structures on the grid.
        size: Pixels of the scan's slice in the box, along x and y.
        ids: The label map value of each channel.
    """
    best = torch.zeros(size, device=logits.device)
    winner = torch.zeros(size, dtype=torch.int64, device=logits.device)
    for plane, group in enumerate(_interpolated(logits, size)):
        highest, channel = group.max(dim=0)
        better = highest > best
        best = torch.where(better, highest, best)
        winner = torch.where(better, channel + (plane * GROUP + 1), winner)
    values = np.array([0, *ids], label_dtype(ids))
    return values[winner.cpu().numpy()]


def label_dtype(ids: Sequence[int]) -> type[np.uint8] | type[np.uint16]:
    """The smallest unsigned type that holds the ids."""
    return np.uint8 if max(ids) < 256 else np.uint16


def _interpolated(logits: Float[Tensor, "c gx gy"], size: tuple[int, int]) -> Iterator[Float[Tensor, "g x y"]]:
    for first in range(0, logits.shape[0], GROUP):
        group = logits[first : first + GROUP].float()
        if group.shape[1:] != size:
            group = interpolate(group[None], size=size, mode="bilinear", align_corners=False)[0]
        yield group
