"""`tomoseg preprocess` on one case of 222x166x429 voxels with 117 mask files, in a process of its own.

.venv/bin/python benchmarks/preprocess.py [--runs 5] [--folder build/benchmark]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from common import SHAPE, machine, write_real_size_cases

GRIDS = {
    "the guide's 256x256": ["--preset", "guide"],
    "default (1.5 mm, body)": [],
    "native": ["--grid.mode", "native", "--grid.crop", "none"],
}

CHILD = """
import json, resource, sys, time
from tomoseg.cli import main
began = time.perf_counter()
status = main(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"status": status, "seconds": time.perf_counter() - began, "peak": peak}), file=sys.stderr)
"""


def run_once(dataset: Path, output: Path, flags: list[str]) -> dict[str, float]:
    shutil.rmtree(output, ignore_errors=True)
    command = [sys.executable, "-c", CHILD, "preprocess", str(dataset), "-o", str(output), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stderr.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    given = parser.parse_args()
    dataset = given.folder / "one_case"
    write_real_size_cases(dataset, 1)
    print(machine())
    print(f"preprocess of one case of {SHAPE} voxels with 117 mask files, median of {given.runs} runs")
    for name, flags in GRIDS.items():
        results = [
            run_once(dataset, given.folder / "out", [*flags, "--validation-share", "0"]) for _ in range(given.runs)
        ]
        took = statistics.median(r["seconds"] for r in results)
        peak = max(r["peak"] for r in results) / 2**30
        print(f"  {name}: {took:.1f} s, peak {peak:.2f} GiB resident (imports included)")


if __name__ == "__main__":
    sys.exit(main())
