"""Choice of the engine for a model."""

from __future__ import annotations

from tomoseg.errors import ConfigError, unknown_name_message
from tomoseg.inference.device import device_name
from tomoseg.inference.engine import Engine
from tomoseg.inference.engines import ENGINES
from tomoseg.models.folder import Model


def choose_engine(model: Model, engine: str = "auto", device: str = "auto", precision: str = "auto") -> Engine:
    """Choose and open the engine for a model on this machine.

    Args:
        model: The model.
        engine: One of `ENGINES`; `auto` is OpenVINO on a CPU where it can hold the network, else PyTorch.
        device: `auto`, `cpu`, `cuda`, ...; OpenVINO and ONNX Runtime run on the CPU only.
        precision: `auto`, `fp32`, `bf16`, `fp16` or `int8`; `auto` is int8 where the model has such an export whose
            Dice was measured to be close enough, else half precision where that is faster.

    Raises:
        ConfigError: If this machine has no such device, engine or precision, or the model no such export.
        ModelError: If an export is damaged.
    """
    if engine not in ("auto", *ENGINES):
        raise ConfigError(f"engine: {unknown_name_message(engine, ['auto', *ENGINES])}")
    on_cpu_only = engine != "auto" and not ENGINES[engine].on("cuda")
    place = "cpu" if on_cpu_only and device == "auto" else device_name(device)
    kind = ENGINES[_automatic(model, place, precision) if engine == "auto" else engine]
    if precision not in ("auto", *kind.precisions):
        known = ", ".join(kind.precisions)
        raise ConfigError(f"expected precision {known} for engine {kind.name}, got {precision}; use one of these")
    if not kind.on(place):
        raise ConfigError(f"expected device cpu for engine {kind.name}, got {device}; use engine torch there")
    return kind.open(model, place, precision)


def _automatic(model: Model, device: str, precision: str) -> str:
    """Return the first engine that runs on the device, in the precision, and can hold the network."""
    for kind in ENGINES.values():
        knows = precision in ("auto", *kind.precisions)
        if knows and kind.is_installed and kind.on(device) and kind.automatic(model):
            return kind.name
    return "torch"  # its error says what is missing
