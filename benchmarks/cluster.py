"""Costs of sharing: a lease, `status` of many cases, and scans per second of each way to distribute them.

    python benchmarks/cluster.py                         # 1,000 scans of 64^3, 100,000 cases: an hour on two cores
    python benchmarks/cluster.py --scans 40 --ways here ray
    python benchmarks/cluster.py --soak 5000 --edge 32   # one command each, here and ray: does anything grow or slow?

The start (loading the package and the model, and for Ray its processes) is printed apart: it is the time of the same
command on one scan. A soak compares the second fifth of a command's scans with the last.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from tomoseg.cases.leases import Leases
from tomoseg.files.nifti import write_nifti
from tomoseg.volume import SourceGrid
from tomoseg.workflows.sharing import status


def make_scans(folder: Path, count: int, edge: int) -> None:
    """Write scans of an ellipse of soft tissue with noise, each with another seed."""
    folder.mkdir()
    grid = SourceGrid((edge, edge, edge), np.diag([3.0, 3.0, 3.0, 1.0]))
    x, y, _ = np.indices(grid.shape) / (edge - 1) - 0.5
    inside = (x / 0.42) ** 2 + (y / 0.3) ** 2 < 1
    for seed in range(count):
        noise = np.random.default_rng(seed).normal(0, 15, grid.shape)
        write_nifti(folder / f"scan{seed:05d}.nii.gz", (np.where(inside, 40.0, -1000.0) + noise).astype(np.int16), grid)


def lease_ms(folder: Path, count: int = 1000) -> float:
    """Return the median time in ms of claiming and finishing a case."""
    leases, taken = Leases(folder), []
    for number in range(count):
        began = time.perf_counter()
        leases.claim(f"case{number}")
        leases.end(f"case{number}", {"error": None})
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def status_seconds(folder: Path, count: int) -> tuple[float, float]:
    """Return wall and processor seconds of `status` with six tenths of the cases done."""
    leases, names = Leases(folder), [f"case{number}" for number in range(count)]
    for part in ("leases", "ends"):
        (leases.folder / part).mkdir(parents=True)
    (leases.folder / "job.json").write_text(json.dumps({"asked": {}, "scans": names}))
    for name in names[: count * 6 // 10]:
        (leases.folder / "leases" / f"{name}.1").touch()
        (leases.folder / "ends" / f"{name}.done").touch()
    began, used = time.perf_counter(), time.process_time()
    assert status(folder).done == count * 6 // 10
    return time.perf_counter() - began, time.process_time() - used


def predict_seconds(scans: Path, output: Path, model: str, *flags: str, workers: int = 1) -> float:
    """Return the seconds of the command, or of several at once."""
    command = [sys.executable, "-m", "tomoseg", "predict", "-i", str(scans), "-o", str(output), "-m", model, *flags]
    began = time.perf_counter()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(workers)]
    statuses = [one.wait() for one in running]
    assert statuses == [0] * workers
    return time.perf_counter() - began


WAYS: dict[str, tuple[tuple[str, ...], int]] = {
    "here": ((), 1),
    "processes:2": (("--on", "processes:2"), 1),
    "ray": (("--on", "ray"), 1),
    "join": (("--join",), 2),
}
"""Flags and number of simultaneous commands, by name."""


def compare_ways(folder: Path, ways: list[str], scans: int, edge: int, model: str) -> None:
    """Print scans per second of each way."""
    make_scans(folder / "one", 1, edge)
    make_scans(folder / "scans", scans, edge)
    rates: dict[str, float] = {}
    for what in ways:
        flags, workers = WAYS[what]
        alone = () if "--join" in flags else flags
        start = predict_seconds(folder / "one", folder / f"start-{what}", model, *alone)
        seconds = predict_seconds(folder / "scans", folder / f"out-{what}", model, *flags, workers=workers)
        rates[what] = scans / max(seconds - start, 1e-9)
        beside = f", {rates[what] / rates['here']:.2f} of here" if "here" in rates else ""
        print(
            f"{what}: {rates[what]:.2f} scans per second{beside}, start {start:.1f} s, in all {seconds:.1f} s",
            flush=True,
        )


@dataclass(frozen=True)
class Held:
    """Resources held by a command and its child processes at one time; `ours` is the memory without Ray's own ones."""

    done: int
    megabytes: float
    ours: float
    files: int
    threads: int

    @classmethod
    def of(cls, command: psutil.Process, done: int) -> Held:
        """Measure the current state; processes that end meanwhile are left out."""
        megabytes, ours, files, threads = 0.0, 0.0, 0, 0
        for one in (command, *command.children(recursive=True)):
            with suppress(psutil.Error):
                own = one.memory_full_info().uss / 1e6  # without shared pages
                megabytes += own
                ours += own if one == command or one.name().startswith("ray::Worker") else 0.0
                files += one.num_fds()
                threads += one.num_threads()
        return cls(done, megabytes, ours, files, threads)


def soak(folder: Path, what: str, scans: int, model: str) -> None:
    """Print the resources and speed of one command over many scans, in its second and last fifth."""
    out = folder / f"soak-{what}"
    flags = ["-i", str(folder / "scans"), "-o", str(out), "-m", model, *WAYS[what][0]]
    held: list[Held] = []
    with subprocess.Popen([sys.executable, "-m", "tomoseg", "predict", *flags], stdout=subprocess.DEVNULL) as command:
        process = psutil.Process(command.pid)
        while command.poll() is None:
            with suppress(psutil.Error):
                held.append(Held.of(process, sum(1 for _ in out.glob("*/prediction.json"))))
            time.sleep(1 if scans < 500 else 5)
        assert command.returncode == 0
    ends = sorted(path.stat().st_mtime for path in out.glob("*/prediction.json"))
    print(f"{what}, {scans} scans:")
    for name in ("megabytes", "ours", "files", "threads"):
        early, late = (
            statistics.median(getattr(one, name) for one in held if low * scans <= one.done <= high * scans)
            for low, high in ((0.2, 0.4), (0.8, 1.0))
        )
        print(f"  {name}: {early:.0f} then {late:.0f} ({100 * (late / early - 1):+.1f} %)")
    fifth = scans // 5
    early, late = (fifth / (ends[begin + fifth - 1] - ends[begin - 1]) for begin in (fifth, scans - fifth))
    print(f"  scans per second: {early:.2f} then {late:.2f} ({100 * (late / early - 1):+.1f} %)", flush=True)


def main() -> None:
    """Print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--edge", type=int, default=64)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--model", default="head-neck")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=None)
    parser.add_argument("--soak", type=int, default=0, metavar="SCANS", help="only this")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.soak:
            make_scans(folder / "scans", given.soak, given.edge)
            for what in given.ways or ("here", "ray"):
                soak(folder, what, given.soak, given.model)
            return
        print(f"a lease, claimed and ended: {lease_ms(folder / 'lease'):.2f} ms (median)")
        clock, processor = status_seconds(folder / "status", given.cases)
        print(f"status of {given.cases} cases: {clock:.2f} s, of the processor {processor:.2f} s")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory of this process, which knows of {given.cases} cases: {peak:.0f} MB")
        if not given.scans:
            return
        compare_ways(folder, given.ways or list(WAYS), given.scans, given.edge, given.model)


if __name__ == "__main__":
    main()
