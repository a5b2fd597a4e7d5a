"""Scans of one output folder shared among workers: `tomoseg predict --join`, and how far they are: `tomoseg status`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from tomoseg.cases.alike import UNLIKE, mismatch_message
from tomoseg.cases.leases import DONE, FAILED, JOB, Leases, share
from tomoseg.cases.work import Opened
from tomoseg.errors import ConfigError, InputError
from tomoseg.files.atomic import write_whole_text
from tomoseg.notices import Notice
from tomoseg.options import PredictOptions
from tomoseg.settings import deciding
from tomoseg.workflows.prediction_record import ScanDone, record_path
from tomoseg.workflows.scans import FoundScans, Scan

FORGOTTEN = (
    "expected to find what became of it, found nothing: the folder was cleared, or another command began there; run "
    "the same command again"
)
RATE_SECONDS = 3600.0
"""The rate is that of so long, or of the time since the first scan."""


def check_can_share(found: FoundScans, options: PredictOptions) -> None:
    """Refuse what cannot be shared.

    Raises:
        ConfigError: If it is one scan, a part of them, or one that others than this process do.
    """
    if any(scan.is_only for scan in found.scans):
        raise ConfigError(f"{found.place}: expected a folder of scans to share, got one scan; leave --join off")
    if options.part is not None or options.on != "here":
        other = "--on" if options.part is None else "--part"
        raise ConfigError(
            f"expected --join or {other}, got both; workers that join take the next scan by themselves: start as many "
            f"as you like, and leave {other} off"
        )


def share_scans(
    opened: Opened[Scan, ScanDone],
    scans: Sequence[Scan],
    output: Path,
    options: PredictOptions,
    on_ready: Callable[[Mapping[str, Any]], None],
) -> Iterator[tuple[int, ScanDone]]:
    """Do scans that nobody else is at, until all have come to an end.

    Args:
        opened: Does one.
        scans: All of them, the same for every worker.
        output: The folder of all results, which workers share.
        options: The requested options.
        on_ready: Called with what every result depends on.

    Yields:
        Number and end of each scan that was done here, as they come; then of those that others did.

    Raises:
        ConfigError: If others are at work there and do them otherwise.
        OutputError: If the folder cannot be written to.
    """
    asked = {**opened.about, "options": deciding(options)}
    leases = Leases(output, _mark(asked))
    numbers = {scan.name: number for number, scan in enumerate(scans)}
    ours: set[str] = set()
    try:
        _agree(leases, asked, list(numbers))
        on_ready(opened.about)
        with leases.kept():
            for name in share(leases, list(numbers)):
                if not ours:
                    _refuse_unlike(leases)
                done = opened.one(scans[numbers[name]])
                leases.end(name, _end_of(done))
                ours.add(name)
                yield numbers[name], done
    finally:
        leases.close()
    for name, number in numbers.items():
        if name not in ours:
            yield number, _done_by_another(scans[number], leases.end_of(name) or {"error": FORGOTTEN})


def _agree(leases: Leases, asked: dict[str, Any], names: list[str]) -> None:
    """Begin, or go on with what others have begun.

    Raises:
        ConfigError: If others are at work and do otherwise.
        OutputError: If the folder cannot be written to.
    """
    before, path = _job(leases), leases.folder / JOB
    now = json.loads(json.dumps({"asked": asked, "scans": names}))  # as it is read back
    is_at_work = bool(leases.at_work())
    if before is not None and before["asked"] != now["asked"] and is_at_work:
        raise ConfigError(mismatch_message(before["asked"], now["asked"]))
    if before is not None and not is_at_work:
        is_over = leases.ended() >= set(names)
        if is_over or before["asked"] != now["asked"]:
            leases.forget(before["scans"])  # each is looked at again: what is done and unchanged is not done again
    if before != now:
        write_whole_text(path, json.dumps(now))


def _mark(asked: Mapping[str, Any]) -> str:
    """What every record depends on, as one word."""
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def _refuse_unlike(leases: Leases) -> None:
    """Of two that began at once and compute otherwise, one sees by now that the other holds a case.

    Raises:
        ConfigError: If there is one that computes otherwise.
    """
    if any(one.mark != leases.mark for one in leases.at_work()):
        raise ConfigError(UNLIKE)


def _job(leases: Leases) -> dict[str, Any] | None:
    """What is done to which scans; None where nothing says it, or what does is damaged."""
    try:
        job = json.loads((leases.folder / JOB).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    is_one = isinstance(job, dict) and isinstance(job.get("asked"), dict) and isinstance(job.get("scans"), list)
    return job if is_one and all(isinstance(name, str) for name in job["scans"]) else None


def _end_of(done: ScanDone) -> dict[str, Any]:
    told = {"error": done.error, "warnings": [notice.as_dict() for notice in done.warnings], "skipped": done.skipped}
    return told if done.traceback is None else told | {"traceback": done.traceback}


def _done_by_another(scan: Scan, end: Mapping[str, Any]) -> ScanDone:
    record = None
    with suppress(OSError, ValueError):
        found = json.loads(record_path(scan).read_text(encoding="utf-8"))
        record = found if "files" in found else None
    warnings = tuple(Notice.from_dict(one) for one in end.get("warnings", ()))
    return ScanDone(scan, end["error"], warnings, end.get("skipped", False), record, end.get("traceback"))


@dataclass(frozen=True)
class ActiveScan:
    """A scan that somebody is at.

    Attributes:
        scan: Name of the scan.
        host: The host of the machine.
        pid: The process id of the process there.
        tries: How often it was begun.
    """

    scan: str
    host: str
    pid: int
    tries: int


@dataclass(frozen=True)
class Status:
    """How far workers are that share scans.

    Attributes:
        scans: How many there are.
        done: How many are done.
        failed: Why others are not, by name.
        at_work: Those that somebody is at.
        per_hour: Scans that came to an end, over the last hour or since the first; None where that is not known.
        seconds_left: Until all are, at that rate; None where that is not known.
    """

    scans: int
    done: int
    failed: dict[str, str] = field(default_factory=dict)
    at_work: tuple[ActiveScan, ...] = ()
    per_hour: float | None = None
    seconds_left: float | None = None

    @property
    def waiting(self) -> int:
        """Scans that nobody is at."""
        return self.scans - self.done - len(self.failed) - len(self.at_work)

    def to_json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self) | {"waiting": self.waiting}, indent=1)


def status(output: Path) -> Status:
    """How far workers are that share the scans of an output folder.

    Args:
        output: The folder of all results.

    Raises:
        InputError: If nobody has shared scans there.
        OutputError: If the folder cannot be written to, by which its file system tells the time.
    """
    leases = Leases(output)
    job = _job(leases)
    if job is None:
        raise InputError(
            f"{output}: expected a folder of results that `tomoseg predict --join` (or `--on slurm`) writes into, "
            "found no list of scans in it; name the --output of that command"
        )
    try:
        names = set(job["scans"])
        done = leases.ended(DONE) & names
        failed = leases.ended(FAILED) & names - done  # who was thought dead may have done it
        reasons = {name: str((leases.end_of(name) or {}).get("error")) for name in sorted(failed)}
        at_work = tuple(
            ActiveScan(one.name, one.host, one.pid, one.number) for one in leases.at_work() if one.name in names
        )
        rate = _per_second(leases.end_times(), leases.now())
    finally:
        leases.close()
    left = len(names) - len(done) - len(failed)
    seconds = 0.0 if not left else None if not rate else left / rate
    return Status(len(names), len(done), reasons, at_work, None if rate is None else rate * 3600, seconds)


def _per_second(times: Sequence[float], now: float) -> float | None:
    """Ends in a second: over the last hour, or from the first end to now.

    Example:
        >>> _per_second([100.0, 110.0, 120.0], 120.0)
        0.1
    """
    if len(times) < 2:
        return None
    since = max(times[0], now - RATE_SECONDS)
    return sum(time > since for time in times) / (now - since) if now > since else None
