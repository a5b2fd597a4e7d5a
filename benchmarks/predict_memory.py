"""Peak memory of `tomoseg predict`: 117 structures on 512x512x300, in a process of its own.

    .venv/bin/python benchmarks/predict_memory.py [--model MODEL] [--slices 300] [--folder build/benchmark]
    .venv/bin/python benchmarks/predict_memory.py --model body-117 --beside RUN/axial --max-memory 2GB

The second measures a model of several views within a limit, and how many times the seconds of one view it takes: give
the folder of that one. It ends with exit status 1 where the peak is above the limit. Without a model the guide's
network with random weights is taken: its masks are noise, the worst case for what compresses them in memory. The scan
is a phantom enlarged to 512x512.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from common import machine, run_tomoseg, write_random_model, write_scan

from tomoseg.options import Compute


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--max-memory")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    scan = given.folder / f"scan_{given.slices}.nii.gz"
    if not scan.exists():
        write_scan(scan, given.slices)
    model = given.model or given.folder / "random_model"
    if given.model is None and not model.exists():
        write_random_model(model)
    print(machine())
    print(f"predict of {given.slices} slices of 512x512 with {given.model or 'random weights'}")
    limit = [] if given.max_memory is None else ["--max-memory", given.max_memory]
    worst = 0
    for name, flags in (("label map", ["--ml"]), ("a mask a structure", [])):
        result = measured(scan, given.folder, model, [*flags, *limit])
        worst = max(worst, result["peak"])
        print(f"  {name}: peak {result['peak'] / 1e9:.2f} GB resident, {result['seconds']:.0f} s", flush=True)
        if given.beside is not None:
            one = measured(scan, given.folder, given.beside, [*flags, *limit])
            times = result["seconds"] / one["seconds"]
            print(f"    {given.beside}: {one['peak'] / 1e9:.2f} GB, {one['seconds']:.0f} s; {times:.2f} times that")
    if given.max_memory is None or worst <= Compute(max_memory=given.max_memory).max_memory:
        return 0
    print(f"  above {given.max_memory}")
    return 1


def measured(scan: Path, folder: Path, model: Path, flags: list[str]) -> dict[str, Any]:
    """Run one command with an empty output folder."""
    out = folder / f"predicted_{model.name}"
    shutil.rmtree(out, ignore_errors=True)
    return run_tomoseg("predict", "-i", scan, "-o", out, "-m", model, *flags)


if __name__ == "__main__":
    sys.exit(main())
