"""Recognition of scans among the files and folders of a dataset, by their names and first bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from pathlib import Path

from tomoseg.errors import DatasetError
from tomoseg.files.cohort import MASKS_FOLDER, find_cohort
from tomoseg.files.dicom.objects import label_object
from tomoseg.files.label_files import SEG_NRRD
from tomoseg.files.no_scan import RECORD, written_by
from tomoseg.files.results import NIFTI_SUFFIXES, nifti_stem
from tomoseg.files.scan import SCAN_SUFFIXES, scan_stem
from tomoseg.files.source import START_BYTES, starts_dicom, walk

SCAN = "ct"
"""Name of the scan of a case if there are other volumes beside it."""

DICOM_SUFFIX = ".dcm"

_ZIP = ".zip"


def nifti_files(folder: Path) -> list[Path]:
    """Return the NIfTI files of a folder, sorted, without hidden ones such as macOS's `._*`.

    Raises:
        DatasetError: If one exists as `.nii` and as `.nii.gz`.
    """
    found = [path for path in _visible(folder) if path.name.lower().endswith(NIFTI_SUFFIXES)]
    stems = [nifti_stem(path) for path in found]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise DatasetError(f"{folder}: expected each file once, got .nii and .nii.gz of {', '.join(twice)}; remove one")
    return found


def volume_files(folder: Path) -> list[Path]:
    """Return the files of a folder that may be scans: NIfTI, then NRRD and MetaImage, then ZIP archives.

    Segmentations of 3D Slicer and results of tomoseg are left out.

    Raises:
        DatasetError: If a NIfTI file exists as `.nii` and as `.nii.gz`.
    """
    nifti, visible = nifti_files(folder), _visible(folder)
    ours = written_by(path for path in visible if path.name.endswith(RECORD))
    others = sorted((path for path in visible if _is_other_volume(path)), key=_rank)
    return [path for path in (*nifti, *others) if path not in ours]


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Return scans by name; of several with the same name, the first.

    Args:
        paths: Paths in order of preference, as from `volume_files`.
    """
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(stem_of(path), path)
    return found


def stem_of(path: Path) -> str:
    """Return the name of a scan: that of its file without the suffix, or that of its folder."""
    return path.name if path.is_dir() else scan_stem(path)


def visible_folders(folder: Path) -> list[Path]:
    """Return the subfolders of a folder, sorted, without hidden ones and `__MACOSX` and the like."""
    return [path for path in _visible(folder) if path.is_dir() and not path.name.startswith("__")]


def dicom_folders(folder: Path) -> list[Path]:
    """Return the subfolders of a folder that hold DICOM at any depth."""
    return [inner for inner in visible_folders(folder) if inner.name != MASKS_FOLDER and holds_dicom(inner)]


def loose_dicom(folder: Path) -> list[Path]:
    """Return the DICOM files directly in a folder, sorted."""
    return [path for path in _visible(folder) if not path.name.lower().endswith(SCAN_SUFFIXES) and _is_dicom(path)]


def holds_dicom(place: Path) -> bool:
    """Whether a folder holds DICOM at any depth, or a file is DICOM."""
    if not place.is_dir():
        return _is_dicom(place)
    files = (file.path for one in walk(place) for file in one.files)
    return any(_is_dicom(path) for path in files if not path.name.lower().endswith(SCAN_SUFFIXES))


def scan_of_case(folder: Path, labels: Collection[Path]) -> Path | None:
    """Find the scan in the folder of a case: the one named `ct`, otherwise the only one of the first kind found.

    The kinds are NIfTI, NRRD or MetaImage, ZIP archives, and DICOM in subfolders or in the folder itself.

    Args:
        folder: Folder of the case.
        labels: Files in it that are not scans.

    Raises:
        DatasetError: If there are several of that kind.
    """
    files = [path for path in volume_files(folder) if path not in labels]
    called = [path for path in files if stem_of(path).lower() == SCAN]
    inner = None if called else _inner_scan(folder)
    if inner is not None:
        return inner
    return _only(called or files, folder) if files else _dicom_of_case(folder)


def _inner_scan(folder: Path) -> Path | None:
    """Return the subfolder named `ct`, if it holds DICOM or a volume."""
    inner = next((path for path in visible_folders(folder) if path.name.lower() == SCAN), None)
    return inner if inner is not None and (holds_dicom(inner) or volume_files(inner)) else None


def _only(files: Sequence[Path], folder: Path) -> Path:
    """Return the only file of the first kind among them."""
    first = list(next(group for _, group in groupby(files, _rank)))
    return the_only(first, f"scan (or one named {SCAN}.nii.gz)", folder)


def _dicom_of_case(folder: Path) -> Path | None:
    """Return the folder of a case's DICOM; headers are read only if there are several candidates."""
    places = [*([folder] if loose_dicom(folder) else []), *dicom_folders(folder)]
    if len(places) > 1:
        places = sorted({scan.path for scan in find_cohort(folder).scans if scan.kind == "dicom"})
    return the_only(places, f"scan (or a folder named {SCAN})", folder) if places else None


def the_only(paths: Sequence[Path], what: str, folder: Path) -> Path:
    """Return the only path.

    Args:
        paths: One or more paths.
        what: The kind of thing expected once, for the message.
        folder: Their folder, for the message.

    Raises:
        DatasetError: If there are several paths.
    """
    if len(paths) > 1:
        names = ", ".join(sorted(path.name for path in paths))
        raise DatasetError(f"{folder}: expected one {what}, got {names}; move the others out of the folder")
    return paths[0]


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _rank(path: Path) -> int:
    lower = path.name.lower()
    return 0 if lower.endswith(NIFTI_SUFFIXES) else 2 if lower.endswith(_ZIP) else 1


def _is_other_volume(path: Path) -> bool:
    lower = path.name.lower()
    is_called_so = lower.endswith(SCAN_SUFFIXES) and not lower.endswith((*NIFTI_SUFFIXES, SEG_NRRD))
    return is_called_so and not path.is_dir()


def _is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, but not a segmentation or structure set."""
    try:
        with path.open("rb") as stream:
            return starts_dicom(stream.read(START_BYTES)) and label_object(path) is None
    except OSError:
        return False
