"""Reading of files whose voxels are described by a text header: scans, labels, and grids."""

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
    """Reader of such files: NRRD (`nrrd.NRRD`) or MetaImage (`metaimage.METAIMAGE`), in one file or in two.

    Every method raises `InputError` for a file that is missing, damaged, or not a scalar volume, or whose data file is
    not beside it, and `GridError` for geometry that is unknown or cannot be used.

    Attributes:
        describe: Returns the storage of the voxels and notices, from the open file, its path and the spacing to assume.
    """

    describe: Callable[[IO[bytes], Path, Edges | None], tuple[Stored, tuple[Notice, ...]]]

    def scan(self, path: Path, assume_spacing: Edges | None = None) -> Volume:
        """Read a CT scan.

        Args:
            path: The file of the header, which may hold the voxels, too.
            assume_spacing: Voxel spacing in mm, used if the file states none.
        """
        name = str(path)
        with opened(path, name) as stream:
            stored, noticed = self.describe(stream, path, assume_spacing)
            return read_stored(stored, name, noticed, stream)

    def first_values(self, path: Path) -> Float32[np.ndarray, "i j s"]:
        """Read the first few megabytes of a volume's voxels, in the file's axis order."""
        name = str(path)
        with opened(path, name) as stream:
            return first_values(self.describe(stream, path, None)[0], name, stream)

    def labels(self, path: Path) -> tuple[UInt8[np.ndarray, "i j k"] | UInt16[np.ndarray, "i j k"], SourceGrid]:
        """Read a label map, in the file's axis order, and its grid; `InputError` also for values other than labels."""
        name = str(path)
        with opened(path, name) as stream:
            stored, _ = self.describe(stream, path, None)
            return read_whole_numbers(stored, name, stream), SourceGrid(stored.shape, stored.affine)

    def geometry(self, path: Path) -> tuple[SourceGrid, tuple[Notice, ...]]:
        """Read the grid of a file, and notices about it, from its header alone."""
        with opened(path, str(path)) as stream:
            stored, noticed = self.describe(stream, path, None)
        check_affine(stored.affine, str(path))
        return SourceGrid(stored.shape, stored.affine), noticed
