"""Augmentation parameters of one slice, drawn from the slice's key alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tomoseg.config import AugmentationConfig


@dataclass(frozen=True)
class FieldOfView:
    """The field of view of a scanner or of a cropped scan, outside of which is air.

    Attributes:
        disc: Whether it is a disc; otherwise a rectangle.
        kept: Fraction of the slice's edges along x and y that it spans; for a disc, the first is its diameter relative
            to the longer edge.
        place: Position along x and y: 0 in the middle, -1 and 1 at either end.
    """

    disc: bool
    kept: tuple[float, float]
    place: tuple[float, float]


@dataclass(frozen=True)
class Change:
    """Changes of one slice, in this order; none by default.

    Attributes:
        turn_degrees: Rotation in the plane.
        zoom: Factor of size.
        shift: Distance of each pixel's source along x and y, as a fraction of the slice's edge.
        bend_pixels: Standard deviation of the elastic displacement along x and y each.
        bend_points: Number of its control points along each edge.
        bend_seed: Seed of the elastic displacement.
        hu_factor: Contrast: factor around the windows' middle.
        hu_shift: Added to HU after that.
        noise_hu: Standard deviation of Gaussian noise.
        noise_seed: Seed of the noise.
        blur_pixels: Standard deviation of a Gaussian blur.
        resolution: Fraction of the pixels that remain along each edge.
        view: Field of view that remains; None for all.
        gamma: Exponent of the windowed values.
        misplaced_mm: Error of the slice's position, if the network has it as an input.
    """

    turn_degrees: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    bend_pixels: float = 0.0
    bend_points: int = 4
    bend_seed: int = 0
    hu_factor: float = 1.0
    hu_shift: float = 0.0
    noise_hu: float = 0.0
    noise_seed: int = 0
    blur_pixels: float = 0.0
    resolution: float = 1.0
    view: FieldOfView | None = None
    gamma: float = 1.0
    misplaced_mm: float = 0.0


def draw_change(key: tuple[int, ...], config: AugmentationConfig) -> Change:
    """Draw the changes of one slice from its key.

    Every group of changes has its own random generator, so that switching one on or off does not change the others.

    Args:
        key: Key of the slice, the seed.
        config: Largest changes and their probabilities.
    """
    change = Change()
    for place, draw in enumerate(_GROUPS, start=1):
        change = draw(change, np.random.default_rng((*key, 2, place)), config)
    return change


def _move(change: Change, rng: np.random.Generator, config: AugmentationConfig) -> Change:
    turn, zoom, x, y = rng.uniform(-1, 1, 4).tolist()
    if rng.random() >= config.move_probability:
        return change
    return replace(
        change,
        turn_degrees=config.rotation_degrees * turn,
        zoom=math.exp(math.log1p(config.scale) * zoom),
        shift=(config.shift * x, config.shift * y),
    )


def _bend(change: Change, rng: np.random.Generator, config: AugmentationConfig) -> Change:
    largest = _if_it_happens(rng, config.elastic_probability, config.elastic_pixels)
    seed = int(rng.integers(2**62))
    return replace(change, bend_pixels=largest * rng.random(), bend_points=config.elastic_points, bend_seed=seed)


def _scale_hu(change: Change, rng: np.random.Generator, config: AugmentationConfig) -> Change:
    return replace(change, hu_factor=1 + config.hu_scale * rng.uniform(-1, 1))


def _shift_hu(change: Change, rng: np.random.Generator, config: AugmentationConfig) -> Change:
    return replace(change, hu_shift=config.hu_shift * rng.uniform(-1, 1))


def _add_noise(change: Change, rng: np.random.Generator, config: AugmentationConfig) -> Change:
    return replace(change, noise_hu=config.noise_hu * rng.random(), noise_seed=int(rng.integers(2**62)))


def _blur(change: Change, rng: np.random.Generator, config: AugmentationConfig) -> Change:
    largest = _if_it_happens(rng, config.blur_probability, config.blur_pixels)
    return replace(change, blur_pixels=largest * rng.random())


def _coarsen(change: Change, rng: np.random.Generator, config: AugmentationConfig) -> Change:
    largest = _if_it_happens(rng, config.low_resolution_probability, config.low_resolution)
    return replace(change, resolution=1 - largest * rng.random())


def _cut(change: Change, rng: np.random.Generator, config: AugmentationConfig) -> Change:
    largest = _if_it_happens(rng, config.cut_probability, config.cut)
    if largest == 0:
        return change
    kept, place = 1 - largest * rng.random(2), rng.uniform(-1, 1, 2)
    view = FieldOfView(bool(rng.random() < 0.5), (float(kept[0]), float(kept[1])), (float(place[0]), float(place[1])))
    return replace(change, view=view)


def _change_gamma(change: Change, rng: np.random.Generator, config: AugmentationConfig) -> Change:
    largest = _if_it_happens(rng, config.gamma_probability, config.gamma)
    return replace(change, gamma=math.exp(math.log1p(largest) * rng.uniform(-1, 1)))


def _misplace(change: Change, rng: np.random.Generator, config: AugmentationConfig) -> Change:
    return replace(change, misplaced_mm=config.position_mm * rng.uniform(-1, 1))


_GROUPS: tuple[Callable[[Change, np.random.Generator, AugmentationConfig], Change], ...] = (
    _move,
    _bend,
    _scale_hu,
    _shift_hu,
    _add_noise,
    _blur,
    _coarsen,
    _cut,
    _change_gamma,
    _misplace,
)
"""Groups of changes. A group's index seeds its generator, so a new group goes to the end."""


def _if_it_happens(rng: np.random.Generator, probability: float, largest: float) -> float:
    return largest if rng.random() < probability else 0.0
