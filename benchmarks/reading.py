"""Time to read and inspect a scan: a large NIfTI file, and a JPEG 2000 series with its decoder's share.

    .venv/bin/python benchmarks/reading.py [--dicom FOLDER] [--ct CT] [--repeats 5]

The NIfTI file has 512 x 512 x 300 voxels: CT enlarged, with noise, or a phantom. `inspect` is timed as a function and
as a command with its start. What `predict` does of it is timed beside the lowest and highest value, which is what it
looked at before.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from common import machine, median_ms, run_tomoseg, seconds, write_scan

from tomoseg.checks.scan import check_scan, inspect_scan
from tomoseg.files.dicom import pixels
from tomoseg.files.scan import read_scan
from tomoseg.workflows.inspect import inspect

SLICES = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dicom", type=Path, help="folder of a compressed series")
    parser.add_argument("--ct", type=Path, help="a real CT to be enlarged")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ct.nii.gz"
        write_scan(path, SLICES, given.ct)
        large_scan(path, given.repeats)
    if given.dicom is not None:
        series(given.dicom, given.repeats)


def large_scan(path: Path, repeats: int) -> None:
    print(f"512 x 512 x {SLICES} NIfTI, {path.stat().st_size / 1e6:.0f} MB; median of {repeats} after a warm-up")
    volume = read_scan(path)
    rows = {
        "read": lambda: read_scan(path),
        "look at all (inspect)": lambda: inspect_scan(volume),
        "look for warnings (predict)": lambda: check_scan(volume),
        "lowest and highest value": lambda: (volume.hu.min(), volume.hu.max()),
        "inspect, read and looked at": lambda: inspect(path),
    }
    print("| what | ms |\n|---|---|")
    for name, run in rows.items():
        run()
        print(f"| {name} | {median_ms([seconds(run) for _ in range(repeats)]):.0f} |")
    command = [run_tomoseg("inspect", path)["seconds"] for _ in range(repeats)]
    print(f"| the command, with its start | {median_ms(command):.0f} |")


def series(folder: Path, repeats: int) -> None:
    inside = 0.0
    decoder = pixels.pixel_array

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal inside
        began = time.perf_counter()
        decoded = decoder(*args, **kwargs)
        inside += time.perf_counter() - began
        return decoded

    pixels.pixel_array = timed
    totals, shares = [], []
    for _ in range(repeats + 1):
        inside = 0.0
        total = seconds(lambda: read_scan(folder))
        totals.append(total)
        shares.append(inside / total)
    pixels.pixel_array = decoder
    count = read_scan(folder).shape[2]
    share = sorted(shares[1:])[repeats // 2]
    print(f"{count} slices of DICOM: {median_ms(totals[1:]):.0f} ms, {share:.0%} of it in the decoder")


if __name__ == "__main__":
    main()
