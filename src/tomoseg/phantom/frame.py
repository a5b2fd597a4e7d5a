"""Mapping from the standard body to the scanner and back.

All anatomy is defined once, for a standard adult in millimetres: x to the right, y to the front, z up,
with z = 0 at the centres of the femoral heads and x = 0 in the midline. A `Frame` scales that body, bends and
tilts it. Both directions are closed formulas, so that a shape may be placed by its points or evaluated at voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32


@dataclass(frozen=True)
class Bend:
    """A sideways sway of the body along z, in mm: `amplitude * sin(2 pi z / wavelength + phase)`."""

    amplitude: float
    wavelength: float
    phase: float

    def __call__(self, z: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The shift at heights `z`."""
        return self.amplitude * np.sin(2 * np.pi / self.wavelength * z + self.phase)


@dataclass(frozen=True)
class Frame:
    """Size, posture and position of a body in the scanner.

    Attributes:
        scale: Scale along the body's x, y and z.
        rotation: `(3, 3)` rotation from body axes to the scanner's.
        bend_x: Sway to the sides, by height.
        bend_y: Sway to front and back, by height.
    """

    scale: tuple[float, float, float]
    rotation: Float[np.ndarray, "3 3"]
    bend_x: Bend
    bend_y: Bend

    def to_scanner(self, points: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Map body points to scanner mm."""
        placed = (points * np.asarray(self.scale)) @ self.rotation.T
        placed[..., 0] += self.bend_x(placed[..., 2])
        placed[..., 1] += self.bend_y(placed[..., 2])
        return placed

    def to_body(
        self, x: Float[np.ndarray, "x"], y: Float[np.ndarray, "y"], z: Float[np.ndarray, "z"]
    ) -> tuple[Float32[np.ndarray, "x y z"], Float32[np.ndarray, "x y z"], Float32[np.ndarray, "x y z"]]:
        """Return the body coordinates of every point of a scanner grid."""
        inverse = (self.rotation / np.asarray(self.scale)).T.astype(np.float32)
        bent_x = (x[:, None] - self.bend_x(z)).astype(np.float32)[:, None, :]
        bent_y = (y[:, None] - self.bend_y(z)).astype(np.float32)[None, :, :]
        height = z.astype(np.float32)
        a, b, c = (row[0] * bent_x + (row[1] * bent_y + row[2] * height) for row in inverse)
        return a, b, c

    def scanner_box(self, low: Float[np.ndarray, "3"], high: Float[np.ndarray, "3"]) -> Float[np.ndarray, "2 3"]:
        """Return a box in the scanner that contains a box of the body, as its low and high corner."""
        corners = np.array(
            [[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]] for i, j, k in np.ndindex(2, 2, 2)]
        )
        placed = (corners * np.asarray(self.scale)) @ self.rotation.T
        box = np.stack([placed.min(0), placed.max(0)])
        heights = np.linspace(box[0, 2], box[1, 2], 9)
        for axis, bend in ((0, self.bend_x), (1, self.bend_y)):
            shift = bend(heights)
            box[:, axis] += (shift.min() - 0.5, shift.max() + 0.5)
        return box
