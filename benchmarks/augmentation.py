"""Augmentation: milliseconds a slice, windows included, of the default recipe and of each group that is off in it.

    .venv/bin/python benchmarks/augmentation.py [--batch 8] [--size 256] [--turns 30] [--device cpu]

Random slices with 117 structures. Each group is added to the default recipe and changes every slice; ways take turns,
since a busy machine is busy for all of them.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from common import machine

from tomoseg.config import AugmentationConfig, TrainConfig
from tomoseg.training.augmentation import network_input
from tomoseg.training.slices import Batch

WAYS = {
    "windows only": AugmentationConfig(enabled=False),
    "default": AugmentationConfig(),
    "elastic": AugmentationConfig(elastic_pixels=5, elastic_probability=1),
    "blur": AugmentationConfig(blur_pixels=1.5, blur_probability=1),
    "low resolution": AugmentationConfig(low_resolution=0.5, low_resolution_probability=1),
    "cut": AugmentationConfig(cut=0.3, cut_probability=1),
    "gamma": AugmentationConfig(gamma=0.3, gamma_probability=1),
    "all, as often as by default": AugmentationConfig(
        elastic_pixels=5, blur_pixels=1.5, low_resolution=0.5, cut=0.3, gamma=0.3
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    print(machine() if given.device == "cpu" else torch.cuda.get_device_name(given.device))
    generator = torch.Generator().manual_seed(0)
    hu = torch.randint(-1024, 1500, (given.batch, given.size, given.size), generator=generator, dtype=torch.int16)
    packed = torch.randint(0, 256, (given.batch, 15, given.size, given.size), generator=generator, dtype=torch.uint8)
    annotated = torch.ones(given.batch, 117, dtype=torch.bool)
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for turn in range(given.turns + 1):
        keys = tuple((0, turn, number) for number in range(given.batch))
        batch = Batch(hu, packed, annotated, keys).to(torch.device(given.device))
        for name, augmentation in WAYS.items():
            wait(given.device)
            began = time.perf_counter()
            network_input(batch, TrainConfig(augmentation=augmentation), augment=augmentation.enabled)
            wait(given.device)
            times[name].append((time.perf_counter() - began) * 1000 / given.batch)
    for name, of_turns in times.items():  # the first turn warms up
        print(f"{name:28} {statistics.median(of_turns[1:]):6.2f} ms per slice, at best {min(of_turns[1:]):.2f}")


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
