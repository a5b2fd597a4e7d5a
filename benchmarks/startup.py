"""Time of short commands by phase: starting, importing, working.

    .venv/bin/python benchmarks/startup.py [--against OTHER] [--scan CT] [--runs 7] [--folder build/benchmark]

Each command is a process of its own: `tomoseg --help`, `inspect` of a scan, `predict` of the scan with the packaged
model `head-neck`. Printed are the median processor seconds, wall seconds and peak resident memory of several runs, also
of the first run, which finds its cache folder empty, and the packages that took longest to import. OTHER is another
checkout: the commands of both are then run in turn. Where no scan is given, it is a phantom of 128x128 pixels.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import machine

from tomoseg.files.nifti import write_nifti
from tomoseg.phantom import make_phantom
from tomoseg.volume import SourceGrid

HERE = Path(__file__).resolve().parent.parent
START = """
import atexit, sys
atexit.register(lambda: sys.stderr.write(open("/proc/self/status").read()))
from tomoseg.cli import main
sys.exit(main())
"""
"""The command, and at its end what it took: the peak that `wait4` tells includes the process that started it."""
PEAK = re.compile(r"^VmHWM:\s+(\d+) kB", re.M)
HEAVIEST = 8
IMPORTED = re.compile(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", re.M)


@dataclass(frozen=True)
class Run:
    """Resources used by one process."""

    processor_s: float
    wall_s: float
    peak_mb: float


@dataclass(frozen=True)
class Checkout:
    """A version of tomoseg, with a cache folder of its own."""

    name: str
    source: Path
    cache: Path

    def run(self, words: list[str], *flags: str) -> tuple[Run, str]:
        """Run a command; return the resources used, and its standard error.

        Raises:
            SystemExit: If it fails.
        """
        environment = os.environ | {"PYTHONPATH": str(self.source), "XDG_CACHE_HOME": str(self.cache)}
        command = [sys.executable, *flags, "-c", START, *words]
        with tempfile.TemporaryFile("w+") as errors:
            began = time.perf_counter()
            process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=errors)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            errors.seek(0)
            text = errors.read()
        if process.returncode:
            raise SystemExit(f"{self.name}: expected `tomoseg {' '.join(words)}` to end with 0, got:\n{text}")
        peak = PEAK.findall(text)
        return Run(usage.ru_utime + usage.ru_stime, wall, int(peak[-1]) * 1024 / 1e6), text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--scan", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    given = parser.parse_args()
    scan = given.scan or given.folder / "head_and_neck.nii.gz"
    if not scan.exists():
        write_head_and_neck(scan)
    print(machine())
    print(f"median of {given.runs} runs after the first; scan {scan}")
    with tempfile.TemporaryDirectory() as scratch:
        checkouts = [Checkout("here", HERE / "src", Path(scratch) / "cache")]
        if given.against is not None:
            other = given.against / "src" if (given.against / "src").is_dir() else given.against
            checkouts.insert(0, Checkout(str(given.against), other.resolve(), Path(scratch) / "other_cache"))
        out = Path(scratch) / "out"
        for words in (
            ["--help"],
            ["inspect", str(scan)],
            ["predict", "-i", str(scan), "-o", str(out), "-m", "head-neck"],
        ):
            print(f"\ntomoseg {' '.join(words)}")
            compare(checkouts, words, out, given.runs)


def compare(checkouts: list[Checkout], words: list[str], out: Path, runs: int) -> None:
    """Run a command of all checkouts in turn and print the resources used."""
    found: dict[str, list[Run]] = {checkout.name: [] for checkout in checkouts}
    for _ in range(runs + 1):
        for checkout in checkouts:
            shutil.rmtree(out, ignore_errors=True)  # else it is done already
            found[checkout.name].append(checkout.run(words)[0])
    for checkout in checkouts:
        first, *rest = found[checkout.name]
        print(f"  {checkout.name}: {_figures(rest)}; the first time {_figures([first])}")
        shutil.rmtree(out, ignore_errors=True)
        print(f"    {imports(checkout, words)}")


def _figures(runs: list[Run]) -> str:
    processor, wall, peak = (
        statistics.median(getattr(run, name) for run in runs) for name in ("processor_s", "wall_s", "peak_mb")
    )
    return f"{processor:.2f} s of processor time, {wall:.2f} s, {peak:.0f} MB"


def imports(checkout: Checkout, words: list[str]) -> str:
    """Return as text the number of modules that a command imports, and the slowest packages by their own time."""
    _, text = checkout.run(words, "-X", "importtime")
    milliseconds: Counter[str] = Counter()
    modules = IMPORTED.findall(text)
    for microseconds, module in modules:
        milliseconds[module.split(".")[0]] += int(microseconds) / 1000
    heaviest = ", ".join(f"{package} {took:.0f}" for package, took in milliseconds.most_common(HEAVIEST))
    return f"{len(modules)} modules imported in {milliseconds.total():.0f} ms: {heaviest}"


def write_head_and_neck(path: Path) -> None:
    """Write the uppermost 35 cm of a phantom, as large as a scan of a public radiotherapy dataset."""
    phantom = make_phantom(0, spacing_mm=(3.9, 3.9, 2.5), field_of_view="whole")
    hu = np.full((128, 128, 140), -1000, np.int16)
    part = phantom.hu[:128, :128, -140:]
    hu[: part.shape[0], : part.shape[1], : part.shape[2]] = part
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, hu, SourceGrid((128, 128, 140), phantom.affine))


if __name__ == "__main__":
    sys.exit(main())
