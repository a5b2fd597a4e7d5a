"""The network run by OpenVINO, the fastest way on a CPU."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from tomoseg.errors import ConfigError
from tomoseg.inference.buffers import Buffers
from tomoseg.inference.engine import Engine
from tomoseg.models.openvino import computes_bf16, import_openvino, openvino_core
from tomoseg.networks.images import NetworkInput

HINTS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's names of precisions."""


class OpenVinoEngine(Engine):
    """A network compiled by OpenVINO for this processor, once for each size of slice; threads may share it.

    Args:
        model: An OpenVINO model, as `models/openvino.py` makes it.
        reads: What it reads of a scan.
        precision: `fp32`, `bf16`, or `int8` for a model that is quantised; what such a model keeps in floating point
            is then in bf16 where the processor computes in it.

    Raises:
        ConfigError: If OpenVINO is not installed, or the processor does not compute in that precision.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, model: Any, reads: NetworkInput, precision: str) -> None:
        super().__init__(reads)
        if precision == "bf16" and not computes_bf16():
            raise ConfigError("expected a processor that computes in bf16, got one that does not; use precision fp32")
        self.precision = precision
        self._hint = HINTS[fastest_float() if precision == "int8" else precision]
        self._model = model
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()
        self._free: dict[tuple[int, ...], list[Any]] = {}
        self._buffers = Buffers()

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Compile the network for slices or blocks of a size."""
        self._compiled_for((self.reads.channels, *self.reads.padded(shape)))

    def run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float[Tensor, "n c *xyz"]:
        """Logits of windowed slices or blocks; structures are last in memory."""
        shape = images.shape[1:]
        compiled = self._compiled_for(shape)
        with self._lock:  # a request serves one thread at a time
            request = self._free[shape].pop() if self._free[shape] else None
        request = request or compiled.create_infer_request()
        channels = compiled.outputs[0].get_partial_shape()[len(shape)].get_length()
        logits = self._buffers.take((len(images), *shape[1:], channels))
        tensor = import_openvino().Tensor
        for image, out in zip(images, logits, strict=True):  # one by one: more at once is no faster, and takes memory
            request.set_output_tensor(tensor(out[None], shared_memory=True))  # no copy
            request.infer([image[None]], share_inputs=True)
        with self._lock:
            self._free[shape].append(request)
        return torch.from_numpy(logits).movedim(-1, 1)

    def _compiled_for(self, shape: tuple[int, ...]) -> Any:
        with self._lock:
            if shape not in self._compiled:
                model = self._model.clone()
                model.reshape([1, *shape])
                settings = {"INFERENCE_PRECISION_HINT": self._hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
                self._compiled[shape] = openvino_core().compile_model(model, "CPU", settings)
                self._free[shape] = []
            return self._compiled[shape]


def fastest_float() -> str:
    """The floating-point precision in which OpenVINO is fastest on this processor."""
    return "bf16" if computes_bf16() else "fp32"
