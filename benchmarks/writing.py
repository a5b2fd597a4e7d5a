"""Time to write 117 structures on 512 x 512 x 300 voxels, in each format.

    .venv/bin/python benchmarks/writing.py [--slices 300] [--repeats 3] [--formats nifti dicom-seg ...]

A whole-body phantom, enlarged. Its few overlapping voxels are given to one structure where a format holds one a voxel
(`dicom-seg-labelmap`), as `predict --ml` does. The aims are 6 s for one NIfTI file a structure and 5 s for
a LABELMAP, on two cores. DICOM files refer to a series made for the purpose, whose headers are read in the time told.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, seconds
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.dicom.segmentation import write_seg
from tomoseg.files.dicom.source import source_series
from tomoseg.files.dicom.structures import write_rtstruct
from tomoseg.files.itk.seg_nrrd import write_seg_nrrd
from tomoseg.files.meshes import write_meshes
from tomoseg.files.results import write_label_map, write_masks
from tomoseg.labels import LabelSet
from tomoseg.phantom import make_phantom
from tomoseg.pictures.preview import flatten
from tomoseg.segmentation import Segmentation
from tomoseg.slices import SourceImage, SourceSlices
from tomoseg.volume import SourceGrid

EDGES_MM = (0.9, 0.9, 2.5)
MADE_BY = MadeBy("0" * 64)


def write_series(folder: Path, slices: int) -> SourceGrid:
    """Write the headers of a series, and return its grid."""
    study, series, space = generate_uid(), generate_uid(), generate_uid()
    images = []
    for number in range(slices):
        position = (-230.0, -230.0, EDGES_MM[2] * number)
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = CTImageStorage
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, space
        image.ImagePositionPatient = list(position)
        path = folder / f"{number:03}.dcm"
        image.save_as(path, enforce_file_format=True)
        ras = (-position[0], -position[1], position[2])
        images.append(SourceImage(path, None, None, CTImageStorage, image.SOPInstanceUID, ras))
    offsets = np.zeros((slices, 3))
    offsets[:, 2] = np.arange(slices)
    affine = np.diag([-EDGES_MM[0], -EDGES_MM[1], EDGES_MM[2], 1.0])
    affine[:2, 3] = 230.0
    return SourceGrid((512, 512, slices), affine, slices=SourceSlices((512, 512), offsets, tuple(images)))


def large_phantom(grid: SourceGrid) -> Segmentation:
    """Return masks of all 117 structures, by nearest neighbour from a coarser whole-body phantom."""
    phantom = make_phantom(0, spacing_mm=(3.0, 3.0, 5.0), field_of_view="whole")
    i, j, k = (np.arange(n) * old // n for n, old in zip(grid.shape, phantom.hu.shape, strict=True))
    segmentation = Segmentation(LabelSet.total(), grid)
    for plane in k:
        segmentation.append(np.ascontiguousarray(phantom.packed[..., plane][:, i][:, :, j]))
    return segmentation


def ways(masks: Segmentation, folder: Path) -> dict[str, tuple[str, Callable[[], object]]]:
    """Return for each format a description of the output, and the function that writes it."""
    flat = flatten(masks)

    def dicom(write: Callable[..., object], *arguments: Any) -> Callable[[], object]:
        return lambda: write(arguments[0], source_series(masks.grid, "scan"), folder / "result.dcm", *arguments[1:])

    return {
        "nifti": ("one NIfTI file a structure", lambda: write_masks(masks, folder / "masks")),
        "nifti-map": ("one NIfTI label map", lambda: write_label_map(flat, folder / "map.nii.gz")),
        "nrrd": ("NRRD in layers", lambda: write_seg_nrrd(masks, folder / "result.seg.nrrd")),
        "dicom-seg": ("DICOM SEG, BINARY, overlaps kept", dicom(write_seg, masks, MADE_BY)),
        "dicom-seg-labelmap": ("DICOM SEG, LABELMAP", dicom(write_seg, flat, MADE_BY, True)),
        "rtstruct": ("RTSTRUCT", dicom(write_rtstruct, masks, MADE_BY)),
        "stl": ("STL meshes", lambda: write_meshes(masks, folder / "stl", "stl")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--formats", nargs="*")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        series = Path(name) / "series"
        series.mkdir()
        masks = large_phantom(write_series(series, given.slices))
        print(machine())
        print(f"{len(masks.labels)} structures on {masks.grid.shape} voxels, median of {given.repeats} after one more")
        for kind, (words, write) in ways(masks, Path(name) / "out").items():
            if given.formats and kind not in given.formats:
                continue
            write()
            taken = statistics.median(seconds(write) for _ in range(given.repeats))
            size = sum(path.stat().st_size for path in (Path(name) / "out").rglob("*") if path.is_file())
            shutil.rmtree(Path(name) / "out")
            print(f"  {kind} ({words}): {taken:.2f} s, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
