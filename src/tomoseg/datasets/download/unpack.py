"""Unpacking of cases from a checked archive, each completely or not at all."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path, PurePosixPath

from tomoseg.datasets.download.contents import Contents, Member, damage_told
from tomoseg.datasets.download.http import CHUNK
from tomoseg.errors import DownloadError
from tomoseg.files.asides import remove_left_overs
from tomoseg.files.atomic import errors_told, whole_file, whole_folder
from tomoseg.files.outputs import check_space


def unpack(
    archive: zipfile.ZipFile,
    contents: Contents,
    wanted: Sequence[str],
    output: Path,
    on_case: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> int:
    """Unpack cases and the dataset's tables; those that already exist are kept.

    Args:
        archive: An open ZIP file.
        contents: Its contents.
        wanted: Names of the cases to unpack.
        output: The dataset's folder.
        on_case: Called after each case with its name, the number of cases done and the total number of cases.

    Returns:
        The number of cases that were written.

    Raises:
        DownloadError: If a file in the archive is damaged, or longer or shorter than the archive says; its case is not
            written.
        OutputError: If they do not fit onto the disk, or it cannot be written to.
    """
    places = {name: output / _folder_of(contents.cases[name]) for name in wanted}
    missing = [name for name in wanted if not places[name].is_dir()]
    tables = [member for member in contents.tables if not (output / member.path).exists()]
    check_space(output, _bytes_of(chain(tables, *(contents.cases[name] for name in missing))))
    _remove_left_overs({place.parent for place in places.values()})
    for member in tables:
        with whole_file(output / member.path) as aside:
            _write(archive, member, aside)
    for done, name in enumerate(missing, start=len(wanted) - len(missing) + 1):
        with whole_folder(places[name]) as aside:
            _write_case(archive, contents.cases[name], aside)
        on_case(name, done, len(wanted))
    return len(missing)


def _remove_left_overs(folders: Iterable[Path]) -> None:
    for folder in folders:
        remove_left_overs(folder)


def _bytes_of(members: Iterable[Member]) -> int:
    return sum(member.info.file_size for member in members)


def _folder_of(members: Sequence[Member]) -> PurePosixPath:
    """Return the folder of a case: that of its scan."""
    return min((member.path.parent for member in members), key=lambda folder: len(folder.parts))


def _write_case(archive: zipfile.ZipFile, members: Sequence[Member], aside: Path) -> None:
    folder = _folder_of(members)
    for member in sorted(members, key=lambda member: member.info.header_offset):
        _write(archive, member, aside / member.path.relative_to(folder))


def _write(archive: zipfile.ZipFile, member: Member, path: Path) -> None:
    """Write one file and verify its checksum.

    Raises:
        DownloadError: If it is damaged, or longer or shorter than the archive says.
    """
    name = member.info.filename
    with errors_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with damage_told(name), archive.open(member.info) as source, path.open("wb") as target:
            written = 0
            while chunk := source.read(CHUNK):
                target.write(chunk)
                written += len(chunk)
    if written != member.info.file_size:
        raise DownloadError(
            f"{name}: expected {member.info.file_size} bytes in the archive, got {written}; download it again"
        )
