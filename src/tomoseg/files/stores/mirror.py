"""Objects as files of the cache: whole, or a placeholder that is filled when it is first read.

A placeholder has the size and the time of its object, takes no room on the disk, and may not be read or written: that
is how it is known. All files together are bounded; the least recently used become placeholders again.
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
"""Variable of the environment: how much the files of all stores may take, such as 20GB."""

DEFAULT_LIMIT_BYTES = 50_000_000_000
"""At most half of the disk."""

SMALL_BYTES = 2**20
"""Objects up to here are fetched when they are listed: slices, tables, records."""

Item = TypeVar("Item")

OnObject = Callable[[int, int], None]
"""Told how many objects were looked at, of how many."""

_AT_ONCE = 8
_LEFT_OVER_NS = 3600 * 10**9
"""What lies aside for so long is of a process that was ended."""

_USING = ".using"
_WHOLE = stat.S_IRUSR | stat.S_IWUSR


def mirror(place: Path, *, lazily: bool, on_object: OnObject = lambda done, total: None) -> bool:
    """Make the files below a place of the cache those that its store has, and no others.

    Args:
        place: Of `place_of` of a URL.
        lazily: Large objects stay placeholders until `make_whole` is told of them; else all are fetched, and kept for
            as long as this process lives.
        on_object: Called with the progress.

    Returns:
        Whether there is anything.

    Raises:
        ConfigError: If a package is not installed.
        InputError: If the store cannot be reached or refuses, or all of it is more than the cache may take.
        OutputError: If the cache cannot be written.
    """
    store, since = store_of(place), time.time_ns()
    entries = [entry for one in _with_voxels(place) for entry in store.find(one)]
    if not lazily:
        _check_fits(entries, place)
        _keep(place)
    with _writing(place):
        _forget_others(place, entries, since)
        jobs = _at_once(lambda entry: _take(store, entry, fill=not lazily or entry.size <= SMALL_BYTES), entries)
        for done, _ in enumerate(jobs, 1):
            on_object(done, len(entries))
        make_room({entry.path for entry in entries} if not lazily else set())
    return bool(entries)


def _with_voxels(place: Path) -> list[Path]:
    """What is looked for: beside a header of its own file the voxels lie in another one of that folder."""
    is_header = place.name.lower().endswith((".mhd", ".nhdr"))
    return [place.parent] if is_header and not url_of(place).startswith("http") else [place]


def make_whole(paths: Iterable[Path]) -> None:
    """Fill placeholders among some files; files of other places are passed over.

    Args:
        paths: Which are read next: room is not made at their cost.

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
    """Do something with each, several at once; where one fails or all is interrupted, what is not begun is not done."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            yield from pool.map(work, items)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def is_placeholder(path: Path) -> bool:
    """Whether a file is none that can be read yet."""
    try:
        return not path.stat().st_mode & stat.S_IWUSR
    except OSError:
        return True


def _used(path: Path, now_ns: int) -> bool:
    """Whether a file is whole; it was used now."""
    if is_placeholder(path):
        return False
    with contextlib.suppress(OSError):
        os.utime(path, ns=(now_ns, path.stat().st_mtime_ns))
    return True


def _fill_again(path: Path) -> None:
    """Fill a placeholder, or fetch what another machine has listed.

    Raises:
        InputError: If the store has nothing there, or another object than was listed.
    """
    store = store_of(path)
    entry = next((one for one in store.find(path) if one.path == path), None)
    if entry is None:
        raise InputError(f"{path}: expected the object that was listed, found none; run the same command again")
    if path.exists() and not _is_of(path, entry):
        raise InputError(f"{path}: expected the object that was listed, got a newer one; run the same command again")
    _take(store, entry, fill=True)


def _take(store: Store, entry: Entry, fill: bool) -> None:
    """Have the file of an object, whole or as a placeholder."""
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
    """Whether a file stands for an object in its present state."""
    there = path.stat()
    return (there.st_size, there.st_mtime_ns) == (entry.size, entry.stamp_ns)


@contextmanager
def _aside(path: Path) -> Iterator[Path]:
    """A new file beside another, which takes its name when the block ends without an error."""
    aside = path.with_name(f".{uuid.uuid4().hex[:12]}.part")
    try:
        aside.touch(mode=_WHOLE)
        yield aside
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _fetch(store: Store, entry: Entry, target: Path) -> None:
    """Fetch an object, block after block, each as often as its connection breaks."""
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
    """Remove what the store no longer has from a place of the cache, and folders in which nothing is left.

    Args:
        place: Of the cache.
        entries: What the store has there.
        since_ns: When it was asked: what another process has put there since, or is writing, stays.
    """
    there = {entry.path for entry in entries}
    for path in (*sorted(place.rglob("*"), reverse=True), place):  # what lies in a folder before it
        if path.is_dir() and not path.is_symlink():
            with contextlib.suppress(OSError):  # it is not empty
                path.rmdir()
        elif path not in there and not _is_at_work(path, place, since_ns):
            path.unlink(missing_ok=True)


def _is_at_work(path: Path, place: Path, since_ns: int) -> bool:
    """Whether another process may be writing a file, aside or in its place."""
    with contextlib.suppress(OSError):
        changed = path.lstat().st_ctime_ns
        is_aside = any(part.endswith(".part") for part in path.relative_to(place.parent).parts)
        return changed >= since_ns - (_LEFT_OVER_NS if is_aside else 0)
    return False


def limit_bytes() -> int:
    """How much the files of all stores may take.

    Raises:
        ConfigError: If the variable is no size.
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
            f"{url_of(place)}: expected at most {allowed / 1e9:.1f} GB, which files of stores may take on this "
            f"machine, got {needed / 1e9:.1f} GB; set {LIMIT} to more, or name a part of it"
        )


def _keep(place: Path) -> None:
    """Note that this process needs all files of a place."""
    notes = stores_folder() / _USING
    with _writing(place):
        notes.mkdir(parents=True, exist_ok=True)
        with (notes / str(os.getpid())).open("a", encoding="utf-8") as note:
            note.write(f"{place}\n")


def _kept() -> list[Path]:
    """The places that processes need which are alive."""
    places: list[Path] = []
    for note in (stores_folder() / _USING).glob("*"):
        with contextlib.suppress(OSError, ValueError):
            if psutil.pid_exists(int(note.name)):
                places += map(Path, note.read_text(encoding="utf-8").splitlines())
            else:
                note.unlink(missing_ok=True)
    return places


def make_room(spared: set[Path]) -> None:
    """Make the least recently used files placeholders, until the others take no more than they may.

    Args:
        spared: Files that are read next.
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
    """Make a file a placeholder; what is left of a process that was ended goes."""
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
            f"{stores_folder()}: expected to keep {url_of(place)} there, got: {error.strerror or error}; free some "
            f"space, or set XDG_CACHE_HOME to another folder"
        ) from None
