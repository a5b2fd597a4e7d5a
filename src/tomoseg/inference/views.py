"""Conversion of the logits of coronal or sagittal slices to axial slices.

A network of such slices has to see all of them before the first axial slice is known. Its logits are kept as one byte
per voxel and structure, compressed: most structures are absent nearly everywhere, so that a hundred of them take a
few bytes per voxel.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

import blosc2
import numpy as np
from jaxtyping import Float32, Int8

from tomoseg.views import ordered, unordered
from tomoseg.volume import as_axial

STEPS = 8
"""Quantisation steps per unit of a logit, clipped to ±16: probabilities are accurate to 0.016."""

SLAB = 16
"""Slices of a view that are compressed together."""

KEPT_BYTES, KEPT_SHARE = 2.0, 0.25
"""Upper bound of compressed bytes per voxel, and more for each structure: two structures that a network is unsure of
everywhere do not compress, and of many most are absent nearly everywhere."""

DEPTH = 8
"""Axial slices decompressed at a time."""


def bytes_of_view(view: str, shape: tuple[int, int, int], structures: int) -> int:
    """Return the upper bound in bytes of a view's kept logits, one slab on its way in and one out, and the scan.

    Args:
        view: Name of the view: axial, coronal or sagittal.
        shape: Shape of the scan on the network's grid, along x, y and z.
        structures: Number of structures.
    """
    first, second, _ = ordered(shape, view)
    slabs = 2 * structures * (first * second * SLAB + shape[0] * shape[1] * DEPTH)
    voxels = shape[0] * shape[1] * shape[2]
    return slabs + int(voxels * (2 + min(structures, KEPT_BYTES + KEPT_SHARE * structures)))


class KeptLogits:
    """Logits of a scan's slices in one view, readable as axial slices.

    Args:
        slices: `(c, a, b)` each, in the order of the view.
        view: Name of the view: axial, coronal or sagittal.

    Example:
        >>> slices = [np.full((1, 3, 4), k, np.float32) for k in range(2)]  # coronal: x is 3, z is 4, y is 2
        >>> kept = KeptLogits(slices, "coronal")
        >>> [each.shape for each in kept.axial()], next(kept.axial())[0, 0].tolist()
        ([(1, 3, 2), (1, 3, 2), (1, 3, 2), (1, 3, 2)], [0.0, 1.0])
    """

    def __init__(self, slices: Iterable[Float32[np.ndarray, "c a b"]], view: str) -> None:
        self._along = unordered((0, 1, 2), view).index(2)  # the axis, x, y or z, across the view's slices
        self._shapes: list[tuple[int, ...]] = []
        self._packed: list[list[bytes]] = []  # by slab, then by depth
        held: list[Int8[np.ndarray, "c a b"]] = []
        for logits in slices:
            held.append(np.clip(np.rint(logits * STEPS), -128, 127).astype(np.int8))
            if len(held) == SLAB:
                self._keep(np.stack(held, axis=-1), view)
                held = []
        if held:
            self._keep(np.stack(held, axis=-1), view)

    @property
    def nbytes(self) -> int:
        """Size of the compressed logits in bytes."""
        return sum(len(part) for slab in self._packed for part in slab)

    def axial(self) -> Generator[Float32[np.ndarray, "c x y"], None, None]:
        """Yield each axial slice, from inferior to superior; a few are decompressed at a time."""
        for depth in range(len(self._packed[0])):
            parts = []
            for (c, x, y, z), slab in zip(self._shapes, self._packed, strict=True):
                here = min(DEPTH, z - depth * DEPTH)
                parts.append(np.frombuffer(blosc2.decompress2(slab[depth]), np.int8).reshape(c, x, y, here))
            whole = np.concatenate(parts, axis=1 + self._along)
            for k in range(whole.shape[3]):
                yield whole[..., k].astype(np.float32) / STEPS

    def _keep(self, slab: Int8[np.ndarray, "c a b n"], view: str) -> None:
        axial = as_axial(slab, view)
        parts = [np.ascontiguousarray(axial[..., k : k + DEPTH]) for k in range(0, axial.shape[3], DEPTH)]
        self._shapes.append(axial.shape)
        self._packed.append([blosc2.compress2(part, typesize=1, clevel=1, codec=blosc2.Codec.LZ4) for part in parts])
