"""All engines. To add one: its module with its record, a line here, and its name in `options.EngineName`."""

from __future__ import annotations

from tomoseg.inference.engine import Engine
from tomoseg.inference.kinds import EngineKind
from tomoseg.inference.onnx_engine import ONNX
from tomoseg.inference.openvino_engine import OPENVINO
from tomoseg.models.folder import Model
from tomoseg.packages import require_torch


def _open_torch(model: Model, device: str, precision: str) -> Engine:
    require_torch()
    from tomoseg.inference.torch_engine import open_torch

    return open_torch(model, device, precision)


TORCH = EngineKind(  # here because its engine's module imports PyTorch
    name="torch",
    package="torch",
    precisions=("fp32", "bf16", "fp16"),
    on=lambda device: True,
    open=_open_torch,
    automatic=lambda model: True,
    compared=lambda model: ("fp32",),
)

ENGINES: dict[str, EngineKind] = {kind.name: kind for kind in (OPENVINO, TORCH, ONNX)}
"""Engines by name, in the order in which `auto` tries them."""
