"""Folders that workers on other machines must see as the command does, and how they find out whether they do."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tomoseg.errors import ConfigError
from tomoseg.files.atomic import errors_told

WORK = ".work"
"""Within a folder of results: what workers tell each other."""


@dataclass(frozen=True)
class Folders:
    """What a command reads and where it writes.

    Attributes:
        reads: Files and folders that must be there; those that only some machines need are left out.
        writes: The folder of results; None if there is none.
    """

    reads: tuple[Path, ...] = ()
    writes: Path | None = None


NOWHERE = Folders()


@dataclass(frozen=True)
class Seen:
    """What a worker must see before it begins.

    Attributes:
        cwd: The folder that relative paths are meant from.
        reads: As of `Folders`.
        mark: A file that the command has made in the folder of results.
    """

    cwd: Path
    reads: tuple[Path, ...]
    mark: Path | None

    def check(self) -> None:
        """Go where relative paths are meant from, and see whether everything is there.

        Raises:
            ConfigError: If something is not, as this machine sees it.
        """
        with suppress(OSError):  # where that folder is missing only absolute paths are found
            os.chdir(self.cwd)
        for path in self.reads:
            if not path.exists():
                raise ConfigError(_not_shared(path, "nothing there"))
        if self.mark is not None and not self.mark.exists():
            got = "another folder of that name" if self.mark.parent.parent.is_dir() else "nothing there"
            raise ConfigError(_not_shared(self.mark.parent.parent, got))


@contextmanager
def seen_by_all(folders: Folders) -> Iterator[Seen]:
    """Mark the folder of results while the block runs.

    Args:
        folders: The folders of the command.

    Raises:
        OutputError: If it cannot be written to.
    """
    mark = None if folders.writes is None else folders.writes.absolute() / WORK / f"seen-{uuid.uuid4().hex[:12]}"
    if mark is not None:
        with errors_told(mark):
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.touch()
    try:
        yield Seen(Path.cwd(), tuple(path.absolute() for path in folders.reads), mark)
    finally:
        if mark is not None:
            with suppress(OSError):
                mark.unlink(missing_ok=True)
                mark.parent.rmdir()  # unless others have something there


def _not_shared(path: Path, got: str) -> str:
    return (
        f"{path}: expected a place that all machines share, got {got} on {socket.gethostname()}; put scans, models and "
        "results where every machine sees them under the same path"
    )
