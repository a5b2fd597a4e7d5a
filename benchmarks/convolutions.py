"""Efficiency of the convolutions of a training step on this processor, and the possible gain of fusing layers.

    .venv/bin/python benchmarks/convolutions.py [--threads 1] [--batch 4] [--rounds 5]

For each convolution of the guide's network: the rate of its forward pass and of the gradients of its input and its
weights, beside the rate of a large matrix product, which is as fast as the processor gets. Then the share of a whole
step that lies in convolutions, and the validation's forward pass as it is, with normalisation folded into the
convolutions, and compiled by OpenVINO. Times are of the processor, not of the clock, so that other programs matter
less; all ways take turns.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any

import openvino
import torch
from common import machine
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.profiler import ProfilerActivity, profile

from tomoseg.network_kinds import NetworkConfig
from tomoseg.networks.unet import UNet

STRUCTURES = 117
EDGE = 256
"""Pixels along the guide's slices."""

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
CONVOLUTIONS = ("aten::mkldnn_convolution", "aten::convolution_backward")
SMALLER = NetworkConfig(channels=(16, 32, 64, 128), slices=5, residual=True)
"""Network of `head-neck` and the demo, for slices of 96 x 96."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(machine())
    show_rates(given.batch, given.rounds)
    show_share(given.batch)
    show_validation("the guide's, 256 x 256", NetworkConfig(), EDGE, given)
    show_validation("16 to 128 channels, 96 x 96", SMALLER, 96, given)


def show_rates(batch: int, rounds: int) -> None:
    """Print a line per convolution: GFLOP/s of its three parts."""
    for name, dtype in DTYPES.items():
        a, b = torch.randn(2, 2048, 2048).to(dtype).unbind()
        spent = medians({"product": lambda a=a, b=b: a @ b}, rounds)
        print(f"\n{name}: matrix product {2 * 2048**3 / spent['product'] / 1e9:.0f} GFLOP/s")
        print(
            "| inputs | outputs | edge | forward | gradient of the input | of the weights |\n|---|---|---|---|---|---|"
        )
        for inputs, outputs, edge in convolutions(NetworkConfig()):
            flop = 2 * 9 * batch * edge**2 * inputs * outputs
            spent = medians(parts_of(inputs, outputs, edge, batch, dtype), rounds)
            rates = " | ".join(f"{flop / seconds / 1e9:.0f}" for seconds in spent.values())
            print(f"| {inputs} | {outputs} | {edge} | {rates} |")


def convolutions(config: NetworkConfig) -> list[tuple[int, int, int]]:
    """Return inputs, outputs and edge of each 3 x 3 convolution but the first, whose input needs no gradient."""
    found = []
    for level, width in enumerate(config.channels):
        edge = EDGE >> level
        sources = [width] if level == 0 else [config.channels[level - 1], width]
        sources += [2 * width] if level < len(config.channels) - 1 else []
        found += [(source, width, edge) for source in sources]
    return found


def parts_of(inputs: int, outputs: int, edge: int, batch: int, dtype: torch.dtype) -> dict[str, Callable[[], object]]:
    """Return the forward pass and the two halves of the backward pass."""
    x, grad = (flat(torch.randn(batch, width, edge, edge).to(dtype)) for width in (inputs, outputs))
    weight, bias = flat(torch.randn(outputs, inputs, 3, 3).to(dtype)), torch.zeros(outputs, dtype=dtype)

    def backward(of_input: bool, of_weights: bool) -> object:
        wanted = [of_input, of_weights, False]
        settings = ([outputs], [1, 1], [1, 1], [1, 1], False, [0, 0], 1)
        return torch.ops.aten.convolution_backward(grad, x, weight, *settings, wanted)

    return {
        "forward": lambda: nn.functional.conv2d(x, weight, bias, padding=1),
        "input": lambda: backward(True, False),
        "weights": lambda: backward(False, True),
    }


def show_share(batch: int) -> None:
    """Print the share of convolutions in the network's forward and backward pass, without the loss."""
    network = flat(UNet(1, STRUCTURES, NetworkConfig()).train())
    images = flat(torch.randn(batch, 1, EDGE, EDGE))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            features = network.scales(images)[0]
        torch.autograd.backward(features, torch.ones_like(features))

    step()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        step()
    spent = {row.key: row.self_cpu_time_total for row in recorded.key_averages()}
    whole = sum(spent.values())
    share = sum(spent[one] for one in CONVOLUTIONS) / whole
    print(f"\nbf16, forward and backward without the loss: {share:.0%} in convolutions")
    for name, taken in sorted(spent.items(), key=lambda pair: -pair[1])[:8]:
        print(f"  {taken / whole:5.1%} {name}")


def show_validation(name: str, config: NetworkConfig, edge: int, given: argparse.Namespace) -> None:
    """Print ms per slice of the forward pass, in each way."""
    network = flat(UNet(config.slices, STRUCTURES, config).eval())
    folded = flat(fold(copy.deepcopy(network)))
    images = flat(torch.randn(given.batch, config.slices, edge, edge))
    began = time.process_time()
    settings: dict[str, Any] = {"INFERENCE_NUM_THREADS": given.threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(openvino.convert_model(folded, example_input=images), "CPU", settings)
    compiling = time.process_time() - began
    ways: dict[str, Callable[[], object]] = {
        f"{kind} {precision}": lambda net=net, dtype=dtype: forward(net, images, dtype)
        for precision, dtype in DTYPES.items()
        for kind, net in (("as it is,", network), ("folded,", folded))
    }
    spent = medians(ways | {"OpenVINO, fp32": lambda: compiled(images.numpy())}, given.rounds)
    told = ", ".join(f"{way} {1000 * seconds / given.batch:.1f}" for way, seconds in spent.items())
    print(f"\nvalidation, {name}, ms per slice: {told}; to compile {compiling:.1f} s")


@torch.inference_mode()
def forward(network: nn.Module, images: Tensor, dtype: torch.dtype) -> object:
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        return network(images)


def fold(module: nn.Module) -> nn.Module:
    """Return the module with every batch normalisation folded into the convolution before it."""
    for child in module.children():
        fold(child)
    if isinstance(module, nn.Sequential):
        for at, (first, second) in enumerate(zip(module, list(module)[1:], strict=False)):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                module[at], module[at + 1] = fuse_conv_bn_eval(first, second), nn.Identity()
    return module


def flat(value: Any) -> Any:
    """Return the value in channels-last memory format."""
    return value.to(memory_format=torch.channels_last)


def medians(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the median processor seconds of each way; ways take turns, and the first turn is a warm-up."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            began = time.process_time()
            way()
            spent[name].append(time.process_time() - began)
    return {name: statistics.median(times[1:]) for name, times in spent.items()}


if __name__ == "__main__":
    main()
