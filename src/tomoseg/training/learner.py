"""A network together with its loss: what is computed, compiled and shared between processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tomoseg.config import TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.inference.engine import MEMORY_FORMAT
from tomoseg.networks.network import CONV, Network
from tomoseg.networks.packed import unpack_bits
from tomoseg.training.losses import Scope, Targets, fused_loss

CustomLoss = Callable[[Float[Tensor, "n c *xyz"], Bool[Tensor, "n c *xyz"], Bool[Tensor, "n c"]], Float[Tensor, ""]]
"""A loss of one's own: logits, masks and known structures to a scalar."""


class Learner(nn.Module):
    """The loss of windowed slices, from a network.

    Under deep supervision coarser levels of the decoder have a last layer of their own, which only training knows.

    Args:
        network: What learns.
        config: Its loss, and whether it is compiled.
        dtype: What its convolutions run in.
        loss: A loss of one's own instead of the configured one.

    Raises:
        TrainingError: If the network has not so many levels to supervise.

    Source: Lee, C.-Y. et al. (2015). Deeply-supervised nets. AISTATS, 562-570.
    """

    def __init__(
        self, network: Network, config: TrainConfig, dtype: torch.dtype, loss: CustomLoss | None = None
    ) -> None:
        super().__init__()
        self.network = network
        levels = config.loss.deep_supervision
        if levels >= len(network.widths):
            raise TrainingError(
                f"expected loss.deep_supervision of at most {len(network.widths) - 1} for this network, got {levels}; "
                "lower it, or give a unet more network.channels"
            )
        conv, structures = CONV[network.dims], len(network.head.bias)  # type: ignore[arg-type]
        self.deep = nn.ModuleList(conv(width, structures, 1) for width in network.widths[1 : levels + 1])
        with torch.no_grad():
            for head in self.deep:
                head.bias.copy_(network.head.bias)  # type: ignore[operator,arg-type]
        self.deep.to(next(network.parameters()).device)
        self._scales = torch.compile(network.scales) if config.compile else network.scales
        self._config, self._dtype, self._loss = config, dtype, loss

    def forward(self, images: Float[Tensor, "n w *xyz"], targets: Targets, scope: Scope) -> Float[Tensor, ""]:
        """Their share of the loss.

        Args:
            images: Windowed slices.
            targets: What they should be predicted as.
            scope: What the loss is a mean over.
        """
        images = images.contiguous(memory_format=MEMORY_FORMAT[images.ndim - 2])
        with torch.autocast(images.device.type, self._dtype, enabled=self._dtype != torch.float32):
            features = self._scales(images)
            loss = self._loss_at(self.network.head, features[0], targets, scope)
            if not self.training or not len(self.deep):
                return loss
            whole = 1.0
            for level, (head, coarse) in enumerate(zip(self.deep, features[1:], strict=False), start=1):
                factor, weight = 2**level, 0.5**level
                fewer = scope.coarser(factor**self.network.dims)
                loss = loss + weight * self._loss_at(head, coarse, targets.coarser(factor), fewer)
                whole += weight
            return loss / whole

    def _loss_at(
        self, head: nn.Module, features: Float[Tensor, "n f *xyz"], targets: Targets, scope: Scope
    ) -> Float[Tensor, ""]:
        if self._loss is None:
            return fused_loss(head, features, targets, self._config.loss, scope)
        logits = head(features)
        with torch.autocast(features.device.type, enabled=False):
            masks = unpack_bits(targets.packed, logits.shape[1])
            value = self._loss(logits.float(), masks, targets.known)
        return value * (targets.known_voxels() / max(scope.step, 1))
