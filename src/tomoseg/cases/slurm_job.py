"""What a job of SLURM does: it takes cases of the list that lies in the folder of results."""

from __future__ import annotations

import pickle
import socket
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tomoseg.cases.alike import another_version, mismatch_message
from tomoseg.cases.answers import attempt
from tomoseg.cases.folders import WORK
from tomoseg.cases.leases import Leases, share
from tomoseg.errors import ConfigError
from tomoseg.files.atomic import errors_told
from tomoseg.version import __version__

FOLDER = f"{WORK}/slurm"
"""Within the folder of results."""

ORDER, READY, RECORDS, LOGS, ERROR, ID = "order.pkl", "ready", "records", "logs", "error.pkl", "id"


class Serving:
    """A job: it takes cases until all have come to an end. It pickles.

    Args:
        output: The folder of results.
        version: The version of the command's tomoseg.
    """

    def __init__(self, output: Path, version: str = __version__) -> None:
        self.output, self.version = output, version

    def __call__(self) -> None:
        """Take cases; what is not of one case alone is left for the command to raise."""
        kind, what = attempt("done", self._serve)
        if kind == "error":
            write(self.output / FOLDER / ERROR, pickle.dumps(what))

    def checkpoint(self) -> Any:
        """What is queued again when the time is up; the case at hand is given back by who is interrupted."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Serving(self.output, self.version))

    def _serve(self) -> None:
        if self.version != __version__:
            raise ConfigError(another_version(self.version, f"{__version__} on {socket.gethostname()}"))
        folder, leases = self.output / FOLDER, Leases(self.output)
        seen, work, cases = pickle.loads((folder / ORDER).read_bytes())  # noqa: S301  # of our own
        seen.check()
        opened = work.open()
        _agree(folder, opened.about)
        names = names_of(cases)
        of_name = dict(zip(names, cases, strict=True))
        try:
            with leases.kept():
                for name in share(leases, names):
                    record = opened.one(of_name[name])
                    write(folder / RECORDS / name, pickle.dumps(record))
                    leases.end(name, {"error": getattr(record, "error", None)})
        finally:
            leases.close()


def names_of(cases: Sequence[Any]) -> list[str]:
    """Names of cases that are those of files: their own where they have one, else numbers.

    Example:
        >>> names_of(["a", "b"]), names_of([3, 4])
        (['a', 'b'], ['case0', 'case1'])
    """
    own = [case if isinstance(case, str) else getattr(case, "name", None) for case in cases]
    names = [name for name in own if isinstance(name, str) and "/" not in name and not name.startswith(".")]
    return names if len(set(names)) == len(cases) else [f"case{number}" for number in range(len(cases))]


def _agree(folder: Path, about: Mapping[str, Any]) -> None:
    """Say what every record of this job depends on.

    Raises:
        ConfigError: If those of another job depend on other things.
    """
    own = folder / READY / f"{socket.gethostname()}-{uuid.uuid4().hex[:12]}"
    write(own, pickle.dumps(dict(about)))  # first, so that of two that begin at once one sees the other
    for path in (folder / READY).iterdir():
        with suppress(FileNotFoundError):  # who was refused has taken back what it said
            if not path.name.startswith(".") and (other := read(path)) != about:
                own.unlink()
                raise ConfigError(mismatch_message(other, about))


def read(path: Path) -> Any:
    """What was written by `write`, unpickled."""
    return pickle.loads(path.read_bytes())  # noqa: S301  # of our own, in a folder that is the user's alone


def write(path: Path, content: bytes) -> None:
    """Make a file that is whole as soon as it is there.

    Raises:
        OutputError: If it cannot be written.
    """
    aside = path.with_name(f".{uuid.uuid4().hex[:12]}")
    with errors_told(path):
        aside.write_bytes(content)
        aside.replace(path)
