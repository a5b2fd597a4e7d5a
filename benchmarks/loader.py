"""Data loading: slices per second of the reader alone, and the time that training waits for them.

    .venv/bin/python benchmarks/loader.py [--batch 8] [--steps 12] [--workers 0 1] [--device cpu]

Phantoms of real size with 117 structures on the guide's grid, its network, the preset's loss and augmentation. The
first batch is left out: it starts the workers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from common import PRESET, machine
from training import prepare

from tomoseg.config import LossConfig, NetworkConfig, SamplingConfig
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.build import build_run
from tomoseg.training.recipe import epoch_draws, take_step
from tomoseg.training.run import Run
from tomoseg.training.slices import Batch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    given = parser.parse_args()
    prepare(given.folder)
    print(machine() if given.device == "cpu" else torch.cuda.get_device_name(given.device))
    data = Preprocessed(given.folder / "guide_grid")
    for workers in given.workers:
        sampling = SamplingConfig(slices_per_case=-(-given.batch * (given.steps + 1) // len(data.cases)))
        update = {"network": NetworkConfig(), "loss": LossConfig(), "batch_size": given.batch, "sampling": sampling}
        config = PRESET.model_copy(update=update | {"workers": workers, "device": given.device})
        run = build_run(data, config)
        run.shared.train()
        alone, _ = timed(run, batches_of(run), given.steps, train=False)
        total, waited = timed(run, batches_of(run), given.steps, train=True)
        slices = given.batch * given.steps
        print(
            f"{workers} workers: reader alone {slices / alone:.0f} slices/s; training {slices / total:.2f} slices/s, "
            f"of which {waited / total:.1%} is waiting for slices",
            flush=True,
        )


def batches_of(run: Run) -> Iterator[Batch]:
    """Return the batches of an epoch after the first one."""
    batches = run.loader.batches(epoch_draws(run))
    take_step(run, [next(batches)])
    return batches


def timed(run: Run, batches: Iterator[Batch], steps: int, *, train: bool) -> tuple[float, float]:
    """Return the total seconds of `steps` batches, and the seconds of waiting for them."""
    began, waited = time.perf_counter(), 0.0
    for _ in range(steps):
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        if train:
            take_step(run, [batch])
    return time.perf_counter() - began, waited


if __name__ == "__main__":
    main()
