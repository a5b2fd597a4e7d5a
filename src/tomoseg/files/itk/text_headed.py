"""What is read of a file whose voxels a text header describes: a scan, labels, or the grid alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

from tomoseg.files.itk.voxels import Edges, Stored, first_values, opened, read_stored, read_whole_numbers
from tomoseg.notices import Notice
from tomoseg.volume import SourceGrid, Volume, check_affine


@dataclass(frozen=True)
class TextHeaded:
    """A kind of such files: NRRD (`nrrd.NRRD`) or MetaImage (`metaimage.METAIMAGE`), in one file or in two.

    Every method raises `InputError` for a file that is missing, damaged, no scalar volume, or whose data lie elsewhere,
    and `GridError` for geometry that is not known or cannot be used.

    Attributes:
        describe: From an open file, its path and edges to assume to what its header says of its voxels, and what was
            noticed.
    """

    describe: Callable[[IO[bytes], Path, Edges | None], tuple[Stored, tuple[Notice, ...]]]

    def scan(self, path: Path, assume_spacing: Edges | None = None) -> Volume:
        """Read a CT scan.

        Args:
            path: The header, which may hold the data too.
            assume_spacing: Voxel edges in mm, taken where the file does not say where its voxels lie.
        """
        name = str(path)
        with opened(path, name) as stream:
            stored, noticed = self.describe(stream, path, assume_spacing)
            return read_stored(stored, name, noticed, stream)

    def first_values(self, path: Path) -> Float32[np.ndarray, "i j s"]:
        """The first few megabytes of a volume's voxels, as they lie in the file."""
        name = str(path)
        with opened(path, name) as stream:
            return first_values(self.describe(stream, path, None)[0], name, stream)

    def labels(self, path: Path) -> tuple[UInt8[np.ndarray, "i j k"] | UInt16[np.ndarray, "i j k"], SourceGrid]:
        """Read a label map, in the file's axis order, and its grid; `InputError` also for what is no whole number."""
        name = str(path)
        with opened(path, name) as stream:
            stored, _ = self.describe(stream, path, None)
            return read_whole_numbers(stored, name, stream), SourceGrid(stored.shape, stored.affine)

    def geometry(self, path: Path) -> tuple[SourceGrid, tuple[Notice, ...]]:
        """The grid of a file and what was noticed of it, from its header alone."""
        with opened(path, str(path)) as stream:
            stored, noticed = self.describe(stream, path, None)
        check_affine(stored.affine, str(path))
        return SourceGrid(stored.shape, stored.affine), noticed
