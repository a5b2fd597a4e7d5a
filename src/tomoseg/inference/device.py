"""Where networks run, and in which precision."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tomoseg.errors import ConfigError


def choose_device(name: str) -> torch.device:
    """The device of a name.

    Args:
        name: `auto` (a CUDA GPU, else an Apple GPU, else the CPU), `cpu`, `cuda`, `cuda:1`, `mps`.

    Raises:
        ConfigError: If this machine has no such device.
    """
    if name == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"expected a device of this machine, got {name!r} ({reason}); use auto or cpu") from None
    return device


def autocast_dtype(precision: str, device: torch.device) -> torch.dtype:
    """The type that convolutions run in.

    Args:
        precision: `fp32`, `bf16`, `fp16`, or `auto`: bf16 where the hardware computes in it, else fp16 on a GPU and
            fp32 on a CPU.
        device: Where they run.
    """
    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision in named:
        return named[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32


@contextmanager
def fixed_algorithms(*, deterministic: bool) -> Iterator[None]:
    """Whether the block computes the same bits every time, or on a GPU with whatever algorithm is fastest there.

    Args:
        deterministic: The same bits; an operation that cannot is an error.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
