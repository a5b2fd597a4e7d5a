"""Sliding-window logits of the slices of a network's grid; one layer of patches is held.

Where a network has fewer features than structures, features are averaged in place of logits, and its last 1x1
convolution is computed once per voxel (`models/heads.py`).

Patches have one size and nnU-Net's positions, since the network normalises over each. Their weights are rounded to 16
bits as in nnU-Net: near a patch's corners few digits remain, and 32 bits would give other logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, product

import blosc2
import numpy as np
from jaxtyping import Float32

from tomoseg.inference.engine import Engine
from tomoseg.inference.memory import give_back
from tomoseg.inference.nnunet.frame import Frame, NetworkGrid, first_voxels
from tomoseg.models.heads import Head

Compute = Callable[[Float32[np.ndarray, "x y z"]], Float32[np.ndarray, "s x y z"]]


class PatchLogits:
    """Mean of a patch's logits over folds, and over mirror images if requested.

    With headless engines it is the features of all folds, concatenated.

    Args:
        engines: One per fold.
        frame: The network's axes in the scan.
        mirrored: Axes of the network; the patch is mirrored along every combination of them.
        head: Makes logits of features; None if engines return logits.
    """

    def __init__(
        self, engines: Iterable[Engine], frame: Frame, mirrored: tuple[int, ...] = (), head: Head | None = None
    ) -> None:
        self._engines = list(engines)
        self._frame, self._head = frame, head
        every = (some for count in range(1, len(mirrored) + 1) for some in combinations(mirrored, count))
        self._flips: list[tuple[int, ...]] = [(), *every]
        self._constant: dict[float, bytes] = {}

    def __call__(self, patch: Float32[np.ndarray, "x y z"]) -> Float32[np.ndarray, "s x y z"]:
        """Compute a patch along x, y and z; the result of constant patches (mostly air) is cached."""
        value = float(patch.flat[0])
        if (patch != value).any():
            return self._computed(patch)
        if value not in self._constant:  # compressed, since patches of many structures are large
            self._constant = {value: blosc2.pack_array2(np.ascontiguousarray(np.moveaxis(self._computed(patch), 0, 3)))}
        return np.moveaxis(blosc2.unpack_array2(self._constant[value]), 3, 0)

    def logits(self, mean: Float32[np.ndarray, "n x y"]) -> Float32[np.ndarray, "s x y"]:
        """Return the logits of a slice.

        Args:
            mean: Weighted mean over patches of the logits or features of each voxel.
        """
        return mean if self._head is None else self._head(mean)

    def _computed(self, patch: Float32[np.ndarray, "x y z"]) -> Float32[np.ndarray, "s x y z"]:
        turned = self._frame.to_network(patch)
        fixed = self._engines[0].input_spec.fixed
        image = np.ascontiguousarray(turned).reshape(1, 1, *fixed)
        together = self._head is None or len(self._engines) == 1
        apart = [self._engines] if together else [[engine] for engine in self._engines]
        means = [self._mean(image, engines) for engines in apart]
        mean = means[0] if together else np.concatenate(means)
        return self._frame.to_scan(mean.reshape(len(mean), *turned.shape))

    def _mean(self, image: Float32[np.ndarray, "1 1 *abc"], engines: Sequence[Engine]) -> Float32[np.ndarray, "s *abc"]:
        """Average over engines and mirror images."""
        total: Float32[np.ndarray, "s *abc"] | None = None
        for engine, axes in product(engines, self._flips):
            flipped = tuple(2 + axis for axis in axes)
            found = np.flip(engine.run(np.ascontiguousarray(np.flip(image, flipped))), flipped)[0]
            total = found if total is None else total + found
        assert total is not None  # there is at least one engine
        count = len(engines) * len(self._flips)
        return total if count == 1 else total / np.float32(count)


def bytes_of_sums(grid: NetworkGrid, values: int, networks: int, images: int) -> int:
    """Return the upper bound in bytes of the sums over patches and of one patch's outputs.

    Args:
        grid: The network's grid.
        values: Logits or features per voxel.
        networks: Number of folds.
        images: Number of mirror images, the patch itself included.
    """
    x, y, _ = (edge + sum(ends) for edge, ends in zip(grid.placement.shape, grid.padding, strict=True))
    patch = grid.patch[0] * grid.patch[1] * grid.patch[2]
    at_once = 1 if networks * images == 1 else 3  # the output, the sum, and their new sum
    return 4 * values * (x * y * (grid.patch[2] + 3) + at_once * patch)


def means_of_slices(
    compute: Compute, slabs: Iterable[Float32[np.ndarray, "gx gy _"]], grid: NetworkGrid, step: float
) -> Iterator[Float32[np.ndarray, "s gx gy"]]:
    """Yield the weighted mean over patches of each slice of the network's grid, from inferior to superior.

    Args:
        compute: Returns the logits or features of a patch.
        slabs: The normalised scan on the grid.
        grid: The network's grid.
        step: Step between patches as a fraction of their edge.
    """
    firsts_x, firsts_y, firsts_z = first_voxels(grid, step)
    gz, (below, _) = grid.placement.shape[2], grid.padding[2]
    planes = _padded(slabs, grid)
    held: list[Float32[np.ndarray, "px py"]] = []
    depth = grid.patch[2]
    sums: _Sums | None = None
    weights = _weights(grid)
    for number, first in enumerate(firsts_z):
        held += [next(planes) for _ in range(depth - len(held))]
        block = np.stack(held, axis=2)
        give_back()  # memory of resampling and of decisions
        for x, y in product(firsts_x, firsts_y):
            values = compute(block[x : x + grid.patch[0], y : y + grid.patch[1]])
            if sums is None:
                sums = _Sums(len(values), grid, block.shape[:2])
            sums.add(values, weights, x, y)
            del values  # its memory is reused by the next patch
        assert sums is not None  # there is at least one patch
        done = (firsts_z[number + 1] if number + 1 < len(firsts_z) else first + depth) - first
        for k in range(done):
            if below <= first + k < below + gz:
                yield sums.mean(k)
        held = held[done:]
        sums.move_on(done)


class _Sums:
    """Weighted sums, and sums of weights, over as many slices as a patch is deep.

    Args:
        values: Logits or features per voxel.
        grid: The network's grid.
        size: Shape of a padded slice along x and y.
    """

    def __init__(self, values: int, grid: NetworkGrid, size: tuple[int, ...]) -> None:
        depth = grid.patch[2]
        self._values = np.zeros((depth, *size, values), np.float32)
        self._weights = np.zeros((depth, *size, 1), np.float32)
        (left, _), (front, _), _ = grid.padding
        gx, gy, _ = grid.placement.shape
        self._inside = slice(left, left + gx), slice(front, front + gy)

    def add(
        self, values: Float32[np.ndarray, "s x y z"], weights: Float32[np.ndarray, "x y z"], x: int, y: int
    ) -> None:
        """Add a patch at a position; slice by slice, since a patch of many structures is large."""
        place = slice(x, x + weights.shape[0]), slice(y, y + weights.shape[1])
        for k in range(weights.shape[2]):
            weight = weights[..., k, None]
            self._values[k][place] += values[..., k].transpose(1, 2, 0) * weight
            self._weights[k][place] += weight

    def mean(self, k: int) -> Float32[np.ndarray, "s gx gy"]:
        """Return the mean of a finished slice, structures last in memory."""
        return np.moveaxis(self._values[k][self._inside] / self._weights[k][self._inside], 2, 0)

    def move_on(self, done: int) -> None:
        """Drop finished slices, and append as many zeros."""
        for sums in (self._values, self._weights):
            kept = len(sums) - done
            for k in range(kept):  # one by one: NumPy would copy all of them aside first
                sums[k] = sums[k + done]
            sums[kept:] = 0


def _weights(grid: NetworkGrid) -> Float32[np.ndarray, "x y z"]:
    """Return the weight of each voxel of a patch, along x, y and z."""
    along_network = [grid.patch[axis] for axis in grid.frame.along]
    edges = along_network[1:] if along_network[0] == 1 else along_network  # a 2D network
    return grid.frame.to_scan(gaussian(tuple(edges)).reshape(1, *along_network))[0]


def gaussian(patch: tuple[int, ...]) -> Float32[np.ndarray, "*patch"]:
    """Return nnU-Net's Gaussian weights of a patch: 10 at voxel `edge // 2`, rounded to 16 bits, above 0 everywhere.

    Args:
        patch: Patch size along the network's axes.

    Example:
        >>> [round(weight, 2) for weight in gaussian((4,)).tolist()]
        [0.0, 1.35, 10.0, 1.35]
    """
    from scipy import ndimage  # takes 0.2 s to import

    weights = np.zeros(patch)
    weights[tuple(edge // 2 for edge in patch)] = 1
    weights = ndimage.gaussian_filter(weights, [edge / 8 for edge in patch], 0, mode="constant", cval=0)
    weights /= weights.max() / 10
    half = weights.astype(np.float16)
    half[half == 0] = half[half > 0].min()
    return half.astype(np.float32)


def _padded(
    slabs: Iterable[Float32[np.ndarray, "gx gy _"]], grid: NetworkGrid
) -> Iterator[Float32[np.ndarray, "px py"]]:
    """Yield each slice padded with zeros, and slices of zeros before and after."""
    in_plane, (below, above) = grid.padding[:2], grid.padding[2]
    edges = zip(grid.placement.shape, in_plane, strict=False)
    nothing = np.zeros([edge + sum(ends) for edge, ends in edges], np.float32)
    yield from [nothing] * below
    for slab in slabs:
        for k in range(slab.shape[2]):
            yield np.pad(slab[:, :, k], in_plane)
    yield from [nothing] * above
