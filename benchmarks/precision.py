"""Check of `--precision auto`: the preset's network in fp32 and bf16 on this machine, in turns.

    .venv/bin/python benchmarks/precision.py [--rounds 9] [--batch 4] [--edge 128] [--threads N]

A training step (PyTorch, forward and backward with the loss left out) and a prediction by each engine. Printed are
medians, how much faster bf16 is, what `auto` takes on this machine, and whether that is right: bf16 where it gains at
least `LEAST_GAIN`, fp32 where it does not; between 1 and that either is.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from common import PRESET, machine, median_ms

from tomoseg.config import GridConfig
from tomoseg.inference.choose import choose_engine
from tomoseg.inference.device import autocast_dtype
from tomoseg.inference.fastest import LEAST_GAIN
from tomoseg.labels import LabelSet
from tomoseg.models.folder import Model, ModelRecord

Run = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--edge", type=int, default=128)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    print(machine(), f"{torch.get_num_threads()} threads")
    preset = PRESET
    grid = GridConfig(mode="native", crop="none")
    record = ModelRecord(LabelSet.total(), preset.network, grid, preset.windows_hu)
    model = Model(record, record.build())
    shape = (given.batch, record.input_spec.channels, given.edge, given.edge)
    images = np.random.default_rng(0).random(shape, np.float32)
    auto = autocast_dtype("auto", torch.device("cpu"), training=True)
    show("training, torch", given.rounds, *steps(model, images), "bf16" if auto == torch.bfloat16 else "fp32")
    for engine in ("torch", "openvino"):
        plain, half = (choose_engine(model, engine, "cpu", precision) for precision in ("fp32", "bf16"))
        taken = choose_engine(model, engine, "cpu", "auto").precision
        show(f"prediction, {engine}", given.rounds, partial(plain.run, images), partial(half.run, images), taken)


def steps(model: Model, images: np.ndarray) -> tuple[Run, Run]:
    """Return forward and backward passes in fp32 and in bf16."""
    network = model.network.train().to(memory_format=torch.channels_last)
    batch = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)

    def step(dtype: torch.dtype) -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = network(batch)
        logits.float().square().mean().backward()
        network.zero_grad()

    return lambda: step(torch.float32), lambda: step(torch.bfloat16)


def show(what: str, rounds: int, plain: Run, half: Run, taken: str) -> None:
    """Print the times of both, run in turns, and the precision that `auto` takes."""
    times: tuple[list[float], list[float]] = ([], [])
    for run in (plain, half):
        run()
    for _ in range(rounds):
        for run, into in zip((plain, half), times, strict=True):
            began = time.perf_counter()
            run()
            into.append(time.perf_counter() - began)
    gain = statistics.median(one / other for one, other in zip(*times, strict=True))
    right = taken == ("bf16" if gain >= LEAST_GAIN else "fp32") or 1 <= gain < LEAST_GAIN
    print(
        f"{what}: fp32 {median_ms(times[0]):.1f} ms, bf16 {median_ms(times[1]):.1f} ms, {gain:.2f} times as fast; "
        f"auto takes {taken}, {'right' if right else 'WRONG'}"
    )


if __name__ == "__main__":
    main()
