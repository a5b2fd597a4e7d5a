"""Distances to the body's surface and to its muscles, guessed from the structures or known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from scipy.ndimage import distance_transform_edt, gaussian_filter

from tomoseg.bodies.distances import closed_distance, spread
from tomoseg.bodies.kinds import Fill, Kind
from tomoseg.volume import spacing_of

COARSE_STEP_MM = 3.0
MARGIN_MM = 96.0
"""Room around the structures for flesh and skin."""
TRUNK_CLOSING_MM = 70.0
HEAD_CLOSING_MM = 22.0
FACE_MM = 3.0
"""Flesh over the bones of the head."""
JOIN_MM = 34.0
"""Half the width of what is filled between jaw, neck and shoulders."""
ARM_MM = 30.0
"""Limbs with more muscle are legs."""

SMOOTH_MM = 7.0
"""Spread over which the outline is smoothed."""

NECK_MM = 170.0
"""So far from the neck the fat under the skin reaches its full thickness."""
HEAD_MM = 110.0
"""So far from the head it would, were there no neck."""
BARE_COVER = 0.05
NECK_COVER = 0.2
"""Shares of the fat over head and neck."""
BARE_MM = 45.0
"""So far from the muscles of back and buttocks, and from limbs, the body's wall reaches its full thickness."""


FAR_MM = 1e3
_FLESHY = ("limb", "neck")


class Hulls(NamedTuple):
    """Fields on a coarser grid than the map's, by their names in `Anatomy`."""

    outer: Float32[np.ndarray, "a b c"]
    muscle: Float32[np.ndarray, "a b c"]
    cover: Float32[np.ndarray, "a b c"]
    walls: Float32[np.ndarray, "a b c"]
    coarse_affine: Float[np.ndarray, "4 4"]


@dataclass(frozen=True)
class Flesh:
    """Known tissue of the unlabelled voxels of a map, in place of a guess.

    Attributes:
        body: Mask of the body, skin included.
        muscle: Mask of muscle.
        regions: `Region` of the other voxels.
    """

    body: Bool[np.ndarray, "x y z"]
    muscle: Bool[np.ndarray, "x y z"]
    regions: UInt8[np.ndarray, "x y z"]


def guessed_flesh(
    numbers: UInt8[np.ndarray, "x y z"], kinds: tuple[Kind, ...], affine: Float[np.ndarray, "4 4"]
) -> Hulls:
    """Guess the body's surface and its muscles from its structures."""
    padded, coarse_affine, spacing = _coarse(numbers, affine)
    hulls = np.array(["", *(kind.hull for kind in kinds)])

    around = partial(_around, padded, spacing)

    outer = closed_distance((hulls == "trunk")[padded], TRUNK_CLOSING_MM, spacing)
    head = closed_distance((hulls == "head")[padded], HEAD_CLOSING_MM, spacing)
    flesh = around([kind.flesh_mm if kind.hull in _FLESHY else None for kind in kinds])
    outer = np.minimum(np.minimum(outer, flesh), head - np.float32(FACE_MM))
    outer = np.minimum(outer, _joined(padded, kinds, spacing))
    outer = gaussian_filter(outer, [SMOOTH_MM / s for s in spacing], mode="nearest", truncate=3.0)
    muscle = around([kind.muscle_mm or None for kind in kinds])
    neck = around([0.0 if kind.hull == "neck" else None for kind in kinds])
    thin = np.minimum(BARE_COVER + np.maximum(head, 0) / HEAD_MM, NECK_COVER + np.maximum(neck, 0) / NECK_MM)
    cover = np.clip(thin, BARE_COVER, 1).astype(np.float32)
    walls = cover * np.clip(around([_bare_mm(kind) for kind in kinds]) / BARE_MM, 0.05, 1)
    return Hulls(outer, muscle, cover, walls.astype(np.float32), coarse_affine)


def _joined(
    numbers: UInt8[np.ndarray, "a b c"], kinds: tuple[Kind, ...], spacing_mm: tuple[float, float, float]
) -> Float32[np.ndarray, "a b c"]:
    """Distance to trunk, head, neck and arms with what flesh fills between them; far without neck and arms."""
    joins = [_joins(kind) for kind in kinds]
    if not any(joins):
        return np.full(numbers.shape, FAR_MM, np.float32)
    reach_mm = [kind.flesh_mm if joined else None for kind, joined in zip(kinds, joins, strict=True)]
    bones = np.array([False, *(kind.hull in ("trunk", "head") for kind in kinds)])[numbers]
    return closed_distance((_around(numbers, spacing_mm, reach_mm) < 0) | bones, JOIN_MM, spacing_mm)


def _around(
    numbers: UInt8[np.ndarray, "a b c"], spacing_mm: tuple[float, float, float], reach_mm: Sequence[float | None]
) -> Float32[np.ndarray, "a b c"]:
    """Distance in mm to the structures grown by `reach_mm` each; None leaves a structure out."""
    seeds = np.array([FAR_MM, *(FAR_MM if mm is None else -mm for mm in reach_mm)], np.float32)
    return spread(seeds[numbers], spacing_mm)


def _joins(kind: Kind) -> bool:
    """Whether flesh fills the gap to the trunk or the head, as between jaw, neck and shoulders."""
    return kind.hull == "neck" or (kind.hull == "limb" and kind.muscle_mm < ARM_MM)


def _bare_mm(kind: Kind) -> float | None:
    """Return the distance in mm within which the body's wall has no muscles; None if the structure keeps them."""
    return kind.flesh_mm if kind.fill == Fill.MUSCLE or kind.hull in _FLESHY else None


def known_flesh(flesh: Flesh, box: tuple[slice, ...], affine: Float[np.ndarray, "4 4"]) -> Hulls:
    """Return the hulls of a known body and its muscles, within `box`."""
    body, coarse_affine, spacing = _coarse(flesh.body[box].astype(np.uint8), affine)
    inside = body > 0
    outer = distance_transform_edt(~inside, spacing) - distance_transform_edt(inside, spacing)
    muscle, _, _ = _coarse(flesh.muscle[box].astype(np.uint8), affine)
    half = np.float32(min(spacing) / 2)
    near = gaussian_filter(np.where(muscle > 0, -half, half), 0.6, mode="nearest")
    everywhere = np.ones(outer.shape, np.float32)
    return Hulls(outer.astype(np.float32), near.astype(np.float32), everywhere, everywhere, coarse_affine)


def _coarse(
    numbers: UInt8[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]
) -> tuple[UInt8[np.ndarray, "a b c"], Float[np.ndarray, "4 4"], tuple[float, float, float]]:
    """Thin a map to about `COARSE_STEP_MM` and pad it in x and y; above and below the body goes on."""
    steps = [max(1, round(COARSE_STEP_MM / s)) for s in spacing_of(affine)]
    thinned = numbers[:: steps[0], :: steps[1], :: steps[2]]
    coarse_affine = affine @ np.diag([*steps, 1.0])
    spacing = spacing_of(coarse_affine)
    margins = [int(np.ceil(MARGIN_MM / s)) for s in spacing[:2]]
    padded = np.pad(thinned, ((margins[0],) * 2, (margins[1],) * 2, (0, 0)))
    coarse_affine = coarse_affine.copy()
    coarse_affine[:3, 3] -= coarse_affine[:3, :3] @ [margins[0], margins[1], 0]
    return padded, coarse_affine, spacing


def upsampled(
    mask: Bool[np.ndarray, "a b c"],
    shape: tuple[int, ...],
    coarse_affine: Float[np.ndarray, "4 4"],
    affine: Float[np.ndarray, "4 4"],
) -> Bool[np.ndarray, "x y z"]:
    """A mask of the coarse grid on the fine one."""
    there = np.linalg.inv(coarse_affine) @ affine
    index = [
        np.clip(np.rint(there[axis, axis] * np.arange(shape[axis]) + there[axis, 3]).astype(int), 0, n - 1)
        for axis, n in enumerate(mask.shape)
    ]
    return mask[np.ix_(*index)]
