"""Work for the tests of those who do cases; it is imported by their processes."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tomoseg.errors import ConfigError, ModelError


@dataclass(frozen=True)
class Noting:
    """Gives back what it was given, with who did it; some words make it do otherwise."""

    folder: Path
    memory: int = 0
    broken: str = ""

    def open(self):
        if self.broken == "model":
            raise ModelError("model: expected a model, got none; name one")
        if self.broken == "dies" or (self.broken == "dies once" and _is_first(self.folder / "died")):
            os.kill(os.getpid(), signal.SIGKILL)
        return _Opened(self)

    def divided(self, workers):
        return Noting(self.folder, self.memory // workers, self.broken)

    def lost(self, case, reason):
        return case, reason, None


@dataclass(frozen=True)
class _Opened:
    work: Noting

    @property
    def about(self):
        if self.work.broken == "unlike each time":
            return {"tomoseg": time.monotonic_ns()}
        if self.work.broken == "unlike":
            return {"tomoseg": os.getpid()}
        return {"tomoseg": "1", "memory": self.work.memory, "threads": os.environ.get("OMP_NUM_THREADS")}

    def one(self, case):
        notes = self.work.folder / case
        notes.parent.mkdir(exist_ok=True, parents=True)
        with notes.open("a") as file:
            file.write(f"{os.getpid()}\n")
        tries = len(notes.read_text().splitlines())
        while case == "until another began" and len(list(self.work.folder.iterdir())) == 1:
            time.sleep(0.01)
        if "slow" in case:
            time.sleep(0.3)
        if "kills" in case and tries <= (1 if "once" in case else 2 if "twice" in case else 99):
            os.kill(os.getpid(), signal.SIGKILL)
        if "refused" in case:
            raise ConfigError("expected another setting, got this; name another")
        if "fault" in case:
            raise ZeroDivisionError("nobody foresaw it")
        return case.upper(), None, os.getpid()

    def all(self, cases, tell):
        for case in cases:
            tell(case, 1, 1)
            yield self.one(case)


def _is_first(note):
    note.parent.mkdir(exist_ok=True, parents=True)
    try:
        note.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
