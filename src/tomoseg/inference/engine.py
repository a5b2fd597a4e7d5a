"""The network as a function from slices to logits."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int16
from torch import Tensor

from tomoseg.grid import AIR_HU, apply_windows, padded_shape
from tomoseg.networks.unet import UNet


class TorchEngine:
    """A network run by PyTorch, channels-last and in the precision asked for.

    Args:
        network: In evaluation mode from now on; it may be one that is being trained.
        windows_hu: Its input channels.
        device: Where it runs.
        dtype: What its convolutions run in.
    """

    def __init__(
        self, network: UNet, windows_hu: tuple[tuple[float, float], ...], device: torch.device, dtype: torch.dtype
    ) -> None:
        self.network = network.to(device).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        self.windows_hu = windows_hu
        self.device = device
        self.dtype = dtype

    @torch.inference_mode()
    def logits(self, hu: Int16[np.ndarray, "x y n"]) -> Float[Tensor, "n c x y"]:
        """Logits of a stack of axial slices, on the engine's device.

        Slices are padded with air at their upper ends to what the network needs, and the padding is cut off again.

        Args:
            hu: Slices on the network's grid.
        """
        x, y, n = hu.shape
        padded = np.full((n, *padded_shape((x, y), self.network.stride)), AIR_HU, np.int16)
        padded[:, :x, :y] = np.moveaxis(hu, 2, 0)
        images = torch.from_numpy(apply_windows(padded, self.windows_hu)).movedim(0, 1).to(self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.network(images)[:, :, :x, :y]
