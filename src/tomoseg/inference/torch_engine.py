"""Engine of PyTorch: for GPUs, models without an export, and models in training."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32

from tomoseg.inference.device import autocast_dtype, choose_device
from tomoseg.inference.engine import Engine
from tomoseg.models.folder import Model
from tomoseg.networks.images import EngineInput
from tomoseg.networks.network import MEMORY_FORMAT, Headless, Network


class TorchEngine(Engine):
    """A network run by PyTorch, channels-last, under autocast.

    Args:
        network: The network; it is switched to evaluation mode.
        input_spec: The network's input: windows, neighbouring slices, channels, tile size.
        device: The device that it runs on.
        dtype: Data type of its convolutions.
    """

    name = "torch"

    def __init__(self, network: Network, input_spec: EngineInput, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(input_spec)
        self._format = MEMORY_FORMAT[network.dims]
        self.network = network.to(device).to(memory_format=self._format).eval()  # type: ignore[call-overload]
        self.device = str(device)
        self.at_once = 1 if device.type == "cpu" else 4
        self.headless = isinstance(network, Headless)
        self.precision = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
        self._place, self._dtype = device, dtype

    @torch.inference_mode()
    def run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float32[np.ndarray, "n c *xyz"]:
        """Compute the logits of windowed slices or blocks, in CPU memory; structures are last in memory.

        Raises:
            MemoryError: If the device has too little memory.
        """
        try:
            return self._run(images)
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from None

    def _run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float32[np.ndarray, "n c *xyz"]:
        batch = torch.from_numpy(images).to(self._place).contiguous(memory_format=self._format)
        with torch.autocast(self._place.type, self._dtype, enabled=self._dtype != torch.float32):
            logits = self.network(batch)
        return logits.movedim(1, -1).float().contiguous().cpu().movedim(-1, 1).numpy()


def open_torch(model: Model, device: str, precision: str) -> TorchEngine:
    """Open the engine of a model.

    Args:
        model: The model.
        device: Name of the device, as for `choose_device`.
        precision: `auto`, `fp32`, `bf16` or `fp16`; for an imported model `auto` is nnU-Net's own: fp16 on a CUDA GPU,
            else fp32.

    Raises:
        ConfigError: If this machine has no such device.
        ModelError: If the weights do not fit the architecture.
    """
    place = choose_device(device)
    if precision == "auto" and model.record.plan is not None:
        precision = "fp16" if place.type == "cuda" else "fp32"
    return TorchEngine(model.network, model.record.input_spec, place, autocast_dtype(precision, place))
