"""Several volumes of labels in one NRRD or MetaImage file, as layers along its first or last axis."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from tomoseg.files.itk.voxels import Stored, opened, read_whole_numbers


@dataclass(frozen=True)
class Layered:
    """The storage of such volumes.

    Attributes:
        stored: Shape and geometry of one of them, and the offset of the voxels of all.
        count: Number of volumes.
        first: Whether they are the file's first axis instead of its last.
    """

    stored: Stored
    count: int
    first: bool = False

    def read(self, path: Path) -> Shaped[np.ndarray, "l i j k"]:
        """Read all volumes, `(layers, i, j, k)`.

        Args:
            path: The file of the header.

        Raises:
            InputError: If it is damaged, or holds values other than integers from 0.
        """
        x, y, z = self.stored.shape
        shape = (self.count * x, y, z) if self.first else (x, y, z * self.count)
        with opened(path, str(path)) as stream:
            values = read_whole_numbers(replace(self.stored, shape=shape), str(path), stream)
        if self.first:
            return values.reshape((self.count, x, y, z), order="F")
        return np.moveaxis(values.reshape((x, y, z, self.count), order="F"), 3, 0)
