"""Tiny labelled datasets on disk for tests of workflows."""

import os

import numpy as np

from tomoseg.files.nifti import write_nifti
from tomoseg.volume import SourceGrid

SHAPE = (6, 5, 4)
AFFINE = np.diag([3.0, 3.0, 5.0, 1.0])
GRID = SourceGrid(SHAPE, AFFINE)


def scan(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(-1000, 1000, shape, np.int16)


def write_masks_case(folder, structures=("liver",), seed=0, grid=GRID):
    """One case as a folder with a scan and a mask file a structure."""
    write_nifti(folder / "ct.nii.gz", scan(seed, grid.canonical_shape), grid)
    for number, name in enumerate(structures):
        mask = np.zeros(grid.canonical_shape, bool)
        mask[number : number + 2, 1:4, 1:3] = True
        write_nifti(folder / "segmentations" / f"{name}.nii.gz", mask, grid)


def touch(path, seconds):
    """Make a file look written that much later."""
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + seconds * 10**9))
