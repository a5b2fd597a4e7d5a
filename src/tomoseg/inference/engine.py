"""The network as a function from slices to logits, whatever computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float, Float32, Int16
from torch import Tensor

from tomoseg.grid import AIR_HU, apply_windows, padded_shape
from tomoseg.networks.unet import UNet


class Engine(ABC):
    """Something that computes a network.

    Attributes:
        name: `torch`, `openvino` or `onnx`.
        device: Where it runs.
        precision: What its convolutions compute in.
        mirrored: Average the logits of each slice with those of its left-right mirror image.
        offsets: What is subtracted from each structure's logits, so that it is decided at 0; None for nothing.

    Args:
        windows_hu: The network's input channels.
        stride: What the edges of its input must be a multiple of.
    """

    name: str
    device: str
    precision: str

    def __init__(self, windows_hu: tuple[tuple[float, float], ...], stride: int) -> None:
        self.windows_hu = windows_hu
        self.stride = stride
        self.mirrored = False
        self.offsets: Float32[np.ndarray, "c"] | None = None
        self._constant: dict[tuple[tuple[int, ...], bytes], Tensor] = {}

    def prepare(self, shape: tuple[int, int]) -> None:  # noqa: B027  # most have nothing to do
        """Do now what is done once for slices of a size, such as compiling.

        Args:
            shape: Of slices on the network's grid.
        """

    @abstractmethod
    def run(self, images: Float32[np.ndarray, "n w x y"]) -> Float[Tensor, "n c x y"]:
        """Logits of windowed slices whose edges are multiples of `stride`."""

    def logits(self, hu: Int16[np.ndarray, "x y n"]) -> list[Float[Tensor, "c x y"]]:
        """Logits of a stack of axial slices, each on the engine's device.

        Slices are padded with air at their upper ends to what the network needs, and the padding is cut off again.
        A slice that is constant once windowed (air, mostly) is computed once.

        Args:
            hu: Slices on the network's grid.
        """
        x, y, n = hu.shape
        images = network_images(hu, self.windows_hu, self.stride)
        constant = (images == images[:, :, :1, :1]).all(axis=(1, 2, 3))
        varied = self._compute(images[~constant]) if not constant.all() else ()
        computed = iter(varied)
        every = [self._of_constant(images[k]) if constant[k] else next(computed) for k in range(n)]
        return [logits[:, :x, :y] for logits in every]

    def _compute(self, images: Float32[np.ndarray, "n w x y"]) -> Float[Tensor, "n c x y"]:
        logits = self.run(images)
        if self.mirrored:
            logits = (logits + self.run(np.ascontiguousarray(images[:, :, ::-1])).flip(2)) / 2
        if self.offsets is not None:
            logits = logits - torch.from_numpy(self.offsets).to(logits)[:, None, None]
        return logits

    def _of_constant(self, image: Float32[np.ndarray, "w x y"]) -> Float[Tensor, "c x y"]:
        key = (image.shape, image[:, 0, 0].tobytes())
        if key not in self._constant:
            self._constant = {key: self._compute(image[None])[0]}
        return self._constant[key]


def network_images(
    hu: Int16[np.ndarray, "x y n"], windows_hu: tuple[tuple[float, float], ...], stride: int
) -> Float32[np.ndarray, "n w px py"]:
    """Slices as the network takes them: padded with air at their upper ends, windowed.

    Args:
        hu: Slices on the network's grid.
        windows_hu: The input channels.
        stride: What the padded edges are multiples of.
    """
    x, y, n = hu.shape
    padded = np.full((n, *padded_shape((x, y), stride)), AIR_HU, np.int16)
    padded[:, :x, :y] = np.moveaxis(hu, 2, 0)
    return np.ascontiguousarray(np.moveaxis(apply_windows(padded, windows_hu), 0, 1))


class TorchEngine(Engine):
    """A network run by PyTorch, channels-last and in the precision asked for.

    Args:
        network: In evaluation mode from now on; it may be one that is being trained.
        windows_hu: Its input channels.
        device: Where it runs.
        dtype: What its convolutions run in.
    """

    name = "torch"

    def __init__(
        self, network: UNet, windows_hu: tuple[tuple[float, float], ...], device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__(windows_hu, network.stride)
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.device = str(device)
        self.precision = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}[dtype]
        self._place, self._dtype = device, dtype

    @torch.inference_mode()
    def run(self, images: Float32[np.ndarray, "n w x y"]) -> Float[Tensor, "n c x y"]:
        """Logits of windowed slices, on the engine's device."""
        batch = torch.from_numpy(images).to(self._place).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self._place.type, self._dtype, enabled=self._dtype != torch.float32):
            return self.network(batch)
