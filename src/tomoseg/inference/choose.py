"""Which engine computes a model."""

from __future__ import annotations

import torch

from tomoseg.config import EngineName
from tomoseg.errors import ConfigError
from tomoseg.inference.device import autocast_dtype, choose_device
from tomoseg.inference.engine import Engine, TorchEngine
from tomoseg.inference.openvino_engine import OpenVinoEngine
from tomoseg.models.folder import Model
from tomoseg.models.openvino import computes_bf16, has_openvino


def choose_engine(model: Model, engine: EngineName = "auto", device: str = "auto", precision: str = "auto") -> Engine:
    """The engine for a model on this machine.

    Args:
        model: What is computed.
        engine: `auto`: OpenVINO on a CPU where it is installed, else PyTorch.
        device: `auto`, `cpu`, `cuda`, ...; OpenVINO runs on the CPU only.
        precision: `auto`, `fp32`, `bf16` or `fp16`; `auto` is half precision where the hardware computes in it.

    Raises:
        ConfigError: If this machine has no such device, engine or precision.
    """
    windows_hu = model.record.windows_hu
    place = choose_device("cpu" if engine == "openvino" and device == "auto" else device)
    if engine == "openvino" and place.type != "cpu":
        raise ConfigError(f"expected device cpu for engine openvino, got {device}; use engine torch there")
    if engine == "torch" or place.type != "cpu" or (engine == "auto" and not has_openvino()):
        return TorchEngine(model.network, windows_hu, place, autocast_dtype(precision, place))
    if precision == "fp16":
        if engine == "auto":
            return TorchEngine(model.network, windows_hu, place, torch.float16)
        raise ConfigError("expected precision fp32 or bf16 for engine openvino, got fp16; use one of these")
    if precision == "auto":
        precision = "bf16" if computes_bf16() else "fp32"
    return OpenVinoEngine(model.network, windows_hu, precision)
