"""The network as a function from slices or blocks to logits, whatever computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float, Float32, Int16
from torch import Tensor

from tomoseg.networks.images import NetworkInput
from tomoseg.networks.network import Network

MEMORY_FORMAT = {2: torch.channels_last, 3: torch.channels_last_3d}
"""By the network's dimensions: channels last, as convolutions are fastest."""


class Engine(ABC):
    """Something that computes a network.

    Attributes:
        name: `torch`, `openvino` or `onnx`.
        device: Where it runs.
        precision: What its convolutions compute in.
        mirrored: Average the logits of each slice with those of its left-right mirror image.
        offsets: What is subtracted from each structure's logits, so that it is decided at 0; None for nothing.

    Args:
        reads: What the network reads of a scan.
    """

    name: str
    device: str
    precision: str

    def __init__(self, reads: NetworkInput) -> None:
        self.reads = reads
        self.mirrored = False
        self.offsets: Float32[np.ndarray, "c"] | None = None
        self._constant: dict[tuple[tuple[int, ...], bytes], Tensor] = {}

    def prepare(self, shape: tuple[int, ...]) -> None:  # noqa: B027  # most have nothing to do
        """Do now what is done once for slices or blocks of a size, such as compiling.

        Args:
            shape: Of what the network is given, on its grid.
        """

    @abstractmethod
    def run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float[Tensor, "n c *xyz"]:
        """Logits of windowed slices or blocks of a size that the network takes."""

    def logits(self, hu: Int16[np.ndarray, "x y m"]) -> list[Float[Tensor, "c x y"]]:
        """Logits of a stack of axial slices, each on the engine's device.

        Slices are padded with air at their upper ends to what the network needs, and the padding is cut off again.
        A slice that is constant once windowed (air, mostly) is computed once.

        Args:
            hu: Slices on the network's grid, with `reads.reach` more at either end.
        """
        x, y, _ = hu.shape
        return [logits[:, :x, :y] for logits in self._each(self.reads.of_slices(hu))]

    def block(self, hu: Int16[np.ndarray, "x y z"]) -> Float[Tensor, "c x y z"]:
        """Logits of a block, padded as slices are; one that is constant once windowed is computed once.

        Args:
            hu: On the network's grid.
        """
        x, y, z = hu.shape
        (logits,) = self._each(self.reads.of_block(hu))
        return logits[:, :x, :y, :z]

    def _each(self, images: Float32[np.ndarray, "n w *xyz"]) -> list[Float[Tensor, "c *xyz"]]:
        voxels = images.reshape(*images.shape[:2], -1)
        constant = (voxels == voxels[:, :, :1]).all(axis=(1, 2))
        varied = iter(self._compute(images[~constant]) if not constant.all() else ())
        return [
            self._of_constant(image) if same else next(varied) for image, same in zip(images, constant, strict=True)
        ]

    def _compute(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float[Tensor, "n c *xyz"]:
        logits = self.run(images)
        if self.mirrored:
            logits = (logits + self.run(np.ascontiguousarray(images[:, :, ::-1])).flip(2)) / 2
        if self.offsets is not None:
            logits = logits - torch.from_numpy(self.offsets).to(logits).view(-1, *[1] * (logits.ndim - 2))
        return logits

    def _of_constant(self, image: Float32[np.ndarray, "w *xyz"]) -> Float[Tensor, "c *xyz"]:
        key = (image.shape, image.reshape(len(image), -1)[:, 0].tobytes())
        logits = self._constant.get(key)
        if logits is None:
            logits = self._compute(image[None])[0]
            self._constant = {key: logits}  # whole at once: other threads may have images of another size
        return logits


class TorchEngine(Engine):
    """A network run by PyTorch, channels-last and in the precision asked for.

    Args:
        network: In evaluation mode from now on; it may be one that is being trained.
        reads: What it reads of a scan.
        device: Where it runs.
        dtype: What its convolutions run in.
    """

    name = "torch"

    def __init__(self, network: Network, reads: NetworkInput, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(reads)
        self._format = MEMORY_FORMAT[network.dims]
        self.network = network.to(device).to(memory_format=self._format).eval()  # type: ignore[call-overload]
        self.device = str(device)
        self.precision = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
        self._place, self._dtype = device, dtype

    @torch.inference_mode()
    def run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float[Tensor, "n c *xyz"]:
        """Logits of windowed slices or blocks, on the engine's device."""
        batch = torch.from_numpy(images).to(self._place).contiguous(memory_format=self._format)
        with torch.autocast(self._place.type, self._dtype, enabled=self._dtype != torch.float32):
            return self.network(batch)
