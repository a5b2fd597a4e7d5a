"""One step of training on the guide's network with 117 structures: the guide's, written plainly, beside tomoseg's.

    .venv/bin/python benchmarks/training.py [--batch 8] [--steps 5] [--rounds 3] [--folder build/benchmark]
    .venv/bin/python benchmarks/training.py --device cuda

Slices of phantoms on the guide's grid of 256 x 256 are in memory before the clock runs: `loader.py` is about reading.
Each way runs in a process of its own, and the ways take turns. Memory is what the process takes at most, and how much
of that came with the steps; on a GPU what PyTorch has allocated there at most. The loss is what is computed after
the network's last features: the last convolution, the loss and the gradients of both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import torch
from common import PRESET, machine, write_real_size_cases
from torch import nn

from tomoseg.config import (
    PREPROCESS_PRESETS,
    AugmentationConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
)
from tomoseg.inference.memory import peak_memory_bytes
from tomoseg.labels import LabelSet
from tomoseg.networks.packed import unpack_bits
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training import losses
from tomoseg.training.build import build_run
from tomoseg.training.losses import fused_loss
from tomoseg.training.recipe import epoch_draws, take_step
from tomoseg.training.run import Run
from tomoseg.training.slices import Batch, windowed
from tomoseg.workflows.preprocess import preprocess

FEW = 10
"""Structures of the smaller dataset."""

GUIDES_LOSS: dict[str, Any] = {
    "loss": LossConfig(kind="bce", emphasis_power=0),
    "augmentation": AugmentationConfig(enabled=False),
    "optimizer": OptimizerConfig(kind="adam", learning_rate=1e-3, weight_decay=1e-5, clip_norm=None),
}
TOMOSEG: dict[str, dict[str, Any]] = {
    "tomoseg fp32": GUIDES_LOSS | {"precision": "fp32"},
    "tomoseg": GUIDES_LOSS,
    "tomoseg compiled": GUIDES_LOSS | {"compile": True},
    f"tomoseg, {FEW} structures": GUIDES_LOSS,
    "tomoseg, Dice, emphasis, augmented": {},
}
"""Settings of each way, in addition to the guide's network."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ways", nargs="+", default=["guide", "guide autocast", *TOMOSEG])
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        print(json.dumps(measured(given, given.child)))
        return
    prepare(given.folder)
    print(machine() if given.device == "cpu" else torch.cuda.get_device_name(given.device))
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in given.ways}
    for _ in range(given.rounds):
        for way in given.ways:
            found[way].append(child(way))
    show(found, given.batch)


def child(way: str) -> dict[str, Any]:
    """Run a way in its own process, with this process's arguments.

    Raises:
        SystemExit: If it fails.
    """
    command = [sys.executable, __file__, *sys.argv[1:], "--child", way]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        raise SystemExit(f"{way} failed with status {done.returncode}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def prepare(folder: Path) -> None:
    """Write phantoms on the guide's grid, with all structures and with a few."""
    write_real_size_cases(folder / "dataset", 3)
    few = LabelSet.total().names[:: 117 // FEW][:FEW]
    for name, structures in (("guide_grid", None), ("guide_grid_few", few)):
        update = {"structures": structures, "validation_share": 0, "workers": 1}
        preprocess(folder / "dataset", folder / name, PREPROCESS_PRESETS["guide"].model_copy(update=update))


def measured(given: argparse.Namespace, way: str) -> dict[str, Any]:
    """Return seconds per step, seconds of the loss in it, and memory."""
    data = Preprocessed(given.folder / ("guide_grid_few" if "structures" in way else "guide_grid"))
    config = PRESET.model_copy(
        update={
            "network": NetworkConfig(),
            "loss": LossConfig(),
            "batch_size": given.batch,
            "workers": 0,
            "device": given.device,
        }
        | TOMOSEG.get(way, {})
    )
    run = build_run(data, config)
    batch = next(run.loader.batches(epoch_draws(run))).to(run.device)
    spent: list[float] = []
    step = guides_step(run, batch, way) if way.startswith("guide") else ours(run, batch, spent)
    before = psutil.Process().memory_info().rss
    step()  # compiles and warms up
    spent.clear()
    times = []
    for _ in range(given.steps):
        began = time.perf_counter()
        step()
        wait(run.device)
        times.append(time.perf_counter() - began)
    peak = peak_memory_bytes() if run.device.type == "cpu" else torch.cuda.max_memory_allocated(run.device)
    grown = peak - before if run.device.type == "cpu" else peak
    return {"step": statistics.median(times), "loss": sum(spent) / len(times), "peak": peak, "grown": grown}


def guides_step(run: Run, batch: Batch, way: str) -> Callable[[], object]:
    """Return the guide's step: float masks, the whole network, binary cross-entropy, Adam."""
    network = run.record.build().to(run.device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-5)
    criterion = nn.BCEWithLogitsLoss()
    images = windowed(batch.hu.float(), run.config.windows_hu)
    masks = unpack_bits(batch.packed, len(run.data.labels)).float()
    scaler = torch.amp.GradScaler(run.device.type, enabled=way == "guide autocast" and run.device.type == "cuda")
    half = torch.float16 if run.device.type == "cuda" else torch.bfloat16

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(run.device.type, half, enabled=way == "guide autocast"):
            loss = criterion(network(images), masks)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def ours(run: Run, batch: Batch, spent: list[float]) -> Callable[[], object]:
    """Return tomoseg's own step, with the loss timed."""
    run.shared.train()

    def timed(*arguments: Any) -> Any:
        wait(run.device)
        began = time.perf_counter()
        value = fused_loss(*arguments)
        wait(run.device)
        spent.append(time.perf_counter() - began)
        return value

    def step() -> None:
        with mock.patch.object(losses, "fused_loss", timed):
            take_step(run, [batch])

    return step


def wait(device: torch.device) -> None:
    """Synchronise with the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def show(found: dict[str, list[dict[str, Any]]], batch: int) -> None:
    """Print a line per way of medians over the rounds."""
    base: dict[str, float] | None = None
    for way, rounds in found.items():
        mid = {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}
        base = base or mid
        print(
            f"{way:24s} {1000 * mid['step'] / batch:7.1f} ms per slice, {base['step'] / mid['step']:5.2f} x; "
            f"peak {mid['peak'] / 2**30:.2f} GiB, of the steps {mid['grown'] / 2**30:.2f} GiB "
            f"({mid['grown'] / base['grown']:.0%}); loss {mid['loss'] / mid['step']:.0%} of the step"
        )


if __name__ == "__main__":
    main()
