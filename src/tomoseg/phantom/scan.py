"""A CT scan of a made-up body with all 117 structures, from a seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from jaxtyping import Float, Float32, Int16, UInt8
from scipy.ndimage import gaussian_filter1d

from tomoseg.errors import InputError
from tomoseg.labels import LabelSet
from tomoseg.phantom.belly import paint_kidneys, paint_liver, paint_pancreas, paint_pelvic_organs, paint_spleen
from tomoseg.phantom.body import Body, generator
from tomoseg.phantom.bowel import paint_colon, paint_duodenum, paint_small_bowel, paint_stomach
from tomoseg.phantom.cage import paint_cage, paint_shoulders
from tomoseg.phantom.canvas import Canvas
from tomoseg.phantom.chest import paint_airways, paint_heart, paint_lungs
from tomoseg.phantom.head import paint_head, paint_neck
from tomoseg.phantom.pelvis import paint_gluteals, paint_hips, paint_iliopsoas
from tomoseg.phantom.shapes import Block, Shape
from tomoseg.phantom.spine import paint_back_muscles, paint_spine
from tomoseg.phantom.tissues import TISSUE_NUMBER, TissueTable
from tomoseg.phantom.trunk import paint_trunk
from tomoseg.phantom.vessels import paint_belly_vessels, paint_chest_vessels

ViewName = Literal["whole", "trunk", "chest_abdomen", "abdomen_pelvis", "thorax", "head_neck"]

VIEWS: dict[ViewName, tuple[float, float, float]] = {
    "whole": (-95, 852, 0.36),
    "trunk": (-90, 580, 0.24),
    "chest_abdomen": (110, 575, 0.12),
    "abdomen_pelvis": (-85, 400, 0.12),
    "thorax": (270, 585, 0.08),
    "head_neck": (490, 852, 0.08),
}
"""Fields of view: lower and upper end in mm of the standard body, and probability of being drawn."""

_VIEW_JITTER_MM = 18.0
_PAINTERS: tuple[Callable[[Canvas, Body], None], ...] = (
    paint_trunk,
    paint_lungs,
    paint_small_bowel,
    paint_colon,
    paint_stomach,
    paint_back_muscles,
    paint_gluteals,
    paint_iliopsoas,
    paint_duodenum,
    paint_pancreas,
    paint_spleen,
    paint_liver,
    paint_kidneys,
    paint_pelvic_organs,
    paint_heart,
    paint_neck,
    paint_airways,
    paint_chest_vessels,
    paint_belly_vessels,
    paint_shoulders,
    paint_cage,
    paint_hips,
    paint_spine,
    paint_head,
)
"""Painters in order: later ones paint over earlier ones."""


@dataclass(frozen=True)
class Phantom:
    """A made-up CT scan with its masks.

    Attributes:
        hu: `(x, y, z)` int16, RAS+ order.
        packed: Packed masks in the channel order of `LabelSet.total()`.
        affine: `(4, 4)` float64, RAS+ index to mm.
        view: Field of view.
    """

    hu: Int16[np.ndarray, "x y z"]
    packed: UInt8[np.ndarray, "b x y z"]
    affine: Float[np.ndarray, "4 4"]
    view: ViewName


def make_phantom(
    seed: int,
    *,
    spacing_mm: tuple[float, float, float] = (3.0, 3.0, 5.0),
    field_of_view: str = "random",
) -> Phantom:
    """Draw the CT scan of a body.

    Size, posture, fat, sex, contrast phase, organs, place in the scanner and field of view follow from the seed; the
    same seed gives the same bytes. A structure outside the field of view has an empty mask, as has one that the body
    lacks (prostate, kidney cysts).

    Args:
        seed: Any number from 0 up.
        spacing_mm: Voxel spacing along x, y and z in mm, 0.5 or more.
        field_of_view: A name of `VIEWS`, or `random` for one drawn from the seed.

    Returns:
        The scan with its masks.

    Raises:
        InputError: If the seed is negative, a voxel edge is below 0.5 mm, or the view is unknown.

    Example:
        >>> make_phantom(0, spacing_mm=(12, 12, 12), field_of_view="thorax").view
        'thorax'
    """
    if seed < 0:
        raise InputError(f"expected a seed of 0 or more, got {seed}; choose another")
    if min(spacing_mm) < 0.5:
        raise InputError(f"expected voxels of 0.5 mm or more, got {spacing_mm}; choose larger ones")
    if field_of_view != "random" and field_of_view not in VIEWS:
        raise InputError(
            f"expected one of the fields of view random, {', '.join(VIEWS)}, got {field_of_view!r}; choose one"
        )
    body = Body.draw(seed)
    rng = generator(seed, "scan")
    view = draw_view(rng) if field_of_view == "random" else cast(ViewName, field_of_view)
    axes = _grid(body, view, spacing_mm, rng)
    canvas = _painted(body, axes)
    _paint_table(canvas)
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    return Phantom(_acquire(canvas, rng), canvas.packed(len(LabelSet.total())), affine, view)


def paint_body(seed: int, spacing_mm: tuple[float, float, float], view: ViewName = "whole") -> Canvas:
    """Paint the structures and tissues of a body, without the scanner's table, blur and noise.

    Args:
        seed: Any number from 0 up.
        spacing_mm: Voxel spacing along x, y and z in mm.
        view: Field of view.
    """
    body = Body.draw(seed)
    return _painted(body, _grid(body, view, spacing_mm, generator(seed, "scan")))


def _painted(body: Body, axes: tuple[Float[np.ndarray, "x"], Float[np.ndarray, "y"], Float[np.ndarray, "z"]]) -> Canvas:
    canvas = Canvas(body.frame, axes, TissueTable.draw(generator(body.seed, "tissues")))
    for paint in _PAINTERS:
        paint(canvas, body)
    return canvas


def draw_view(rng: np.random.Generator) -> ViewName:
    """Draw a field of view by the probabilities in `VIEWS`."""
    names: list[ViewName] = list(VIEWS)
    return names[int(rng.choice(len(names), p=[VIEWS[name][2] for name in names]))]


def _grid(
    body: Body, view: ViewName, spacing_mm: tuple[float, float, float], rng: np.random.Generator
) -> tuple[Float[np.ndarray, "x"], Float[np.ndarray, "y"], Float[np.ndarray, "z"]]:
    """Return the voxels' scanner mm: a square field around the body, off centre by some cm, at the view's heights."""
    low, high, _ = VIEWS[view]
    low, high = np.array([low, high]) + rng.normal(0, 0.5, 2).clip(-1, 1) * _VIEW_JITTER_MM
    ends = body.frame.to_scanner(np.array([[0.0, -10, low], [0, -10, high]]))
    half = 163 + 1.25 * body.fat_mm if body.arms_up or low > 400 else 225
    width = 2 * half * max(body.frame.scale[:2])
    edge = min(float(width + rng.uniform(16, 90)), 500.0)
    centre = ends.mean(0)[:2] + rng.normal(0, [14, 10]).clip(-30, 30)
    starts = [*(centre - edge / 2), ends[0, 2]]
    sizes = [edge, edge, ends[1, 2] - ends[0, 2]]
    x, y, z = (
        start + spacing * np.arange(max(2, round(size / spacing)))
        for start, size, spacing in zip(starts, sizes, spacing_mm, strict=True)
    )
    return x, y, z


def _paint_table(canvas: Canvas) -> None:
    """Paint the table under the lowest skin: a curved shell filled with foam."""
    skin = np.isin(canvas.tissue, [TISSUE_NUMBER["skin"], TISSUE_NUMBER["fat"]])
    rows = np.flatnonzero(skin.any((0, 2)))
    if rows.size == 0:
        return
    top = float(canvas.axes[1][rows[0]]) - 3
    low = np.array([-260.0, -400, -600])
    free = np.float32(1e3)

    def distance(block: Block) -> Float32[np.ndarray, "x y z"]:
        x, y = (axis.astype(np.float32) for axis in block.axes[:2])
        sag = top + 0.00035 * x**2
        plate = np.maximum(np.abs(y[None, :] - (sag[:, None] - 16)) - 15, np.abs(x[:, None]) - 215).astype(np.float32)
        return np.broadcast_to(plate[:, :, None], block.shape).copy()

    air = canvas.tissue == TISSUE_NUMBER["air"]
    outside = air & (canvas.label == 0)
    for box, block in canvas.blocks(Shape(low, np.array([260.0, 60, 1100]), distance)):
        plate = np.where(outside[box], distance(block), free)
        canvas.fill(box, plate, "table", None)
        canvas.fill(box, plate + np.float32(5), "foam", None)


def _acquire(canvas: Canvas, rng: np.random.Generator) -> Int16[np.ndarray, "x y z"]:
    """Simulate the measured HU: texture of the tissues, blur, correlated noise."""
    noise = rng.standard_normal(canvas.hu.shape, np.float32)
    texture = np.take(canvas.tissues.texture, canvas.tissue)
    texture *= _smooth(rng.standard_normal(canvas.hu.shape, np.float32), 1.1, 3.6)
    hu = canvas.hu
    hu += texture
    hu = _smooth(hu, 0.42, 1.0)
    level = float(rng.uniform(7, 15))
    hu += _smooth(noise, 0.6, 2.0) * np.float32(level)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16)


def _smooth(array: Float32[np.ndarray, "x y z"], sigma: float, gain: float) -> Float32[np.ndarray, "x y z"]:
    """Blur in plane; `gain` restores the spread of noise."""
    for axis in (0, 1):
        array = gaussian_filter1d(array, sigma, axis, truncate=3.0)
    if gain != 1.0:
        array *= np.float32(gain)
    return array
