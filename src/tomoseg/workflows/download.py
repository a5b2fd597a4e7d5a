"""`tomoseg download`: a public dataset from its server, ready to be preprocessed.

Either the whole archive is fetched, verified, unpacked and removed, or single cases are read from the remote archive.
Every step can be resumed: the archive grows as `.zip.part`, cases appear whole, `download.json` is written last.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from tomoseg.datasets.download.contents import opened_archive, read_contents
from tomoseg.datasets.download.fetch import fetch, forget_part, part_bytes, was_fetched
from tomoseg.datasets.download.http import Web, check_url
from tomoseg.datasets.download.remote_file import LocalFile, RemoteFile
from tomoseg.datasets.download.sources import Archive
from tomoseg.datasets.download.unpack import unpack
from tomoseg.errors import InputError, unknown_name_message
from tomoseg.files.atomic import errors_told, remove_file, whole_file
from tomoseg.files.outputs import begin_folder, check_space

RECORD = "download.json"


@dataclass(frozen=True)
class Progress:
    """Callbacks for the progress of a download.

    Attributes:
        on_bytes: Called with the stage (`check`, `download`), the bytes done and the total number of bytes.
        on_case: Called with the case unpacked, the number of cases done and the total number of cases.
    """

    on_bytes: Callable[[str, int, int], None] = lambda stage, done, total: None
    on_case: Callable[[str, int, int], None] = lambda name, done, total: None


@dataclass(frozen=True)
class DownloadReport:
    """The result of a download.

    Attributes:
        cases: Number of requested cases now present.
        new: Number of them that were downloaded now.
        verified: Whether the MD5 sum of the whole archive was compared; without one, and for single cases, only
            the check sums inside the archive are.
        archive: Path of the archive, if it was kept.
    """

    cases: int
    new: int
    verified: bool
    archive: Path | None = None


def download(
    archive: Archive,
    output: Path,
    cases: Sequence[str] = (),
    *,
    keep_archive: bool = False,
    web: Web | None = None,
    progress: Progress | None = None,
) -> DownloadReport:
    """Fetch a dataset, or some of its cases, into a folder.

    Args:
        archive: The archive's address and check sum.
        output: The dataset folder; existing cases are kept.
        cases: Cases to fetch, without the rest of the archive; all if empty.
        keep_archive: Whether to keep the ZIP file after unpacking.
        web: Access to servers.
        progress: Callbacks for progress.

    Raises:
        DownloadError: If the server cannot be reached, or the archive is damaged or not the expected one.
        InputError: If a case is not in the archive.
        OutputError: If the disk is full or not writable.
    """
    web, progress = web or Web(), progress or Progress()
    check_url(archive.url, web)
    begin_folder(output, (RECORD, archive.file_name))
    wanted = tuple(dict.fromkeys(cases))
    if not wanted:
        recorded = _recorded(output, archive)
        if recorded is None:
            return _all(archive, output, keep_archive, web, progress)
        wanted = recorded
        _forget_archive(output / archive.file_name, keep_archive)  # of one that was killed, or began before the record
    return _some(archive, output, wanted, web, progress)


def _all(archive: Archive, output: Path, keep_archive: bool, web: Web, progress: Progress) -> DownloadReport:
    path = output / archive.file_name
    if archive.bytes is not None and not path.exists():  # what is unpacked takes about as much as the archive
        check_space(output, 2 * archive.bytes - part_bytes(path))
    fetch(archive, path, web, progress.on_bytes)
    with errors_told(path):
        size = path.stat().st_size
        file = LocalFile(path)
    with opened_archive(file, str(path)) as opened:
        contents = read_contents(opened, size, str(path))
        new = unpack(opened, contents, tuple(contents.cases), output, progress.on_case)
    _record(output, archive, size, tuple(contents.cases))
    _forget_archive(path, keep_archive)
    return DownloadReport(len(contents.cases), new, archive.md5 is not None, path if path.exists() else None)


def _forget_archive(path: Path, keep_archive: bool) -> None:
    """Remove an archive that was fetched, unless it is to be kept; one that the user put there stays."""
    with errors_told(path):
        if was_fetched(path) and not keep_archive:
            remove_file(path)
        forget_part(path)


def _some(archive: Archive, output: Path, wanted: Sequence[str], web: Web, progress: Progress) -> DownloadReport:
    for name in wanted:
        if not name or name != PurePath(name).name or name.startswith("."):
            raise InputError(f"expected case names, got {name!r}; correct --cases")
    if all((output / name).is_dir() for name in wanted):
        return DownloadReport(len(wanted), 0, False)
    remote = RemoteFile(archive, web)
    with opened_archive(remote, archive.url) as opened:
        contents = read_contents(opened, remote.size, archive.url)
        for name in wanted:
            if name not in contents.cases:
                raise InputError(f"{archive.name}: {unknown_name_message(name, tuple(contents.cases))}")
        return DownloadReport(len(wanted), unpack(opened, contents, wanted, output, progress.on_case), False)


def _record(output: Path, archive: Archive, size: int, cases: Sequence[str]) -> None:
    said = {
        "dataset": archive.name,
        "url": archive.url,
        "bytes": size,
        "md5": archive.md5,
        "licence": archive.licence,
        "citation": archive.citation,
        "cases": cases,
    }
    with whole_file(output / RECORD) as aside:
        aside.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _recorded(output: Path, archive: Archive) -> tuple[str, ...] | None:
    """Return the cases of an earlier finished download; None if there was none of this archive."""
    try:
        said = json.loads((output / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(said, dict) and (said.get("md5"), said.get("dataset")) == (archive.md5, archive.name)
    cases = said.get("cases") if same else None
    return tuple(map(str, cases)) if isinstance(cases, list) and cases else None
