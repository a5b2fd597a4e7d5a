"""Scans of one output folder shared among workers: `tomoseg predict --join`, and their progress: `tomoseg status`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from tomoseg.cases.alike import mismatch_message
from tomoseg.cases.leases import DONE, FAILED, JOB, Leases, share, state_of
from tomoseg.cases.work import Opened
from tomoseg.errors import ConfigError, InputError, OutputError
from tomoseg.files.atomic import checked_first, write_whole_text
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
"""Maximum period in seconds over which the rate is computed."""


def check_can_share(found: FoundScans, options: PredictOptions) -> None:
    """Refuse a request whose scans cannot be shared.

    Raises:
        ConfigError: If it is one scan or a part of them, or if other processes or machines do the work.
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
    """Process scans that no other worker has taken, until all are done.

    Args:
        opened: The opened task that processes one scan.
        scans: All scans, the same for every worker.
        output: The folder of all results, which workers share.
        options: The requested options.
        on_ready: Called with the settings that every result depends on.

    Yields:
        Number and outcome of each scan done here, in order of completion; then of those done by others.

    Raises:
        ConfigError: If others are at work there with other settings.
        OutputError: If the folder cannot be written to, was removed, or another command has begun there since.
    """
    check_unreplaced = Unreplaced(output, opened.about, options)
    asked = check_unreplaced.asked
    leases = Leases(output, _mark(asked))
    numbers = {scan.name: number for number, scan in enumerate(scans)}
    ours: set[str] = set()
    try:
        _agree(leases, asked, list(numbers))
        on_ready(opened.about)
        with leases.kept():
            for name in share(leases, list(numbers), check=check_unreplaced):
                if not ours:
                    _refuse_unlike(leases)
                with checked_first(check_unreplaced):
                    done = opened.one(scans[numbers[name]])
                end = _end_of(done)
                check_unreplaced()
                leases.end(name, end)
                ours.add(name)
                yield numbers[name], done
        check_unreplaced()
    finally:
        leases.close()
    for name, number in numbers.items():
        if name not in ours:
            yield number, _done_by_another(scans[number], leases.end_of(name) or {"error": FORGOTTEN})


def _agree(leases: Leases, asked: dict[str, Any], names: list[str]) -> None:
    """Start a job, or join the one that others have started.

    Raises:
        ConfigError: If others are at work with other settings.
        OutputError: If the folder cannot be written to.
    """
    before, path = _job(leases), leases.folder / JOB
    now: dict[str, Any] = {"asked": asked, "scans": names}
    is_at_work = bool(leases.at_work())
    if before is not None and before["asked"] != now["asked"] and is_at_work:
        raise ConfigError(mismatch_message(before["asked"], now["asked"]))
    if before is not None and not is_at_work:
        is_over = leases.ended() >= set(names)
        if is_over or before["asked"] != now["asked"]:
            leases.forget(before["scans"])  # each is checked again; unchanged results are kept
    if before != now:
        write_whole_text(path, json.dumps(now))


class Unreplaced:
    """Check that a folder is still this command's: not removed, and without a later command with other settings.

    Args:
        output: The folder of all results, which workers share.
        about: The settings that every result of this worker depends on.
        options: Its options.
    """

    def __init__(self, output: Path, about: Mapping[str, Any], options: PredictOptions) -> None:
        self.output = output
        self.asked: dict[str, Any] = json.loads(json.dumps({**about, "options": deciding(options)}))  # as read back
        self._seen: tuple[int, int, int] | None = None

    def __call__(self) -> None:
        """Refuse to go on if it is not.

        Raises:
            OutputError: If it was removed, or another command has begun there.
        """
        leases = Leases(self.output)
        state = state_of(leases.folder / JOB)
        if state is None and _is_gone(leases.folder / JOB):  # else half of the folder would be made again
            raise OutputError(
                f"{self.output}: expected to go on with the scans of this command, found no list of them: the folder "
                "was removed or cleared while this worker ran; run the same command again to begin anew"
            )
        if state is None or state == self._seen:  # it is read once only: it may list many scans
            return
        job = _job(leases)
        if job is not None and job["asked"] != self.asked:
            raise OutputError(
                f"{self.output}: expected to go on with the scans of this command, got a folder in which another one "
                "with other options began while this worker did not answer (stopped, or its machine asleep); its "
                "results are kept; for those of this command, choose another folder"
            )
        self._seen = state


def _is_gone(path: Path) -> bool:
    """Return whether a file is missing, rather than unreadable for now."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _mark(asked: Mapping[str, Any]) -> str:
    """Return a hash of the settings that every record depends on."""
    return sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]


def _refuse_unlike(leases: Leases) -> None:
    """Refuse to run beside workers with other settings, which may have started at the same time.

    Raises:
        ConfigError: If there is one.
    """
    if any(one.mark and one.mark != leases.mark for one in leases.at_work()):  # who is still writing looks after us
        raise ConfigError(
            "expected all workers to compute alike, got one that began at the same time with other options, another "
            "engine or another version of tomoseg; give all of them the same command, and name what computes by "
            "--engine, --device and --precision"
        )


def _job(leases: Leases) -> dict[str, Any] | None:
    """Return the settings and scans of the job; None if its record is missing or damaged."""
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
    """A scan in progress.

    Attributes:
        scan: Name of the scan.
        host: Host name of the machine.
        pid: Process id there.
        tries: Number of times it was started.
    """

    scan: str
    host: str
    pid: int
    tries: int


@dataclass(frozen=True)
class Status:
    """Progress of workers that share scans.

    Attributes:
        scans: Number of scans.
        done: Number of scans done.
        failed: Errors of failed scans, by name.
        at_work: Scans in progress.
        per_hour: Scans ended per hour, over the last hour or since the first; None if unknown.
        seconds_left: Estimated seconds until all are done; None if unknown.
    """

    scans: int
    done: int
    failed: dict[str, str] = field(default_factory=dict)
    at_work: tuple[ActiveScan, ...] = ()
    per_hour: float | None = None
    seconds_left: float | None = None

    @property
    def waiting(self) -> int:
        """Number of scans neither done, failed nor in progress."""
        return self.scans - self.done - len(self.failed) - len(self.at_work)

    def to_json(self) -> str:
        """Return the status as JSON."""
        return json.dumps(asdict(self) | {"waiting": self.waiting}, indent=1)


def status(output: Path) -> Status:
    """Return the progress of workers that share the scans of an output folder.

    Nothing is written, so leases are compared with this machine's clock instead of the file system's.

    Args:
        output: The folder of all results.

    Raises:
        InputError: If no scans were shared there.
    """
    leases, now = Leases(output), time.time()
    job = _job(leases)
    if job is None:
        raise InputError(
            f"{output}: expected a folder of results that `tomoseg predict --join` (or `--on slurm`) writes into, "
            "found no list of scans in it; name the --output of that command"
        )
    names = set(job["scans"])
    done = leases.ended(DONE) & names
    failed = leases.ended(FAILED) & names - done  # who was thought dead may have done it
    reasons = {name: str((leases.end_of(name) or {}).get("error")) for name in sorted(failed)}
    at_work = tuple(
        ActiveScan(one.name, one.host, one.pid, one.number) for one in leases.at_work(now) if one.name in names
    )
    rate = _per_second(leases.end_times(), now)
    left = len(names) - len(done) - len(failed)
    seconds = 0.0 if not left else None if not rate else left / rate
    return Status(len(names), len(done), reasons, at_work, None if rate is None else rate * 3600, seconds)


def _per_second(times: Sequence[float], now: float) -> float | None:
    """Return scans ended per second, over the last hour or since the first end.

    Example:
        >>> _per_second([100.0, 110.0, 120.0], 120.0)
        0.1
    """
    if len(times) < 2:
        return None
    since = max(times[0], now - RATE_SECONDS)
    return sum(end > since for end in times) / (now - since) if now > since else None
