"""Cross-entropy and soft Dice of a chunk of pixels: sums and gradients from logits.

On a CPU in float32 a compiled kernel processes each pixel once, while its logits are in cache; elsewhere PyTorch does
the same. Elementwise operations on the logits of 117 structures cost more than a small network
(`benchmarks/loss.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import embedding, softplus

from tomoseg.kernels import kernel

_BITS_OF_BYTE = (torch.arange(256)[:, None] >> torch.arange(8)) & 1
_BITS = _BITS_OF_BYTE.numpy().astype(np.float32)

_FLUSHED = 64
"""Pixels between two logarithms: the product of as many values up to 2 is finite in float32."""


@dataclass(frozen=True)
class PixelWeights:
    """Weights of the pixels of each sample.

    Attributes:
        scale: `(n, C)`, weight of the cross-entropy; 0 where a structure is not annotated.
        extra: `(C,)`, weight of a structure's own voxels beyond 1.
        slope: `(n, C)`; the Dice term's gradient by a probability is `reference * slope + offset`.
        offset: `(n, C)`, see `slope`.
    """

    scale: Float[Tensor, "n c"]
    extra: Float[Tensor, "c"]
    slope: Float[Tensor, "n c"]
    offset: Float[Tensor, "n c"]

    def of(self, samples: slice) -> PixelWeights:
        """Return the weights of some samples."""
        return PixelWeights(self.scale[samples], self.extra, self.slope[samples], self.offset[samples])


def probability_sums(
    products: Float[Tensor, "n p c"],
    bias: Float[Tensor, "c"],
    packed: UInt8[Tensor, "n b p"],
    annotated: Float[Tensor, "n c"],
) -> Float[Tensor, "3 c"]:
    """Return sums over annotated voxels of probability x reference, probability, and reference.

    Args:
        products: The logits of a chunk of pixels without their bias; they are overwritten.
        bias: The bias of each structure.
        packed: Their packed masks.
        annotated: 1 where a structure is annotated, else 0.
    """
    if is_compiled(products):
        parts = zip(products.numpy(), packed.numpy(), strict=True)
        sums = torch.from_numpy(np.stack([_sums_kernel(*part, bias.numpy(), _BITS) for part in parts], axis=1))
    else:
        logits = products.add_(bias)
        probability, reference = logits.sigmoid(), _unpacked(packed, logits.dtype)
        sums = torch.stack([(probability * reference).sum(1), probability.sum(1), reference.sum(1)])
    return (sums * annotated).sum(1).to(products.dtype)


def gradients_(
    products: Float[Tensor, "n p c"], bias: Float[Tensor, "c"], packed: UInt8[Tensor, "n b p"], weights: PixelWeights
) -> tuple[Float[Tensor, ""], Float[Tensor, "c"]]:
    """Replace logits by the loss's gradients, in place.

    Args:
        products: The logits of a chunk of pixels without their bias.
        bias: The bias of each structure.
        packed: Their packed masks.
        weights: Weights.

    Returns:
        The cross-entropy, and the sums of the gradients over the pixels.
    """
    if is_compiled(products):
        extra, *rest = (t.numpy() for t in (weights.extra, weights.scale, weights.slope, weights.offset))
        parts = zip(products.numpy(), packed.numpy(), *rest, strict=True)
        losses, sums = zip(*(_gradients_kernel(*part, extra, bias.numpy(), _BITS) for part in parts), strict=True)
        return products.new_tensor(math.fsum(losses)), torch.from_numpy(np.sum(sums, axis=0)).to(products.dtype)
    logits, reference = products.add_(bias), _unpacked(packed, products.dtype)
    rise = softplus(logits)
    entropy = rise.sum(1) - (logits * reference).sum(1)
    entropy += weights.extra * (rise.sub_(logits).mul_(reference)).sum(1)
    probability = logits.sigmoid()
    torch.sub(probability, reference, out=logits).mul_(weights.scale.unsqueeze(1))
    logits.addcmul_(logits, reference * weights.extra)
    pull = reference.mul_(weights.slope.unsqueeze(1)).add_(weights.offset.unsqueeze(1))
    logits.addcmul_(torch.addcmul(probability, probability, probability, value=-1), pull)
    return (entropy * weights.scale).sum(), logits.sum((0, 1))


def focal_gradients_(
    products: Float[Tensor, "n p c"],
    bias: Float[Tensor, "c"],
    packed: UInt8[Tensor, "n b p"],
    weights: PixelWeights,
    gamma: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, "c"]]:
    """Replace logits by the focal loss's gradients, in place; without a Dice term.

    Args:
        products: The logits of a chunk of pixels without their bias.
        bias: The bias of each structure.
        packed: Their packed masks.
        weights: Weights; `slope` and `offset` are unused.
        gamma: Exponent of one minus the probability of the right answer.

    Returns:
        The focal loss, and the sums of the gradients over the pixels.

    Source: Lin, T.-Y. et al. (2017). Focal loss for dense object detection. ICCV, 2980-2988.
    """
    logits, reference = products.add_(bias), _unpacked(packed, products.dtype)
    sign = 2 * reference - 1
    right = logits * sign
    entropy, lacking = softplus(-right), (-right).sigmoid()
    weight = (1 + weights.extra * reference).mul_(weights.scale.unsqueeze(1)).mul_(lacking**gamma)
    slope = (gamma * (1 - lacking) * entropy).add_(lacking)
    torch.mul(sign.neg_(), slope.mul_(weight), out=logits)
    return (entropy * weight).sum(), logits.sum((0, 1))


def is_compiled(products: Tensor) -> bool:
    """Return True if the compiled kernels apply to these logits."""
    return products.device.type == "cpu" and products.dtype == torch.float32


def _unpacked(packed: Tensor, dtype: torch.dtype) -> Tensor:
    """Unpack masks to `(n, pixels, C)` of 0 and 1."""
    return embedding(packed.movedim(1, -1).int(), _BITS_OF_BYTE.to(packed.device, dtype)).flatten(2)


_LOG2_E = np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_C6, _C5, _C4, _C3, _C2 = (np.float32(c) for c in (1 / 720, 1 / 120, 1 / 24, 1 / 6, 1 / 2))
_ONE, _ZERO, _HALF, _LOWEST = np.float32(1), np.float32(0), np.float32(0.5), np.float32(-87)
_FASTMATH = {"contract", "arcp", "nsz", "reassoc"}


@kernel(fastmath=_FASTMATH)
def _exp_of_minus_abs(x, bias, fraction, exponent):  # type: ignore[no-untyped-def]
    """Add a bias to x; `exp(-|x|)` as a fraction and, in its own array, the bits of a power of two.

    A loop that becomes vectors.

    Source: Cody, W. J. & Waite, W. (1980). Software Manual for the Elementary Functions (splitting off ln 2).
    """
    for c in range(len(x)):
        x[c] += bias[c]
        z = max(-abs(x[c]), _LOWEST)
        power = np.floor(z * _LOG2_E + _HALF)
        r = z - power * _LN2_HIGH - power * _LN2_LOW
        fraction[c] = (((((_C6 * r + _C5) * r + _C4) * r + _C3) * r + _C2) * r + _ONE) * r + _ONE
        exponent[c] = (np.int32(power) + np.int32(127)) << np.int32(23)


@kernel(fastmath=_FASTMATH)
def _unpack_pixel(packed, pixel, bits, reference):  # type: ignore[no-untyped-def]
    for b in range(packed.shape[0]):
        byte = packed[b, pixel]
        for j in range(8):
            reference[8 * b + j] = bits[byte, j]


@kernel(fastmath=_FASTMATH)
def _sums_kernel(logits, packed, bias, bits):  # type: ignore[no-untyped-def]
    pixels, structures = logits.shape
    reference, fraction = np.empty(structures, np.float32), np.empty(structures, np.float32)
    exponent = np.empty(structures, np.int32)
    power = exponent.view(np.float32)
    sums, total = np.zeros((3, structures), np.float32), np.zeros((3, structures), np.float64)
    for pixel in range(pixels):
        row = logits[pixel]
        _unpack_pixel(packed, pixel, bits, reference)
        _exp_of_minus_abs(row, bias, fraction, exponent)
        for c in range(structures):
            e = fraction[c] * power[c]
            probability = (_ONE if row[c] >= 0 else e) / (_ONE + e)
            sums[0, c] += probability * reference[c]
            sums[1, c] += probability
            sums[2, c] += reference[c]
        if (pixel + 1) % _FLUSHED == 0 or pixel == pixels - 1:
            total += sums
            sums[:] = 0
    return total


@kernel(fastmath=_FASTMATH)
def _gradients_kernel(logits, packed, scale, slope, offset, extra, bias, bits):  # type: ignore[no-untyped-def]
    """Fill gradients, and return the loss and their sums; a sum of softplus is the logarithm of a product of pixels."""
    pixels, structures = logits.shape
    reference, fraction = np.empty(structures, np.float32), np.empty(structures, np.float32)
    exponent = np.empty(structures, np.int32)
    power = exponent.view(np.float32)
    linear, own_linear = np.zeros(structures, np.float32), np.zeros(structures, np.float32)
    product, own_product = np.ones(structures, np.float32), np.ones(structures, np.float32)
    sums, total = np.zeros(structures, np.float32), np.zeros(structures, np.float64)
    loss = 0.0
    for pixel in range(pixels):
        row = logits[pixel]
        _unpack_pixel(packed, pixel, bits, reference)
        _exp_of_minus_abs(row, bias, fraction, exponent)
        for c in range(structures):
            x, target, e = row[c], reference[c], fraction[c] * power[c]
            factor = _ONE + e
            probability = (_ONE if x >= 0 else e) / factor
            positive = max(x, _ZERO)
            linear[c] += positive - x * target
            own_linear[c] += target * (positive - x)
            product[c] *= factor
            own_product[c] *= factor if target > 0 else _ONE
            gradient = (probability - target) * scale[c]
            gradient += gradient * target * extra[c]
            pull = target * slope[c] + offset[c]
            gradient += (probability - probability * probability) * pull
            row[c] = gradient
            sums[c] += gradient
        if (pixel + 1) % _FLUSHED == 0 or pixel == pixels - 1:
            for c in range(structures):
                own = own_linear[c] + math.log(own_product[c])
                loss += scale[c] * (linear[c] + math.log(product[c]) + extra[c] * own)
            total += sums
            linear[:], own_linear[:], product[:], own_product[:], sums[:] = 0, 0, 1, 1, 0
    return loss, total
