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
from tomoseg.models.openvino import computes_bf16, convert_network, openvino_core
from tomoseg.networks.unet import UNet

HINTS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's names of precisions."""


class OpenVinoEngine(Engine):
    """A network compiled by OpenVINO for this processor, once for each size of slice; threads may share it.

    Args:
        network: What is computed; its weights are copied.
        windows_hu: Its input channels.
        precision: `fp32` or `bf16`.

    Raises:
        ConfigError: If OpenVINO is not installed, or the processor does not compute in that precision.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, network: UNet, windows_hu: tuple[tuple[float, float], ...], precision: str) -> None:
        super().__init__(windows_hu, network.stride)
        if precision == "bf16" and not computes_bf16():
            raise ConfigError("expected a processor that computes in bf16, got one that does not; use precision fp32")
        self.precision = precision
        self._model = convert_network(network, len(windows_hu))
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._lock = threading.Lock()
        self._requests = threading.local()

    def run(self, images: Float32[np.ndarray, "n w x y"]) -> Float[Tensor, "n c x y"]:
        """Logits of windowed slices; structures are last in memory."""
        request = self._request(images.shape[1:])
        logits = []
        for image in images:
            request.infer([image[None]], share_inputs=True)
            logits.append(torch.from_numpy(request.get_output_tensor().data.copy()))
        return torch.cat(logits).movedim(3, 1)

    def _request(self, shape: tuple[int, ...]) -> Any:
        """A request of this thread's own, since two threads may not share one."""
        with self._lock:
            if shape not in self._compiled:
                model = self._model.clone()
                model.reshape([1, *shape])
                settings = {
                    "INFERENCE_PRECISION_HINT": HINTS[self.precision],
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                    "PERFORMANCE_HINT": "LATENCY",
                }
                self._compiled[shape] = openvino_core().compile_model(model, "CPU", settings)
        requests: dict[tuple[int, ...], Any] = self._requests.__dict__.setdefault("of_shape", {})
        if shape not in requests:
            requests[shape] = self._compiled[shape].create_infer_request()
        return requests[shape]
