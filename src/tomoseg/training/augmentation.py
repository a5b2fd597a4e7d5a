"""Augmentation of training slices, and the network's input: HU first, then windows, then gamma.

Every change is drawn from the slice's own key, so it does not depend on the batch. Mirror images are made before,
where slices are read (`sides`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from tomoseg.config import TrainConfig
from tomoseg.networks.images import position_values
from tomoseg.training.changes import Change, draw_change
from tomoseg.training.intensities import add_noise_, blur_, change_gamma_, change_hu_, coarsen_
from tomoseg.training.moving import cut_, move_images, move_masks, sources
from tomoseg.training.slices import Batch, windowed


def network_input(
    batch: Batch, config: TrainConfig, *, augment: bool
) -> tuple[Float[Tensor, "n c *xyz"], UInt8[Tensor, "n b *xyz"]]:
    """Make windowed slices or blocks and their masks, on the batch's device.

    Args:
        batch: Slices as read.
        config: Windows and strength of augmentation.
        augment: Augment the slices.
    """
    images, packed = batch.hu.float(), batch.packed
    if not augment:
        return with_position(windowed(images, config.windows_hu), batch, config), packed
    changes = [draw_change(key, config.augmentation) for key in batch.keys]
    middle_hu = sum(low + high for low, high in config.windows_hu) / (2 * len(config.windows_hu))
    moved, masks = apply_changes(_as_slices(images), _as_slices(packed), changes, middle_hu)
    images, packed = _as_before(moved, images), _as_before(masks, packed)
    images = windowed(images, config.windows_hu)
    change_gamma_(images, changes)
    return with_position(images, batch, config, changes), packed


def with_position(
    images: Float[Tensor, "n c *xyz"], batch: Batch, config: TrainConfig, changes: Sequence[Change] = ()
) -> Float[Tensor, "n _ *xyz"]:
    """Append the slices' position as a channel, if the network has it as an input.

    Args:
        images: Windowed slices.
        batch: The batch that they were made of.
        config: Whether the network has the position as an input.
        changes: One per slice; empty without augmentation.
    """
    if not config.network.position:
        return images
    assert batch.positions_mm is not None  # read if network.position
    positions_mm = batch.positions_mm
    if changes:
        positions_mm = positions_mm + positions_mm.new_tensor([change.misplaced_mm for change in changes])
    told = position_values(positions_mm)[:, None, None, None].expand(-1, 1, *images.shape[2:])
    return torch.cat([images, told], dim=1)


def apply_changes(
    images: Float[Tensor, "n k x y"], packed: UInt8[Tensor, "n b x y"], changes: Sequence[Change], middle_hu: float
) -> tuple[Float[Tensor, "n k x y"], UInt8[Tensor, "n b x y"]]:
    """Move, then change intensities, then cut the field of view; gamma is applied later, to windowed values.

    Noise comes before blur and resolution, as quantum noise comes before the scanner's reconstruction.

    Args:
        images: HU. Channels are neighbouring slices, which change alike except for their noise.
        packed: Their packed masks.
        changes: One per sample.
        middle_hu: HU that a change of contrast leaves as it is.

    Returns:
        The changed images and masks.
    """
    source = sources(changes, (images.shape[2], images.shape[3]), images.device)
    images, packed = move_images(images, source), move_masks(packed, source)
    change_hu_(images, changes, middle_hu)
    add_noise_(images, changes)
    blur_(images, changes)
    coarsen_(images, changes)
    cut_(images, packed, changes)
    return images, packed


def _as_slices(blocks: Tensor) -> Tensor:
    """Reshape blocks `(n, c, x, y, z)` to slices with channels `(n, c * z, x, y)`: a block's slices move alike."""
    return blocks if blocks.ndim == 4 else blocks.movedim(-1, 2).flatten(1, 2)


def _as_before(slices: Tensor, blocks: Tensor) -> Tensor:
    """Undo `_as_slices`."""
    return slices if blocks.ndim == 4 else slices.unflatten(1, (blocks.shape[1], -1)).movedim(2, -1)
