"""All scans below a folder, and what lies there that is none: every file is looked at once, nothing is passed over.

- Each volume (NIfTI, NRRD, MetaImage) is a scan, unless it is known to be something else. In a folder with a
  `ct.nii.gz` that file is the scan of the case, and others beside or below it belong to the case.
- DICOM: each folder that holds CT slices is a place. The images of each patient and study in it are a scan; of several
  series of one study one is taken. A series that is cut over several folders, no slice of it twice, is one place.
- The DICOM in a zip archive is put together in the same way.

Results of ours, masks of a case and DICOM objects that are made from scans are counted. All else that might be a scan
and is not among the scans is left out, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path

from tomoseg.errors import InputError
from tomoseg.files.no_scan import CORRECTION, OF_OURS, RECORD, written_by
from tomoseg.files.scan import SCAN_SUFFIXES, images_of, look_at_file
from tomoseg.files.source import DicomFolder, Folder, Lost, ScanSource, SourceFile, reason, walk

CASE_NAMES = ("ct.nii.gz", "ct.nii")
"""What a scan is called in a folder a case."""

MASKS_FOLDER = "segmentations"
"""Where the masks of such a case lie."""

_DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
_NOT_READ = {
    **dict.fromkeys((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar"), "an archive; unpack it"),
    ".hdr": "a pair of .hdr and .img; convert it to .nii.gz",
    ".mgz": "FreeSurfer's format; convert it to .nii.gz",
    ".mgh": "FreeSurfer's format; convert it to .nii.gz",
}
"""Files that may hold a scan and are not read."""


@dataclass(frozen=True)
class Cohort:
    """What lies below a folder.

    Attributes:
        folder: The folder.
        scans: Its scans, by path; `number` tells those of one DICOM folder apart.
        left_out: What may be a scan and is none of these, with the reason.
        unchosen: Series that are left out unless one is asked for, since another of their study is taken.
        others: What is known to be no scan, and how often it is there.
        dicom: All of it taken for one scan, if it is a folder with DICOM in it, or a file.
        is_one_study: Whether all DICOM there is of one study, so that a series of it may be asked for by its number.
    """

    folder: Path
    scans: tuple[ScanSource, ...]
    left_out: tuple[Lost, ...] = ()
    unchosen: tuple[Lost, ...] = ()
    others: Counter[str] = field(default_factory=Counter)
    dicom: ScanSource | None = None
    is_one_study: bool = False


@dataclass(frozen=True)
class Known:
    """What is accounted for already: it is passed over, and its files are not opened.

    Attributes:
        files: Files.
        folders: Folders with all that is below them.
        dicom: Folders of DICOM; volumes below them are looked at all the same.
    """

    files: frozenset[Path] = frozenset()
    folders: frozenset[Path] = frozenset()
    dicom: frozenset[Path] = frozenset()


def find_cohort(folder: Path, results: Path | None = None, known: Known | None = None) -> Cohort:
    """Look for the scans below a folder.

    Args:
        folder: Where to look; links to folders elsewhere are followed.
        results: Where results go: volumes in it are those of an earlier run, if it lies in the folder.
        known: What is accounted for already.

    Raises:
        InputError: If the folder cannot be listed.

    Example:
        >>> cohort = find_cohort(Path("DATASET"))
        >>> len(cohort.scans), cohort.left_out, cohort.others
        (4, (), Counter({'masks beside a ct.nii.gz': 8}))
    """
    try:
        folders = list(walk(folder, follow=True))
    except OSError as error:
        raise InputError(f"{folder}: expected a readable folder, got: {error.strerror or error}; check it") from None
    search = _Search(folder, folders, results, known or Known())
    for one in folders:
        search.look_into(one)
    return search.found()


def _is_below(path: Path, folders: Set[Path]) -> bool:
    return not folders.isdisjoint((path, *path.parents))


def find_in_archive(archive: ScanSource) -> Cohort:
    """Look for the scans in a zip archive; one that cannot be read is one scan, so that reading says why.

    Args:
        archive: As `look_at_file` finds it.
    """
    from tomoseg.files.dicom.archives import places_in  # imports pydicom

    try:
        places = places_in(archive)
    except InputError:
        return Cohort(archive.path, (archive,))
    lost = (tuple(places.left_out), tuple(places.unchosen))
    return Cohort(archive.path, tuple(places.scans), *lost, places.others, archive, places.is_one_study)


def _is_called_labels(path: Path) -> bool:
    name = path.name.lower()
    return "labels" in name or name.startswith("seg")


class _Search:
    """What was found so far."""

    def __init__(self, root: Path, folders: list[Folder], results: Path | None, known: Known) -> None:
        self.root, self.known = root, known
        self.results = None if results is None or root.resolve() not in results.resolve().parents else results.resolve()
        records = [file.path for one in folders for file in one.files if file.path.name.endswith(RECORD)]
        self.ours = written_by(records)
        self.cases = {
            one.path for one in folders if one.path != root and any(f.path.name in CASE_NAMES for f in one.files)
        }
        self.scans: list[ScanSource] = []
        self.left_out: list[Lost] = []
        self.unchosen: list[Lost] = []
        self.others: Counter[str] = Counter()
        self.with_dicom: list[DicomFolder] = []

    def look_into(self, folder: Folder) -> None:
        """Tell the files of a folder apart."""
        if _is_below(folder.path, self.known.folders):
            return
        if any(file.path.name == CORRECTION for file in folder.files):
            self.others[OF_OURS] += len(folder.files) - 1
            return
        here = DicomFolder(folder.path, lost=list(folder.lost))
        for file in self._unknown(folder):
            lower = file.path.name.lower()
            if lower.endswith(SCAN_SUFFIXES):
                self._volume(file, here)
            elif why := next((why for suffix, why in _NOT_READ.items() if lower.endswith(suffix)), None):
                self.left_out.append(Lost(file.path, why))
            else:
                _read_headers(file, here)
        if here.has_dicom:
            _miss_slices(here)
            self.with_dicom.append(here)
        self.left_out += here.lost

    def _unknown(self, folder: Folder) -> list[SourceFile]:
        """The files of a folder that are not accounted for."""
        files = [file for file in folder.files if file.path not in self.known.files]
        if not _is_below(folder.path, self.known.dicom):
            return files
        return [file for file in files if file.path.name.lower().endswith(SCAN_SUFFIXES)]

    def _volume(self, file: SourceFile, here: DicomFolder) -> None:
        """Take a file that is called as volumes are, even if it is DICOM in truth."""
        path = file.path
        case = next((folder for folder in path.parents if folder in self.cases), None)
        if path in self.ours or self._is_in_results(path):
            self.others[OF_OURS] += 1
        elif case is None or (path.parent == case and path.name in CASE_NAMES):
            self._file(file, here)
        elif case / MASKS_FOLDER in path.parents or _is_called_labels(path):
            self.others[f"masks beside a {CASE_NAMES[0]}"] += 1
        else:
            self.left_out.append(Lost(path, f"beside a {CASE_NAMES[0]}, which is the scan of its case"))

    def _is_in_results(self, path: Path) -> bool:
        return self.results is not None and path.resolve().is_relative_to(self.results)

    def _file(self, file: SourceFile, here: DicomFolder) -> None:
        try:
            source = look_at_file(file.path)
        except OSError as error:
            here.lost.append(Lost(file.path, reason(error)))
            return
        if source.kind == "dicom":
            _read_headers(file, here)  # once more: few call them so
        elif source.kind == "zip":
            self._archive(source)
        elif source.says is None:
            self.scans.append(source)
        else:
            self.left_out.append(Lost(file.path, source.says))

    def _archive(self, source: ScanSource) -> None:
        inside = find_in_archive(source)
        self.scans += inside.scans
        self.left_out += inside.left_out
        self.unchosen += inside.unchosen
        self.others += inside.others

    def found(self) -> Cohort:
        """All of it, DICOM put together to scans."""
        together, is_one_study = None, False
        if self.with_dicom:
            from tomoseg.files.dicom.places import dicom_places  # imports pydicom

            places = dicom_places(self.root, self.with_dicom)
            self.scans += places.scans
            self.left_out += places.left_out
            self.unchosen += places.unchosen
            self.others += places.others
            together, is_one_study = places.together, places.is_one_study
        scans = sorted(self.scans, key=lambda scan: (scan.path.parts, scan.inside, scan.number))
        left_out, unchosen = (sorted(lost, key=lambda one: one.path.parts) for lost in (self.left_out, self.unchosen))
        return Cohort(self.root, tuple(scans), tuple(left_out), tuple(unchosen), self.others, together, is_one_study)


def _miss_slices(here: DicomFolder) -> None:
    """Take files for lost that are called as DICOM is and hold none: a copy was cut short, or a disk was full."""
    endings = {path.suffix.lower() for path, images in here.headers.items() if images is not None}
    for file in list(here.files):
        ending = file.path.suffix.lower()
        is_called_so = ending in (endings if file.size == 0 else endings & _DICOM_SUFFIXES)
        if is_called_so and here.headers.get(file.path, ()) is None:
            here.files.remove(file)
            del here.headers[file.path]
            why = "no DICOM, though it is called so" if file.size else "an empty file"
            here.lost.append(Lost(file.path, why))


def _read_headers(file: SourceFile, here: DicomFolder) -> None:
    try:
        here.headers[file.path] = images_of(file)
    except OSError as error:
        here.lost.append(Lost(file.path, reason(error)))
        return
    except InputError:  # reading says how it is damaged
        here.lost.append(Lost(file.path, "a damaged DICOM file"))
        here.has_damaged = True
    here.files.append(file)
