"""From logits on the network's grid to decisions on the scan's own.

Logits are interpolated first and decided after, so edges are as smooth as the scan's voxels allow. On a CPU
`reduction.py` interpolates only where corners disagree; on a GPU eight structures are worked on at a time. Either way
nothing of size structures x volume exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property

import numpy as np
import torch
from jaxtyping import Float, Float32, Int16, UInt8, UInt16
from torch import Tensor
from torch.nn.functional import interpolate

from tomoseg.grid import Placement, linear_positions
from tomoseg.inference.reduction import Cells, Corners, cells_along, fill_labels, fill_masks, winners
from tomoseg.masks import packed_bytes
from tomoseg.networks.packed import pack_bits

GROUP = 8
"""Structures interpolated at once on a GPU: one byte of packed masks."""


class GridSlice:
    """Logits of one slice of the network's grid, with what is decided at its points worked out once.

    Args:
        logits: `(c, gx, gy)`; a slice of a channels-last batch is read without a copy.
    """

    def __init__(self, logits: Float[Tensor, "c gx gy"]) -> None:
        self.logits = logits

    @cached_property
    def values(self) -> Float32[np.ndarray, "gx gy c"]:
        """The logits in the memory of the CPU, structures last."""
        return np.ascontiguousarray(self.logits.movedim(0, 2).float().cpu().numpy())

    @cached_property
    def winners(self) -> Int16[np.ndarray, "gx gy"]:
        """At each point the channel of the highest logit plus one, or 0 where none is above 0."""
        out = np.empty(self.values.shape[:2], np.int16)
        _in_rows(lambda begin, end: winners(self.values[begin:end], out[begin:end]), len(out))
        return out

    @cached_property
    def signs(self) -> UInt8[np.ndarray, "gx gy b"]:
        """Where logits are above 0, packed."""
        return np.packbits(self.values > 0, axis=2, bitorder="little")


Between = tuple[GridSlice, GridSlice, float]
"""The slices of the grid below and above one of the scan's, and the weight of the upper one; the same slice twice
where the weight is 0."""


def scan_slices(logits: Iterable[Float[Tensor, "c gx gy"]], placement: Placement) -> Iterator[Between]:
    """Between which of the grid's slices each of the scan's lies, in the grid's box and in order.

    Two slices are held.

    Args:
        logits: Of the grid's slices from inferior to superior.
        placement: Where the grid lies in the scan.
    """
    source = enumerate(logits)
    held: dict[int, GridSlice] = {}
    for low, high, share in zip(*linear_positions(placement.shape[2], placement.extent[2]), strict=True):
        high = high if share > 0 else low  # the grid's slice above is not needed yet
        while int(high) not in held:
            number, slice_logits = next(source)
            held = {k: v for k, v in held.items() if k >= low} | {number: GridSlice(slice_logits)}
        yield held[int(low)], held[int(high)], float(share)


def decide_masks(between: Between, size: tuple[int, int]) -> UInt8[np.ndarray, "b x y"]:
    """Packed masks of one slice of the scan: each structure where its interpolated logit is above 0.

    Args:
        between: Where the slice lies.
        size: Pixels of the scan's slice in the box, along x and y.
    """
    low, high, share = between
    out = np.empty((packed_bytes(low.logits.shape[0]), *size), np.uint8)
    if low.logits.device.type != "cpu":
        for plane, group in enumerate(_interpolated(between, size)):
            out[plane] = pack_bits(group[None] > 0)[0, 0].cpu().numpy()
        return out
    if _is_on_grid(between, size):
        return np.moveaxis(low.signs, 2, 0)
    cells = _cells(low, size)
    corners = Corners(low.values, high.values, np.float32(share), low.signs, high.signs)
    _in_rows(lambda *rows: fill_masks(corners, cells, rows, out), len(low.signs))
    return out


def decide_labels(
    between: Between, size: tuple[int, int], ids: Sequence[int]
) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
    """Label map of one slice of the scan: the structure of the highest interpolated logit, where that is above 0.

    Ties go to the lower channel.

    Args:
        between: Where the slice lies.
        size: Pixels of the scan's slice in the box, along x and y.
        ids: The label map value of each channel.
    """
    low, high, share = between
    values = np.array([0, *ids], label_dtype(ids))
    if low.logits.device.type != "cpu":
        return values[_highest(between, size).cpu().numpy()]
    if _is_on_grid(between, size):
        return values[low.winners]
    out, cells = np.empty(size, values.dtype), _cells(low, size)
    corners = Corners(low.values, high.values, np.float32(share), low.winners, high.winners)
    _in_rows(lambda *rows: fill_labels(corners, cells, rows, values, out), len(low.winners))
    return out


def confidences(
    between: Between, size: tuple[int, int], offsets: Float32[np.ndarray, "c"]
) -> UInt8[np.ndarray, "c x y"]:
    """Probability of each structure in one slice of the scan, 0 to 1 as 0 to 255.

    Args:
        between: Where the slice lies.
        size: Pixels of the scan's slice in the box, along x and y.
        offsets: What was subtracted from the logits for thresholds other than 0.5.
    """
    added = torch.from_numpy(offsets).to(between[0].logits.device)[:, None, None]
    groups = enumerate(_interpolated(between, size))
    return np.concatenate([_as_uint8(group + added[n * GROUP :][:GROUP]) for n, group in groups])


def highest_confidence(
    between: Between, size: tuple[int, int], offsets: Float32[np.ndarray, "c"]
) -> UInt8[np.ndarray, "1 x y"]:
    """Probability of the most probable structure at each pixel of one slice; arguments as for `confidences`."""
    added = torch.from_numpy(offsets).to(between[0].logits.device)[:, None, None]
    best: Tensor | None = None
    for n, group in enumerate(_interpolated(between, size)):
        highest = (group + added[n * GROUP :][:GROUP]).amax(dim=0, keepdim=True)
        best = highest if best is None else torch.maximum(best, highest)
    assert best is not None  # there is a structure
    return _as_uint8(best)


def _as_uint8(logits: Tensor) -> UInt8[np.ndarray, "n x y"]:
    return (255 * logits.sigmoid()).round().to(torch.uint8).cpu().numpy()


def label_dtype(ids: Sequence[int]) -> type[np.uint8] | type[np.uint16]:
    """The smallest unsigned type that holds the ids."""
    return np.uint8 if max(ids) < 256 else np.uint16


def _is_on_grid(between: Between, size: tuple[int, int]) -> bool:
    return between[2] == 0 and between[0].logits.shape[1:] == size


def _cells(grid_slice: GridSlice, size: tuple[int, int]) -> Cells:
    gx, gy = grid_slice.logits.shape[1:]
    return Cells(*cells_along(gx, size[0]), *cells_along(gy, size[1]))


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads of our own: numba's parallel layer aborts when several threads enter it."""
    return ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="reduction")


def _in_rows(work: Callable[[int, int], object], rows: int) -> None:
    """Run work on ranges of rows, several a thread, since anatomy is not spread evenly."""
    step = max(1, -(-rows // (4 * torch.get_num_threads())))
    list(_threads().map(lambda begin: work(begin, min(begin + step, rows)), range(0, rows, step)))


def _highest(between: Between, size: tuple[int, int]) -> Tensor:
    """`(x, y)`, the channel of the highest interpolated logit plus one, or 0 where none is above 0."""
    best = torch.zeros(size, device=between[0].logits.device)
    winner = torch.zeros(size, dtype=torch.int64, device=best.device)
    for plane, group in enumerate(_interpolated(between, size)):
        highest, channel = group.max(dim=0)
        better = highest > best
        best = torch.where(better, highest, best)
        winner = torch.where(better, channel + (plane * GROUP + 1), winner)
    return winner


def _interpolated(between: Between, size: tuple[int, int]) -> Iterator[Float[Tensor, "g x y"]]:
    low, high, share = between
    for first in range(0, low.logits.shape[0], GROUP):
        group = low.logits[first : first + GROUP].float()
        if share > 0:
            group = (1 - share) * group + share * high.logits[first : first + GROUP].float()
        if group.shape[1:] != size:
            group = interpolate(group[None], size=size, mode="bilinear", align_corners=False)[0]
        yield group
