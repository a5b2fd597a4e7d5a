"""A network together with its loss: the module that is compiled and shared between processes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, avg_pool3d

from tomoseg.config import TrainConfig
from tomoseg.networks.network import CONV, MEMORY_FORMAT, Network
from tomoseg.networks.packed import unpack_bits
from tomoseg.training.adversary import Discriminator, attack, frozen_statistics, virtual_attack
from tomoseg.training.losses import LossNormaliser, Targets, loss_of, unfused_loss

POOLED = {2: avg_pool2d, 3: avg_pool3d}

CustomLoss = Callable[[Float[Tensor, "n c *xyz"], Bool[Tensor, "n c *xyz"], Bool[Tensor, "n c"]], Float[Tensor, ""]]
"""A custom loss: from logits, masks and annotated structures to a scalar."""


class Learner(nn.Module):
    """Computes the loss of windowed slices with a network.

    Under deep supervision, coarser levels of the decoder have output layers of their own, which exist in training only.

    Args:
        network: The network to train.
        config: The settings of the loss, and whether the network is compiled.
        dtype: Precision of its convolutions.
        loss: A custom loss instead of the configured one.

    Source: Lee, C.-Y. et al. (2015). Deeply-supervised nets. AISTATS, 562-570.
    """

    def __init__(
        self, network: Network, config: TrainConfig, dtype: torch.dtype, loss: CustomLoss | None = None
    ) -> None:
        super().__init__()
        self.network = network
        conv, structures = CONV[network.dims], len(network.head.bias)  # type: ignore[arg-type]
        self.deep = nn.ModuleList(
            conv(width, structures, 1) for width in network.widths[1 : config.loss.deep_supervision + 1]
        )
        with torch.no_grad():
            for head in self.deep:
                head.bias.copy_(network.head.bias)  # type: ignore[operator,arg-type]
        self._adversary = config.adversarial
        self.discriminator: Discriminator | None = None
        if self._adversary.kind == "discriminator":
            self.discriminator = Discriminator(network.in_channels + structures, network.dims)
        self.to(next(network.parameters()).device)
        self._scales = torch.compile(network.scales) if config.compile else network.scales
        self._config, self._dtype, self._loss = config, dtype, loss

    def forward(
        self, images: Float[Tensor, "n w *xyz"], targets: Targets, normaliser: LossNormaliser
    ) -> Float[Tensor, ""]:
        """Return this batch's share of the loss of an optimiser step.

        Args:
            images: Windowed slices.
            targets: Their masks, and which structures are annotated.
            normaliser: The voxel counts that the loss is divided by.
        """
        images = images.contiguous(memory_format=MEMORY_FORMAT[images.ndim - 2])
        with torch.autocast(images.device.type, self._dtype, enabled=self._dtype != torch.float32):
            if not self.training or self._adversary.kind == "none":
                return self._supervised(images, targets, normaliser)[0]
            return self._contested(images, targets, normaliser)

    def _supervised(
        self, images: Float[Tensor, "n w *xyz"], targets: Targets, normaliser: LossNormaliser
    ) -> tuple[Float[Tensor, ""], Float[Tensor, "n f *xyz"]]:
        """Return the loss of all levels, and the features at the input's resolution."""
        features = self._scales(images)
        loss = self._loss_at(self.network.head, features[0], targets, normaliser)
        if not self.training or not len(self.deep):
            return loss, features[0]
        whole = 1.0
        for level, (head, coarse) in enumerate(zip(self.deep, features[1:], strict=False), start=1):
            factor, weight = 2**level, 0.5**level
            fewer = normaliser.coarser(factor**self.network.dims)
            loss = loss + weight * self._loss_at(head, coarse, targets.coarser(factor), fewer)
            whole += weight
        return loss / whole, features[0]

    def _contested(
        self, images: Float[Tensor, "n w *xyz"], targets: Targets, normaliser: LossNormaliser
    ) -> Float[Tensor, ""]:
        """Return the loss with the adversarial term, weighted by this batch's share of the step."""
        adversary, share = self._adversary, targets.annotated_voxels() / max(normaliser.step_voxels, 1)
        if adversary.kind == "fgsm":
            asked = images.detach().requires_grad_()
            loss, _ = self._supervised(asked, targets, normaliser)
            total = loss * max(
                normaliser.step_voxels / 2**14, 1
            )  # a mean's gradients are below half precision; only signs count
            (gradient,) = torch.autograd.grad(total, asked, retain_graph=True)
            with frozen_statistics(self.network):
                attacked, _ = self._supervised(attack(images, gradient, adversary.epsilon), targets, normaliser)
            return (loss + attacked) / 2
        loss, features = self._supervised(images, targets, normaliser)
        if adversary.kind == "vat":
            with frozen_statistics(self.network):
                changed = virtual_attack(self.network, images, adversary.epsilon)
            return loss + adversary.weight * share * changed
        assert self.discriminator is not None  # the only kind left
        pool = POOLED[self.network.dims]
        predicted = torch.sigmoid(self.network.head(pool(features, 2)))
        reference = unpack_bits(targets.coarser(2).packed, predicted.shape[1]).to(predicted)
        fooled = self.discriminator.loss(pool(images, 2), predicted, reference, targets.annotated)
        return loss + adversary.weight * share * fooled

    def training_only_state(self) -> dict[str, Tensor]:
        """Return the parameters that exist in training only: heads of deep supervision, the discriminator."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("network.")}

    def restore_training_only_state(self, state: dict[str, Tensor]) -> None:
        """Restore the result of `training_only_state`.

        Raises:
            RuntimeError: If it does not fit this learner.
        """
        self.load_state_dict(state | {f"network.{name}": v for name, v in self.network.state_dict().items()})

    def _loss_at(
        self, head: nn.Module, features: Float[Tensor, "n f *xyz"], targets: Targets, normaliser: LossNormaliser
    ) -> Float[Tensor, ""]:
        if self._loss is None:
            return loss_of(head, features, targets, self._config.loss, normaliser)
        return unfused_loss(head, features, targets, self._loss, normaliser)
