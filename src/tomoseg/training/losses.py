"""Multi-label losses, fused with the network's last 1x1 convolution.

The straightforward way keeps `(n, C, x, y)` float logits, targets and both gradients alive: gigabytes at 117
structures. Here the last convolution and the loss process the pixels in chunks, targets are unpacked per chunk, and
the gradients of features and head are computed on the way, so no array of size structures x pixels exists. The idea
is that of fused linear cross-entropy in language models.

Structures that are not annotated in a case contribute neither loss nor gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pkgutil import resolve_name
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import pad

from tomoseg.loss_kinds import LossConfig, Terms
from tomoseg.networks.packed import unpack_bits
from tomoseg.training.pixel_loss import PixelWeights, focal_gradients_, gradients_, probability_sums
from tomoseg.training.ranks import ALONE, Ranks

CHUNK_ELEMENTS = 1 << 20
"""Logits alive at once: 4 MB per temporary in float32, which stays in cache."""

DICE_SMOOTHING = 1.0
"""Voxels added to numerator and denominator of the soft Dice, so that an absent structure has a finite gradient."""

SMALL = 1e-6
"""Smaller than any sum of positive weights."""


@dataclass(frozen=True)
class Targets:
    """The targets of a batch.

    Attributes:
        packed: `(n, ceil(C / 8), x, y[, z])` packed masks.
        annotated: `(n, C)`, whether each structure is annotated in each sample's case.
        pos_weight: `(C,)`, weight of each structure's foreground voxels in the cross-entropy; None is 1 for all.
        weights: `(C,)`, weight of each structure in the loss, with a mean of 1; None is 1 for all.
    """

    packed: UInt8[Tensor, "n b *xyz"]
    annotated: Bool[Tensor, "n c"]
    pos_weight: Float[Tensor, "c"] | None = None
    weights: Float[Tensor, "c"] | None = None

    def coarser(self, factor: int) -> Targets:
        """The targets of features that are coarser by a factor: each voxel takes the masks at its centre.

        Args:
            factor: A divisor of every edge.
        """
        middle = slice(factor // 2, None, factor)
        return replace(self, packed=self.packed[(slice(None), slice(None), *[middle] * (self.packed.ndim - 2))])

    def annotated_voxels(self) -> int:
        """Voxels times annotated structures, by which a mean loss is divided."""
        return int(self.annotated.sum()) * self.packed[0, 0].numel()


@dataclass(frozen=True)
class LossNormaliser:
    """The voxel counts that a loss is divided by, so that parts of an optimiser step add up to a mean.

    Attributes:
        batch_voxels: Annotated voxels of this batch, over all processes; an optimiser step may accumulate several.
        step_voxels: Annotated voxels of all batches of the optimiser step.
        ranks: The processes that share this batch.
    """

    batch_voxels: int
    step_voxels: int
    ranks: Ranks = ALONE

    def coarser(self, voxels: int) -> LossNormaliser:
        """The counts for features in which one voxel replaces `voxels` of these."""
        return LossNormaliser(self.batch_voxels // voxels, self.step_voxels // voxels, self.ranks)

    @classmethod
    def of(cls, targets: Targets) -> LossNormaliser:
        """The counts of an optimiser step of one batch in one process."""
        return cls(targets.annotated_voxels(), targets.annotated_voxels())


def fused_loss(
    head: nn.Module,
    features: Float[Tensor, "n f *xyz"],
    targets: Targets,
    config: LossConfig,
    normaliser: LossNormaliser,
) -> Float[Tensor, ""]:
    """Loss of a batch from the features before the last 1x1 convolution.

    Args:
        head: The 1x1 convolution, with `weight` `(C, f, 1, ...)` and `bias` `(C,)`.
        features: Its input; channels-last memory is read without a copy.
        targets: Packed masks, and which structures are annotated.
        config: The settings of the loss.
        normaliser: The sum of the cross-entropy is divided by the annotated voxels of the whole optimiser step. The
            Dice term is that of this batch, over all processes, weighted by its share of the annotated voxels.

    Returns:
        Scalar float32; summed over all batches and processes it is the loss of the optimiser step. The binary
        cross-entropy is the mean over annotated voxels of all structures. The Dice term is one minus the mean soft Dice
        of the structures that occur in the batch: for an absent structure it would only push every probability down,
        which would hold back rare structures, absent from most batches; their false positives are left to the
        cross-entropy. Next to a cross-entropy the Dice term is divided by the number of structures, as the
        cross-entropy is, so that more structures do not shift the balance of the two. If a Tversky loss is configured,
        the Tversky index replaces Dice; Dice is the Tversky index with both weights 0.5.

    Source: Milletari, F. et al. (2016). V-Net. 3DV, 565-571 (soft Dice). Salehi, S. et al. (2017). Tversky loss
    function. MLMI, LNCS 10541, 379-387.
    """
    weight, bias = cast(Tensor, head.weight), cast(Tensor, head.bias)
    spare = -len(weight) % 8  # unannotated structures that fill the last byte, so that nothing is cut to size
    weight, bias = pad(weight.flatten(1), (0, 0, 0, spare)), pad(bias, (0, spare))
    of_each = (None if of is None else pad(of, (0, spare)) for of in (targets.pos_weight, targets.weights))
    whole_bytes = Targets(targets.packed, pad(targets.annotated, (0, spare)), *of_each)
    terms = config.terms(len(cast(Tensor, head.bias)))
    terms = replace(terms, dice=terms.dice * normaliser.batch_voxels / max(normaliser.step_voxels, 1))
    needs_gradient = torch.is_grad_enabled() and any(t.requires_grad for t in (features, weight, bias))
    return cast(Tensor, _FusedLoss.apply(features, weight, bias, whole_bytes, normaliser, terms, needs_gradient))


PlainLoss = Callable[
    [
        Float[Tensor, "n c *xyz"],
        Bool[Tensor, "n c *xyz"],
        Bool[Tensor, "n c"],
        LossConfig,
        Float[Tensor, "c"] | None,
        Float[Tensor, "c"] | None,
    ],
    Float[Tensor, ""],
]
"""A loss of logits, masks and annotated structures, with the settings, `Targets.pos_weight` and `Targets.weights`. It
is a mean over annotated voxels or structures; what is not annotated contributes nothing."""


def loss_of(
    head: nn.Module,
    features: Float[Tensor, "n f *xyz"],
    targets: Targets,
    config: LossConfig,
    normaliser: LossNormaliser,
) -> Float[Tensor, ""]:
    """Loss of a batch, of the kind that the settings name: its fused terms and its plain function, added up.

    Args:
        head: The 1x1 convolution.
        features: Its input.
        targets: Packed masks, and which structures are annotated.
        config: The settings of the loss.
        normaliser: The voxel counts that it is divided by.
    """
    kind = config.record
    if kind.plain is None:
        return fused_loss(head, features, targets, config, normaliser)
    plain: PlainLoss = resolve_name(kind.plain)

    def loss(logits: Tensor, masks: Tensor, annotated: Tensor) -> Tensor:
        return plain(logits, masks, annotated, config, targets.pos_weight, targets.weights)

    value = unfused_loss(head, features, targets, loss, normaliser)
    return value if kind.terms is None else value + fused_loss(head, features, targets, config, normaliser)


def unfused_loss(
    head: nn.Module,
    features: Float[Tensor, "n f *xyz"],
    targets: Targets,
    loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    normaliser: LossNormaliser,
) -> Float[Tensor, ""]:
    """Loss of a batch by a function of all its logits, masks and annotated structures.

    Args:
        head: The 1x1 convolution.
        features: Its input.
        targets: Packed masks, and which structures are annotated.
        loss: From float32 logits to a scalar.
        normaliser: The loss is weighted by its batch's share of the step's annotated voxels.
    """
    logits = head(features)
    with torch.autocast(features.device.type, enabled=False):
        value = loss(logits.float(), unpack_bits(targets.packed, logits.shape[1]), targets.annotated)
    return value * (targets.annotated_voxels() / max(normaliser.step_voxels, 1))


class _FusedLoss(torch.autograd.Function):
    """The fused loss: two passes over the pixels if Dice needs the whole batch's sums first, one otherwise."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Targets,
        normaliser: LossNormaliser,
        terms: Terms,
        needs_gradient: bool,
    ) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            tensors = _FusedTensors(features, weight, bias, targets)
            gradients = _Gradients(tensors) if needs_gradient else None
            annotated = targets.annotated.to(tensors.dtype)
            unit = _gradient_unit(features.dtype, normaliser.step_voxels)
            slope, offset, extra = torch.zeros((3, annotated.shape[1]), dtype=tensors.dtype, device=features.device)
            loss = torch.zeros((), dtype=tensors.dtype, device=features.device)
            if terms.dice > 0:
                dice_loss, slope, offset = tensors.dice(terms, targets.weights, normaliser.ranks)
                loss += dice_loss
            if targets.pos_weight is not None:
                extra = targets.pos_weight.to(tensors.dtype) - 1
            scale = terms.entropy * annotated / max(normaliser.step_voxels, 1)
            if targets.weights is not None:
                scale = scale * targets.weights.to(tensors.dtype)
            loss += tensors.entropy(
                PixelWeights(scale, extra, annotated * slope, annotated * offset), terms.gamma, unit, gradients
            )
        ctx.unit = unit
        if gradients is not None:
            ctx.save_for_backward(gradients.of_features(), gradients.weight, gradients.bias)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_features, grad_weight, grad_bias = ctx.saved_tensors
        by = grads[0] / ctx.unit
        return grad_features * by.to(grad_features.dtype), grad_weight * by, grad_bias * by, None, None, None, None


def _gradient_unit(dtype: torch.dtype, annotated_voxels: int) -> float:
    """Return the factor of gradients until `backward`: those of a mean over millions of voxels underflow in fp16."""
    return max(annotated_voxels, 256) / 256 if dtype == torch.float16 else 1.0


class _FusedTensors:
    """The tensors of one fused loss, as matrices of pixels by channels."""

    def __init__(self, features: Tensor, weight: Tensor, bias: Tensor, targets: Targets) -> None:
        self.dtype = torch.promote_types(features.dtype, torch.float32)
        self.annotated = targets.annotated
        self.structures = weight.shape[0]
        self.given = features
        self.features = features.movedim(1, -1).reshape(features.shape[0], -1, features.shape[1])
        self._packed = targets.packed.flatten(2)
        # on a CPU such narrow matrices multiply as fast in float32, and converting logits costs more than the product
        self.narrow = features.dtype if features.device.type != "cpu" else self.dtype
        self.weight = weight.detach().to(self.narrow)
        self._bias = bias.detach().to(self.dtype)
        self._products = features.new_empty(0, dtype=self.dtype)

    def chunks(self) -> list[tuple[slice, slice]]:
        """Return the samples and pixels of each chunk: several whole samples, or a part of one."""
        n, pixels, _ = self.features.shape
        length = max(1, CHUNK_ELEMENTS // self.structures)
        together = max(1, length // pixels)
        length = min(length, pixels)
        return [
            (slice(i, i + together), slice(first, first + length))
            for i in range(0, n, together)
            for first in range(0, pixels, length)
        ]

    def products(self, features: Tensor) -> Tensor:
        """Compute logits without bias, `(samples, pixels, C)` in float32 or wider; the next chunk overwrites them.

        The bias is added where each logit is met anyway: a pass for it alone costs more than the product.
        """
        shape = (*features.shape[:2], self.structures)
        if self._products.shape != shape:
            self._products = features.new_empty(shape, dtype=self.dtype)
        if self.narrow == self.dtype:
            torch.mm(features.flatten(0, 1), self.weight.T, out=self._products.view(-1, shape[2]))
        else:
            self._products.copy_(features @ self.weight.T)
        return self._products

    def pixels(self, samples: slice, pixels: slice) -> Tensor:
        """Return the features of a chunk, in the precision of matrix products."""
        return self.features[samples, pixels].to(self.narrow)

    def dice(self, terms: Terms, weights: Tensor | None, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor]:
        """Return this process's share of the Dice term, and slope and offset of its gradient by a probability.

        The gradient is `reference * slope + offset`.
        """
        sums = torch.zeros((3, self.structures), dtype=self.dtype, device=self.annotated.device)
        for samples, pixels in self.chunks():
            masks, annotated = self._packed[samples, :, pixels], self.annotated[samples].to(self.dtype)
            sums += probability_sums(self.products(self.pixels(samples, pixels)), self._bias, masks, annotated)
        overlap, predicted, true = ranks.sum(sums)
        both = 1 - terms.alpha - terms.beta
        smoothing = DICE_SMOOTHING / 2
        total = terms.alpha * predicted + terms.beta * true + both * overlap + smoothing
        index = (overlap + smoothing) / total
        some = (true > 0).to(self.dtype)
        if weights is not None:
            some = some * weights.to(self.dtype)
        each = terms.dice * some / some.sum().clamp(min=SMALL)
        slope, offset = -each * (1 - both * index) / total, each * terms.alpha * index / total
        return (each * (1 - index)).sum() / ranks.count, slope, offset

    def entropy(self, weights: PixelWeights, gamma: float, unit: float, gradients: _Gradients | None) -> Tensor:
        """Return the scaled cross-entropy, focal if gamma is above 0, and add its gradients times `unit`."""
        loss = torch.zeros((), dtype=self.dtype, device=self.annotated.device)
        for samples, pixels in self.chunks():
            features = self.pixels(samples, pixels)
            chunk = self.products(features), self._bias, self._packed[samples, :, pixels], weights.of(samples)
            value, by_bias = focal_gradients_(*chunk, gamma) if gamma > 0 else gradients_(*chunk)
            loss += value
            if gradients is not None:  # the products now hold the loss's gradients
                by_logits = chunk[0] if unit == 1 else chunk[0].mul_(unit)
                gradients.add(samples, pixels, features, by_logits, by_bias * unit)
        return loss


class _Gradients:
    """Gradients of the features and of the head's weight and bias, accumulated by chunk."""

    def __init__(self, tensors: _FusedTensors) -> None:
        self._tensors, features = tensors, tensors.given
        self._features = torch.empty_like(features)
        as_matrix = self._features.movedim(1, -1)
        self._is_view = as_matrix.is_contiguous()
        self._matrix = as_matrix.view(tensors.features.shape) if self._is_view else torch.empty_like(tensors.features)
        self.weight = torch.zeros_like(tensors.weight, dtype=tensors.dtype)
        self.bias = torch.zeros(tensors.structures, dtype=tensors.dtype, device=features.device)

    def add(self, samples: slice, pixels: slice, features: Tensor, by_logits: Tensor, by_bias: Tensor) -> None:
        """Add those of one chunk, from its features and the loss's gradients by its logits and by the bias."""
        self.bias += by_bias
        narrow = by_logits.to(self._tensors.narrow)
        self.weight += narrow.flatten(0, 1).T @ features.flatten(0, 1)
        self._matrix[samples, pixels] = (narrow @ self._tensors.weight).to(self._matrix.dtype)

    def of_features(self) -> Tensor:
        """Return the gradients of the features, in their shape and memory format."""
        if not self._is_view:
            n, *shape = self._features.shape[0], *self._features.shape[2:]
            self._features.copy_(self._matrix.view(n, *shape, -1).movedim(-1, 1))
        return self._features
