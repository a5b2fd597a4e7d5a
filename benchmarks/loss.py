"""The loss of 117 structures with its gradients: the plain way, fused in torch, fused and compiled for the CPU.

    .venv/bin/python benchmarks/loss.py [--batch 4] [--edge 256] [--features 32] [--repeats 9]

All from the features before the last 1x1 convolution, back to their gradients. The three take turns, so that what
else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from unittest import mock

import torch
from common import machine, median_ms, seconds
from torch import nn

from tomoseg.config import LossConfig
from tomoseg.networks.packed import unpack_bits
from tomoseg.training import pixel_loss
from tomoseg.training.losses import LossNormaliser, Targets, fused_loss
from tomoseg.training.plain_loss import plain_loss

STRUCTURES = 117


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--edge", type=int, default=256)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()

    torch.manual_seed(0)
    shape = (given.batch, given.features, given.edge, given.edge)
    features = torch.randn(shape).to(memory_format=torch.channels_last).requires_grad_()
    head = nn.Conv2d(given.features, STRUCTURES, 1)
    packed = torch.randint(0, 256, (given.batch, 15, given.edge, given.edge), dtype=torch.uint8)
    packed[:, 14] &= 0b11111  # 117 structures leave three bits of the last byte unused
    targets = Targets(packed, torch.ones(given.batch, STRUCTURES, dtype=torch.bool), torch.full((STRUCTURES,), 3.0))
    config = LossConfig()

    def plain() -> None:
        masks = unpack_bits(packed, STRUCTURES)
        plain_loss(head(features), masks, targets.annotated, config, targets.pos_weight).backward()

    def fused() -> None:
        fused_loss(head, features, targets, config, LossNormaliser.of(targets)).backward()

    def fused_in_torch() -> None:
        with mock.patch.object(pixel_loss, "is_compiled", return_value=False):
            fused()

    ways: dict[str, Callable[[], None]] = {"plain": plain, "fused in torch": fused_in_torch, "fused, compiled": fused}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.repeats + 1):  # the first compiles and warms up
        for name, way in ways.items():
            times[name].append(seconds(way))
    print(machine())
    print(f"{STRUCTURES} structures, {given.features} features, {given.batch} slices of {given.edge} x {given.edge}")
    slowest = median_ms(times["plain"][1:])
    for name, taken in times.items():
        ms = median_ms(taken[1:])
        print(f"{name:16s} {ms / given.batch:8.1f} ms per slice   {slowest / ms:5.1f} x plain")


if __name__ == "__main__":
    main()
