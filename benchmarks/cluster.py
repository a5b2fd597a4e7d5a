"""What sharing costs: a lease, `status` of many cases, and scans a second here, by two processes and by two that join.

    python benchmarks/cluster.py                    # 1,000 scans of 64^3, 100,000 cases: an hour on two cores
    python benchmarks/cluster.py --scans 40 --model head-neck

The start (loading the package and the model) is printed apart: it is the time of the same command on one scan.
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
from pathlib import Path

import numpy as np

from tomoseg.cases.leases import Leases
from tomoseg.files.nifti import write_nifti
from tomoseg.volume import SourceGrid
from tomoseg.workflows.sharing import status


def make_scans(folder: Path, count: int, edge: int) -> None:
    """Scans of an ellipse of soft tissue with noise, each with another seed."""
    folder.mkdir()
    grid = SourceGrid((edge, edge, edge), np.diag([3.0, 3.0, 3.0, 1.0]))
    x, y, _ = np.indices(grid.shape) / (edge - 1) - 0.5
    inside = (x / 0.42) ** 2 + (y / 0.3) ** 2 < 1
    for seed in range(count):
        noise = np.random.default_rng(seed).normal(0, 15, grid.shape)
        write_nifti(folder / f"scan{seed:05d}.nii.gz", (np.where(inside, 40.0, -1000.0) + noise).astype(np.int16), grid)


def lease_ms(folder: Path, count: int = 1000) -> float:
    """Median time of claiming a case and of saying that it is done."""
    leases, taken = Leases(folder), []
    for number in range(count):
        began = time.perf_counter()
        leases.claim(f"case{number}")
        leases.end(f"case{number}", {"error": None})
        taken.append(1000 * (time.perf_counter() - began))
    return statistics.median(taken)


def status_seconds(folder: Path, count: int) -> tuple[float, float]:
    """Time of `status`, six tenths of the cases done, by the clock and of the processor."""
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
    """Time of the command, or of several of it at once."""
    command = [sys.executable, "-m", "tomoseg", "predict", "-i", str(scans), "-o", str(output), "-m", model, *flags]
    began = time.perf_counter()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(workers)]
    statuses = [one.wait() for one in running]
    assert statuses == [0] * workers
    return time.perf_counter() - began


def main() -> None:
    """Print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=1000)
    parser.add_argument("--edge", type=int, default=64)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--model", default="head-neck")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"a lease, claimed and ended: {lease_ms(folder / 'lease'):.2f} ms (median)")
        clock, processor = status_seconds(folder / "status", given.cases)
        print(f"status of {given.cases} cases: {clock:.2f} s, of the processor {processor:.2f} s")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"peak memory of this process, which knows of {given.cases} cases: {peak:.0f} MB")
        if not given.scans:
            return
        make_scans(folder / "one", 1, given.edge)
        make_scans(folder / "scans", given.scans, given.edge)
        ways: list[tuple[str, tuple[str, ...], int]] = [
            ("here", (), 1),
            ("processes:2", ("--on", "processes:2"), 1),
            ("two that join", ("--join",), 2),
        ]
        os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
        for number, (what, flags, workers) in enumerate(ways):
            alone = () if "--join" in flags else flags
            start = predict_seconds(folder / "one", folder / f"start{number}", given.model, *alone)
            seconds = predict_seconds(folder / "scans", folder / f"out{number}", given.model, *flags, workers=workers)
            rate = given.scans / max(seconds - start, 1e-9)
            print(f"{what}: {rate:.2f} scans a second, start {start:.1f} s, in all {seconds:.1f} s")


if __name__ == "__main__":
    main()
