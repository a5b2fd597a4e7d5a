"""The scans in a ZIP archive, grouped by patient and study as in a folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tomoseg.errors import InputError
from tomoseg.files.dicom.entries import Entry, entries
from tomoseg.files.dicom.headers import images_in, quietly
from tomoseg.files.dicom.places import Places, dicom_places
from tomoseg.files.scan import SCAN_SUFFIXES
from tomoseg.files.source import DicomFolder, Lost, ScanSource, SourceFile

_UNPACK = "a volume or an archive inside an archive; unpack it"


def places_in(archive: ScanSource) -> Places:
    """Find the scans in an archive; if it holds one or none, the archive itself counts as the scan.

    Args:
        archive: The archive, from `scan.look_at_file`.

    Raises:
        InputError: If it cannot be read, or cannot be trusted.
    """
    with entries(archive) as found:
        folders = _folders(found, archive)
    places = dicom_places(archive.path, folders)
    lost = [one for folder in folders for one in folder.lost]
    lost += [Lost(entry.place, _UNPACK) for entry in found if entry.place.name.lower().endswith(SCAN_SUFFIXES)]
    if len(places.scans) < 2:  # reading reports everything else
        return Places(archive, [archive], lost, places.unchosen, is_one_study=places.is_one_study)
    places.left_out += lost
    places.scans = [_packed(scan, archive) for scan in places.scans]
    places.together = archive
    return places


def _folders(found: list[Entry], archive: ScanSource) -> list[DicomFolder]:
    """Return the folders of an archive that hold DICOM, sorted by path."""
    folders: dict[Path, DicomFolder] = {}
    modified_ns = archive.files[0].modified_ns
    for entry in found:
        folder = folders.setdefault(entry.place.parent, DicomFolder(entry.place.parent))
        folder.files.append(SourceFile(entry.place, entry.size, modified_ns))
        try:
            with quietly(str(archive.path)), entry.open() as stream:
                images = images_in(stream, entry, str(archive.path))
        except InputError:  # reading reports the damage
            folder.has_damaged = True
            folder.lost.append(Lost(entry.place, "a damaged DICOM file"))
        else:
            folder.headers[entry.place] = images
    return [folders[path] for path in sorted(folders) if folders[path].has_dicom]


def _packed(scan: ScanSource, archive: ScanSource) -> ScanSource:
    """Turn a scan in a folder into one in an archive."""
    members = frozenset(file.path.relative_to(archive.path).as_posix() for file in scan.files)
    inside = "" if scan.path == archive.path else scan.path.relative_to(archive.path).as_posix()
    return replace(archive, number=scan.number, inside=inside, members=members, notices=scan.notices)
