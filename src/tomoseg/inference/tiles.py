"""Logits of a scan's slices, with neighbouring slices as input or by overlapping tiles.

Where a network takes less than the scan at once, tiles overlap by half, with Gaussian weights. The tiles lie on a
lattice, so that weights are products of normalised weights along each axis, known beforehand: nothing is divided at
the end, and where a single tile covers a voxel, its logits are unchanged to the last bit.

Source: Isensee, F. et al. (2021). nnU-Net. Nature Methods 18, 203-211 (Gaussian weights, sigma an eighth of the tile).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import product

import numpy as np
from jaxtyping import Float32, Int16

from tomoseg.inference.logits import LogitSource

OVERLAP = 0.5
"""Overlap of tiles as a fraction of their edge."""

SIGMA = 0.125
"""Standard deviation of the Gaussian weights as a fraction of a tile's edge."""

Shares = Float32[np.ndarray, "n"]


def axis_tiles(length: int, tile: int) -> list[tuple[int, Shares]]:
    """Return the first voxel of each tile along an axis, and the weights of its voxels; weights of a voxel add up to 1.

    Args:
        length: Voxels along the axis.
        tile: Voxels of a tile, at most `length`.

    Example:
        >>> [first for first, _ in axis_tiles(10, 4)]
        [0, 2, 4, 6]
        >>> axis_tiles(3, 3)[0][1].tolist()
        [1.0, 1.0, 1.0]
    """
    steps = int(np.ceil((length - tile) / max(1, int(tile * (1 - OVERLAP))))) if length > tile else 0
    firsts = np.rint(np.linspace(0, length - tile, steps + 1)).astype(int).tolist()
    place = (np.arange(tile) + 0.5) / tile - 0.5
    weight = np.exp(-0.5 * (place / SIGMA) ** 2)
    total = np.zeros(length)
    for first in firsts:
        total[first : first + tile] += weight
    return [(first, (weight / total[first : first + tile]).astype(np.float32)) for first in firsts]


def with_neighbours(
    slabs: Iterable[Int16[np.ndarray, "x y _"]], batch: int, reach: int
) -> Iterator[Int16[np.ndarray, "x y m"]]:
    """Yield stacks of up to `batch` slices with `reach` more at either end; the scan's first and last are repeated.

    Args:
        slabs: The scan from inferior to superior.
        batch: Slices to be segmented per stack.
        reach: Neighbours on either side of each slice.

    Example:
        >>> scan = np.arange(3, dtype=np.int16).reshape(1, 1, 3)
        >>> [stack[0, 0].tolist() for stack in with_neighbours([scan], 2, 1)]
        [[0, 0, 1, 2], [1, 2, 2]]
    """
    held: list[Int16[np.ndarray, "x y"]] = []
    for slab in slabs:
        for k in range(slab.shape[2]):
            held += [slab[:, :, k]] * (1 if held else 1 + reach)
            if len(held) == batch + 2 * reach:
                yield np.stack(held, axis=2)
                held = held[batch:]
                if reach == 0:
                    held = []
    if held:
        held += [held[-1]] * reach
    while len(held) > 2 * reach:
        yield np.stack(held[: batch + 2 * reach], axis=2)
        held = held[batch:]


def bytes_of_blocks(depth: int, shape: tuple[int, int, int], structures: int) -> int:
    """Return the bytes of the sums of blocks: three layers of tiles, one being summed, one yielded, one begun.

    Args:
        depth: Slices of a tile.
        shape: Shape of the scan on the network's grid.
        structures: Number of structures.
    """
    return 3 * 4 * structures * shape[0] * shape[1] * depth


def slice_logits(
    source: LogitSource,
    slabs: Iterable[Int16[np.ndarray, "gx gy _"]],
    shape: tuple[int, int, int],
    batch: int,
    positions_mm: Float32[np.ndarray, "gz"] | None = None,
) -> Generator[Float32[np.ndarray, "c gx gy"], None, None]:
    """Yield the logits of each slice of a scan on the network's grid, from inferior to superior.

    Args:
        source: Computes the logits of slices or blocks.
        slabs: Slabs in HU, from inferior to superior.
        shape: Shape of the scan on the network's grid.
        batch: Slices per forward pass of a 2D network.
        positions_mm: Position of each slice, if the network has it as an input.
    """
    tile = source.input_spec.tile(shape)
    if len(tile) == 3:
        yield from _of_blocks(source, slabs, shape, tile)
        return
    first = 0
    for stack in with_neighbours(slabs, batch, source.input_spec.reach):
        past = first + stack.shape[2] - 2 * source.input_spec.reach
        own = None if positions_mm is None else positions_mm[first:past]
        first = past
        if tile == shape[:2]:
            yield from source.slices(stack, own)
        else:
            yield from _of_tiled_slices(source, stack, tile, own)


def _of_tiled_slices(
    source: LogitSource,
    stack: Int16[np.ndarray, "gx gy m"],
    tile: tuple[int, ...],
    positions_mm: Float32[np.ndarray, "n"] | None,
) -> Iterator[Float32[np.ndarray, "c gx gy"]]:
    slices = stack.shape[2] - 2 * source.input_spec.reach
    total = _add_tiles(
        None,
        stack,
        tile,
        lambda part: np.stack(source.slices(part, positions_mm), axis=-1),
        np.ones(slices, np.float32),
    )
    yield from np.moveaxis(total, 3, 1)


def _of_blocks(
    source: LogitSource,
    slabs: Iterable[Int16[np.ndarray, "gx gy _"]],
    shape: tuple[int, int, int],
    tile: tuple[int, ...],
) -> Iterator[Float32[np.ndarray, "c gx gy"]]:
    """Compute one layer of tiles at a time; sums are held of as many slices as a tile is deep."""
    depth = tile[2]
    stacks = with_neighbours(slabs, 1, 0)
    block = np.empty((*shape[:2], 0), np.int16)
    total: Float32[np.ndarray, "n gx gy c"] | None = None
    layers = axis_tiles(shape[2], depth)
    for number, (first, shares) in enumerate(layers):
        missing = depth - block.shape[2]
        block = np.concatenate([block, *(next(stacks) for _ in range(missing))], axis=2)
        total = _add_tiles(total, block, tile, source.block, shares)
        done = (layers[number + 1][0] if number + 1 < len(layers) else shape[2]) - first
        yield from np.moveaxis(total[:done], 3, 1)
        block, total = block[:, :, done:], _moved_on(total, done)


def _moved_on(total: Float32[np.ndarray, "n gx gy c"], done: int) -> Float32[np.ndarray, "n gx gy c"]:
    """Return new sums without the finished slices, with zeros appended; slices already yielded are not overwritten."""
    fresh = np.zeros_like(total)
    fresh[: len(total) - done] = total[done:]
    return fresh


def _add_tiles(
    total: Float32[np.ndarray, "n gx gy c"] | None,
    hu: Int16[np.ndarray, "gx gy m"],
    tile: tuple[int, ...],
    compute: Callable[[Int16[np.ndarray, "x y m"]], Float32[np.ndarray, "c x y n"]],
    along_z: Shares,
) -> Float32[np.ndarray, "n gx gy c"]:
    """Add the weighted logits of all tiles of a layer to the sums; None for sums of 0."""
    lattice = product(*(axis_tiles(edge, size) for edge, size in zip(hu.shape[:2], tile[:2], strict=True)))
    for (x, along_x), (y, along_y) in lattice:
        logits = compute(hu[x : x + len(along_x), y : y + len(along_y)]).transpose(3, 1, 2, 0)
        if total is None:
            total = np.zeros((len(logits), *hu.shape[:2], logits.shape[3]), np.float32)
        shares = np.einsum("z,x,y->zxy", along_z, along_x, along_y)[..., None]
        total[:, x : x + len(along_x), y : y + len(along_y)] += logits * shares
    assert total is not None  # a lattice has at least one tile
    return total
