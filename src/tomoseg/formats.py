"""Output formats of a segmentation, one record each, from which names, help, error messages and docs follow.

To add a format, write its function in a module of `files`, and add its record to `FORMATS` and its name to
`FormatName`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FormatName = Literal["nifti", "nrrd", "mha", "stl", "ply", "dicom-seg", "dicom-seg-labelmap", "rtstruct"]
"""The keys of `FORMATS`."""

Layout = Literal["file per structure", "one file", "folder"]
"""Layout of a format's files.

- `file per structure`: `STRUCTURE.nii.gz` each; of a label map one file named after the scan.
- `one file`: `segmentation.seg.nrrd`; beside a label map `SCAN.seg.nrrd`.
- `folder`: `stl/STRUCTURE.stl`; beside a label map `SCAN_stl/STRUCTURE.stl`.
"""

LABEL_MAP_SUFFIXES = (".nii.gz", ".nii")
"""Suffixes of an output path that names a label map; other files are then written beside it."""


@dataclass(frozen=True)
class OutputFormat:
    """A file format that a segmentation can be written in.

    Attributes:
        endings: Endings of its files, without the first dot; the first is used unless the user names another.
        layout: Layout of its files.
        writer: `module:function`, imported only when needed, since some modules take a second. The function takes
            the result and a `files.target.Target`, and returns the paths that it wrote.
        help: One line for a list of formats.
        refers_to_slices: Whether it refers to the slices of a DICOM scan by their UIDs.
        needs_slices: Whether it can only be written for scans read from DICOM slices.
        packages: Optional packages that it needs, as named in `packages.EXTRAS`.
    """

    endings: tuple[str, ...]
    layout: Layout
    writer: str
    help: str
    needs_slices: bool = False
    refers_to_slices: bool = False
    packages: tuple[str, ...] = ()

    def path(self, output: Path, stem: str | None) -> Path:
        """Return the path that it is written to: a file, or the folder of its files.

        Args:
            output: The folder of the masks, or the path of the label map.
            stem: The label map's name without its suffix; None for masks.

        Example:
            >>> FORMATS["nrrd"].path(Path("out"), None).as_posix()
            'out/segmentation.seg.nrrd'
            >>> FORMATS["stl"].path(Path("s0.nii.gz"), "s0").as_posix()
            's0_stl'
        """
        ending = self.endings[0]
        if self.layout == "folder":
            return output / ending if stem is None else output.with_name(f"{stem}_{ending}")
        if stem is not None:
            named = output.name.removeprefix(stem)[1:]
            return output.with_name(f"{stem}.{named if named in self.endings else ending}")
        return output if self.layout == "file per structure" else output / f"segmentation.{ending}"

    def places(self) -> tuple[str, str]:
        """Return the names of its files in a folder of masks and beside a label map, as written in the docs."""
        ending = self.endings[0]
        if self.layout == "folder":
            return f"{ending}/STRUCTURE.{ending}", f"SCAN_{ending}/STRUCTURE.{ending}"
        return f"{'segmentation' if self.layout == 'one file' else 'STRUCTURE'}.{ending}", f"SCAN.{ending}"


FORMATS: dict[str, OutputFormat] = {
    "nifti": OutputFormat(
        ("nii.gz", "nii"),
        "file per structure",
        "tomoseg.files.results:write_nifti_result",
        "one mask per structure; with `--ml` one label map, with tables of its labels",
    ),
    "nrrd": OutputFormat(
        ("seg.nrrd",),
        "one file",
        "tomoseg.files.itk.seg_nrrd:write_result",
        "one 3D Slicer segmentation with names, colours and SNOMED CT codes; masks that overlap are kept in separate "
        "layers",
    ),
    "mha": OutputFormat(
        ("mha",),
        "file per structure",
        "tomoseg.files.itk.write_metaimage:write_result",
        "one compressed MetaImage per structure, for ITK; with `--ml` one label map",
    ),
    "stl": OutputFormat(
        ("stl",),
        "folder",
        "tomoseg.files.meshes:write_stl_result",
        "one closed surface mesh per structure (binary STL)",
        packages=("skimage",),
    ),
    "ply": OutputFormat(
        ("ply",),
        "folder",
        "tomoseg.files.meshes:write_ply_result",
        "one closed surface mesh per structure in its colour (binary PLY)",
        packages=("skimage",),
    ),
    "dicom-seg": OutputFormat(
        ("seg.dcm",),
        "one file",
        "tomoseg.files.dicom.segmentation:write_result",
        "one DICOM Segmentation of type BINARY, which nearly every PACS and viewer reads; overlaps are kept",
        refers_to_slices=True,
    ),
    "dicom-seg-labelmap": OutputFormat(
        ("labelmap.seg.dcm",),
        "one file",
        "tomoseg.files.dicom.segmentation:write_labelmap_result",
        "one DICOM Segmentation of type LABELMAP, smaller but new (2024) and not yet widely supported; structures must "
        "not overlap, so use `--ml`",
        refers_to_slices=True,
    ),
    "rtstruct": OutputFormat(
        ("rtstruct.dcm",),
        "one file",
        "tomoseg.files.dicom.structures:write_result",
        "one DICOM RT Structure Set of closed contours; only for scans read from DICOM",
        needs_slices=True,
        refers_to_slices=True,
    ),
}
"""Output formats by name, in the order in which they are written."""


def endings_of_their_own() -> tuple[str, ...]:
    """Return the file endings, other than NIfTI's, that some format is written with."""
    lasts = (f".{ending.rpartition('.')[2]}" for one in FORMATS.values() for ending in one.endings)
    return tuple(dict.fromkeys(last for last in lasts if last not in {".gz", ".nii"}))
