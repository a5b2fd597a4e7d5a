"""Resampling from a scan's own voxels to the network's grid and back; shared by training and prediction.

The network's grid is a box of the scan's voxels (all of it, or the body) divided into another number of
voxels along each axis, so that both cover exactly the same millimetres. Downwards every grid voxel is the
mean of what it covers (no aliasing); upwards it is linear interpolation between voxel centres.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16

from tomoseg.config import GridConfig
from tomoseg.errors import GridError
from tomoseg.masks import BoxedMask
from tomoseg.views import ordered

AIR_HU = -1024
"""HU of padding; every window maps it to its lower end."""

BODY_HU = -300
"""HU above which a voxel is body or table; air and most of the lungs' border are below."""

BODY_SAMPLE_MM = 6.0
"""Approximate voxel edge in mm of the grid on which the body is found."""

MOST_VOXELS = 2**31
"""Maximum number of voxels of a grid: a larger one results from a wrong unit in a header."""

SLAB_SLICES = 16
"""Slices resampled at a time, to bound memory."""

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Placement:
    """Position of the network's grid in a scan.

    Attributes:
        start: First voxel of the box, in the scan's RAS+ order.
        extent: Voxels of the scan that the box covers along each axis.
        shape: Voxels of the grid along each axis.
        nearest: For each axis, whether results are resampled to the scan by nearest neighbour instead of linearly.
    """

    start: Triple
    extent: Triple
    shape: Triple
    nearest: tuple[bool, bool, bool] = (False, False, False)

    @property
    def resamples(self) -> bool:
        """Whether the grid's voxels differ from the scan's."""
        return self.extent != self.shape

    def box(self) -> tuple[slice, slice, slice]:
        """The box as an index into an array `(x, y, z)` of the scan."""
        x, y, z = (slice(s, s + e) for s, e in zip(self.start, self.extent, strict=True))
        return (x, y, z)

    def is_whole(self, shape: Triple) -> bool:
        """Whether the grid is the scan's own, neither cropped nor resampled.

        Args:
            shape: Voxels of the scan along each axis.
        """
        return self.extent == shape and not self.resamples


def place_grid(hu: Int16[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float], config: GridConfig) -> Placement:
    """Choose the network's grid for a scan.

    Args:
        hu: `(x, y, z)` HU in RAS+ order, or with axes in the order of the grid's view.
        spacing_mm: Voxel edges in mm, in the same order.
        config: The grid's settings.

    Raises:
        GridError: If the grid would have more than `MOST_VOXELS`.
    """
    box = body_box(hu, spacing_mm, config.body_margin_mm) if config.crop == "body" else tuple((0, n) for n in hu.shape)
    start, extent = tuple(low for low, _ in box), tuple(high - low for low, high in box)
    shape = _grid_shape(extent, spacing_mm, config)
    if math.prod(shape) > MOST_VOXELS:
        raise GridError(
            f"expected a grid of at most {MOST_VOXELS} voxels, got {tuple(shape)} for a scan of {hu.shape} voxels of "
            f"{tuple(round(s, 3) for s in spacing_mm)} mm; check the scan's unit, or choose a coarser grid"
        )
    return Placement(start, extent, tuple(shape))  # type: ignore[arg-type]


def _grid_shape(extent: tuple[int, ...], spacing_mm: tuple[float, float, float], config: GridConfig) -> list[int]:
    shape = list(extent)
    if config.mode == "size":
        for axis, pixels in enumerate(ordered((*config.size, None), config.view)):
            shape[axis] = shape[axis] if pixels is None else pixels
    elif config.mode == "spacing":
        targets = ordered((config.spacing_mm, config.spacing_mm, config.slice_spacing_mm), config.view)
        for axis, target in enumerate(targets):
            if target is not None:
                shape[axis] = max(1, round(extent[axis] * spacing_mm[axis] / target))
    return shape


def body_box(
    hu: Int16[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float], margin_mm: float
) -> tuple[tuple[int, int], ...]:
    """Return the bounding box of the body: the first voxel and one past the last, along each axis.

    The body is everything above `BODY_HU` in components of at least a twentieth of the largest (both legs count,
    cables do not), after an opening that removes thin table tops. A scan of air alone is kept whole.

    Args:
        hu: `(x, y, z)` HU in RAS+ order.
        spacing_mm: Voxel edges in mm.
        margin_mm: Margin in mm that is kept around the body.
    """
    found = _body_ends(hu, spacing_mm)
    if found is None:
        return tuple((0, n) for n in hu.shape)
    box = []
    for (first, last, step), spacing, length in zip(found, spacing_mm, hu.shape, strict=True):
        margin = round(margin_mm / spacing)
        box.append((max(0, first - margin), min(length, last + step + margin)))
    return tuple(box)


def slice_positions(hu: Int16[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]) -> Float32[np.ndarray, "z"]:
    """Return the signed distance in mm of each slice's centre from the body's centre, along the slice axis.

    The body is that of `body_box`. Where voxels are finer than `BODY_SAMPLE_MM`, its centre is found to within half of
    that. For a scan of air alone the centre is that of the array.

    Args:
        hu: A scan on the network's grid, in the order of its view's axes.
        spacing_mm: Voxel edges, in that order.

    Example:
        >>> hu = np.full((3, 3, 6), AIR_HU, np.int16)
        >>> hu[:, :, 1:4] = 40  # the middle of the body is that of slice 2
        >>> slice_positions(hu, (4.0, 4.0, 4.0)).tolist()
        [-8.0, -4.0, 0.0, 4.0, 8.0, 12.0]
    """
    slices, found = hu.shape[2], _body_ends(hu, spacing_mm)
    middle = (slices - 1) / 2 if found is None else (found[2][0] + found[2][1]) / 2
    return ((np.arange(slices) - middle) * spacing_mm[2]).astype(np.float32)


def _body_ends(
    hu: Int16[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]
) -> list[tuple[int, int, int]] | None:
    """For each axis: first and last sampled voxel of the body, and the sampling step in voxels; None if all is air."""
    from scipy import ndimage  # takes 0.2 s to import

    steps = tuple(max(1, int(BODY_SAMPLE_MM / s)) for s in spacing_mm)
    coarse = hu[:: steps[0], :: steps[1], :: steps[2]] > BODY_HU
    opened = (
        ndimage.binary_opening(coarse, ndimage.generate_binary_structure(3, 1)) if min(coarse.shape) > 2 else coarse
    )
    pieces, _ = ndimage.label(opened if opened.any() else coarse)
    sizes = np.bincount(pieces.ravel())[1:]
    if sizes.size == 0:
        return None
    body = np.isin(pieces, np.flatnonzero(sizes * 20 >= sizes.max()) + 1)
    ends = []
    for axis, step in enumerate(steps):
        inside = np.flatnonzero(body.any(axis=tuple({0, 1, 2} - {axis})))
        ends.append((int(inside[0]) * step, int(inside[-1]) * step, step))
    return ends


def axis_weights(length: int, target: int) -> Float32[np.ndarray, "target length"]:
    """Return the weights with which the scan's voxels add up to each voxel of the grid, along one axis.

    Area averaging if the grid is coarser, linear interpolation between voxel centres if it is finer.

    Example:
        >>> axis_weights(4, 2).tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
    """
    if target >= length:
        return linear_weights(length, target)
    edges = np.arange(target + 1) * (length / target)
    voxels = np.arange(length)
    overlap = np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels)
    return (np.clip(overlap, 0, None) * (target / length)).astype(np.float32)


def linear_weights(length: int, target: int) -> Float32[np.ndarray, "target length"]:
    """Return the weights of linear interpolation between voxel centres along one axis, clamped at the ends.

    Example:
        >>> linear_weights(2, 4).tolist()
        [[1.0, 0.0], [0.75, 0.25], [0.25, 0.75], [0.0, 1.0]]
    """
    lower, upper, share = linear_positions(length, target)
    weights = np.zeros((target, length), np.float32)
    rows = np.arange(target)
    weights[rows, lower] += 1 - share
    weights[rows, upper] += share
    return weights


def linear_positions(length: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each target voxel its lower and upper neighbour, and the weight of the upper one.

    Returns:
        `lower`, `upper` int64 and `share` float32, each `(target,)`.
    """
    position = np.clip((np.arange(target) + 0.5) * (length / target) - 0.5, 0, length - 1)
    lower = np.minimum(position.astype(np.int64), length - 1)
    upper = np.minimum(lower + 1, length - 1)
    return lower, upper, (position - lower).astype(np.float32)


def positions(length: int, target: int, *, nearest: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `linear_positions`; with `nearest`, the lower one is the nearest voxel (ties go up), with all the weight.

    Example:
        >>> [values.tolist() for values in positions(2, 4, nearest=True)]
        [[0, 0, 1, 1], [1, 1, 1, 1], [0.0, 0.0, 0.0, 0.0]]
    """
    if not nearest:
        return linear_positions(length, target)
    place = (length / target) * (np.arange(target) + 0.5) - 0.5
    lower = np.clip(np.floor(place + 0.5), 0, length - 1).astype(np.int64)
    return lower, np.minimum(lower + 1, length - 1), np.zeros(target, np.float32)


def to_grid(hu: Int16[np.ndarray, "x y z"], placement: Placement) -> Int16[np.ndarray, "gx gy gz"]:
    """Resample a scan to the network's grid; HU are rounded to integers.

    Args:
        hu: The scan in RAS+ order.
        placement: Position of the grid in it.
    """
    if not placement.resamples:
        return np.asfortranarray(hu[placement.box()])
    out = np.empty(placement.shape, np.int16, order="F")
    for k, slab in enumerate(slabs_on_grid(hu, placement)):
        out[:, :, k * SLAB_SLICES : (k + 1) * SLAB_SLICES] = slab
    return out


def slabs_on_grid(hu: Int16[np.ndarray, "x y z"], placement: Placement) -> Iterator[Int16[np.ndarray, "gx gy n"]]:
    """Yield the result of `to_grid`, `SLAB_SLICES` slices at a time.

    Args:
        hu: The scan in RAS+ order.
        placement: Position of the grid in it.
    """
    cut = hu[placement.box()]
    x, y, z = (axis_weights(e, s) for e, s in zip(placement.extent, placement.shape, strict=True))
    for first in range(0, placement.shape[2], SLAB_SLICES):
        if not placement.resamples:
            yield cut[:, :, first : first + SLAB_SLICES]
            continue
        rows = z[first : first + SLAB_SLICES]
        used = np.flatnonzero(rows.any(axis=0))
        low, high = used[0], used[-1] + 1
        slab = _resample(cut[:, :, low:high].astype(np.float32), x, y, rows[:, low:high])
        yield np.rint(slab).astype(np.int16)


def mask_to_grid(mask: BoxedMask, placement: Placement) -> BoxedMask:
    """Resample a mask to the network's grid: a voxel is inside if more than half of it is.

    Args:
        mask: Mask on the scan's grid, in RAS+ order.
        placement: Position of the network's grid in the scan.
    """
    cut = mask.within(placement.start, placement.extent)
    if not placement.resamples:
        return cut
    weights = [axis_weights(e, s) for e, s in zip(placement.extent, placement.shape, strict=True)]
    return _resample_mask(cut, weights, placement.shape)


def mask_from_grid(mask: BoxedMask, placement: Placement, shape: Triple) -> BoxedMask:
    """Resample a mask from the network's grid to the scan's, linearly, as logits are resampled.

    Args:
        mask: The mask on the network's grid.
        placement: Position of that grid in the scan.
        shape: The scan's shape in RAS+ order.
    """
    if placement.resamples:
        weights = [linear_weights(s, e) for e, s in zip(placement.extent, placement.shape, strict=True)]
        mask = _resample_mask(mask, weights, placement.extent)
    x, y, z = (a + b for a, b in zip(mask.start, placement.start, strict=True))
    return BoxedMask(mask.inside, (x, y, z), shape)


def apply_windows(
    hu: Int16[np.ndarray, "*shape"], windows_hu: tuple[tuple[float, float], ...]
) -> Float32[np.ndarray, "w *shape"]:
    """Map each HU window to 0..1, clipped: one channel per window.

    Example:
        >>> apply_windows(np.array([-1000, 50, 3000], np.int16), ((-200, 300),)).tolist()
        [[0.0, 0.5, 1.0]]
    """
    channels = [np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1) for low, high in windows_hu]
    return np.stack(channels).astype(np.float32, copy=False)


def padded_shape(shape: tuple[int, ...], multiple: int) -> tuple[int, ...]:
    """Return the shape with every edge rounded up to a multiple.

    Example:
        >>> padded_shape((100, 64), 16)
        (112, 64)
    """
    return tuple(-(-n // multiple) * multiple for n in shape)


def _resample(
    values: Float32[np.ndarray, "x y z"],
    x: Float32[np.ndarray, "gx x"],
    y: Float32[np.ndarray, "gy y"],
    z: Float32[np.ndarray, "gz z"],
) -> Float32[np.ndarray, "gx gy gz"]:
    values = (x @ values.reshape(values.shape[0], -1)).reshape(len(x), *values.shape[1:])
    values = y @ values
    return values * z[0, 0] if z.shape == (1, 1) else values @ z.T


def _resample_mask(mask: BoxedMask, weights: list[np.ndarray], shape: Triple) -> BoxedMask:
    """Resample a mask; only voxels that its box reaches are computed."""
    start, cut = [], []
    for weight, first, length in zip(weights, mask.start, mask.inside.shape, strict=True):
        used = weight[:, first : first + length]
        reached = np.flatnonzero(used.any(axis=1))
        if reached.size == 0:  # empty, or between the points of a coarser grid
            return BoxedMask(np.zeros((0, 0, 0), bool), (0, 0, 0), shape)
        start.append(int(reached[0]))
        cut.append(used[reached[0] : reached[-1] + 1])
    inside = _resample(mask.inside.astype(np.float32), *cut) > 0.5
    return BoxedMask(inside, (start[0], start[1], start[2]), shape)
