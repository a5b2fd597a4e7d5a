"""Which files and folders of a dataset may be scans, by names and first bytes; nothing is read here."""

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
"""What the scan of a case is called, where there are other volumes beside it."""

DICOM_SUFFIX = ".dcm"

_ZIP = ".zip"


def nifti_files(folder: Path) -> list[Path]:
    """The NIfTI files of a folder by name, hidden ones (`._*` of macOS among them) left out.

    Raises:
        DatasetError: If one is there as `.nii` and as `.nii.gz`.
    """
    found = [path for path in _visible(folder) if path.name.lower().endswith(NIFTI_SUFFIXES)]
    stems = [nifti_stem(path) for path in found]
    twice = sorted({stem for stem in stems if stems.count(stem) > 1})
    if twice:
        raise DatasetError(f"{folder}: expected each file once, got .nii and .nii.gz of {', '.join(twice)}; remove one")
    return found


def volume_files(folder: Path) -> list[Path]:
    """The files of a folder that may be scans: NIfTI by name, then NRRD and MetaImage, then zip archives.

    Segmentations of 3D Slicer and results of ours are none.

    Raises:
        DatasetError: If a NIfTI file is there as `.nii` and as `.nii.gz`.
    """
    nifti, visible = nifti_files(folder), _visible(folder)
    ours = written_by(path for path in visible if path.name.endswith(RECORD))
    others = sorted((path for path in visible if _is_other_volume(path)), key=_rank)
    return [path for path in (*nifti, *others) if path not in ours]


def by_stem(paths: Iterable[Path]) -> dict[str, Path]:
    """Scans by what they are called; of several with one name the first.

    Args:
        paths: In the order of `volume_files`, and whatever follows.
    """
    found: dict[str, Path] = {}
    for path in paths:
        found.setdefault(stem_of(path), path)
    return found


def stem_of(path: Path) -> str:
    """What a scan is called: its file's name without the suffix of its kind, or its folder's."""
    return path.name if path.is_dir() else scan_stem(path)


def visible_folders(folder: Path) -> list[Path]:
    """Folders in a folder that are neither hidden nor an archive's leavings, by name."""
    return [path for path in _visible(folder) if path.is_dir() and not path.name.startswith("__")]


def dicom_folders(folder: Path) -> list[Path]:
    """The folders in a folder in which, however deep, there is DICOM."""
    return [inner for inner in visible_folders(folder) if inner.name != MASKS_FOLDER and holds_dicom(inner)]


def loose_dicom(folder: Path) -> list[Path]:
    """The DICOM files that lie in a folder itself, by name."""
    return [path for path in _visible(folder) if not path.name.lower().endswith(SCAN_SUFFIXES) and _is_dicom(path)]


def holds_dicom(place: Path) -> bool:
    """Whether there is DICOM in a folder, however deep, or a file is DICOM."""
    if not place.is_dir():
        return _is_dicom(place)
    files = (file.path for one in walk(place) for file in one.files)
    return any(_is_dicom(path) for path in files if not path.name.lower().endswith(SCAN_SUFFIXES))


def scan_of_case(folder: Path, labels: Collection[Path]) -> Path | None:
    """The scan in the folder of a case: what is called `ct`, else the only one of the first kind that is there.

    The kinds are NIfTI, NRRD or MetaImage, zip archives, and DICOM in folders or in the folder itself.

    Args:
        folder: The case's.
        labels: Its files that are no scans.

    Raises:
        DatasetError: If it cannot be told which of several it is.
    """
    files = [path for path in volume_files(folder) if path not in labels]
    called = [path for path in files if stem_of(path).lower() == SCAN]
    inner = None if called else _inner_scan(folder)
    if inner is not None:
        return inner
    return _only(called or files, folder) if files else _dicom_of_case(folder)


def _inner_scan(folder: Path) -> Path | None:
    """The folder in a case's folder that is called as its scan, if there is anything in it."""
    inner = next((path for path in visible_folders(folder) if path.name.lower() == SCAN), None)
    return inner if inner is not None and (holds_dicom(inner) or volume_files(inner)) else None


def _only(files: Sequence[Path], folder: Path) -> Path:
    """The one file of the first kind among them."""
    first = list(next(group for _, group in groupby(files, _rank)))
    return the_only(first, f"scan (or one named {SCAN}.nii.gz)", folder)


def _dicom_of_case(folder: Path) -> Path | None:
    """Where the DICOM of a case lies; headers are read only where that is not plain."""
    places = [*([folder] if loose_dicom(folder) else []), *dicom_folders(folder)]
    if len(places) > 1:
        places = sorted({scan.path for scan in find_cohort(folder).scans if scan.kind == "dicom"})
    return the_only(places, f"scan (or a folder named {SCAN})", folder) if places else None


def the_only(paths: Sequence[Path], what: str, folder: Path) -> Path:
    """The one path of several.

    Args:
        paths: One or more.
        what: What is expected once, for the message.
        folder: Where they lie.

    Raises:
        DatasetError: If there are several.
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
    """Whether a file is DICOM and holds no structures instead of a scan."""
    try:
        with path.open("rb") as stream:
            return starts_dicom(stream.read(START_BYTES)) and label_object(path) is None
    except OSError:
        return False
