"""Speed of training two views in turn and side by side, and a processor core's share of either.

    .venv/bin/python benchmarks/side_by_side.py [--steps 150] [--rounds 3] [--folder build/side-by-side]

The demo's network on phantoms of 117 structures. Both ways run in processes of their own and take turns. Counted are
the slices that both networks see from each one's tenth step to its last, and the wall time in which they see them.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import machine

from tomoseg import PreprocessConfig, preprocess
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.preprocessed.turn import turn
from tomoseg.training.listener import Listener
from tomoseg.workflows import demo
from tomoseg.workflows.phantom import make_dataset
from tomoseg.workflows.train import train_run

VIEWS = ("axial", "coronal")
WARM_UP = 10
"""Steps that are not timed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("build/side-by-side"))
    parser.add_argument("--child", choices=VIEWS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(timed(given.folder, given.child, given.steps)))
        return
    make_dataset(given.folder / "raw", {"train": 4}, 0, demo.SPACING_MM)
    preprocess(given.folder / "raw", given.folder / "axial", PreprocessConfig(grid=demo.GRID, validation_share=0))
    turn(Preprocessed(given.folder / "axial"), "coronal", given.folder / "coronal")
    print(machine())
    speeds: dict[str, list[float]] = {"in turn": [], "side by side": []}
    for _ in range(given.rounds):
        alone = [ended(started(view, None)) for view in VIEWS]
        speeds["in turn"].append(2 / sum(1 / one for one in alone))
        crew = [started(view, 1) for view in VIEWS]
        speeds["side by side"].append(sum(ended(one) for one in crew))
    for way, found in speeds.items():
        print(f"{way:14} {statistics.median(found):6.1f} slices/s  ({', '.join(f'{one:.1f}' for one in found)})")
    ratios = [b / a for a, b in zip(*speeds.values(), strict=True)]
    print(f"side by side: {statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})")


def started(view: str, threads: int | None) -> subprocess.Popen[str]:
    """Start training of a view with a number of threads, or with all."""
    environment = os.environ | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    command = [sys.executable, __file__, *sys.argv[1:], "--child", view]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def ended(process: subprocess.Popen[str]) -> float:
    """Return the slices per second of a training.

    Raises:
        SystemExit: If it failed.
    """
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"a training failed with status {process.returncode}")
    return float(json.loads(output.splitlines()[-1]))


def timed(folder: Path, view: str, steps: int) -> float:
    """Train a view and return the slices seen per second of wall time."""
    config = demo.TRAINING.model_copy(update={"minutes": None, "steps": steps, "views": (), "side_by_side": False})
    moments: list[float] = []
    run = folder / f"run-{view}"
    shutil.rmtree(run, ignore_errors=True)
    told = Listener(on_step=lambda step: moments.append(time.perf_counter()))
    train_run(folder / view, run, config.model_copy(update={"export": False}), told)
    return (len(moments) - WARM_UP) * config.batch_size / (moments[-1] - moments[WARM_UP - 1])


if __name__ == "__main__":
    main()
