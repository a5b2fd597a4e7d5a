"""What a step of the optimiser costs: Muon beside AdamW, on the demo's network and the preset's.

    .venv/bin/python benchmarks/muon.py [--rounds 30] [--structures 117]

Medians in ms, with one thread. What it learns is in `ablation.py` (rows `muon`) and `views.py` (`--optimizer muon`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from common import PRESET, machine, median_ms, seconds

from tomoseg.config import NetworkConfig, OptimizerConfig
from tomoseg.networks.build import build_network
from tomoseg.training.optimisation import build_optimizer
from tomoseg.workflows import demo

KINDS = ("adamw", "muon")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--structures", type=int, default=117)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(machine())
    for name, network in (("the demo's network", demo.TRAINING.network), ("the preset's", PRESET.network)):
        took = {kind: [] for kind in KINDS}
        steps = {kind: prepared(network, kind, given.structures) for kind in KINDS}
        for _ in range(given.rounds):
            for kind, step in steps.items():
                took[kind].append(seconds(step))
        print(f"{name}: " + ", ".join(f"{kind} {median_ms(times):.1f} ms" for kind, times in took.items()))


def prepared(config: NetworkConfig, kind: str, structures: int) -> Callable[[], None]:
    """Return a step of an optimiser over a network with random gradients."""
    network = build_network(config, config.neighbours, structures)
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer = build_optimizer(network.parameters(), OptimizerConfig(kind=kind))
    return optimizer.step


if __name__ == "__main__":
    main()
