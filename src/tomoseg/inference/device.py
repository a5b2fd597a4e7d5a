"""Choice of device and precision for networks."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tomoseg.errors import ConfigError
from tomoseg.inference.fastest import half_pays
from tomoseg.language.words import part
from tomoseg.packages import is_installed, require_torch

if TYPE_CHECKING:  # imported only where needed: most predictions do without PyTorch
    import torch

KINDS = ("cpu", "cuda", "gpu", "mps", "xpu")
"""Devices listed in messages; PyTorch knows more."""

GPU_DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/kfd")
"""Device files on Linux: NVIDIA's, WSL's and AMD's."""


def device_name(name: str) -> str:
    """Resolve a device name; PyTorch is imported only where there may be a GPU.

    Args:
        name: As for `choose_device`.

    Raises:
        ConfigError: If this machine has no such device, or PyTorch is needed for it and not installed.
    """
    if name.lower() == "cpu" or (name.lower() == "auto" and not (_may_have_gpu() and is_installed("torch"))):
        return "cpu"
    return str(choose_device(name))


def _may_have_gpu() -> bool:
    """Return True if there is a GPU driver that PyTorch may support; importing PyTorch takes a second."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if sys.platform == "win32":
        return (Path(os.environ.get("SYSTEMROOT", "C:/Windows")) / "System32" / "nvcuda.dll").exists()
    return any(Path(driver).exists() for driver in GPU_DRIVERS)


def choose_device(name: str) -> torch.device:
    """Resolve a device name.

    Args:
        name: In any case: `auto` (a CUDA GPU, else an Apple GPU, else the CPU), `cpu`, `cuda`, `cuda:1`, `mps`;
            `gpu` is `cuda`, or `mps` where only that is there.

    Raises:
        ConfigError: If this machine has no such device.
    """
    torch = require_torch()
    asked = name.lower()
    if asked == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    has_mps_alone = torch.backends.mps.is_available() and not torch.cuda.is_available()
    try:
        device = torch.device(re.sub(r"^gpu(?=$|:)", "mps" if has_mps_alone else "cuda", asked))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        if asked.split(":")[0] not in KINDS:
            raise ConfigError(
                f"expected a device of this machine, got {name!r} (choose from auto, {', '.join(KINDS)}, cuda:1); "
                "use auto or cpu"
            ) from None
        reason = str(error).splitlines()[0]
        if "not compiled with CUDA" in reason:
            reason = part("PyTorch is installed without CUDA")
        raise ConfigError(f"expected a device of this machine, got {name!r} ({reason}); use auto or cpu") from None
    return device


def autocast_dtype(precision: str, device: torch.device, *, training: bool = False) -> torch.dtype:
    """Return the data type for convolutions under autocast.

    Args:
        precision: `fp32`, `bf16`, `fp16`, or `auto`: on a CUDA GPU bf16 where supported, else fp16; on a CPU bf16 where
            it was measured to be faster; else fp32.
        device: The device that they run on.
        training: Whether gradients are computed too.
    """
    torch = require_torch()
    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    if precision in named:
        return named[precision]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device)[0] >= 8 else torch.float16
    return torch.bfloat16 if device.type == "cpu" and _bf16_pays(training=training) else torch.float32


def _bf16_pays(*, training: bool) -> bool:
    """Return True if PyTorch convolves faster in bf16 on this processor."""
    torch = require_torch()
    if not torch.cpu._is_avx512_bf16_supported():
        return False
    with torch.inference_mode(mode=False):
        images = torch.ones(4, 32, 64, 64).contiguous(memory_format=torch.channels_last)
        weights = torch.ones(32, 32, 3, 3, requires_grad=training)

    def convolve(dtype: Any) -> None:
        with torch.set_grad_enabled(training), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            found = torch.nn.functional.conv2d(images, weights, padding=1)
            if training:
                found.float().mean().backward()

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        way = f"torch {torch.__version__}, {'training' if training else 'prediction'}"
        return half_pays(way, partial(convolve, torch.float32), partial(convolve, torch.bfloat16))
    finally:
        torch.set_num_threads(threads)


@contextmanager
def fixed_algorithms(*, deterministic: bool) -> Iterator[None]:
    """Run a block with deterministic algorithms, or with the fastest on a GPU.

    Args:
        deterministic: Compute the same bits every time; an operation that cannot raises an error.
    """
    torch = require_torch()
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
