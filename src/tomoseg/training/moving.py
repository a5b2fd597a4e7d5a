"""Spatial changes of slices and their masks: rotation, size, shift, elastic displacement, and field of view.

No matrix products run over the batch, since their rounding depends on its size: a slice moves the same to the last bit
in any batch. Masks stay packed: every pixel takes the bytes of its nearest source pixel, which moves all structures at
once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import grid_sample

from tomoseg.grid import AIR_HU
from tomoseg.training.changes import Change, FieldOfView


def sources(changes: Sequence[Change], size: tuple[int, int], device: torch.device) -> Float[Tensor, "n x y 2"]:
    """Return the source of each pixel, along y then x as for `grid_sample`: -1 and 1 are the slice's borders.

    Args:
        changes: One per slice.
        size: Pixels along x and y.
        device: The target device.
    """
    along_x, along_y = ((torch.arange(edge, device=device) * 2 + 1) / edge - 1 for edge in size)
    affine = torch.tensor([_affine(change, size) for change in changes], dtype=torch.float32, device=device)
    of_y, of_x, shift = affine[:, None, None].unbind(-1)
    found = (along_x[:, None, None] * of_x + shift) + along_y[:, None] * of_y
    for number, change in enumerate(changes):
        if change.bend_pixels > 0:
            found[number] += _displacement(change, size, device)
    return found


def _affine(change: Change, size: tuple[int, int]) -> list[list[float]]:
    """Return the matrix from output to input position, `(y, x)`; the edges' ratio keeps rotations free of shear."""
    turn = math.radians(change.turn_degrees)
    cos, sin = math.cos(turn) / change.zoom, math.sin(turn) / change.zoom
    x, y = size
    return [[cos, sin * x / y, 2 * change.shift[1]], [-sin * y / x, cos, 2 * change.shift[0]]]


def _displacement(change: Change, size: tuple[int, int], device: torch.device) -> Float[Tensor, "x y 2"]:
    """Return the elastic displacement of one slice, `(y, x)` in half edges.

    Source: cubic B-splines between control points as in Rueckert, D. et al. (1999). IEEE TMI 18(8), 712-721.
    """
    x, y = size
    points = change.bend_points
    drawn = np.random.default_rng(change.bend_seed).normal(0, change.bend_pixels, (points, points, 2))
    parts = (spline_weights(x, points), drawn * 2 / (y, x), spline_weights(y, points))
    return torch.einsum("xa,abc,yb->xyc", *(torch.from_numpy(part).float().to(device) for part in parts))


def spline_weights(length: int, points: int) -> Float[np.ndarray, "length points"]:
    """Return the weight of each control point at each pixel along an edge.

    The squares of a pixel's weights sum to 1, so that independent control points displace every pixel with their own
    standard deviation. The first and the last point lie one step outside: four surround every pixel.

    Args:
        length: Number of pixels.
        points: Number of control points, 4 or more.
    """
    place = np.linspace(1, points - 2, length)
    distance = np.abs(place[:, None] - np.arange(points))
    near, far = 2 / 3 - distance**2 * (1 - distance / 2), (2 - distance).clip(0) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    return weights / np.linalg.norm(weights, axis=1, keepdims=True)


def move_images(images: Float[Tensor, "n k x y"], source: Float[Tensor, "n x y 2"]) -> Float[Tensor, "n k x y"]:
    """Interpolate HU at their sources; outside is air."""
    return grid_sample(images - AIR_HU, source, mode="bilinear", padding_mode="zeros", align_corners=False).add_(AIR_HU)


def move_masks(packed: UInt8[Tensor, "n b x y"], source: Float[Tensor, "n x y 2"]) -> UInt8[Tensor, "n b x y"]:
    """Take the bytes nearest to their sources; outside is no structure."""
    n, planes, x, y = packed.shape
    size = torch.tensor([y, x], device=packed.device)
    nearest = torch.addcmul((size - 1) / 2, source, size / 2).round_().long()
    inside = ((nearest >= 0) & (nearest < size)).all(dim=-1)
    index = (nearest[..., 1] * y + nearest[..., 0]).where(inside, 0).view(n, 1, -1).expand(-1, planes, -1)
    moved = packed.flatten(2).gather(2, index).view_as(packed)
    return moved.mul_(inside[:, None])


def cut_(images: Float[Tensor, "n k x y"], packed: UInt8[Tensor, "n b x y"], changes: Sequence[Change]) -> None:
    """Set pixels outside the fields of view to air without structures, in place.

    Args:
        images: Images in HU.
        packed: Their packed masks.
        changes: One per slice.
    """
    views = {number: change.view for number, change in enumerate(changes) if change.view is not None}
    if views:
        inside = _inside(list(views.values()), (images.shape[2], images.shape[3]), images.device)
        numbers = list(views)
        images[numbers] = images[numbers].masked_fill(~inside, AIR_HU)
        packed[numbers] *= inside


def _inside(views: Sequence[FieldOfView], size: tuple[int, int], device: torch.device) -> Bool[Tensor, "n 1 x y"]:
    """Return a mask of the pixels whose centre is in the field of view."""
    halves = np.array([[v.kept[0] * max(size)] * 2 if v.disc else np.multiply(v.kept, size) for v in views]) / 2
    middles = np.array([view.place for view in views]) * np.abs(np.array(size) / 2 - halves)
    off = []  # squared distances from the middle along x and y, in half spans
    for edge, half, middle in zip(size, halves.T, middles.T, strict=True):
        place = np.arange(edge) - (edge - 1) / 2
        off.append(torch.from_numpy(((place - middle[:, None]) / half[:, None]) ** 2).float().to(device))
    x, y = off[0][:, None, :, None], off[1][:, None, None, :]
    disc = torch.tensor([view.disc for view in views], device=device).view(-1, 1, 1, 1)
    return torch.where(disc, x + y, torch.maximum(x, y)) <= 1
