"""Mirroring of objects as files in the cache: complete, or placeholders that are filled when they are first read.

A placeholder has the size and the time of its object, takes no space on the disk, and is recognised by having no
permissions. The total size is limited; the least recently used files become placeholders again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from tomoseg.errors import ConfigError, InputError, OutputError
from tomoseg.files.stores.addresses import is_mirrored, stores_folder, url_of
from tomoseg.files.stores.objects import BLOCK_BYTES, BrokenError, Entry, Store, again
from tomoseg.files.stores.which import store_of

LIMIT = "TOMOSEG_STORE_CACHE"
"""Environment variable for the maximum size of the files of all stores, such as 20GB."""

DEFAULT_LIMIT_BYTES = 50_000_000_000
"""Default of that size; it is never more than half of the disk."""

SMALL_BYTES = 2**20
"""Maximum size of objects that are fetched when they are listed: slices, tables, records."""

Item = TypeVar("Item")

OnObject = Callable[[int, int], None]
"""Called with the number of objects processed, and their total number."""

_AT_ONCE = 8
_LEFT_OVER_NS = 3600 * 10**9
"""Age from which a temporary file is left over from a killed process."""

_USING = ".using"
_WHOLE = stat.S_IRUSR | stat.S_IWUSR


def mirror(place: Path, *, lazily: bool, on_object: OnObject = lambda done, total: None) -> bool:
    """Synchronise the files below a path in the cache with its store.

    Args:
        place: Path of a URL, from `place_of`.
        lazily: Whether large objects stay placeholders until `make_whole` is called for them; otherwise all are
            fetched, and kept for as long as this process lives.
        on_object: Called with the progress.

    Returns:
        Whether the store has any object there.

    Raises:
        ConfigError: If a package is not installed.
        InputError: If the store cannot be reached or refuses, or the objects exceed the size of the cache.
        OutputError: If the cache cannot be written.
    """
    store, since = store_of(place), time.time_ns()
    entries = _that_are_files([entry for one in _with_voxels(place) for entry in store.find(one)])
    if not lazily:
        _check_fits(entries, place)
        _keep(place)
    with _writing(place):
        _forget_others(place, entries, since)
        on_object(0, len(entries))
        jobs = _at_once(lambda entry: _take(store, entry, fill=not lazily or entry.size <= SMALL_BYTES), entries)
        for done, _ in enumerate(jobs, 1):
            on_object(done, len(entries))
        make_room({entry.path for entry in entries} if not lazily else set())
    return bool(entries)


def _that_are_files(entries: Sequence[Entry]) -> list[Entry]:
    """Without empty objects that have the name of a folder, by which some programs mark it.

    Raises:
        InputError: If an object of that name has content: no disk can have both.
    """
    folders: set[Path] = set()
    for entry in entries:
        for parent in entry.path.parents:
            if parent in folders:
                break
            folders.add(parent)
    for entry in entries:
        if entry.size and entry.path in folders:
            raise InputError(
                f"{url_of(entry.path)}: expected an object, or others below that name, got both; rename the object"
            )
    return [entry for entry in entries if entry.path not in folders]


def _with_voxels(place: Path) -> list[Path]:
    """Return the paths to search: for a separate header the whole folder, since its voxels are in another file."""
    is_header = place.name.lower().endswith((".mhd", ".nhdr"))
    return [place.parent] if is_header and not url_of(place).startswith("http") else [place]


def make_whole(paths: Iterable[Path]) -> None:
    """Fetch the objects of placeholders; paths outside of the cache are ignored.

    Args:
        paths: Files that are read next, and are therefore not emptied to make room.

    Raises:
        InputError: If the store cannot be reached or refuses, or has another object there than was listed.
        OutputError: If the cache cannot be written.
    """
    ours = [path for path in paths if is_mirrored(path)]
    if not ours:
        return
    now = time.time_ns()
    missing = [path for path in ours if not _used(path, now)]
    if missing:
        with _writing(missing[0]):
            list(_at_once(_fill_again, missing))
            make_room(set(ours))


def _at_once(work: Callable[[Item], None], items: Sequence[Item]) -> Iterator[None]:
    """Call a function for each item, several at a time; after an error or interruption, no further call begins."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            yield from pool.map(work, items)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def is_placeholder(path: Path) -> bool:
    """Whether a file is a placeholder or missing."""
    try:
        return not path.stat().st_mode & stat.S_IWUSR
    except OSError:
        return True


def _used(path: Path, now_ns: int) -> bool:
    """Whether a file is complete, in which case it is marked as just used."""
    if is_placeholder(path):
        return False
    with contextlib.suppress(OSError):
        os.utime(path, ns=(now_ns, path.stat().st_mtime_ns))
    return True


def _fill_again(path: Path) -> None:
    """Fetch the object of a placeholder, or one that another machine has listed.

    Raises:
        InputError: If the store has no object there, or it has changed.
    """
    store = store_of(path)
    entry = next((one for one in store.find(path) if one.path == path), None)
    if entry is None:
        raise InputError(f"{path}: expected the object that was listed, found none; run the same command again")
    if path.exists() and not _is_of(path, entry):
        raise InputError(f"{path}: expected the object that was listed, got a newer one; run the same command again")
    _take(store, entry, fill=True)


def _take(store: Store, entry: Entry, fill: bool) -> None:
    """Make the file of an object, complete or as a placeholder, unless it exists."""
    path = entry.path
    if path.is_file() and _is_of(path, entry) and not (fill and is_placeholder(path)):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _aside(path) as aside:
        if fill:
            _fetch(store, entry, aside)
        else:
            os.truncate(aside, entry.size)
        now = time.time_ns()
        os.utime(aside, ns=(now, entry.stamp_ns))
        aside.chmod(_WHOLE if fill else 0)


def _is_of(path: Path, entry: Entry) -> bool:
    """Whether a file stands for the current version of an object."""
    there = path.stat()
    return (there.st_size, there.st_mtime_ns) == (entry.size, entry.stamp_ns)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """Make a temporary file that replaces another when the block ends without an error."""
    aside = path.with_name(f".{uuid.uuid4().hex[:12]}.part")
    try:
        aside.touch(mode=_WHOLE)
        yield aside
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _fetch(store: Store, entry: Entry, target: Path) -> None:
    """Fetch an object in blocks, each of which is retried if the connection breaks."""
    expected = f"{url_of(entry.path)}: expected {entry.size} bytes"
    with target.open("wb") as file:
        for start in range(0, entry.size, BLOCK_BYTES):
            length = min(BLOCK_BYTES, entry.size - start)
            file.write(again(partial(_block, store, entry, start, length), expected))


def _block(store: Store, entry: Entry, start: int, length: int) -> bytes:
    found = store.block(entry, start, length)
    if len(found) != length:
        raise BrokenError(f"{start + len(found)} before the connection ended")
    return found


def _forget_others(place: Path, entries: Sequence[Entry], since_ns: int) -> None:
    """Remove files that the store no longer has, and empty folders.

    Args:
        place: A path in the cache.
        entries: The objects that the store has there.
        since_ns: Time of the listing; files that other processes have written since, or are writing, stay.
    """
    there = {entry.path for entry in entries}
    for path in (*sorted(place.rglob("*"), reverse=True), place):  # contents before their folder
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
        elif path not in there and not _is_at_work(path, place, since_ns):
            path.unlink(missing_ok=True)


def _is_at_work(path: Path, place: Path, since_ns: int) -> bool:
    """Whether another process may be writing a file, temporary or not."""
    with contextlib.suppress(OSError):
        changed = path.lstat().st_ctime_ns
        is_aside = any(part.endswith(".part") for part in path.relative_to(place.parent).parts)
        return changed >= since_ns - (_LEFT_OVER_NS if is_aside else 0)
    return False


def limit_bytes() -> int:
    """Return the maximum size of the files of all stores in bytes.

    Raises:
        ConfigError: If the environment variable is not a size.
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError

    given = os.environ.get(LIMIT)
    if given is None:
        there = next(folder for folder in (stores_folder(), *stores_folder().parents) if folder.exists())
        return min(DEFAULT_LIMIT_BYTES, shutil.disk_usage(there).total // 2)
    try:
        return int(TypeAdapter(ByteSize).validate_python(given))
    except ValidationError:
        raise ConfigError(f"{LIMIT}: expected a size such as 20GB, got {given!r}; correct it") from None


def _check_fits(entries: Sequence[Entry], place: Path) -> None:
    needed, allowed = sum(entry.size for entry in entries), limit_bytes()
    if needed > allowed:
        raise InputError(
            f"{url_of(place)}: expected at most {allowed / 1e9:.3g} GB, which files from stores may take on this "
            f"machine, got {needed / 1e9:.3g} GB; raise {LIMIT}, or name a part of it"
        )


def _keep(place: Path) -> None:
    """Record that this process needs all files of a place."""
    notes = stores_folder() / _USING
    with _writing(place):
        notes.mkdir(parents=True, exist_ok=True)
        with (notes / str(os.getpid())).open("a", encoding="utf-8") as note:
            note.write(f"{place}\n")


def _kept() -> list[Path]:
    """Return the places that running processes need."""
    places: list[Path] = []
    for note in (stores_folder() / _USING).glob("*"):
        with contextlib.suppress(OSError, ValueError):
            if psutil.pid_exists(int(note.name)):
                places += map(Path, note.read_text(encoding="utf-8").splitlines())
            else:
                note.unlink(missing_ok=True)
    return places


def make_room(spared: set[Path]) -> None:
    """Turn the least recently used files into placeholders until the others are within the size limit.

    Args:
        spared: Files that are kept because they are read next.
    """
    whole = []
    kept = _kept()
    total = 0
    for path in stores_folder().rglob("*"):
        with contextlib.suppress(OSError):
            there = path.lstat()
            if stat.S_ISREG(there.st_mode) and there.st_mode & stat.S_IWUSR and path.parent.name != _USING:
                total += there.st_size
                whole.append((there.st_atime_ns, path, there))
    allowed = limit_bytes()
    for _, path, there in sorted(whole, key=lambda one: one[0]):
        if total <= allowed:
            return
        if path in spared or any(path.is_relative_to(place) for place in kept):
            continue
        with contextlib.suppress(OSError):
            _empty(path, there)
            total -= there.st_size


def _empty(path: Path, there: os.stat_result) -> None:
    """Turn a file into a placeholder; a temporary file left over from a killed process is removed."""
    if path.name.endswith(".part"):
        if time.time_ns() - there.st_mtime_ns > _LEFT_OVER_NS:
            path.unlink()
        return
    with _aside(path) as aside:
        os.truncate(aside, there.st_size)
        os.utime(aside, ns=(there.st_atime_ns, there.st_mtime_ns))
        aside.chmod(0)


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{stores_folder()}: expected to cache {url_of(place)} there, got: {error.strerror or error}; free some "
            f"space, or set XDG_CACHE_HOME to another folder"
        ) from None
