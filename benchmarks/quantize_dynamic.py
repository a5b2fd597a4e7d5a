"""Effect of PyTorch's `quantize_dynamic` on the guide's network, applied to its convolutions as in the guide.

    .venv/bin/python benchmarks/quantize_dynamic.py

Prints the layers that changed, the size of the weights, ms per slice of both in turns, and how far a logit moves.
"""

from __future__ import annotations

import io
import time
import warnings

import torch
from common import machine, median_ms
from torch import nn

from tomoseg.config import NetworkConfig
from tomoseg.networks.build import build_network

RUNS = 10


def main() -> None:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(), 1, 117).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation
        quantised = torch.ao.quantization.quantize_dynamic(network, {nn.Conv2d, nn.ConvTranspose2d}, dtype=torch.qint8)
    before, after = ([type(module) for module in net.modules()] for net in (network, quantised))
    image = torch.rand(1, 1, 256, 256)
    times: dict[str, list[float]] = {"fp32": [], "quantize_dynamic": []}
    with torch.inference_mode():
        difference = (network(image) - quantised(image)).abs().max().item()
        for _ in range(RUNS):
            for name, net in (("fp32", network), ("quantize_dynamic", quantised)):
                began = time.perf_counter()
                net(image)
                times[name].append(time.perf_counter() - began)
    print(machine())
    print(f"layers of another type: {sum(a is not b for a, b in zip(before, after, strict=True))} of {len(before)}")
    for name, net in (("fp32", network), ("quantize_dynamic", quantised)):
        print(f"{name:17s} {size(net) / 1e6:.1f} MB, {median_ms(times[name]):.0f} ms per slice")
    print(f"largest difference of a logit: {difference:g}")


def size(network: nn.Module) -> int:
    """Return the size of the saved weights in bytes."""
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    return buffer.tell()


if __name__ == "__main__":
    main()
