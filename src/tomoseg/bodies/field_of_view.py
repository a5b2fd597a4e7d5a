"""Field of view and grid of a scan of a body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.arms import flesh_mm
from tomoseg.bodies.config import FieldOfViewConfig
from tomoseg.bodies.placement import Placement
from tomoseg.bodies.render import Appearance

Axes = tuple[Float[np.ndarray, "x"], Float[np.ndarray, "y"], Float[np.ndarray, "z"]]
_AIM_MM = 14.0
"""Standard deviation of a narrow field of view's centre, per axis."""
_ABOVE_HEAD_MM = 20.0
_HEAD_MM = 90.0
"""A skull shorter than this from front to back is only a chin at the end of a map."""
_ANYWHERE_SHARE = 0.5
_ARM_ROOM_MM = 100.0


@dataclass(frozen=True)
class FieldOfView:
    """A field of view.

    Attributes:
        box: `(2, 3)` lower and upper corner in scanner mm.
        round: Whether only the inscribed cylinder is shown.
    """

    box: Float[np.ndarray, "2 3"]
    round: bool = False

    def axes(self, spacing_mm: tuple[float, float, float]) -> Axes:
        """Scanner mm of the voxels' middles."""
        x, y, z = (
            low + spacing * (np.arange(max(2, round((high - low) / spacing))) + 0.5)
            for low, high, spacing in zip(*self.box, spacing_mm, strict=True)
        )
        return x, y, z


def draw_field_of_view(
    anatomy: Anatomy, placement: Placement, look: Appearance, config: FieldOfViewConfig, rng: np.random.Generator
) -> FieldOfView:
    """Draw a field of view: the height of the anatomy or less, the width of the body and air, or less."""
    flesh = flesh_mm(look) + 8
    low, high = placement.box[0].copy(), placement.box[1].copy()
    low[:2] -= flesh
    high[:2] += flesh
    if len(look.arms):
        low[0] -= _ARM_ROOM_MM
        high[0] += _ARM_ROOM_MM
    corners = _head_corners(anatomy, placement)
    if rng.random() < config.head_share and np.ptp(corners[:, 1]) > _HEAD_MM:
        return FieldOfView(_head_box(corners, placement.box, config, rng))
    height = high[2] - low[2]
    if rng.random() >= config.whole_share:
        ends = np.log(np.maximum(config.height_mm, 1.0))
        part = min(height, float(np.exp(rng.uniform(*ends))))
        low[2] += rng.uniform(0, height - part)
        high[2] = low[2] + part
    width = (high - low)[:2]
    centre = (low + high)[:2] / 2
    edge = float(rng.uniform(*config.narrow_mm))
    if rng.random() < config.narrow_share and edge < width.max():
        about = _focus(anatomy, placement, (low[2], high[2]), config, rng)
        room = np.maximum(width - edge, 0) / 2
        centre = centre + rng.normal(0, 0.45, 2).clip(-1, 1) * room if about is None else about
        size = np.array([edge, edge])
    else:
        air = 2 * float(rng.uniform(*config.air_mm))
        size = np.full(2, width.max() + air) if rng.random() < 0.5 else width + air
        centre += rng.uniform(*config.off_centre_mm, 2)
    is_round = bool(size[0] == size[1] and rng.random() < config.round_share)
    size = np.minimum(size, rng.uniform(*config.widest_mm))
    box = np.array([[*(centre - size / 2), low[2]], [*(centre + size / 2), high[2]]])
    return FieldOfView(box, is_round)


def _head_corners(anatomy: Anatomy, placement: Placement) -> Float[np.ndarray, "8 3"]:
    """Return the corners of the skull's box in scanner mm; zeros if there is no skull."""
    heads = [n for n in anatomy.boxes if anatomy.kinds[n - 1].shell == "skull"]
    return placement.to_scanner(anatomy.corners_mm(heads[0])) if heads else np.zeros((8, 3))


def _head_box(
    corners: Float[np.ndarray, "8 3"],
    whole: Float[np.ndarray, "2 3"],
    config: FieldOfViewConfig,
    rng: np.random.Generator,
) -> Float[np.ndarray, "2 3"]:
    """Draw a box that reaches down from above the head or from within it, in scanner mm."""
    low, high = corners.min(0), corners.max(0)
    tall, wide = (float(np.exp(rng.uniform(*np.log(ends)))) for ends in (config.head_height_mm, config.head_width_mm))
    top = high[2] + _ABOVE_HEAD_MM - max(0.0, rng.uniform(-0.7, 0.7)) * (high[2] - low[2])
    middle = (low + high)[:2] / 2 + rng.normal(0, _AIM_MM, 2)
    tops = (min(top, whole[1, 2]), max(top - tall, whole[0, 2]))
    return np.array([[*(middle - wide / 2), tops[1]], [*(middle + wide / 2), tops[0]]])


def _focus(
    anatomy: Anatomy,
    placement: Placement,
    heights: tuple[float, float],
    config: FieldOfViewConfig,
    rng: np.random.Generator,
) -> Float[np.ndarray, "2"] | None:
    """Draw the x and y that a narrow field of view is centred on: a vertebra, another structure, or None."""
    spine, drawn, about = rng.random() < config.spine_share, rng.random(), rng.normal(0, _AIM_MM, 2)
    centres = {number: placement.to_scanner(anatomy.centre_mm(number)) for number in anatomy.boxes}
    seen = [number for number, centre in centres.items() if heights[0] <= centre[2] <= heights[1]]
    if spine:
        seen = [number for number in seen if anatomy.kinds[number - 1].shell == "vertebra"]
    elif drawn < _ANYWHERE_SHARE:
        return None
    return centres[int(rng.choice(seen))][:2] + about if seen else None
