"""One body, drawn from a seed: size, posture and build, and the surfaces that all organs are placed by."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from scipy.interpolate import PchipInterpolator

from tomoseg.kernels import kernel
from tomoseg.phantom.frame import Bend, Frame
from tomoseg.phantom.shapes import Block, SurfaceRelief, rotation

SIDES: tuple[tuple[str, int], ...] = (("right", 1), ("left", -1))
"""Names of the sides, and the sign of x there."""

VERTEBRAE: dict[str, float] = {
    "S1": 82, "L5": 115, "L4": 152, "L3": 189, "L2": 225, "L1": 260, "T12": 293, "T11": 323, "T10": 351, "T9": 377,
    "T8": 402, "T7": 426, "T6": 449, "T5": 471, "T4": 492, "T3": 512, "T2": 531, "T1": 549, "C7": 566, "C6": 582,
    "C5": 598, "C4": 614, "C3": 630, "C2": 649, "C1": 668,
}  # fmt: skip
"""Height in mm of the centre of each vertebral body in the standard body."""

_SPINE_Y = PchipInterpolator(
    [-40, -10, 20, 50, 82, 115, 152, 189, 225, 260, 293, 323, 377, 426, 471, 512, 549, 566, 614, 668, 720],
    [-74, -86, -88, -74, -54, -38, -30, -28, -31, -37, -43, -50, -61, -66, -63, -55, -45, -40, -22, -17, -17],
)

# z: half width, y of the widest place, front y, back y, exponent of the superellipse
_WALL_ROWS = [
    (-100, 150, -20, 40, -108, 2.4), (-60, 160, -20, 60, -112, 2.4), (0, 168, -18, 74, -116, 2.5),
    (50, 160, -15, 82, -113, 2.5), (100, 148, -8, 88, -107, 2.5), (150, 139, -5, 93, -101, 2.5),
    (200, 138, -3, 96, -100, 2.5), (260, 143, -5, 98, -104, 2.5), (320, 149, -12, 98, -114, 2.5),
    (380, 153, -20, 94, -124, 2.5), (430, 155, -27, 84, -129, 2.5), (470, 158, -33, 70, -129, 2.5),
    (505, 160, -40, 53, -124, 2.4), (535, 146, -42, 32, -112, 2.3), (555, 108, -38, 22, -100, 2.2),
    (575, 74, -30, 22, -90, 2.1), (600, 60, -22, 32, -82, 2.1), (640, 57, -18, 42, -80, 2.1),
    (700, 60, -15, 40, -80, 2.1), (950, 60, -15, 40, -80, 2.1),
]  # fmt: skip
_CAVITY_ROWS = [
    (-100, 4, -20, -12, -28, 2.0), (-48, 16, -18, 2, -44, 2.0), (-25, 46, -12, 40, -66, 2.1),
    (0, 60, -10, 56, -76, 2.2), (40, 84, -5, 68, -80, 2.3),
    (80, 110, 5, 74, -76, 2.4), (120, 120, 0, 77, -72, 2.5), (160, 120, 0, 80, -70, 2.5), (200, 120, -2, 82, -72, 2.5),
    (250, 124, -8, 83, -80, 2.4), (300, 130, -15, 83, -94, 2.3), (350, 133, -22, 81, -104, 2.3),
    (400, 131, -28, 73, -109, 2.3), (440, 122, -35, 59, -110, 2.2), (470, 108, -40, 43, -107, 2.2),
    (500, 86, -48, 21, -98, 2.1), (525, 61, -52, -4, -89, 2.0), (545, 38, -52, -25, -78, 2.0),
    (565, 14, -52, -40, -64, 2.0), (950, 10, -52, -40, -62, 2.0),
]  # fmt: skip
_FAT_ROWS = [
    (-120, 1.0),
    (0, 1.2),
    (60, 1.25),
    (150, 1.1),
    (250, 0.9),
    (350, 0.7),
    (450, 0.6),
    (540, 0.55),
    (590, 0.45),
    (950, 0.4),
]
_TABLE_LOW = -140
_TABLE_STEP = 0.5


class Profile:
    """A column of superellipses along z: the distance to its surface, measured from its axis."""

    def __init__(self, rows: Sequence[tuple[float, ...]]) -> None:
        table = np.asarray(rows, float)
        self._curve = PchipInterpolator(table[:, 0], table[:, 1:])
        heights = np.arange(_TABLE_LOW, table[-1, 0], _TABLE_STEP)
        self._table = np.ascontiguousarray(self._curve(np.clip(heights, table[0, 0], None)).astype(np.float32))

    def at(self, z: float) -> tuple[float, float, float, float, float]:
        """Half width, y of the widest place, front y, back y and exponent at a height."""
        half, middle, front, back, power = (float(v) for v in self._curve(z))
        return half, middle, front, back, power

    def point(self, degrees: float, z: float, out: float = 0.0) -> tuple[float, float, float]:
        """A point of the surface: 0 degrees is to the right, 90 in front, -90 behind; `out` mm outside."""
        half, middle, front, back, power = self.at(z)
        cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        depth = (front - middle if sine > 0 else middle - back) + out
        x = (half + out) * np.sign(cosine) * abs(cosine) ** (2 / power)
        return float(x), float(middle + depth * np.sign(sine) * abs(sine) ** (2 / power)), z

    def distance(self, block: Block) -> Float32[np.ndarray, "x y z"]:
        """Distance to the surface, negative inside."""
        result = np.empty(block.shape, np.float32)
        _superellipse(*block.body, self._table, result)
        return result


WALL = Profile(_WALL_ROWS)
"""The outer surface of the muscles of trunk and neck."""

CAVITY = Profile(_CAVITY_ROWS)
"""The inner surface of the rib cage and of the walls of abdomen and pelvis."""

FAT_SHARE = PchipInterpolator(*np.array(_FAT_ROWS).T)
"""Thickness of the fat under the skin by height, as a share of the body's."""


def spine_y(z: float | Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Return y in mm of the centre of the vertebral bodies at a height."""
    return np.asarray(_SPINE_Y(z), float)


@dataclass(frozen=True)
class Body:
    """One body.

    Attributes:
        seed: The seed that it was drawn from.
        frame: Size, posture and place.
        fat_mm: Thickness of the fat under the skin of the belly.
        female: With breasts and a uterus, and without a prostate.
        arms_up: Arms beside the head, not beside the chest.
        lift: Height of the abdominal organs above their usual place in mm (breathing, build).
        stance: Common shift of the abdominal organs along x and y in mm.
    """

    seed: int
    frame: Frame
    fat_mm: float
    female: bool
    arms_up: bool
    lift: float
    stance: tuple[float, float]

    @classmethod
    def draw(cls, seed: int) -> Body:
        """Draw the body of a seed."""
        rng = generator(seed, "body")
        female = bool(rng.random() < 0.45)
        size = rng.normal(0.97 if female else 1.02, 0.045)
        scale = np.clip(size * (1 + rng.normal(0, [0.06, 0.06, 0.025])), 0.82, 1.18)
        tilt = rng.normal(0, [2.5, 2.0, 3.5]).clip(-7, 7)
        frame = Frame(
            (float(scale[0]), float(scale[1]), float(scale[2])),
            rotation(*tilt),
            Bend(float(rng.normal(0, 5)), float(rng.uniform(500, 1100)), float(rng.uniform(0, 2 * np.pi))),
            Bend(float(rng.normal(0, 5)), float(rng.uniform(500, 1100)), float(rng.uniform(0, 2 * np.pi))),
        )
        fat = float(np.clip(rng.lognormal(np.log(20 if female else 17), 0.4), 8, 46))
        lift = float(np.clip(rng.normal(0, 8), -16, 16))
        stance = (float(rng.normal(0, 4)), float(rng.normal(0, 2)))
        return cls(seed, frame, fat, female, bool(rng.random() < 0.65), lift, stance)

    def rng(self, part: str) -> np.random.Generator:
        """Return the random generator of a part, so that one part's draws never change another's."""
        return generator(self.seed, part)

    def placed(self, part: str, spread: tuple[float, float, float] = (4, 4, 6), scale: float = 0.08) -> Placement:
        """Draw the shift and scale of an abdominal organ; `spread` and `scale` are standard deviations (mm, log)."""
        rng = self.rng(part)
        shift = rng.normal(0, 1, 3).clip(-2, 2) * spread + (*self.stance, self.lift)
        return Placement(shift, float(np.exp(np.clip(rng.normal(0, scale), -2 * scale, 2 * scale))), rng)


@dataclass(frozen=True)
class Placement:
    """Shift and scale of one organ.

    Attributes:
        shift: x, y, z in mm.
        scale: 1 is usual.
        rng: Generator of the organ's other draws.
    """

    shift: Float[np.ndarray, "3"]
    scale: float
    rng: np.random.Generator

    def at(self, x: float, y: float, z: float) -> tuple[float, float, float]:
        """A point, shifted."""
        return (x + float(self.shift[0]), y + float(self.shift[1]), z + float(self.shift[2]))

    def radii(self, *radii: float) -> tuple[float, ...]:
        """Radii, scaled."""
        return tuple(r * self.scale for r in radii)

    def path(self, points: Sequence[Sequence[float]]) -> list[list[float]]:
        """Points of a tube, shifted, with their radii scaled."""
        return [[*self.at(p[0], p[1], p[2]), p[3] * self.scale] for p in points]

    def lumps(self, amplitude: float = 2.5, wavelength: float = 60.0) -> SurfaceRelief:
        """Relief for the organ's surface."""
        return SurfaceRelief.draw(self.rng, amplitude, wavelength)


def generator(seed: int, part: str) -> np.random.Generator:
    """Return the random generator of one part of one body."""
    return np.random.default_rng([seed, zlib.crc32(part.encode())])


@kernel()
def _superellipse(x, y, z, table, out):  # type: ignore[no-untyped-def]
    """Distance along the ray from the axis; beyond 1.8 times the size only roughly."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                row = int((z[i, j, k] - _TABLE_LOW) / _TABLE_STEP)
                row = min(max(row, 0), table.shape[0] - 1)
                half, middle, front, back, power = table[row]
                offset = y[i, j, k] - middle
                across = abs(x[i, j, k]) / half
                along = offset / ((front if offset > 0 else back) - middle)
                size = max(across, along)
                if size < np.float32(1.8):
                    size = (across**power + along**power + np.float32(1e-9)) ** (1 / power)
                out[i, j, k] = np.sqrt(x[i, j, k] ** 2 + offset**2) * (1 - 1 / size)
