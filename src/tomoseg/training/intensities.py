"""Intensity changes of slices, in place: HU, noise, sharpness, resolution, gamma.

Rare changes are computed only for the slices that have them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate, pad

from tomoseg.training.changes import Change


def change_hu_(images: Float[Tensor, "n k x y"], changes: Sequence[Change], middle_hu: float) -> None:
    """Scale HU around a middle, then shift them."""
    factor, added = (
        torch.tensor(values, dtype=torch.float32, device=images.device).view(-1, 1, 1, 1)
        for values in (
            [change.hu_factor for change in changes],
            [middle_hu * (1 - change.hu_factor) + change.hu_shift for change in changes],
        )
    )
    images.mul_(factor).add_(added)


def add_noise_(images: Float[Tensor, "n k x y"], changes: Sequence[Change]) -> None:
    """Add Gaussian noise, each slice's from its own seed."""
    for image, change in zip(images, changes, strict=True):
        if change.noise_hu > 0:
            generator = torch.Generator(images.device).manual_seed(change.noise_seed)
            image.add_(torch.empty_like(image).normal_(0, change.noise_hu, generator=generator))


def blur_(images: Float[Tensor, "n k x y"], changes: Sequence[Change]) -> None:
    """Blur with a Gaussian in the plane, truncated at three standard deviations; borders are replicated."""
    deviations = {number: change.blur_pixels for number, change in enumerate(changes) if change.blur_pixels > 0}
    if not deviations:
        return
    reach = max(_reach(deviation) for deviation in deviations.values())
    weights = [_gaussian(deviation, reach) for deviation in deviations.values()]
    steps = torch.tensor(weights, dtype=torch.float32, device=images.device).T[..., None, None, None]
    blurred = images[list(deviations)]
    for axis, padding in ((2, (0, 0, reach, reach)), (3, (reach, reach, 0, 0))):
        padded = pad(blurred, padding, mode="replicate")
        blurred = torch.zeros_like(blurred)
        for start, weight in enumerate(steps):
            blurred.addcmul_(padded.narrow(axis, start, blurred.shape[axis]), weight)
    images[list(deviations)] = blurred


def _reach(deviation: float) -> int:
    return math.ceil(3 * deviation)


def _gaussian(deviation: float, reach: int) -> list[float]:
    """Return weights from `-reach` to `reach`, 0 beyond three deviations, independent of the batch's `reach`."""
    own = _reach(deviation)
    values = [math.exp(-0.5 * (step / deviation) ** 2) for step in range(-own, own + 1)]
    outside = [0.0] * (reach - own)
    return [*outside, *(value / sum(values) for value in values), *outside]


def coarsen_(images: Float[Tensor, "n k x y"], changes: Sequence[Change]) -> None:
    """Average over larger pixels, then interpolate back to the slice's own."""
    for image, change in zip(images, changes, strict=True):
        size = [max(1, round(edge * change.resolution)) for edge in image.shape[1:]]
        if size != list(image.shape[1:]):
            coarse = interpolate(image[None], size, mode="area")
            image.copy_(interpolate(coarse, image.shape[1:], mode="bilinear", align_corners=False)[0])


def change_gamma_(images: Float[Tensor, "n c *xyz"], changes: Sequence[Change]) -> None:
    """Raise windowed values, 0 to 1, to the power gamma."""
    powers = {number: change.gamma for number, change in enumerate(changes) if change.gamma != 1}
    if powers:
        exponents = torch.tensor(list(powers.values()), dtype=torch.float32, device=images.device)
        images[list(powers)] = images[list(powers)].pow(exponents.view(-1, *[1] * (images.ndim - 1)))
