"""Search for all scans below a folder; every file is looked at once and accounted for.

- Each volume (NIfTI, NRRD, MetaImage) is a scan, unless it is known to be something else. In a folder with a
  `ct.nii.gz` that file is the scan of the case, and others beside or below it belong to the case.
- DICOM: in each folder with CT slices, the images of each patient and study are a scan; of several series of one study
  one is taken. A series that is spread over several folders, with no slice twice, is one scan.
- The DICOM in a ZIP archive is grouped in the same way.

Results of tomoseg, masks of a case and DICOM objects made from scans are counted. Any other file that might be a scan
is left out, with the reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path

from tomoseg.errors import InputError
from tomoseg.files.no_scan import CORRECTION, OF_OURS, RECORD, written_by
from tomoseg.files.paths import real
from tomoseg.files.scan import SCAN_SUFFIXES, images_of, look_at_file
from tomoseg.files.source import DicomFolder, Folder, Lost, ScanSource, SourceFile, reason, walk

CASE_NAMES = ("ct.nii.gz", "ct.nii")
"""Names of the scan in the folder of a case."""

MASKS_FOLDER = "segmentations"
"""Subfolder of the masks of such a case."""

_DICOM_SUFFIXES = {".dcm", ".dicom", ".ima"}
_NOT_READ = {
    **dict.fromkeys((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".7z", ".rar"), "an archive; unpack it"),
    ".hdr": "a pair of .hdr and .img; convert it to .nii.gz",
    ".mgz": "FreeSurfer's format; convert it to .nii.gz",
    ".mgh": "FreeSurfer's format; convert it to .nii.gz",
}
"""Unsupported files that may hold a scan, with advice."""


@dataclass(frozen=True)
class Cohort:
    """The scans below a folder.

    Attributes:
        folder: The folder.
        scans: Its scans, sorted by path; `number` distinguishes those in one DICOM folder.
        left_out: Files that may be scans but are not used, with the reasons.
        unchosen: Series that are left out unless requested, since another of their study is taken.
        others: Kinds of files known not to be scans, with their numbers.
        dicom: All DICOM there as one scan, if there is any.
        is_one_study: Whether all DICOM there is of one study, so that a series can be requested by its number.
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
    """Files and folders that are already accounted for, which are skipped and not opened.

    Attributes:
        files: Files.
        folders: Folders with everything below them.
        dicom: Folders of DICOM; volumes below them are still looked at.
    """

    files: frozenset[Path] = frozenset()
    folders: frozenset[Path] = frozenset()
    dicom: frozenset[Path] = frozenset()


def find_cohort(folder: Path, results: Path | None = None, known: Known | None = None) -> Cohort:
    """Find the scans below a folder.

    Args:
        folder: The folder to search; links to other folders are followed.
        results: Output folder; if it lies in the folder, volumes in it are results of an earlier run.
        known: Files and folders that are already accounted for.

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
    """Find the scans in a ZIP archive; one that cannot be read counts as one scan, so that reading reports the error.

    Args:
        archive: The archive, from `look_at_file`.
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
    """The state of the search."""

    def __init__(self, root: Path, folders: list[Folder], results: Path | None, known: Known) -> None:
        self.root, self.known = root, known
        self.results = None if results is None or real(root) not in real(results).parents else real(results)
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
        """Sort the files of a folder into scans, DICOM and others."""
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
        """Return the files of a folder that are not accounted for."""
        files = [file for file in folder.files if file.path not in self.known.files]
        if not _is_below(folder.path, self.known.dicom):
            return files
        return [file for file in files if file.path.name.lower().endswith(SCAN_SUFFIXES)]

    def _volume(self, file: SourceFile, here: DicomFolder) -> None:
        """Sort a file with the suffix of a volume, even if it is really DICOM."""
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
        return self.results is not None and real(path).is_relative_to(self.results)

    def _file(self, file: SourceFile, here: DicomFolder) -> None:
        try:
            source = look_at_file(file.path)
        except OSError as error:
            here.lost.append(Lost(file.path, reason(error)))
            return
        if source.kind == "dicom":
            _read_headers(file, here)  # read again, which is rare
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
        """Return the result, with DICOM images grouped to scans."""
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
    """Count files named as DICOM that hold none as lost: a copy was cut short, or a disk was full."""
    endings = {path.suffix.lower() for path, images in here.headers.items() if images is not None}
    for file in list(here.files):
        ending = file.path.suffix.lower()
        is_called_so = ending in (endings if file.size == 0 else endings & _DICOM_SUFFIXES)
        if is_called_so and here.headers.get(file.path, ()) is None:
            here.files.remove(file)
            del here.headers[file.path]
            why = "not DICOM, despite its name" if file.size else "an empty file"
            here.lost.append(Lost(file.path, why))


def _read_headers(file: SourceFile, here: DicomFolder) -> None:
    try:
        here.headers[file.path] = images_of(file)
    except OSError as error:
        here.lost.append(Lost(file.path, reason(error)))
        return
    except InputError:  # reading reports the damage
        here.lost.append(Lost(file.path, "a damaged DICOM file"))
        here.has_damaged = True
    here.files.append(file)
