"""Which engine computes a model."""

from __future__ import annotations

from typing import Any

from tomoseg.errors import ConfigError
from tomoseg.inference.device import autocast_dtype, choose_device
from tomoseg.inference.engine import Engine, TorchEngine
from tomoseg.inference.onnx_engine import OnnxEngine
from tomoseg.inference.openvino_engine import OpenVinoEngine, fastest_float
from tomoseg.models.exports import Format, export_file, find_export
from tomoseg.models.folder import Model
from tomoseg.models.openvino import convert_network, has_openvino, keep_channels, read_openvino
from tomoseg.options import EngineName

PRECISIONS = {
    "torch": ("fp32", "bf16", "fp16"),
    "openvino": ("fp32", "bf16", "int8"),
    "onnx": ("fp32", "int8"),
}
"""What each engine computes in."""


def choose_engine(model: Model, engine: EngineName = "auto", device: str = "auto", precision: str = "auto") -> Engine:
    """The engine for a model on this machine.

    Args:
        model: What is computed.
        engine: `auto`: OpenVINO on a CPU where it is installed and can hold the network, else PyTorch.
        device: `auto`, `cpu`, `cuda`, ...; OpenVINO and ONNX Runtime run on the CPU only.
        precision: `auto`, `fp32`, `bf16`, `fp16` or `int8`; `auto` is int8 where the model has such an export whose
            Dice was measured to be close enough, else half precision where the hardware computes in it.

    Raises:
        ConfigError: If this machine has no such device, engine or precision, or the model no such export.
    """
    place = choose_device("cpu" if engine in ("openvino", "onnx") and device == "auto" else device)
    if engine == "auto":
        possible = place.type == "cpu" and has_openvino() and model.record.reads.is_traceable
        faster = possible and precision in ("auto", *PRECISIONS["openvino"])
        engine = "openvino" if faster or precision == "int8" else "torch"
    if precision not in ("auto", *PRECISIONS[engine]):
        known = ", ".join(PRECISIONS[engine])
        raise ConfigError(f"expected precision {known} for engine {engine}, got {precision}; use one of these")
    if engine == "torch":
        return TorchEngine(model.network, model.record.reads, place, autocast_dtype(precision, place))
    if place.type != "cpu":
        raise ConfigError(f"expected device cpu for engine {engine}, got {device}; use engine torch there")
    return _openvino(model, precision) if engine == "openvino" else _onnx(model, precision)


def _openvino(model: Model, precision: str) -> OpenVinoEngine:
    if precision == "auto":
        quantised = find_export(model, "openvino", "int8")
        precision = "int8" if quantised is not None and quantised.trusted else fastest_float()
    if precision == "int8" or find_export(model, "openvino", "fp32") is not None:
        stored: Any = read_openvino(_exported(model, "openvino", "int8" if precision == "int8" else "fp32"))
        network = stored if model.channels is None else keep_channels(stored, model.channels)
    else:
        network = convert_network(model.network, model.record.reads)
    return OpenVinoEngine(network, model.record.reads, precision)


def _onnx(model: Model, precision: str) -> OnnxEngine:
    precision = "fp32" if precision == "auto" else precision
    path = _exported(model, "onnx", precision)
    return OnnxEngine(path, model.record.reads, precision, model.channels)


def _exported(model: Model, kind: Format, precision: str) -> Any:
    """The file of an export.

    Raises:
        ConfigError: If the model has none.
    """
    export = find_export(model, kind, precision)
    if export is None or model.folder is None:
        calibration = " --calibrate PREPROCESSED" if precision == "int8" else ""
        raise ConfigError(
            f"expected a model with an {kind} export in {precision}, got one without; "
            f"run: tomoseg export {model.folder or 'MODEL'} --to {kind} --precision {precision}{calibration}"
        )
    return export_file(model.folder, export)
