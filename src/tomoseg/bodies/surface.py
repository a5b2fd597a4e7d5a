"""Surface of a body's skin, without its small unevenness."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.render import Appearance
from tomoseg.bodies.slots import FAT_MM, WALL_MM


class Surface:
    """Front surface of a body.

    Args:
        anatomy: The body.
        look: Appearance with the thickness of its wall and its fat.
    """

    def __init__(self, anatomy: Anatomy, look: Appearance) -> None:
        self._anatomy = anatomy
        self._wall = float(look.body[WALL_MM])
        self._fat = float(look.body[FAT_MM])

    def in_front(self, x: float, z: float, share: float) -> Float[np.ndarray, "3"] | None:
        """Return the foremost point at a given depth in the fat under the skin.

        Args:
            x: Position in mm along the map's first array axis.
            z: Position in mm along its third.
            share: Place in the fat: 0 at the wall, 1 at the skin.

        Returns:
            The point in mm along the map's array axes; None where there is no body.
        """
        to_coarse = np.linalg.inv(self._anatomy.coarse_affine) @ self._anatomy.affine
        spacing = np.array(self._anatomy.spacing_mm)
        i, _, k = np.rint(np.diag(to_coarse)[:3] * np.array([x, 0, z]) / spacing + to_coarse[:3, 3]).astype(int)
        outer = self._anatomy.outer
        if not (0 <= i < outer.shape[0] and 0 <= k < outer.shape[2]):
            return None
        wall = self._wall * self._anatomy.walls[i, :, k] + share * self._fat * self._anatomy.cover[i, :, k]
        inside = np.flatnonzero(outer[i, :, k] < wall)
        if not len(inside):
            return None
        y = (inside[-1] - to_coarse[1, 3]) / to_coarse[1, 1] * spacing[1]
        return np.array([x, y, z])
