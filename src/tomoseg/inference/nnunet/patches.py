"""From slices on a network's grid to logits of each, over patches that overlap; one layer of patches is held.

Patches are of one size and lie where nnU-Net puts them, since the network normalises over each. Their sums are divided
by nothing at the end: how much each patch counts for a voxel is a product along the axes, which is known before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, product

import numpy as np
from jaxtyping import Float32

from tomoseg.inference.engine import Engine
from tomoseg.inference.nnunet.frame import Frame, NetworkGrid, axis_patches

Compute = Callable[[Float32[np.ndarray, "x y z"]], Float32[np.ndarray, "s x y z"]]


class PatchLogits:
    """The logits of a patch: the mean over folds, and over mirror images if they are wanted.

    Args:
        engines: One for each fold.
        frame: The network's axes in the scan.
        mirrored: Axes of the network, in every combination of which the patch is mirrored.
    """

    def __init__(self, engines: Iterable[Engine], frame: Frame, mirrored: tuple[int, ...] = ()) -> None:
        self._engines = list(engines)
        self._frame = frame
        every = (some for count in range(1, len(mirrored) + 1) for some in combinations(mirrored, count))
        self._flips: list[tuple[int, ...]] = [(), *every]
        self._constant: dict[float, Float32[np.ndarray, "s x y z"]] = {}

    def __call__(self, patch: Float32[np.ndarray, "x y z"]) -> Float32[np.ndarray, "s x y z"]:
        """Logits along x, y and z; a patch of one value, air mostly, is computed once."""
        value = float(patch.flat[0])
        if (patch != value).any():
            return self._computed(patch)
        if value not in self._constant:
            self._constant = {value: self._computed(patch).copy()}
        return self._constant[value]

    def _computed(self, patch: Float32[np.ndarray, "x y z"]) -> Float32[np.ndarray, "s x y z"]:
        turned = self._frame.to_network(patch)
        fixed = self._engines[0].reads.fixed
        image = np.ascontiguousarray(turned).reshape(1, 1, *fixed)
        total: Float32[np.ndarray, "s *abc"] | None = None
        for engine, axes in product(self._engines, self._flips):
            flipped = tuple(2 + axis for axis in axes)
            logits = np.flip(engine.run(np.ascontiguousarray(np.flip(image, flipped))), flipped)[0]
            total = logits if total is None else total + logits
        assert total is not None  # there is an engine
        count = len(self._engines) * len(self._flips)
        mean = total if count == 1 else total / np.float32(count)
        return self._frame.to_scan(mean.reshape(len(mean), *turned.shape))


def bytes_of_sums(grid: NetworkGrid, structures: int) -> int:
    """What sums and a patch's logits take at most.

    Args:
        grid: The network's.
        structures: Logits for each voxel.
    """
    x, y, _ = (edge + sum(ends) for edge, ends in zip(grid.placement.shape, grid.padding, strict=True))
    patch = grid.patch[0] * grid.patch[1] * grid.patch[2]
    return 4 * structures * (x * y * (grid.patch[2] + 3) + patch)


def logits_of_slices(
    compute: Compute, slabs: Iterable[Float32[np.ndarray, "gx gy _"]], grid: NetworkGrid, step: float
) -> Iterator[Float32[np.ndarray, "s gx gy"]]:
    """Logits of each slice of the network's grid, from inferior to superior.

    Args:
        compute: Gives the logits of a patch.
        slabs: The scan on the grid.
        grid: The network's.
        step: By which patches move on, of their edge.
    """
    along_x, along_y, along_z = axis_patches(grid, step)
    (left, _), (front, _), (below, _) = grid.padding
    gx, gy, gz = grid.placement.shape
    planes = _padded(slabs, grid)
    held: list[Float32[np.ndarray, "px py"]] = []
    total: Float32[np.ndarray, "n px py s"] | None = None
    depth = grid.patch[2]
    for number, (first, shares) in enumerate(along_z):
        held += [next(planes) for _ in range(depth - len(held))]
        block = np.stack(held, axis=2)
        for (x, share_x), (y, share_y) in product(along_x, along_y):
            logits = compute(block[x : x + len(share_x), y : y + len(share_y)])
            if total is None:
                total = np.zeros((depth, *block.shape[:2], len(logits)), np.float32)
            in_plane = np.multiply.outer(share_x, share_y)[..., None]
            for k, share in enumerate(shares.tolist()):
                here = total[k, x : x + len(share_x), y : y + len(share_y)]
                here += logits[..., k].transpose(1, 2, 0) * (in_plane * np.float32(share))
        assert total is not None  # there is a patch
        done = (along_z[number + 1][0] if number + 1 < len(along_z) else first + depth) - first
        for k in range(done):
            if below <= first + k < below + gz:
                yield np.moveaxis(total[k, left : left + gx, front : front + gy].copy(), 2, 0)
        held = held[done:]
        total[: depth - done] = total[done:]
        total[depth - done :] = 0


def _padded(
    slabs: Iterable[Float32[np.ndarray, "gx gy _"]], grid: NetworkGrid
) -> Iterator[Float32[np.ndarray, "px py"]]:
    """Each slice with zeros around it, and slices of zeros before and after."""
    in_plane, (below, above) = grid.padding[:2], grid.padding[2]
    edges = zip(grid.placement.shape, in_plane, strict=False)
    nothing = np.zeros([edge + sum(ends) for edge, ends in edges], np.float32)
    yield from [nothing] * below
    for slab in slabs:
        for k in range(slab.shape[2]):
            yield np.pad(slab[:, :, k], in_plane)
    yield from [nothing] * above
