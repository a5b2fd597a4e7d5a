"""Positions of patients on the table: on their back, belly or side, or half turned; the direction of gravity."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float, Float32

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.config import FieldOfViewConfig
from tomoseg.bodies.kinds import Fill, Kind
from tomoseg.bodies.placement import Placement

_MOST_POINTS = 4000


class Down(IntEnum):
    """The side of the body that is down."""

    BACK = 0
    FRONT = 1
    LEFT = 2
    RIGHT = 3


@dataclass(frozen=True)
class PatientPosition:
    """Position of a patient on the table.

    Attributes:
        down: Direction of gravity in the images, x and y; the table is on that side.
        turn_deg: Turn of the body about its long axis in the images, in degrees.
    """

    down: tuple[float, float] = (0.0, -1.0)
    turn_deg: float = 0.0


def draw_lying(config: FieldOfViewConfig, rng: np.random.Generator) -> PatientPosition:
    """Draw how a patient lies, and whether the position was entered at the scanner.

    Where it was, images of patients on their belly or side show them as if on their back, with the table at another
    side. Where it was not, the table is below and the body is turned.
    """
    drawn, side, entered = rng.random(), rng.choice([-1, 1]), rng.random() < config.entry_share
    oblique = side * rng.uniform(*config.oblique_deg)
    for share, angle, kept in (
        (config.prone_share, 180.0, entered),
        (config.side_share, side * 90.0, entered),
        (config.oblique_share, oblique, False),
    ):
        if drawn < share:
            return PatientPosition(_turned_down(angle)) if kept else PatientPosition(turn_deg=angle)
        drawn -= share
    return PatientPosition()


def _turned_down(angle_deg: float) -> tuple[float, float]:
    """Return the direction of gravity, x and y, in the axes of a body turned by an angle."""
    angle = np.deg2rad(angle_deg)
    return (round(-float(np.sin(angle)), 6), round(-float(np.cos(angle)), 6))


def side_down(placement: Placement, lying: PatientPosition) -> Down:
    """The side of the anatomy that is down."""
    x, y, _ = np.linalg.solve(placement.turn, [*lying.down, 0.0])
    if abs(x) > abs(y):
        return Down.LEFT if x < 0 else Down.RIGHT
    return Down.FRONT if y > 0 else Down.BACK


def levels(
    anatomy: Anatomy, placement: Placement, lying: PatientPosition, shown: Bool[np.ndarray, "n"]
) -> Float32[np.ndarray, "n 2"]:
    """Return the lower and upper end of organs with one fluid level, in scanner mm upwards; zeros for others."""
    ends = np.zeros((len(anatomy.kinds) + 1, 2), np.float32)
    for number, box in anatomy.boxes.items():
        if shown[number] and _has_one_level(anatomy.labels.names[number - 1].lower(), anatomy.kinds[number - 1]):
            found = np.argwhere(anatomy.numbers[box] == number)
            found = found[:: max(1, len(found) // _MOST_POINTS)] + [side.start for side in box]
            points = placement.find(found @ anatomy.affine[:3, :3].T + anatomy.affine[:3, 3])
            ends[number] = _ends(-(points[:, :2] @ np.array(lying.down)))
    return ends


def _ends(heights: Float[np.ndarray, "n"]) -> tuple[float, float]:
    return float(heights.min()) - 1, float(heights.max()) + 1


def _has_one_level(name: str, kind: Kind) -> bool:
    """Whether a structure is a single hollow: stomach and bladders, not the loops of the bowel."""
    return kind.fill == Fill.FLUID or (kind.fill == Fill.GUT and "stomach" in name)
