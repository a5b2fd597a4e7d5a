"""Adversarial training, in both senses: perturbed inputs, and a discriminator of predictions.

`attack` and `virtual_attack` perturb the input slightly in the worst direction, so that the network learns to be right,
or to predict the same, there too. A `Discriminator` learns to tell predicted masks from reference masks beside their
CT, and the network learns to deceive it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from tomoseg.networks.network import CONV

Logits = Callable[[Float[Tensor, "n w *xyz"]], Float[Tensor, "n c *xyz"]]

PROBE = 1e-2
"""Step, in windowed values, of the search for the worst direction."""


def attack(
    images: Float[Tensor, "n w *xyz"], gradient: Float[Tensor, "n w *xyz"], epsilon: float
) -> Float[Tensor, "n w *xyz"]:
    """Move every voxel by epsilon in the direction of a rising loss, within 0 to 1 (FGSM).

    Args:
        images: Windowed images.
        gradient: Gradient of the loss with respect to them.
        epsilon: Step in windowed values.

    Source: Goodfellow, I. et al. (2015). Explaining and harnessing adversarial examples. ICLR, section 4.
    """
    return (images.detach() + epsilon * gradient.nan_to_num().sign()).clamp(0, 1)


def virtual_attack(logits_of: Logits, images: Float[Tensor, "n w *xyz"], epsilon: float) -> Float[Tensor, ""]:
    """Return the largest change of predictions within epsilon: mean divergence over voxels and structures, in nats.

    No reference is needed. The worst direction is found by one step of power iteration from noise.

    Args:
        logits_of: The network.
        images: Windowed images.
        epsilon: Root mean square of the perturbation, in windowed values.

    Source: Miyato, T. et al. (2018). Virtual adversarial training. TPAMI 41, 1979-1993, equations 5 and 12.
    """
    with torch.no_grad():
        clean = logits_of(images).float()
    probe = _with_size(torch.randn_like(images), PROBE).requires_grad_()
    total = divergence(clean, logits_of(images + probe)) * clean.numel()  # gradients of a mean underflow in fp16
    (gradient,) = torch.autograd.grad(total, probe)
    return divergence(clean, logits_of(images + _with_size(gradient, epsilon)))


def divergence(logits: Float[Tensor, "n c *xyz"], other: Float[Tensor, "n c *xyz"]) -> Float[Tensor, ""]:
    """Return the mean Kullback-Leibler divergence of other Bernoulli predictions from these, in nats."""
    logits, other = logits.float(), other.float()
    inside = torch.sigmoid(logits) * (logsigmoid(logits) - logsigmoid(other))
    outside = torch.sigmoid(-logits) * (logsigmoid(-logits) - logsigmoid(-other))
    return (inside + outside).mean()


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Keep the running statistics of batch normalisation fixed in a block, since perturbed inputs are not data."""
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum


class Discriminator(nn.Module):
    """Classifies masks, shown with their CT, as reference or predicted.

    It works at half the resolution. The gradient that it passes to the masks is reversed, so that one optimiser step
    trains it and the network against each other.

    Args:
        inputs: Channels of the CT plus structures.
        dims: 2 or 3.
        width: Channels of its first layer, doubled in each of the next three.

    Source: Luc, P. et al. (2016). Semantic segmentation using adversarial networks. NIPS workshop; the reversal of
    Ganin, Y. & Lempitsky, V. (2015). ICML, 1180-1189, in place of their alternating steps.
    """

    def __init__(self, inputs: int, dims: int, width: int = 16) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for level in range(4):
            outputs = width * 2**level
            layers += [CONV[dims](inputs, outputs, kernel_size=3, stride=2, padding=1), nn.LeakyReLU(0.2)]
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.verdict = nn.Linear(inputs, 1)

    def forward(self, images: Float[Tensor, "n w *xyz"], masks: Float[Tensor, "n c *xyz"]) -> Float[Tensor, "n"]:
        """Return a logit for each sample, above 0 for references."""
        features = self.layers(torch.cat([images, masks], dim=1))
        return cast(Tensor, self.verdict(features.flatten(2).mean(2)))[:, 0]

    def loss(
        self,
        images: Float[Tensor, "n w *xyz"],
        predicted: Float[Tensor, "n c *xyz"],
        reference: Float[Tensor, "n c *xyz"],
        annotated: Bool[Tensor, "n c"],
    ) -> Float[Tensor, ""]:
        """Return its cross-entropy loss; the gradient with respect to the prediction is reversed.

        Args:
            images: Windowed images.
            predicted: Predicted probabilities.
            reference: Reference masks, 0 or 1.
            annotated: Whether each structure is annotated in each sample; the others are hidden in both.
        """
        shown = annotated.reshape(*annotated.shape, *[1] * (images.ndim - 2)).to(predicted.dtype)
        of_reference = self(images, reference * shown)
        of_predicted = self(images, _reversed(predicted) * shown)
        right = binary_cross_entropy_with_logits(of_reference.float(), torch.ones_like(of_reference).float())
        wrong = binary_cross_entropy_with_logits(of_predicted.float(), torch.zeros_like(of_predicted).float())
        return (right + wrong) / 2


def _with_size(change: Tensor, size: float) -> Tensor:
    """Scale each sample to a root mean square of `size`."""
    flat = change.flatten(1).float()
    scale = size / flat.square().mean(1).sqrt().clamp(min=1e-12)
    return (change.float() * scale.view(-1, *[1] * (change.ndim - 1))).to(change.dtype).detach()


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return -grads[0]


def _reversed(values: Tensor) -> Tensor:
    return cast(Tensor, _Reversal.apply(values))
