"""Random changes of training slices, batched on the device.

Masks stay packed: every pixel takes the bytes of its nearest source pixel, which moves all structures at once and is
exact for bits. Each slice's changes follow from its own key, so they do not depend on the batch it is in.
Slices are never mirrored: left and right are different structures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from tomoseg.config import AugmentationConfig


@dataclass(frozen=True)
class Change:
    """What happens to one slice.

    Attributes:
        affine: 2 x 3, output to input position in shares of half the edge (-1 to 1), x then y.
        contrast: Factor around the middle of the window.
        brightness: Added after that.
        noise: Standard deviation of Gaussian noise.
        noise_seed: Seeds the noise.
    """

    affine: tuple[tuple[float, float, float], tuple[float, float, float]]
    contrast: float
    brightness: float
    noise: float
    noise_seed: int


def draw_change(key: tuple[int, ...], config: AugmentationConfig, size: tuple[int, int]) -> Change:
    """The change of one slice, from its key alone.

    Args:
        key: Seeds it.
        config: The largest changes.
        size: Pixels along x and y, so that a rotation of a slice that is not square does not shear it.
    """
    rng = np.random.default_rng((*key, 2))
    angle, scale, shift_x, shift_y, contrast, brightness, noise = rng.uniform(-1, 1, 7)
    turn = math.radians(config.rotation_degrees) * angle
    zoom = math.exp(math.log1p(config.scale) * scale)
    cos, sin = math.cos(turn) / zoom, math.sin(turn) / zoom
    x, y = size
    affine = (
        (cos, -sin * y / x, 2 * config.shift * shift_x),
        (sin * x / y, cos, 2 * config.shift * shift_y),
    )
    return Change(
        affine,
        1 + config.contrast * contrast,
        config.brightness * brightness,
        config.noise * abs(noise),
        int(rng.integers(2**62)),
    )


def apply_changes(
    images: Float[Tensor, "n w x y"], packed: UInt8[Tensor, "n b x y"], changes: Sequence[Change]
) -> tuple[Float[Tensor, "n w x y"], UInt8[Tensor, "n b x y"]]:
    """Move, then change intensities; what comes in from outside is air without structures.

    Args:
        images: Windowed slices, 0 to 1.
        packed: Their masks.
        changes: One for each slice.

    Returns:
        Both, changed alike.
    """
    where = _positions(changes, images.shape[2], images.shape[3], images.device)
    moved = grid_sample(images, where.flip(-1), mode="bilinear", padding_mode="zeros", align_corners=False)
    factor, added, noise = (
        torch.tensor([getattr(c, name) for c in changes], dtype=images.dtype, device=images.device).view(-1, 1, 1, 1)
        for name in ("contrast", "brightness", "noise")
    )
    moved = (moved - 0.5) * factor + 0.5 + added
    for number, change in enumerate(changes):
        if change.noise > 0:
            generator = torch.Generator(images.device).manual_seed(change.noise_seed)
            moved[number] += noise[number] * torch.randn(images.shape[1:], generator=generator, device=images.device)
    return moved.clamp_(0, 1), _move_bytes(packed, where)


def _positions(changes: Sequence[Change], x: int, y: int, device: torch.device) -> Float[Tensor, "n x y 2"]:
    """Where each output pixel comes from, in -1..1 along x and y."""
    along_x = (torch.arange(x, device=device) * 2 + 1) / x - 1
    along_y = (torch.arange(y, device=device) * 2 + 1) / y - 1
    place = torch.stack(torch.meshgrid(along_x, along_y, indexing="ij"), dim=-1)
    affine = torch.tensor([c.affine for c in changes], dtype=torch.float32, device=device)
    return torch.einsum("xyj,nij->nxyi", place, affine[:, :, :2]) + affine[:, None, None, :, 2]


def _move_bytes(packed: UInt8[Tensor, "n b x y"], where: Float[Tensor, "n x y 2"]) -> UInt8[Tensor, "n b x y"]:
    n, planes, x, y = packed.shape
    size = torch.tensor([x, y], device=packed.device)
    nearest = (((where + 1) * size - 1) / 2).round().long()
    inside = ((nearest >= 0) & (nearest < size)).all(dim=-1)
    index = (nearest[..., 0] * y + nearest[..., 1]).where(inside, 0).view(n, 1, -1).expand(-1, planes, -1)
    moved = packed.flatten(2).gather(2, index).view_as(packed)
    return moved * inside[:, None].to(torch.uint8)
