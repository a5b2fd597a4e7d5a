"""Download of a large file, resumed after an interruption, and verified.

It is written to a file with `.part` appended to its name; beside it, `.part.json` identifies the version of the
server's file, so that the rest is requested with `If-Range`. A server that has another version by now, or does not
support ranges, sends the whole file, which then starts anew. The MD5 sum rules out a mixture of two versions.

pooch is not used because it cannot resume a download, and one of 24 GB is interrupted more than once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tomoseg.datasets.download.http import CHUNK, Reply, TryAgainError, Web, check_url, keep_trying, opened
from tomoseg.datasets.download.sources import Archive
from tomoseg.errors import DownloadError
from tomoseg.files.asides import locked
from tomoseg.files.atomic import errors_told, whole_file
from tomoseg.files.outputs import check_file, check_space

OnBytes = Callable[[str, int, int], None]
"""Called with the stage (`check` or `download`), the bytes done and the bytes in all."""


def fetch(archive: Archive, target: Path, web: Web, on_bytes: OnBytes = lambda stage, done, total: None) -> None:
    """Download an archive, or the rest of it, and verify it.

    If the target already exists, it is only verified. Of one that was fetched, a note stays beside it until
    `forget_part`, by which `was_fetched` tells it from a file of the user's.

    Args:
        archive: The archive. Without a known MD5 sum only its size is checked.
        target: Path of the file; until it is complete and verified, it is `TARGET.part`.
        web: Settings of requests.
        on_bytes: Called with the progress.

    Raises:
        DownloadError: If the server cannot be reached or has another file, or the sum is wrong. The part that was
            fetched is kept, except if the sum is wrong.
        OutputError: If the disk is full or cannot be written to.
    """
    aside = target.with_name(target.name + ".part")
    if target.exists():
        _verify_there(archive, target, on_bytes)
        return
    check_url(archive.url, web)
    check_file(target)
    with errors_told(aside), _part(aside, archive, on_bytes) as part:
        keep_trying(lambda: _attempt(part, archive, web, on_bytes), lambda: part.furthest, web)
        part.check_sum(archive)
        with errors_told(target):
            aside.replace(target)


def part_bytes(target: Path) -> int:
    """Return the number of bytes of a file that is not complete yet.

    Raises:
        OutputError: If the folder cannot be read.
    """
    aside = target.with_name(target.name + ".part")
    with errors_told(target):
        return aside.stat().st_size if aside.exists() else 0


class _Part:
    """The incomplete file, its running MD5 sum, and the version of the server's file that it belongs to."""

    def __init__(self, path: Path, file: IO[bytes], url: str) -> None:
        self.path, self._file, self._url = path, file, url
        self.size, self.furthest, self.validator = 0, 0, _read_note(path, url)
        self._sum = hashlib.md5(usedforsecurity=False)

    def take_over(self, expected: int | None, on_bytes: OnBytes) -> None:
        """Continue after the existing bytes, which are read once for the sum."""
        there = self.path.stat().st_size
        if expected is not None and there > expected:
            self.begin_anew(None)
            return
        while chunk := self._file.read(CHUNK):
            self._count(chunk)
            on_bytes("check", self.size, there)

    def begin_anew(self, validator: str | None) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.size, self.validator = 0, validator
        self._sum = hashlib.md5(usedforsecurity=False)
        _write_note(self.path, self._url, validator)

    def add(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._count(chunk)

    def rest(self) -> dict[str, str]:
        """Return the headers that request the missing bytes of the same version."""
        asked = {"Range": f"bytes={self.size}-", "If-Range": self.validator or ""} if self.size else {}
        return {name: value for name, value in asked.items() if value}

    def _count(self, chunk: bytes) -> None:
        self._sum.update(chunk)
        self.size += len(chunk)
        self.furthest = max(self.furthest, self.size)

    def check_sum(self, archive: Archive) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        found = self._sum.hexdigest()
        if archive.md5 is not None and found != archive.md5:
            self.begin_anew(None)
            raise DownloadError(
                f"{archive.url}: expected the MD5 sum {archive.md5}, got {found}; the download is damaged or "
                "another file, and was removed: run the same command again, or check the URL and the sum"
            )


@contextmanager
def _part(path: Path, archive: Archive, on_bytes: OnBytes) -> Iterator[_Part]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        with locked(path) as is_ours, path.open("rb+") as file:
            if is_ours is False:
                raise DownloadError(
                    f"{path}: expected no other process to download it, got one that does; wait until it ends, "
                    "then run the same command again"
                )
            part = _Part(path, file, archive.url)
            part.take_over(archive.bytes, on_bytes)
            yield part
    finally:
        _forget(path, only_empty=True)


def was_fetched(target: Path) -> bool:
    """Return whether a complete file was fetched by `fetch`, and not yet reported to `forget_part`.

    Args:
        target: The file.
    """
    return target.is_file() and _note_of(target.with_name(target.name + ".part")).is_file()


def forget_part(target: Path) -> None:
    """Remove an incomplete file that is no longer needed, unless another process is fetching it, and its note."""
    _forget(target.with_name(target.name + ".part"), only_empty=False)


def _forget(part: Path, *, only_empty: bool) -> None:
    if not part.exists():
        if not (only_empty and part.with_suffix("").exists()):
            _note_of(part).unlink(missing_ok=True)
        return
    with locked(part) as is_ours:
        if is_ours is not False and not (only_empty and part.stat().st_size):
            part.unlink(missing_ok=True)
            _note_of(part).unlink(missing_ok=True)


def _attempt(part: _Part, archive: Archive, web: Web, on_bytes: OnBytes) -> None:
    if archive.bytes is not None and part.size == archive.bytes:
        return
    if part.size and part.validator is None and archive.md5 is None:
        part.begin_anew(None)  # nothing could tell whether the rest belongs to it
    with opened(archive.url, web, part.rest()) as reply:
        total = _checked_total(archive, reply)
        if reply.status == 416 and part.size == total:
            return
        _join(part, reply, archive.url)
        check_space(part.path.parent, total - part.size)
        _copy(part, reply, total, archive.url, on_bytes)


def _checked_total(archive: Archive, reply: Reply) -> int:
    total = reply.total if archive.bytes is None else archive.bytes
    if not total:
        raise DownloadError(f"{archive.url}: expected the server to state the file's size, got none; pass --size")
    if reply.total not in (None, total):
        raise DownloadError(
            f"{archive.url}: expected {total} bytes, got {reply.total}; the server has another file: check the "
            "URL and the size, or take another mirror with --url"
        )
    return total


def _join(part: _Part, reply: Reply, url: str) -> None:
    """Make the part end where the body of the reply begins.

    Raises:
        TryAgainError: If that is not possible, so that the whole file has to be requested.
    """
    another = None not in (part.validator, reply.validator) and part.validator != reply.validator
    if reply.status != 200 and (another or reply.start != part.size):
        part.begin_anew(None)
        raise TryAgainError(f"{url}: expected the rest of the file, got another part, or part of another file")
    if reply.start == 0:
        part.begin_anew(reply.validator)


def _copy(part: _Part, reply: Reply, total: int, url: str, on_bytes: OnBytes) -> None:
    for chunk in reply.chunks:
        part.add(chunk)
        if part.size > total:
            part.begin_anew(None)
            raise DownloadError(f"{url}: expected {total} bytes, got more; check the URL and the size")
        on_bytes("download", part.size, total)
    if part.size < total:
        raise TryAgainError(f"{url}: expected {total} bytes, got {part.size} before the connection ended")


def _verify_there(archive: Archive, target: Path, on_bytes: OnBytes) -> None:
    with errors_told(target), target.open("rb") as file:
        there = target.stat().st_size
        fits = archive.bytes in (None, there)
        if fits and archive.md5 is not None:
            digest = hashlib.md5(usedforsecurity=False)
            while chunk := file.read(CHUNK):
                digest.update(chunk)
                on_bytes("check", file.tell(), there)
            fits = digest.hexdigest() == archive.md5
    if not fits:
        raise DownloadError(
            f"{target}: expected the archive {archive.name}, got another file of {there} bytes; move it away"
        )


def _note_of(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _write_note(part: Path, url: str, validator: str | None) -> None:
    with whole_file(_note_of(part)) as aside:
        aside.write_text(json.dumps({"url": url, "validator": validator}) + "\n", encoding="utf-8")


def _read_note(part: Path, url: str) -> str | None:
    """Return the version that a part belongs to; None if it came from another URL, or is unknown."""
    try:
        note = json.loads(_note_of(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    validator = note.get("validator") if isinstance(note, dict) and note.get("url") == url else None
    return validator if isinstance(validator, str) else None
