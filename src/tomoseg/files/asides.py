"""Temporary files and folders in which results are written, and removal of those that killed processes left.

They have hidden names, `.NAME.0123456789ab.part`, and are locked by the process that writes them; one that is not
locked is left over. A folder that is being replaced may be at `.NAME.0123456789ab.old` for a moment; if its process was
killed in that moment, it gets its name back.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from tomoseg.files.exchange import exchanged

_BYTES = 20
"""Bytes that a temporary name adds to the name itself."""

_NAME = re.compile(r"(\.+)(.+?)((?:\.[0-9a-f]{12}\.part)+)", re.DOTALL)
_FORMER = re.compile(r"\.(.+)\.[0-9a-f]{12}\.old", re.DOTALL)


def aside_of(path: Path) -> Path:
    """Return a new temporary name beside a path."""
    return _beside(path, "part")


def put_in_place(new: Path, path: Path) -> Path:
    """Give a new folder the name of an existing one, at once if the system can.

    Otherwise one that is not empty is renamed first; if the process is killed before the new one has the name, the next
    process that writes there gives it back.

    Args:
        new: The new folder.
        path: The existing one, in the same folder.

    Returns:
        The path at which the one that existed is now.

    Raises:
        OSError: If it cannot be renamed; the existing one keeps its name.
    """
    if exchanged(new, path):
        return new
    with contextlib.suppress(OSError):  # as it does if something is in it
        new.rename(path)
        return new
    former = _beside(path, "old")
    with locked(path):
        path.rename(former)
        try:
            new.rename(path)
        except OSError:
            former.rename(path)
            raise
    return former


def remove_any(path: Path) -> None:
    """Remove a file or a folder with all that is in it, as far as possible."""
    shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    start = os.fsencode(path.name)[: 255 - _BYTES].decode("utf-8", "ignore")
    return path.with_name(f".{start}.{uuid.uuid4().hex[:12]}.{ending}")


@contextlib.contextmanager
def made_aside(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Make a temporary file or folder beside a path, locked while the block runs, and remove it if it is left then.

    The first time that this process writes into a folder, what killed ones left in it is removed. A process that does
    so may find ours before it is locked, and remove it; then another one is made.

    Args:
        path: The path that it lies beside, in an existing folder.
        make: Makes an empty file or folder.
    """
    _tidy(path.parent.absolute())
    while True:
        aside = aside_of(path)
        try:
            make(aside)
            with locked(aside) as is_ours:
                if is_ours is not False and aside.exists():
                    yield aside
                    return
        finally:
            remove_any(aside)


_tidied: set[Path] = set()


def _tidy(folder: Path) -> None:
    if folder not in _tidied and not in_aside(folder):
        _tidied.add(folder)
        remove_left_overs(folder)


def in_aside(folder: Path) -> bool:
    """Whether a folder is a temporary one, or lies in one."""
    return any(map(_becomes, folder.absolute().parts))


@contextlib.contextmanager
def locked(path: Path, *, waits: bool = False) -> Iterator[bool | None]:
    """Lock a file or folder while the block runs.

    Args:
        path: The file or folder.
        waits: Whether to wait until no other process has locked it.

    Yields:
        True if it is locked for this process, False if another process has locked it, None if it cannot be locked.
    """
    try:
        import fcntl  # not on every system

        handle = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        yield None
        return
    try:
        yield _lock(fcntl, handle, 0 if waits else fcntl.LOCK_NB)
    finally:
        os.close(handle)


def _lock(fcntl: ModuleType, handle: int, how: int) -> bool | None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | how)
    except OSError as error:
        return False if isinstance(error, BlockingIOError) else None
    return True


def remove_left_over(path: Path) -> None:
    """Remove temporary files of a path that killed processes left; none if there are no locks on this system.

    Args:
        path: The file or folder that they would have become.
    """
    _remove(path.parent, path.name)


def remove_left_overs(folder: Path) -> None:
    """Remove all temporary files directly in a folder that killed processes left.

    Args:
        folder: The folder, which may be missing; its subfolders are not searched.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in (".ct.nii.gz.0123456789ab.part", ".mine.part"):
        ...     _ = (folder / name).write_text("half")
        >>> remove_left_overs(folder)
        >>> [path.name for path in folder.iterdir()]
        ['.mine.part']
    """
    _remove(folder, None)


def _remove(folder: Path, name: str | None) -> None:
    """Remove left-over temporary files of one name, or all."""
    with contextlib.suppress(OSError), os.scandir(folder) as there:
        for entry in there:
            becomes, former = _becomes(entry.name), _FORMER.fullmatch(entry.name)
            if becomes is not None and name in {None, becomes}:
                _remove_unlocked(Path(entry.path))
            elif former is not None and name in {None, former[1]}:
                _give_name_back(Path(entry.path), folder / former[1])


def _give_name_back(former: Path, path: Path) -> None:
    """Give a folder that a killed process was replacing its name again; remove it if it has been replaced."""
    with locked(former) as is_nobodys, contextlib.suppress(OSError):
        if is_nobodys is not False and former.is_dir() and not os.path.lexists(path):
            former.rename(path)
        elif is_nobodys:
            remove_any(former)


def _becomes(name: str) -> str | None:
    """Return the name that a temporary name stands for; None if it is not one."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    own_dots = len(found[1]) - found[3].count(".part")  # a temporary file may have a temporary file of its own
    return "." * own_dots + found[2] if own_dots >= 0 else None


def _remove_unlocked(aside: Path) -> None:
    with locked(aside) as is_nobodys, contextlib.suppress(OSError):
        mode = aside.lstat().st_mode
        if is_nobodys and stat.S_ISDIR(mode):
            shutil.rmtree(aside, ignore_errors=True)
        elif is_nobodys and stat.S_ISREG(mode):
            aside.unlink()
