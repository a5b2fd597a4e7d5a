"""Folders that must be shared with workers on other machines, and the check that they are."""

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
"""Subfolder of a results folder through which workers communicate."""


@dataclass(frozen=True)
class Folders:
    """The files and folders that a command reads and writes.

    Attributes:
        reads: Files and folders that must exist on all machines.
        writes: The results folder; None if there is none.
    """

    reads: tuple[Path, ...] = ()
    writes: Path | None = None


NOWHERE = Folders()


@dataclass(frozen=True)
class Seen:
    """Paths that a worker must see before it begins.

    Attributes:
        cwd: The folder that paths are relative to.
        reads: Absolute paths of `Folders.reads`.
        mark: A file that the command has made in the results folder; None without such a folder.
    """

    cwd: Path
    reads: tuple[Path, ...]
    mark: Path | None

    def check(self) -> None:
        """Change to the folder that paths are relative to, and check that everything exists.

        Raises:
            ConfigError: If something is missing on this machine.
        """
        with suppress(OSError):  # if that folder is missing, only absolute paths work
            os.chdir(self.cwd)
        for path in self.reads:
            if not path.exists():
                raise ConfigError(_not_shared(path, "nothing there"))
        if self.mark is not None and not self.mark.exists():
            got = "another folder of that name" if self.mark.parent.parent.is_dir() else "nothing there"
            raise ConfigError(_not_shared(self.mark.parent.parent, got))


@contextmanager
def seen_by_all(folders: Folders) -> Iterator[Seen]:
    """Keep a mark in the results folder while the block runs.

    Args:
        folders: The folders of the command.

    Raises:
        OutputError: If the results folder cannot be written to.
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
                mark.parent.rmdir()  # fails if others have files there


def _not_shared(path: Path, got: str) -> str:
    return (
        f"{path}: expected a path that all machines share, got {got} on {socket.gethostname()}; put scans, models and "
        "results where every machine sees them under the same path"
    )
