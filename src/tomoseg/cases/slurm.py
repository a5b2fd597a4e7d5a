"""Processing of cases in SLURM jobs, submitted by submitit, which share cases through leases in the results folder.

The jobs and this process communicate only through that folder: the order (`order.pkl`), a file for each job that is
ready, and a record of each case. Jobs therefore continue if this process ends, and the same command watches them, or
starts again. A job that reaches its time limit, or is preempted, gives its case back and is queued again; a job that
dies leaves a lease that expires.
"""

from __future__ import annotations

import json
import math
import pickle
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic

from tomoseg.cases.folders import Folders, Seen
from tomoseg.cases.leases import JOB, Leases
from tomoseg.cases.slurm_job import ERROR, FOLDER, ID, LOGS, ORDER, READY, RECORDS, Serving, names_of, read, write
from tomoseg.cases.work import Case, Done, Work
from tomoseg.errors import ConfigError
from tomoseg.files.atomic import errors_told, write_whole_text
from tomoseg.options import Spread
from tomoseg.packages import require_installed

LOOK_SECONDS = 2.0
"""Seconds between checks of what the jobs have done."""

QUEUE_SECONDS = 15.0
"""Seconds between queries to SLURM for remaining jobs."""

MOST_GONE = 4
"""Number of queries without remaining jobs after which they count as gone: ends of cases may appear late on NFS."""

MOST_REQUEUES = 1000


def in_slurm(
    work: Work[Case, Done],
    cases: Sequence[Case],
    jobs: int,
    spread: Spread,
    on_ready: Callable[[Mapping[str, Any]], None],
    folders: Folders,
) -> Iterator[tuple[int, Done]]:
    """Process cases in several SLURM jobs.

    Args:
        work: The work to do on each case.
        cases: The cases.
        jobs: Maximum number of jobs.
        spread: Resources of a job.
        on_ready: Called with what each job's records depend on.
        folders: Folders that all nodes must share.

    Yields:
        The number and the record of each case, in the order in which they are finished.

    Raises:
        TomosegError: If the work fails for a reason that does not concern a single case.
        ConfigError: If submitit or SLURM is not installed, no results folder is named, other workers use it, or all
            jobs end before all cases are done.
        OutputError: If the folder cannot be written to.
    """
    require_installed("submitit")
    if shutil.which("sbatch") is None:
        raise ConfigError(
            "expected SLURM on this machine, found no sbatch; run it where jobs are submitted, such as a login node"
        )
    if folders.writes is None:
        raise ConfigError("expected an output folder that all nodes share, got none; name one with --output")
    if not cases:
        return
    watch = _Watch(work, cases, folders, on_ready)
    watch.begin(min(jobs, len(cases)), spread)
    try:
        yield from watch.records()
    except Exception:
        watch.cancel()
        raise


class _Watch(Generic[Case, Done]):
    """Submits and watches jobs.

    Args:
        work: The work to do on each case.
        cases: The cases.
        folders: Folders that all nodes must share.
        on_ready: Called with what each job's records depend on.
    """

    def __init__(
        self,
        work: Work[Case, Done],
        cases: Sequence[Case],
        folders: Folders,
        on_ready: Callable[[Mapping[str, Any]], None],
    ) -> None:
        assert folders.writes is not None
        self._work, self._cases, self._on_ready = work, cases, on_ready
        self._output = folders.writes.absolute()
        self._folder, self._leases = self._output / FOLDER, Leases(self._output)
        reads = tuple(path.absolute() for path in folders.reads)
        self._order = pickle.dumps((Seen(Path.cwd(), reads, None), work, cases))
        self._numbers = {name: number for number, name in enumerate(names_of(cases))}
        self._ready: set[str] = set()

    def begin(self, jobs: int, spread: Spread) -> None:
        """Submit the jobs; or watch those that the same command submitted before, whether or not they still run.

        Raises:
            ConfigError: If other workers use that folder, or SLURM takes no jobs.
            OutputError: If the folder cannot be written to.
        """
        at_work, queued = self._leases.at_work(), self._is_queued()
        is_done = self._leases.ended() >= set(self._numbers)
        if (queued or is_done) and self._is_same():
            return
        if at_work or queued:
            raise ConfigError(
                f"{self._output}: expected no other jobs writing to it, got "
                f"{f'jobs {self._id()} of another command' if queued else f'{len(at_work)} at work'}; wait for them, "
                "end them (scancel), or choose another folder"
            )
        with errors_told(self._folder):
            (self._folder / ORDER).unlink(missing_ok=True)  # a job of it that is left ends
            self._leases.forget(list(self._numbers))
            for part in (READY, RECORDS):
                shutil.rmtree(self._folder / part, ignore_errors=True)
                (self._folder / part).mkdir(parents=True)
            self._folder.chmod(0o700)  # pickles: anyone who can write there could make the jobs run anything
            (self._folder / ERROR).unlink(missing_ok=True)
            write(self._folder / ORDER, self._order)
        submitted = _submit(self._output, jobs, spread)
        write_whole_text(self._folder / ID, submitted)
        asked = {"asked": {"jobs of SLURM": submitted}, "scans": list(self._numbers)}
        write_whole_text(self._leases.folder / JOB, json.dumps(asked))

    def records(self) -> Iterator[tuple[int, Done]]:
        """Yield the number and the record of each case, in the order in which they are finished.

        Raises:
            ConfigError: If no job is left before all cases are done.
        """
        left, asked, gone = set(self._numbers), time.monotonic(), 0
        while left:
            self._hear_ready()
            for name in sorted(self._leases.ended() & left, key=self._numbers.__getitem__):
                left.remove(name)
                yield self._numbers[name], self._record(name)
            if left and gone >= MOST_GONE:
                raise ConfigError(self._too_few(len(left)))
            if left and time.monotonic() - asked > QUEUE_SECONDS:
                gone, asked = 0 if self._is_queued() else gone + 1, time.monotonic()
            elif left:
                time.sleep(LOOK_SECONDS)
        self._leases.close()
        for part in (ORDER, ID):
            (self._folder / part).unlink(missing_ok=True)
        shutil.rmtree(self._folder / RECORDS, ignore_errors=True)

    def cancel(self) -> None:
        """End the jobs."""
        self._leases.close()
        if submitted := self._id():
            subprocess.run(["scancel", submitted], check=False, capture_output=True)

    def _hear_ready(self) -> None:
        """Report jobs that have become ready.

        Raises:
            Exception: If a job failed for a reason that does not concern a single case.
        """
        if (self._folder / ERROR).exists():
            error: Exception = read(self._folder / ERROR)
            raise error
        for path in sorted((self._folder / READY).iterdir()):
            if path.name not in self._ready and not path.name.startswith("."):
                with suppress(FileNotFoundError):  # a job that was refused has removed its file
                    about = read(path)
                    self._ready.add(path.name)
                    self._on_ready(about)

    def _record(self, name: str) -> Done:
        try:
            return read(self._folder / RECORDS / name)
        except FileNotFoundError:  # its workers died before writing it
            reason = str((self._leases.end_of(name) or {}).get("error"))
            return self._work.lost(self._cases[self._numbers[name]], reason)

    def _too_few(self, left: int) -> str:
        began = "none of which started" if not self._ready else f"{len(self._ready)} of which started"
        return (
            f"{self._output}: expected SLURM jobs {self._id()} to finish all scans, got {left} of "
            f"{len(self._numbers)} unfinished by jobs {began}, and no job left; see the logs in "
            f"{self._folder / LOGS} (if there are none, the nodes do not see this folder), and run the same "
            "command again to continue"
        )

    def _id(self) -> str | None:
        try:
            return (self._folder / ID).read_text(encoding="utf-8")
        except OSError:
            return None

    def _is_same(self) -> bool:
        try:
            return bool(read(self._folder / ORDER) == pickle.loads(self._order))  # noqa: S301  # our own data
        except Exception:  # pickled by another version
            return False

    def _is_queued(self) -> bool:
        """Whether a job is queued or running; True if SLURM does not answer."""
        submitted = self._id()
        if submitted is None:
            return False
        command = ["squeue", "--noheader", "--format=%i", f"--jobs={submitted}"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return bool(found.stdout.strip()) if not found.returncode else "invalid job id" not in found.stderr.lower()


def _submit(output: Path, jobs: int, spread: Spread) -> str:
    """Submit an array of jobs and return its id.

    Raises:
        ConfigError: If SLURM does not take it.
    """
    import submitit

    executor = submitit.SlurmExecutor(folder=output / FOLDER / LOGS, max_num_timeout=MOST_REQUEUES)
    executor.update_parameters(**parameters_of(jobs, spread))
    try:
        with executor.batch():
            array = [executor.submit(Serving(output)) for _ in range(jobs)]
    except (submitit.core.utils.FailedJobError, OSError) as error:
        reason = " ".join(line.strip() for line in str(error).splitlines() if "error" in line.lower()) or str(error)
        raise ConfigError(
            f"expected SLURM to accept {jobs} jobs, got: {reason.strip()}; pass what it asks for with "
            "--sbatch, such as partition=NAME account=NAME, and see `sinfo`"
        ) from None
    return str(array[0].job_id).partition("_")[0]


def parameters_of(jobs: int, spread: Spread) -> dict[str, Any]:
    """Return the parameters for submitit.

    Args:
        jobs: Number of jobs.
        spread: Resources of a job.

    Example:
        >>> parameters_of(3, Spread(on="slurm", hours=0.5, sbatch=("mem=16G",)))["additional_parameters"]
        {'requeue': True, 'mem': '16G'}
    """
    further = {name: value if given else True for name, given, value in (one.partition("=") for one in spread.sbatch)}
    return {
        "job_name": "tomoseg",
        "time": max(1, math.ceil(spread.hours * 60)),
        "cpus_per_task": spread.cpus,
        "array_parallelism": jobs,
        "stderr_to_stdout": True,
        "setup": [f"export OMP_NUM_THREADS={spread.cpus}"],
        "additional_parameters": {"requeue": True, **further},
        **({"gpus_per_node": int(spread.gpus)} if spread.gpus else {}),
    }
