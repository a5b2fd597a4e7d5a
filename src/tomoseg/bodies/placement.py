"""Placement of a body in the scanner: stretched, turned, bent, single organs shifted, never folded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from scipy.ndimage import gaussian_filter, map_coordinates

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.config import ShapeConfig
from tomoseg.bodies.kinds import Fill
from tomoseg.bodies.render import ScannerToMap
from tomoseg.phantom.shapes import rotation
from tomoseg.volume import spacing_of

STEP_MM = 14.0
"""Distance of the points at which the bend is kept; it is linear in between."""
ROOM_MM = 110.0
_STEPS_TO_FIND = 4
STEEPEST = 0.8
"""Largest slope of the bend against the stretch that would undo it: below 1 nothing folds."""
_COLLAPSING = ("vertebrae_T", "vertebrae_L")
_MOVABLE = (Fill.KIDNEY, Fill.LIVER, Fill.FLUID, Fill.GUT, Fill.PLAIN, Fill.HEART)


@dataclass(frozen=True)
class Placement:
    """Transform between an anatomy and the scanner.

    Attributes:
        turn: `(3, 3)`, rotation and stretch from anatomy mm, relative to `middle`, to scanner mm.
        middle: Middle of the anatomy, in its own mm.
        box: `(2, 3)`, lower and upper corner of the structures in scanner mm, between the first and last slice.
        index_to_scanner: `(3, 3)`, a step in voxels of the map to scanner mm.
        way: Transform from the scanner to the anatomy.
    """

    turn: Float[np.ndarray, "3 3"]
    middle: Float[np.ndarray, "3"]
    box: Float[np.ndarray, "2 3"]
    index_to_scanner: Float[np.ndarray, "3 3"]
    way: ScannerToMap

    def to_scanner(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Transform points from anatomy mm to scanner mm, without the bend."""
        return (points - self.middle) @ self.turn.T

    def find(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
        """Transform points from anatomy mm to scanner mm with the bend, to about a millimetre."""
        start, step = self.way.bend_grid[:3, None], self.way.bend_grid[3]
        straight = self.to_scanner(points)
        found = straight
        for _ in range(_STEPS_TO_FIND):
            at = (found.T - start) / step
            bent = [map_coordinates(self.way.bend[..., axis], at, order=1, mode="nearest") for axis in range(3)]
            found = straight - np.stack(bent, 1) @ self.index_to_scanner.T
        return found


def place(anatomy: Anatomy, config: ShapeConfig, rng: np.random.Generator, turn_deg: float = 0.0) -> Placement:
    """Draw the placement of a body, turned by `turn_deg` about its long axis."""
    size = rng.uniform(*config.size)
    stretch = np.array([rng.uniform(*config.stretch) for _ in range(3)])
    turned = rotation(*(rng.uniform(*config.turn_deg) for _ in range(3)))
    if rng.random() < config.upside_down_share:
        turned = rotation(*np.roll([180, 0, 0], rng.integers(3))) @ turned
    turn = rotation(0, 0, turn_deg) @ turned @ np.diag(size * stretch)
    shape = np.array(anatomy.numbers.shape) - 1
    middle = anatomy.affine[:3, :3] @ (shape / 2) + anatomy.affine[:3, 3]
    corners = np.array(list(np.ndindex(2, 2, 2))) * shape @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3]
    box = _box((corners - middle) @ turn.T)
    start = box[0] - ROOM_MM
    count = np.ceil((box[1] - box[0] + 2 * ROOM_MM) / STEP_MM).astype(int) + 1
    bend = _bend(config, start, count, rng)
    for number in _moved(anatomy, config, rng):
        _shift_one(anatomy, number, (turn, middle), bend, start, rng.uniform(*config.move_mm), rng)
    _swell_some(anatomy, config, (turn, middle), bend, start, rng)
    bend *= np.float32(min(1.0, STEEPEST * np.linalg.svd(np.linalg.inv(turn))[1][-1] / max(_slope(bend), 1e-6)))
    inverse = np.linalg.inv(anatomy.affine)
    to_index = np.empty((3, 4), np.float32)
    to_index[:, :3] = inverse[:3, :3] @ np.linalg.inv(turn)
    to_index[:, 3] = inverse[:3, :3] @ middle + inverse[:3, 3]
    coarse = np.linalg.inv(anatomy.coarse_affine) @ anatomy.affine
    way = ScannerToMap(
        to_index,
        (bend @ inverse[:3, :3].T).astype(np.float32),
        np.array([*start, STEP_MM], np.float32),
        np.array(spacing_of(anatomy.affine), np.float32),
        np.stack([np.diag(coarse)[:3], coarse[:3, 3]], 1).astype(np.float32),
        rng.uniform(4000, 9000, 3).astype(np.float32),
    )
    return Placement(turn, middle, box, turn @ anatomy.affine[:3, :3], way)


def _box(corners: Float[np.ndarray, "8 3"]) -> Float[np.ndarray, "2 3"]:
    """Return the box of a turned box; in z it ends where the slices end on the middle line, not at the corners."""
    box = np.stack([corners.min(0), corners.max(0)])
    order = np.sort(corners[:, 2])
    box[:, 2] = (order[:4].mean(), order[4:].mean())
    return box


def _bend(
    config: ShapeConfig, start: Float[np.ndarray, "3"], count: np.ndarray, rng: np.random.Generator
) -> Float32[np.ndarray, "i j k 3"]:
    """Draw a smooth field of displacements in mm, with the bow of the whole body."""
    bend = np.empty((*count, 3), np.float32)
    spread = rng.uniform(*config.bend_mm)
    wave = rng.uniform(*config.bend_wavelength_mm)
    for axis in range(3):
        swell = gaussian_filter(rng.standard_normal(count, np.float32), wave / 5 / STEP_MM, mode="wrap")
        bend[..., axis] = spread * swell / max(float(swell.std()), 1e-6)
    z = start[2] + STEP_MM * np.arange(count[2])
    for axis in range(2):
        bow = rng.uniform(*config.sway_mm) * np.sin(2 * np.pi * (z / rng.uniform(500, 1100) + rng.random()))
        bend[..., axis] += bow.astype(np.float32)
    if rng.random() < config.scoliosis_share:
        turns = z / rng.uniform(400, 800) + rng.random()
        bend[..., 0] += (rng.uniform(*config.scoliosis_mm) * np.sin(2 * np.pi * turns)).astype(np.float32)
    return bend


def _moved(anatomy: Anatomy, config: ShapeConfig, rng: np.random.Generator) -> list[int]:
    """Draw the numbers of the organs to shift."""
    movable = [n for n in anatomy.boxes if anatomy.kinds[n - 1].fill in _MOVABLE]
    count = min(len(movable), int(rng.integers(config.moved[0], config.moved[1], endpoint=True)))
    return [int(n) for n in rng.choice(movable, count, replace=False)] if count else []


def _shift_one(
    anatomy: Anatomy,
    number: int,
    placed: tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]],
    bend: Float32[np.ndarray, "i j k 3"],
    start: Float[np.ndarray, "3"],
    length_mm: float,
    rng: np.random.Generator,
) -> None:
    """Add the shift of one organ, which its neighbours follow less and less."""
    turn, middle = placed
    box = anatomy.boxes[number]
    low, high = (np.array([getattr(side, end) for side in box], float) for end in ("start", "stop"))
    centre = turn @ (anatomy.affine[:3, :3] @ ((low + high) / 2) + anatomy.affine[:3, 3] - middle)
    reach = 0.35 * np.linalg.norm((high - low) * anatomy.spacing_mm) + 25
    away = [
        ((start[axis] + STEP_MM * np.arange(bend.shape[axis]) - centre[axis]) / reach) ** 2 / 2 for axis in range(3)
    ]
    weight = np.exp(-away[0])[:, None, None] * np.exp(-away[1])[:, None] * np.exp(-away[2])
    direction = rng.normal(0, [0.6, 0.5, 1.0])
    bend += (weight[..., None] * (length_mm * direction / np.linalg.norm(direction))).astype(np.float32)


def _swell_some(
    anatomy: Anatomy,
    config: ShapeConfig,
    placed: tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]],
    bend: Float32[np.ndarray, "i j k 3"],
    start: Float[np.ndarray, "3"],
    rng: np.random.Generator,
) -> None:
    """Make bladder and stomach fuller or emptier, and some vertebrae lower."""
    for number in anatomy.named("urinary_bladder", "stomach"):
        if rng.random() < config.swollen_share:
            _swell(anatomy, number, placed, bend, start, np.full(3, rng.uniform(*config.swollen)))
    vertebrae = [n for n in anatomy.boxes if anatomy.labels.names[n - 1].startswith(_COLLAPSING)]
    if vertebrae and rng.random() < config.collapsed_share:
        for number in rng.choice(vertebrae, min(len(vertebrae), int(rng.integers(1, 4))), replace=False):
            _swell(anatomy, int(number), placed, bend, start, np.array([1, 1, rng.uniform(*config.collapsed)]))


def _swell(
    anatomy: Anatomy,
    number: int,
    placed: tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"]],
    bend: Float32[np.ndarray, "i j k 3"],
    start: Float[np.ndarray, "3"],
    times: Float[np.ndarray, "3"],
) -> None:
    """Make one structure larger or smaller along the axes of the anatomy; what is around it gives way."""
    turn, middle = placed
    low, high = (np.array([getattr(side, end) for side in anatomy.boxes[number]], float) for end in ("start", "stop"))
    half = (high - low) / 2 * anatomy.spacing_mm
    centre = turn @ (anatomy.affine[:3, :3] @ ((low + high) / 2) + anatomy.affine[:3, 3] - middle)
    reach = np.linalg.norm(half) + STEP_MM
    box = []
    for axis in range(3):
        ends = (centre[axis] + np.array([-3, 3]) * reach - start[axis]) / STEP_MM
        box.append(np.arange(max(0, int(ends[0])), min(bend.shape[axis], int(ends[1]) + 2)))
    at = np.stack(np.meshgrid(*box, indexing="ij"), -1) * STEP_MM + start - centre
    away = at @ np.linalg.inv(turn).T  # from the structure's middle, in mm of the anatomy
    weight = np.exp(-((away / (half + STEP_MM / 2)) ** 2).sum(-1, keepdims=True) / 2)
    bend[np.ix_(*box)] += (weight * away * (1 / times - 1)).astype(np.float32)


def _slope(bend: Float32[np.ndarray, "i j k 3"]) -> float:
    """Return an upper bound of the slope of the bend."""
    steepest = [np.sqrt((np.diff(bend, axis=axis) ** 2).sum(-1).max()) / STEP_MM for axis in range(3)]
    return float(np.linalg.norm(steepest))
