"""Peak memory of `tomoseg predict`: 117 structures on 512x512x300, in a process of its own.

    .venv/bin/python benchmarks/predict_memory.py [--model MODEL] [--slices 300] [--folder build/benchmark]

Without a model the guide's network with random weights is taken: its masks are noise, the worst case for what
compresses them in memory. The scan is a phantom enlarged to 512x512.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from common import machine, run_tomoseg, write_random_model, write_scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    scan = given.folder / f"scan_{given.slices}.nii.gz"
    if not scan.exists():
        write_scan(scan, given.slices)
    model = given.model or given.folder / "random_model"
    if not model.exists():
        write_random_model(model)
    print(machine())
    print(f"predict of {given.slices} slices of 512x512 with {given.model or 'random weights'}")
    for name, flags in (("label map", ["--ml"]), ("a mask a structure", [])):
        out = given.folder / f"predicted_{name.replace(' ', '_')}"
        shutil.rmtree(out, ignore_errors=True)
        result = run_tomoseg("predict", "-i", scan, "-o", out, "-m", model, *flags)
        print(f"  {name}: peak {result['peak'] / 2**30:.2f} GiB resident, {result['seconds']:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
