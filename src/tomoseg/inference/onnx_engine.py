"""The network run by ONNX Runtime on the CPU: to check an export, or where no other runtime may be installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from tomoseg.inference.engine import Engine
from tomoseg.models.onnx import onnx_session, run_onnx
from tomoseg.networks.images import NetworkInput


class OnnxEngine(Engine):
    """A network in ONNX Runtime; threads may share it.

    Args:
        path: An `.onnx` file of `tomoseg export`.
        reads: What it reads of a scan.
        precision: What the file is stored in.
        channels: The output channels to keep; None keeps all.
    """

    name = "onnx"
    device = "cpu"

    def __init__(
        self, path: Path, reads: NetworkInput, precision: str, channels: tuple[int, ...] | None = None
    ) -> None:
        super().__init__(reads)
        self.precision = precision
        self._session = onnx_session(path, torch.get_num_threads())
        self._channels = slice(None) if channels is None else list(channels)

    def run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float[Tensor, "n c *xyz"]:
        """Logits of windowed slices or blocks."""
        logits = [run_onnx(self._session, image[None]) for image in images]
        return torch.from_numpy(np.concatenate(logits)[:, self._channels])
