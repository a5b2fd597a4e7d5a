"""The multi-label losses, computed together with the network's last 1x1 convolution.

The straightforward way keeps `(n, C, x, y)` float logits, targets and both gradients alive: gigabytes at 117
structures. Here the last convolution and the loss go through the pixels in chunks, targets are unpacked a chunk at a
time, and the gradients of features and head are made on the way, so nothing of size structures x pixels exists. The
idea is that of fused linear cross-entropy in language models.

Unknown structures (not annotated in a case) give neither loss nor gradient.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import pad

from tomoseg.loss_kinds import LossConfig, Terms
from tomoseg.training.pixel_loss import Weights, focal_gradients_, gradients_, probability_sums
from tomoseg.training.ranks import ALONE, Ranks

CHUNK_ELEMENTS = 1 << 20
"""Logits alive at once: 4 MB a temporary in float32, which stays in cache."""

DICE_SMOOTHING = 1.0
"""Voxels added above and below the soft Dice fraction: a structure absent from the batch has a finite gradient."""

SMALL = 1e-6
"""Less than any sum of weights that are above 0."""


@dataclass(frozen=True)
class Targets:
    """What a batch should be predicted as.

    Attributes:
        packed: `(n, ceil(C / 8), x, y[, z])` packed masks.
        known: `(n, C)`, whether each structure is annotated in each sample's case.
        emphasis: `(C,)`, how much a structure's own voxels weigh in the cross-entropy; nothing is 1 for all.
        weights: `(C,)`, how much each structure counts, with a mean of 1; nothing is 1 for all.
    """

    packed: UInt8[Tensor, "n b *xyz"]
    known: Bool[Tensor, "n c"]
    emphasis: Float[Tensor, "c"] | None = None
    weights: Float[Tensor, "c"] | None = None

    def coarser(self, factor: int) -> Targets:
        """Of features that are coarser by a factor: each voxel takes the masks of the one at its middle.

        Args:
            factor: A divisor of every edge.
        """
        middle = slice(factor // 2, None, factor)
        return replace(self, packed=self.packed[(slice(None), slice(None), *[middle] * (self.packed.ndim - 2))])

    def known_voxels(self) -> int:
        """Voxels times annotated structures: what a mean loss divides by."""
        return int(self.known.sum()) * self.packed[0, 0].numel()


@dataclass(frozen=True)
class Scope:
    """What a loss is a mean over.

    Attributes:
        part: Known voxels of this part of an accumulated batch, over all processes.
        step: Those of all its parts.
        ranks: The processes that have a share of this part each.
    """

    part: int
    step: int
    ranks: Ranks = ALONE

    def coarser(self, voxels: int) -> Scope:
        """Of features whose voxels are so many of these."""
        return Scope(self.part // voxels, self.step // voxels, self.ranks)

    @classmethod
    def of(cls, targets: Targets) -> Scope:
        """One batch in one process."""
        return cls(targets.known_voxels(), targets.known_voxels())


def fused_loss(
    head: nn.Module, features: Float[Tensor, "n f *xyz"], targets: Targets, config: LossConfig, scope: Scope
) -> Float[Tensor, ""]:
    """Loss of a batch from the features before the last 1x1 convolution.

    Args:
        head: The 1x1 convolution, with `weight` `(C, f, 1, ...)` and `bias` `(C,)`.
        features: Its input; channels-last memory is read without a copy.
        targets: Packed masks and which structures are known.
        config: Which loss.
        scope: The cross-entropy's sum is divided by the known voxels of the whole step. The Dice part is of this part
            of an accumulated batch, over all processes, and weighs by its share of the known voxels.

    Returns:
        Scalar float32; over all parts and processes it adds up to the loss of the step. Binary cross-entropy is the
        mean over known voxels of all structures; the Dice part is one minus the mean over the structures that occur in
        the batch of their soft Dice. Of an absent one it would only push every probability down, and rare structures,
        absent from most batches, would be held back; the cross-entropy has their false positives. Beside the
        cross-entropy the Dice part is divided by the number of structures, as the cross-entropy is: more structures do
        not shift the balance of the two. The Tversky index takes the place of Dice where it is asked for; Dice is the
        one whose weights are both a half.

    Source: Milletari, F. et al. (2016). V-Net. 3DV, 565-571 (soft Dice). Salehi, S. et al. (2017). Tversky loss
    function. MLMI, LNCS 10541, 379-387.
    """
    weight, bias = cast(Tensor, head.weight), cast(Tensor, head.bias)
    spare = -len(weight) % 8  # unknown structures that fill the last byte, so that nothing is cut to size
    weight, bias = pad(weight.flatten(1), (0, 0, 0, spare)), pad(bias, (0, spare))
    of_each = (None if of is None else pad(of, (0, spare)) for of in (targets.emphasis, targets.weights))
    whole_bytes = Targets(targets.packed, pad(targets.known, (0, spare)), *of_each)
    parts = config.terms(len(cast(Tensor, head.bias)))
    parts = replace(parts, dice=parts.dice * scope.part / max(scope.step, 1))
    return cast(Tensor, _FusedLoss.apply(features, weight, bias, whole_bytes, scope, parts))


def plain_loss(
    logits: Float[Tensor, "n c *xyz"],
    masks: Bool[Tensor, "n c *xyz"],
    known: Bool[Tensor, "n c"],
    config: LossConfig,
    emphasis: Float[Tensor, "c"] | None = None,
    weights: Float[Tensor, "c"] | None = None,
) -> Float[Tensor, ""]:
    """The same loss from logits, written plainly; what `fused_loss` is tested against.

    Args:
        logits: Of each structure.
        masks: The reference.
        known: Which structures are annotated in which sample.
        config: Which loss.
        emphasis: How much each structure's own voxels weigh in the cross-entropy.
        weights: How much each structure counts, with a mean of 1.
    """
    weight = known.reshape(*known.shape, *[1] * (logits.ndim - 2)).to(logits.dtype).expand_as(logits)
    reference = masks.to(logits.dtype)
    own = None if emphasis is None else emphasis.reshape(-1, *[1] * (logits.ndim - 2))
    parts = config.terms(logits.shape[1])
    cross_entropy = nn.functional.binary_cross_entropy_with_logits(
        logits, reference, weight, reduction="none", pos_weight=own
    )
    right = torch.where(masks, logits, -logits).sigmoid()
    counts = torch.ones(logits.shape[1], dtype=logits.dtype) if weights is None else weights.to(logits.dtype)
    entropies = cross_entropy * (1 - right) ** parts.gamma * counts.reshape(-1, *[1] * (logits.ndim - 2))
    loss = parts.entropy * entropies.sum() / weight.sum().clamp(min=1)
    if parts.dice > 0:
        axes = (0, *range(2, logits.ndim))
        probability = torch.sigmoid(logits) * weight
        overlap = (probability * reference).sum(axes)
        too_many, missed = probability.sum(axes) - overlap, (reference * weight).sum(axes) - overlap
        smoothing = DICE_SMOOTHING / 2
        index = (overlap + smoothing) / (overlap + parts.alpha * too_many + parts.beta * missed + smoothing)
        some = ((reference * weight).sum(axes) > 0) * counts
        loss = loss + parts.dice * (some * (1 - index)).sum() / some.sum().clamp(min=SMALL)
    return loss


class _FusedLoss(torch.autograd.Function):
    """Two passes over the pixels where Dice needs the whole batch's sums first, one otherwise."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Targets,
        scope: Scope,
        parts: Terms,
    ) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            work = _Work(features, weight, bias, targets)
            known = targets.known.to(work.dtype)
            unit = _gradient_unit(features.dtype, scope.step)
            slope, offset, extra = torch.zeros((3, known.shape[1]), dtype=work.dtype, device=features.device)
            loss = torch.zeros((), dtype=work.dtype, device=features.device)
            if parts.dice > 0:
                dice_loss, slope, offset = work.dice(parts, targets.weights, scope.ranks)
                loss += dice_loss
            if targets.emphasis is not None:
                extra = targets.emphasis.to(work.dtype) - 1
            scale = parts.entropy * known / max(scope.step, 1)
            if targets.weights is not None:
                scale = scale * targets.weights.to(work.dtype)
            loss += work.gradients(Weights(scale, extra, known * slope, known * offset), parts.gamma, unit)
        ctx.unit = unit
        ctx.save_for_backward(work.grad_features, work.grad_weight, work.grad_bias)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_features, grad_weight, grad_bias = ctx.saved_tensors
        by = grads[0] / ctx.unit
        return grad_features * by.to(grad_features.dtype), grad_weight * by, grad_bias * by, None, None, None


def _gradient_unit(dtype: torch.dtype, known_voxels: int) -> float:
    """What gradients are kept times until `backward`: a share of a mean over millions of voxels is 0 in fp16."""
    return max(known_voxels, 256) / 256 if dtype == torch.float16 else 1.0


class _Work:
    """The tensors of one fused loss, as matrices of pixels by channels."""

    def __init__(self, features: Tensor, weight: Tensor, bias: Tensor, targets: Targets) -> None:
        self.dtype = torch.promote_types(features.dtype, torch.float32)
        self.known = targets.known
        self.structures = weight.shape[0]
        self.grad_features = torch.empty_like(features)
        self._features = features.movedim(1, -1).reshape(features.shape[0], -1, features.shape[1])
        grad = self.grad_features.movedim(1, -1)
        self._grad_view = grad.view(features.shape[0], -1, features.shape[1]) if grad.is_contiguous() else None
        self._grad = torch.empty_like(self._features) if self._grad_view is None else self._grad_view
        self._packed = targets.packed.flatten(2)
        # a CPU multiplies such narrow matrices as fast in float32, and to convert logits costs more than the product
        self._narrow = features.dtype if features.device.type != "cpu" else self.dtype
        self._weight = weight.detach().to(self._narrow)
        self._bias = bias.detach().to(self.dtype)
        self._logits = features.new_empty(0, dtype=self.dtype)
        self.grad_weight = torch.zeros_like(weight, dtype=self.dtype)
        self.grad_bias = torch.zeros_like(self._bias)

    def chunks(self) -> list[tuple[slice, slice]]:
        """Samples and pixels of each chunk: several whole samples, or a part of one."""
        n, pixels, _ = self._features.shape
        length = max(1, CHUNK_ELEMENTS // self.structures)
        together = max(1, length // pixels)
        length = min(length, pixels)
        return [
            (slice(i, i + together), slice(first, first + length))
            for i in range(0, n, together)
            for first in range(0, pixels, length)
        ]

    def logits(self, samples: slice, pixels: slice) -> Tensor:
        """`(samples, pixels, C)` in float32 or wider, in memory that the next chunk takes over."""
        features = self._pixels(samples, pixels)
        shape = (*features.shape[:2], self.structures)
        if self._logits.shape != shape:
            self._logits = features.new_empty(shape, dtype=self.dtype)
        if self._narrow == self.dtype:
            torch.addmm(self._bias, features.flatten(0, 1), self._weight.T, out=self._logits.view(-1, shape[2]))
        else:
            torch.add(features @ self._weight.T, self._bias, out=self._logits)
        return self._logits

    def _pixels(self, samples: slice, pixels: slice) -> Tensor:
        return self._features[samples, pixels].to(self._narrow)

    def dice(self, parts: Terms, weights: Tensor | None, ranks: Ranks) -> tuple[Tensor, Tensor, Tensor]:
        """This process's share of the Dice part, and its gradient by a probability: `reference * slope + offset`."""
        sums = torch.zeros((3, self.structures), dtype=self.dtype, device=self.known.device)
        for samples, pixels in self.chunks():
            masks, known = self._packed[samples, :, pixels], self.known[samples].to(self.dtype)
            sums += probability_sums(self.logits(samples, pixels), masks, known)
        overlap, predicted, true = ranks.sum(sums)
        both = 1 - parts.alpha - parts.beta
        smoothing = DICE_SMOOTHING / 2
        total = parts.alpha * predicted + parts.beta * true + both * overlap + smoothing
        index = (overlap + smoothing) / total
        some = (true > 0).to(self.dtype)
        if weights is not None:
            some = some * weights.to(self.dtype)
        each = parts.dice * some / some.sum().clamp(min=SMALL)
        slope, offset = -each * (1 - both * index) / total, each * parts.alpha * index / total
        return (each * (1 - index)).sum() / ranks.count, slope, offset

    def gradients(self, weights: Weights, gamma: float, unit: float) -> Tensor:
        """Fill the gradients, times `unit`; returns the cross-entropy, scaled, and focal if gamma is above 0."""
        loss = torch.zeros((), dtype=self.dtype, device=self.known.device)
        for samples, pixels in self.chunks():
            gradient = self.logits(samples, pixels)
            masks, of_samples = self._packed[samples, :, pixels], weights.of(samples)
            if gamma > 0:
                loss += focal_gradients_(gradient, masks, of_samples, gamma)
            else:
                loss += gradients_(gradient, masks, of_samples)
            if unit != 1:
                gradient *= unit
            self.grad_bias += gradient.sum((0, 1))
            narrow = gradient.to(self._narrow)
            self.grad_weight += narrow.flatten(0, 1).T @ self._pixels(samples, pixels).flatten(0, 1)
            self._grad[samples, pixels] = (narrow @ self._weight).to(self._grad.dtype)
        if self._grad_view is None:
            n, *shape = self.grad_features.shape[0], *self.grad_features.shape[2:]
            self.grad_features.copy_(self._grad.view(n, *shape, -1).movedim(-1, 1))
        return loss
