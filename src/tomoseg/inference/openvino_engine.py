"""The network run by OpenVINO, the fastest way on a CPU."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from tomoseg.errors import ConfigError
from tomoseg.inference.engine import Engine
from tomoseg.models.openvino import computes_bf16, import_openvino, openvino_core

HINTS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's names of precisions."""

STREAMS = 4
"""Slices computed at once, at most, each by its share of the threads: a thread alone waits for no other."""


class OpenVinoEngine(Engine):
    """A network compiled by OpenVINO for this processor, once for each size of slice; threads may share it.

    Args:
        model: An OpenVINO model, as `models/openvino.py` makes it.
        windows_hu: Its input channels.
        stride: What the edges of its input must be a multiple of.
        precision: `fp32`, `bf16`, or `int8` for a model that is quantised; what such a model keeps in floating point
            is then in bf16 where the processor computes in it.

    Raises:
        ConfigError: If OpenVINO is not installed, or the processor does not compute in that precision.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, model: Any, windows_hu: tuple[tuple[float, float], ...], stride: int, precision: str) -> None:
        super().__init__(windows_hu, stride)
        if precision == "bf16" and not computes_bf16():
            raise ConfigError("expected a processor that computes in bf16, got one that does not; use precision fp32")
        self.precision = precision
        self._hint = HINTS[fastest_float() if precision == "int8" else precision]
        self._model = model
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()
        self._free: dict[tuple[int, ...], list[list[Any]]] = {}

    def run(self, images: Float32[np.ndarray, "n w x y"]) -> Float[Tensor, "n c x y"]:
        """Logits of windowed slices; structures are last in memory."""
        requests = self._take_requests(images.shape[1:])
        channels = requests[0].model_outputs[0].get_partial_shape()[3].get_length()
        logits = np.empty((len(images), *images.shape[2:], channels), np.float32)
        tensor = import_openvino().Tensor
        try:
            for k, (image, out) in enumerate(zip(images, logits, strict=True)):
                request = requests[k % len(requests)]
                request.wait()
                request.set_output_tensor(tensor(out[None], shared_memory=True))  # no copy
                request.start_async([image[None]], share_inputs=True)
        finally:  # they write into our memory
            for request in requests:
                request.wait()
            self._free[images.shape[1:]].append(requests)
        return torch.from_numpy(logits).movedim(3, 1)

    def _take_requests(self, shape: tuple[int, ...]) -> list[Any]:
        """Requests that no other thread uses now, one a stream; they are to be put back."""
        streams = min(torch.get_num_threads(), STREAMS)
        with self._lock:
            if shape not in self._compiled:
                model = self._model.clone()
                model.reshape([1, *shape])
                settings = {
                    "INFERENCE_PRECISION_HINT": self._hint,
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                    "NUM_STREAMS": streams,
                }
                self._compiled[shape] = openvino_core().compile_model(model, "CPU", settings)
                self._free[shape] = []
            if self._free[shape]:
                return self._free[shape].pop()
        return [self._compiled[shape].create_infer_request() for _ in range(streams)]


def fastest_float() -> str:
    """The floating-point precision in which OpenVINO is fastest on this processor."""
    return "bf16" if computes_bf16() else "fp32"
