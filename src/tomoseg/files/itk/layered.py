"""Several volumes of labels in one NRRD or MetaImage file: layers along its first axis or along its last."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from tomoseg.files.itk.voxels import Stored, opened, read_whole_numbers


@dataclass(frozen=True)
class Layered:
    """Where such volumes are stored.

    Attributes:
        stored: One of them: its shape and place in space, and where the voxels of all begin.
        count: How many there are.
        first: Whether they are the file's first axis, not its last.
    """

    stored: Stored
    count: int
    first: bool = False

    def read(self, path: Path) -> Shaped[np.ndarray, "l i j k"]:
        """All of them.

        Args:
            path: The header's file.

        Raises:
            InputError: If it is damaged, or holds anything but whole numbers from 0 up.
        """
        x, y, z = self.stored.shape
        shape = (self.count * x, y, z) if self.first else (x, y, z * self.count)
        with opened(path, str(path)) as stream:
            values = read_whole_numbers(replace(self.stored, shape=shape), str(path), stream)
        if self.first:
            return values.reshape((self.count, x, y, z), order="F")
        return np.moveaxis(values.reshape((x, y, z, self.count), order="F"), 3, 0)
