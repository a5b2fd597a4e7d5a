"""Where files and folders lie aside until they are whole, and what killed processes left there.

An aside has a hidden name, `.NAME.0123456789ab.part`, and is locked by who writes it: one that is not is nobody's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_BYTES = 20
"""Of a name aside, beside the name itself."""

_NAME = re.compile(r"(\.+)(.+?)((?:\.[0-9a-f]{12}\.part)+)", re.DOTALL)


def aside_of(path: Path) -> Path:
    """A new name beside a path, for what becomes it."""
    start = os.fsencode(path.name)[: 255 - _BYTES].decode("utf-8", "ignore")
    return path.with_name(f".{start}.{uuid.uuid4().hex[:12]}.part")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Whether a file or folder is locked for this process while the block runs: not if another has it.

    Yields:
        None where there are no locks, or the path may not be opened.
    """
    try:
        import fcntl  # not on every system

        handle = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):
        yield None
        return
    try:
        yield _lock(fcntl, handle)
    finally:
        os.close(handle)


def _lock(fcntl: ModuleType, handle: int) -> bool | None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if isinstance(error, BlockingIOError) else None
    return True


def remove_left_over(path: Path) -> None:
    """Remove what a process that was killed left aside of a path; nothing where there are no locks.

    Args:
        path: The file or folder that it would have made.
    """
    _remove(path.parent, path.name)


def remove_left_overs(folder: Path) -> None:
    """Remove what processes that were killed left aside of whatever lies directly in a folder.

    Args:
        folder: It need not be there. What is in folders of it stays.

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
    """Remove those of a name, or all."""
    with contextlib.suppress(OSError), os.scandir(folder) as there:
        for entry in there:
            becomes = _becomes(entry.name)
            if becomes is not None and name in {None, becomes}:
                _remove_unlocked(Path(entry.path))


def _becomes(name: str) -> str | None:
    """What an aside becomes; None if it is none."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    own_dots = len(found[1]) - found[3].count(".part")  # what lay aside may have had some aside
    return "." * own_dots + found[2] if own_dots >= 0 else None


def _remove_unlocked(aside: Path) -> None:
    with locked(aside) as is_nobodys, contextlib.suppress(OSError):
        mode = aside.lstat().st_mode
        if is_nobodys and stat.S_ISDIR(mode):
            shutil.rmtree(aside, ignore_errors=True)
        elif is_nobodys and stat.S_ISREG(mode):
            aside.unlink()
