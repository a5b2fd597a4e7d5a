"""One small scan in every kind of file that is read, voxel for voxel the same."""

import zipfile
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK

from tests.files.dicom.series import enhanced, image, save
from tomoseg.files.nifti import write_nifti
from tomoseg.volume import SourceGrid

SHAPE = (7, 6, 5)
SPACING_MM = (2.0, 2.5, 4.0)
GRID = SourceGrid(SHAPE, np.diag([*SPACING_MM, 1.0]))

FILES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".zip")
FOLDERS = ("dicom", "dicom below", "enhanced")


@cache
def hu(seed=0):
    """Random HU in RAS+ order."""
    return np.random.default_rng(seed).integers(-1000, 1000, SHAPE, np.int16)


def planes(seed=0):
    """Its slices from the feet up, rows from front to back and columns from right to left, with their places in LPS."""
    for k in range(SHAPE[2]):
        corner = (-SPACING_MM[0] * (SHAPE[0] - 1), -SPACING_MM[1] * (SHAPE[1] - 1), SPACING_MM[2] * k)
        yield k, hu(seed)[::-1, ::-1, k].T.copy(), corner


def write_dicom(folder: Path, seed=0, **tags) -> Path:
    """A slice a file."""
    pixel = (SPACING_MM[1], SPACING_MM[0])
    return save([image(plane, at, k + 1, pixel, **tags) for k, plane, at in planes(seed)], folder)


def write_scan(place: Path, kind: str, seed=0) -> Path:
    """The scan at a place, to whose name the ending of a kind of files is added; a folder of DICOM has none."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "dicom":
        return write_dicom(place, seed)
    if kind == "dicom below":
        write_dicom(place / "study" / "series", seed)
        return place
    if kind == "enhanced":
        pixels, places = zip(*[(plane, at) for _, plane, at in planes(seed)], strict=True)
        return save([enhanced(np.stack(pixels), places, (SPACING_MM[1], SPACING_MM[0]))], place)
    path = place.with_name(place.name + kind)
    if kind == ".zip":
        with TemporaryDirectory() as folder, zipfile.ZipFile(path, "w") as archive:
            for slice_ in write_dicom(Path(folder), seed).iterdir():
                archive.write(slice_, slice_.name)
    elif kind in {".nii.gz", ".nii"}:
        write_nifti(path, hu(seed), GRID)
    else:
        with TemporaryDirectory() as folder:
            write_nifti(Path(folder) / "ct.nii", hu(seed), GRID)
            SimpleITK.WriteImage(SimpleITK.ReadImage(str(Path(folder) / "ct.nii")), str(path))
    return path


def liver():
    """A mask of 2 x 3 x 2 voxels."""
    mask = np.zeros(SHAPE, bool)
    mask[1:3, 1:4, 1:3] = True
    return mask


def write_liver(path: Path) -> None:
    """The mask as NIfTI."""
    write_nifti(path, liver(), GRID)
