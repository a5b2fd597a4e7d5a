"""Engine of ONNX Runtime on the CPU: to check an export, or where no other runtime may be installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tomoseg.errors import ModelError
from tomoseg.inference.engine import Engine
from tomoseg.inference.exported import exported_file
from tomoseg.inference.kinds import Calibration, Conversion, Converted, EngineKind
from tomoseg.inference.threads import thread_count
from tomoseg.models.exports import find_export
from tomoseg.models.folder import Model
from tomoseg.models.onnx import INPUT, onnx_session, run_onnx, write_onnx
from tomoseg.models.quantise import convolutions, quantise
from tomoseg.networks.images import EngineInput

LARGEST_DIFFERENCE = 1e-3
"""Largest difference of an fp32 export's logits from PyTorch's, relative to the largest logit."""


class OnnxEngine(Engine):
    """A network in ONNX Runtime. Thread-safe.

    Args:
        path: An `.onnx` file of `tomoseg export`.
        input_spec: The input that the network expects: windows, neighbouring slices, channels, tile size.
        precision: Precision of the file.
        channels: Output channels to keep; None keeps all.
    """

    name = "onnx"
    device = "cpu"

    def __init__(
        self, path: Path, input_spec: EngineInput, precision: str, channels: tuple[int, ...] | None = None
    ) -> None:
        super().__init__(input_spec)
        self.precision = precision
        self._session = onnx_session(path, thread_count())
        self._channels = slice(None) if channels is None else list(channels)

    def run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float32[np.ndarray, "n c *xyz"]:
        """Compute the logits of windowed slices or blocks."""
        logits = [run_onnx(self._session, image[None]) for image in images]
        return np.concatenate(logits)[:, self._channels]


def open_onnx(model: Model, device: str, precision: str) -> OnnxEngine:
    """Open a model's export.

    Args:
        model: The model.
        device: `cpu`.
        precision: `auto` is fp32.

    Raises:
        ConfigError: If ONNX Runtime is not installed, or the model has no such export.
        ModelError: If the export is damaged.
    """
    precision = "fp32" if precision == "auto" else precision
    return OnnxEngine(exported_file(model, "onnx", precision), model.record.input_spec, precision, model.channels)


def _convert(model: Model, calibration: Calibration | None) -> Converted:
    from tomoseg.models.conversion import convert_to_onnx

    network = convert_to_onnx(model.network, model.record.input_spec)
    made: dict[str, Any] = {}
    if calibration is not None:
        kept = [convolutions(network)[-1]]
        network = quantise(network, [{INPUT: image} for image in calibration.images], kept)
        made["kept_in_floating_point"] = kept

    def write(path: Path) -> None:
        write_onnx(network, path)
        made["difference_from_torch"] = difference = difference_from_torch(model, path)
        if calibration is None and difference > LARGEST_DIFFERENCE:
            raise ModelError(
                f"expected ONNX Runtime to compute the same as PyTorch, got logits that differ by {difference:.2g} of "
                "the largest; use engine torch or openvino"
            )

    return Converted(write, made)


def difference_from_torch(model: Model, path: Path) -> float:
    """Return the largest difference of ONNX Runtime's logits from PyTorch's on noise, relative to the largest logit.

    Args:
        model: The exported model.
        path: The `.onnx` file.
    """
    from tomoseg.inference.torch_engine import open_torch

    input_spec = model.record.input_spec
    traced = input_spec.example_shape()[2:]
    free = [edge * (5 - n) // (2 + n) for n, edge in enumerate(traced)]  # other multiples of the stride
    shape = (1, input_spec.channels, *(traced if input_spec.fixed else free))
    image = np.random.default_rng(0).random(shape, np.float32)
    expected = open_torch(model, "cpu", "fp32").run(image)
    found = run_onnx(onnx_session(path, thread_count()), image)
    return float(np.abs(found - expected).max() / np.abs(expected).max())


ONNX = EngineKind(
    name="onnx",
    package="onnxruntime",
    precisions=("fp32", "int8"),
    on=lambda device: device == "cpu",
    open=open_onnx,
    conversion=Conversion(".onnx", ("fp32", "int8"), _convert),
    automatic=lambda model: False,  # slower than OpenVINO
    compared=lambda model: tuple(p for p in ("fp32", "int8") if find_export(model, "onnx", p) is not None),
)
