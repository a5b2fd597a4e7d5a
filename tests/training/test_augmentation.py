"""Random changes of slices: by hand, and against grid_sample on unpacked masks."""

import numpy as np
import pytest
import torch
from torch.nn.functional import affine_grid, grid_sample

from tomoseg.config import AugmentationConfig
from tomoseg.networks.packed import pack_bits, unpack_bits
from tomoseg.training.augmentation import Change, apply_changes, draw_change

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
STRONG = AugmentationConfig(rotation_degrees=60, scale=0.4, shift=0.2, contrast=0.5, brightness=0.3, noise=0.2)


def change(affine=IDENTITY, contrast=1.0, brightness=0.0, noise=0.0, noise_seed=0):
    return Change(affine, contrast, brightness, noise, noise_seed)


def slices(n=1, size=(12, 8), structures=11, windows=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(n, structures, *size, generator=generator) < 0.4
    return torch.rand(n, windows, *size, generator=generator), pack_bits(masks)


def test_identity_changes_nothing():
    images, packed = slices(3)
    moved, bits = apply_changes(images, packed, [change()] * 3)
    assert torch.allclose(moved, images, atol=1e-5)
    assert torch.equal(bits, packed)


def test_shift_by_whole_pixels_moves_both():
    # Output (x, y) is from input (x + 3, y - 2): three of 12 pixels are half an edge, two of 8 too.
    images, packed = slices()
    moved, bits = apply_changes(images, packed, [change(((1.0, 0.0, 0.5), (0.0, 1.0, -0.5)))])
    assert torch.allclose(moved[:, :, :9, 2:], images[:, :, 3:, :6], atol=1e-5)
    assert torch.equal(bits[:, :, :9, 2:], packed[:, :, 3:, :6])
    for outside in (moved[:, :, 9:], moved[:, :, :, :2], bits[:, :, 9:], bits[:, :, :, :2]):
        assert not outside.any()


def test_quarter_turn_by_hand():
    # Output (x, y), seen from the centre, is from input (-y, x): column x of the input, read backwards.
    images, packed = slices(size=(6, 6))
    moved, bits = apply_changes(images, packed, [change(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0)))])
    for x in range(6):
        assert torch.allclose(moved[..., x, :], images[..., x].flip(-1), atol=1e-5)
        assert torch.equal(bits[..., x, :], packed[..., x].flip(-1))


def test_intensities_by_hand():
    images = torch.tensor([0.0, 0.5, 0.7, 1.0])[None, None, None].expand(2, 1, 1, 4)
    _, packed = slices(2, (1, 4))
    moved, bits = apply_changes(images, packed, [change(contrast=0.5, brightness=0.1), change(brightness=-0.6)])
    assert moved[0, 0, 0].tolist() == pytest.approx([0.35, 0.6, 0.7, 0.85], abs=1e-5)
    assert moved[1, 0, 0].tolist() == pytest.approx([0, 0, 0.1, 0.4], abs=1e-5)
    assert torch.equal(bits, packed)


def test_noise_has_its_deviation():
    images, packed = torch.full((1, 1, 100, 100), 0.5), torch.zeros(1, 1, 100, 100, dtype=torch.uint8)
    moved, _ = apply_changes(images, packed, [change(noise=0.05)])
    assert (moved - 0.5).std().item() == pytest.approx(0.05, rel=0.05)
    assert (moved - 0.5).mean().item() == pytest.approx(0, abs=0.003)


def test_masks_are_moved_as_grid_sample_moves_them():
    images, packed = slices(6, (31, 20), 19)
    changes = [draw_change((0, 0, k), STRONG, (31, 20)) for k in range(6)]
    _, bits = apply_changes(images, packed, changes)
    masks = unpack_bits(packed, 19).float()
    rows = [c.affine for c in changes]
    theta = torch.tensor([[[b[1], b[0], b[2]], [a[1], a[0], a[2]]] for a, b in rows], dtype=torch.float32)
    where = affine_grid(theta, [6, 19, 31, 20], align_corners=False)  # its coordinates are (y, x)
    expected = grid_sample(masks, where, mode="nearest", align_corners=False).bool()
    found = unpack_bits(bits, 19)
    assert (found != expected).float().mean() < 1e-3  # ties, where rounding may fall either way
    assert found.any()
    assert not torch.equal(found, masks.bool())


def test_image_and_masks_go_to_the_same_place():
    # A blurred disc and its mask: where the moved image is above a half is where the moved mask is.
    place = torch.stack(torch.meshgrid(torch.arange(40.0), torch.arange(30.0), indexing="ij"))
    distance = (place - torch.tensor([25.0, 10.0])[:, None, None]).norm(dim=0)
    image = torch.sigmoid(8 - distance)[None, None]
    for k in range(10):
        one = draw_change((k,), AugmentationConfig(rotation_degrees=45, contrast=0, brightness=0, noise=0), (40, 30))
        moved, bits = apply_changes(image, pack_bits(image > 0.5), [one])
        assert ((moved[:, 0] > 0.5) != unpack_bits(bits, 1)[:, 0]).sum() < 25


def test_same_key_same_result_in_another_batch():
    images, packed = slices(3)
    keys = [(0, 1, k) for k in range(3)]
    together = apply_changes(images, packed, [draw_change(key, STRONG, (12, 8)) for key in keys])
    for order in ((2, 0), (1,)):
        part = apply_changes(
            images[list(order)], packed[list(order)], [draw_change(keys[k], STRONG, (12, 8)) for k in order]
        )
        assert torch.equal(part[0], together[0][list(order)])
        assert torch.equal(part[1], together[1][list(order)])
    assert draw_change((0, 1, 0), STRONG, (12, 8)) != draw_change((0, 1, 1), STRONG, (12, 8))


@pytest.mark.parametrize("config", [AugmentationConfig(), STRONG], ids=["default", "strong"])
def test_never_mirrored_and_a_similarity_in_pixels(config):
    half = np.array([20.0, 10.0])  # of a slice that is not square
    sizes, turns = [], []
    for k in range(300):
        matrix = np.array(draw_change((0, 0, k), config, (40, 20)).affine)
        pixels = matrix[:, :2] * half[:, None] / half[None]
        gram = pixels.T @ pixels
        assert np.linalg.det(pixels) > 0
        assert np.allclose(gram, gram[0, 0] * np.eye(2))
        assert (np.abs(matrix[:, 2]) <= 2 * config.shift).all()
        sizes.append(1 / np.sqrt(gram[0, 0]))
        turns.append(np.degrees(np.arctan2(pixels[1, 0], pixels[0, 0])))
    assert 1 / (1 + config.scale) <= min(sizes) < 1 < max(sizes) <= 1 + config.scale
    assert -config.rotation_degrees <= min(turns) < -0.8 * config.rotation_degrees
    assert 0.8 * config.rotation_degrees < max(turns) <= config.rotation_degrees


def test_values_stay_between_zero_and_one():
    images, packed = slices(20)
    moved, bits = apply_changes(images, packed, [draw_change((k,), STRONG, (12, 8)) for k in range(20)])
    assert moved.min() == 0
    assert moved.max() == 1
    assert not unpack_bits(bits, 16)[:, 11:].any()


def test_no_changes_asked_for_are_none():
    off = {name: 0 for name in ("rotation_degrees", "scale", "shift", "contrast", "brightness", "noise")}
    one = draw_change((1, 2, 3), AugmentationConfig(**off), (12, 8))
    assert (one.affine, one.contrast, one.brightness, one.noise) == (IDENTITY, 1, 0, 0)
