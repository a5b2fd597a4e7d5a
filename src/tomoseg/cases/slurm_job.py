"""The work of a SLURM job: it processes cases of the list in the results folder."""

from __future__ import annotations

import pickle
import socket
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tomoseg.cases.alike import another_version, mismatch_message
from tomoseg.cases.answers import attempt
from tomoseg.cases.folders import WORK
from tomoseg.cases.leases import Leases, share, state_of
from tomoseg.errors import ConfigError, OutputError
from tomoseg.files.atomic import checked_first, errors_told
from tomoseg.limits import refuse_hopeless_threads
from tomoseg.version import __version__

FOLDER = f"{WORK}/slurm"
"""Subfolder of the results folder."""

ORDER, READY, RECORDS, LOGS, ERROR, ID = "order.pkl", "ready", "records", "logs", "error.pkl", "id"


class Serving:
    """A job, which can be pickled: it processes cases until all have ended.

    Args:
        output: The results folder.
        version: The command's version of tomoseg.
    """

    def __init__(self, output: Path, version: str = __version__) -> None:
        self.output, self.version = output, version

    def __call__(self) -> None:
        """Process cases; an error that does not concern a single case is written for the command to raise.

        It ends quietly if another command has begun in the folder, as it may while this job is stopped.
        """
        refuse_hopeless_threads()
        kind, what = attempt("done", self._serve)
        if kind == "error" and not isinstance(what, _ReplacedError):
            write(self.output / FOLDER / ERROR, pickle.dumps(what))

    def checkpoint(self) -> Any:
        """Return the job to queue again when its time is up; the interrupted one gives its case back."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Serving(self.output, self.version))

    def _serve(self) -> None:
        if self.version != __version__:
            raise ConfigError(another_version(self.version, f"{__version__} on {socket.gethostname()}"))
        folder, leases = self.output / FOLDER, Leases(self.output)
        check = partial(_refuse_replaced, folder / ORDER, state_of(folder / ORDER))
        seen, work, cases = pickle.loads((folder / ORDER).read_bytes())  # noqa: S301  # our own data
        seen.check()
        opened = work.open()
        _agree(folder, opened.about)
        names = names_of(cases)
        of_name = dict(zip(names, cases, strict=True))
        try:
            with leases.kept():
                for name in share(leases, names, check=check):
                    with checked_first(check):
                        record = opened.one(of_name[name])
                    check()
                    write(folder / RECORDS / name, pickle.dumps(record))
                    leases.end(name, {"error": getattr(record, "error", None)})
        finally:
            leases.close()


class _ReplacedError(OutputError):
    """Another command has begun in the folder."""


def _refuse_replaced(order: Path, state: tuple[int, int, int] | None) -> None:
    """Refuse to go on with the cases of an order that has ended, or that another command has replaced.

    Raises:
        _ReplacedError: If it has.
    """
    if state_of(order) != state:
        raise _ReplacedError(f"{order}: expected the cases of one command, got those of another; end this job")


def names_of(cases: Sequence[Any]) -> list[str]:
    """Return names of cases that are valid as file names: their own if all have one, otherwise numbers.

    Example:
        >>> names_of(["a", "b"]), names_of([3, 4])
        (['a', 'b'], ['case0', 'case1'])
    """
    own = [case if isinstance(case, str) else getattr(case, "name", None) for case in cases]
    names = [name for name in own if isinstance(name, str) and "/" not in name and not name.startswith(".")]
    return names if len(set(names)) == len(cases) else [f"case{number}" for number in range(len(cases))]


def _agree(folder: Path, about: Mapping[str, Any]) -> None:
    """Publish what every record of this job depends on.

    Raises:
        ConfigError: If another job does not compute alike.
    """
    own = folder / READY / f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"
    write(own, pickle.dumps(dict(about)))  # before checking, so that of two jobs that start together one sees the other
    for path in (folder / READY).iterdir():
        with suppress(FileNotFoundError):  # a job that was refused has removed its file
            if not path.name.startswith(".") and (other := read(path)) != about:
                own.unlink()
                raise ConfigError(mismatch_message(other, about))


def read(path: Path) -> Any:
    """Unpickle a file written by `write`."""
    return pickle.loads(path.read_bytes())  # noqa: S301  # our own data, in a folder that only the user can write


def write(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        OutputError: If it cannot be written.
    """
    aside = path.with_name(f".{uuid.uuid4().hex[:12]}")
    with errors_told(path):
        aside.write_bytes(content)
        aside.replace(path)
