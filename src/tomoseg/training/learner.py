"""A network together with its loss: what is computed, compiled and shared between processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tomoseg.config import TrainConfig
from tomoseg.inference.engine import MEMORY_FORMAT
from tomoseg.networks.network import Network
from tomoseg.networks.packed import unpack_bits
from tomoseg.training.losses import Scope, Targets, fused_loss

CustomLoss = Callable[[Float[Tensor, "n c *xyz"], Bool[Tensor, "n c *xyz"], Bool[Tensor, "n c"]], Float[Tensor, ""]]
"""A loss of one's own: logits, masks and known structures to a scalar."""


class Learner(nn.Module):
    """The loss of windowed slices, from a network.

    Args:
        network: What learns.
        config: Its loss, and whether it is compiled.
        dtype: What its convolutions run in.
        loss: A loss of one's own instead of the configured one.
    """

    def __init__(
        self, network: Network, config: TrainConfig, dtype: torch.dtype, loss: CustomLoss | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self._features = torch.compile(network.features) if config.compile else network.features
        self._config, self._dtype, self._loss = config, dtype, loss

    def forward(self, images: Float[Tensor, "n w *xyz"], targets: Targets, scope: Scope) -> Float[Tensor, ""]:
        """Their share of the loss.

        Args:
            images: Windowed slices.
            targets: What they should be predicted as.
            scope: What the loss is a mean over.
        """
        images = images.contiguous(memory_format=MEMORY_FORMAT[images.ndim - 2])
        head = self.network.head
        with torch.autocast(images.device.type, self._dtype, enabled=self._dtype != torch.float32):
            features = self._features(images)
            if self._loss is None:
                return fused_loss(head, features, targets, self._config.loss, scope)
            logits = head(features).float()
        masks = unpack_bits(targets.packed, logits.shape[1])
        return self._loss(logits, masks, targets.known) * (targets.known_voxels() / max(scope.step, 1))
