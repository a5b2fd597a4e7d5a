"""Raw datasets: the cases, and all other files in the folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tomoseg.datasets.cases import Case
from tomoseg.datasets.layouts import Dataset, find_dataset
from tomoseg.datasets.strays import strays
from tomoseg.files.label_files import read_geometry
from tomoseg.files.source import ScanKind
from tomoseg.volume import SourceGrid

_ENDINGS: dict[str, ScanKind] = {
    ".nii.gz": "nifti", ".nii": "nifti", ".nrrd": "nrrd", ".nhdr": "nrrd", ".mha": "metaimage", ".mhd": "metaimage",
    ".zip": "zip",
}  # fmt: skip


def open_dataset(folder: Path) -> Dataset:
    """Open a raw dataset; files in its folder that belong to no case are listed as left out.

    Args:
        folder: The dataset folder.

    Raises:
        DatasetError: If the folder is not a dataset.
        InputError: If a JSON file in it cannot be read.
        LabelError: If a file of labels says a name or a value twice.
    """
    found = find_dataset(folder)
    more, notes = strays(folder, found.cases, found.left_out)
    return replace(found, warnings=(*map(str, more), *found.warnings, *notes), left_out=(*found.left_out, *more))


def grid_of(case: Case) -> SourceGrid:
    """Read the grid of a case from the header of its scan, or of a mask if each slice has its own header.

    Raises:
        InputError: If the header cannot be read.
        GridError: If its geometry is unknown or unusable.
    """
    return read_geometry(case.first_file if kind_of(case.ct) in {"dicom", "zip"} else case.ct)


def kind_of(scan: Path) -> ScanKind:
    """Return the kind of a scan from its file name.

    Args:
        scan: Path of the scan; a folder is DICOM.
    """
    if scan.is_dir():
        return "dicom"
    return next((kind for ending, kind in _ENDINGS.items() if scan.name.lower().endswith(ending)), "dicom")
