"""A slice changed from HU to what the network takes: order, batches, and what the settings promise."""

import pytest
import torch

from tomoseg.config import AugmentationConfig, TrainConfig
from tomoseg.grid import AIR_HU
from tomoseg.networks.packed import pack_bits, unpack_bits
from tomoseg.training.augmentation import apply_changes, network_input
from tomoseg.training.changes import Change, FieldOfView, draw_change
from tomoseg.training.slices import Batch, windowed

OFF = {name: 0 for name in ("rotation_degrees", "scale", "shift", "hu_scale", "hu_shift", "noise_hu", "position_mm")}
EVERYTHING = AugmentationConfig(
    rotation_degrees=60, scale=0.4, shift=0.2, hu_scale=0.5, hu_shift=150, noise_hu=100,
    elastic_pixels=2, elastic_points=5, elastic_probability=0.7, blur_pixels=2, blur_probability=0.7,
    low_resolution=0.8, low_resolution_probability=0.7, cut=0.6, cut_probability=0.7, gamma=0.8, gamma_probability=0.7,
)  # fmt: skip
WINDOWS = ((-200.0, 300.0), (-1000.0, 0.0))


def make_batch(n=1, size=(24, 20), structures=11, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hu = torch.randint(-1000, 1000, (n, 1, *size), generator=generator, dtype=torch.int16)
    masks = torch.rand(n, structures, *size, generator=generator) < 0.4
    annotated = torch.ones(n, structures, dtype=torch.bool)
    return Batch(hu, pack_bits(masks), annotated, tuple((0, 1, k) for k in range(n)))


def part(batch, numbers):
    keys = tuple(batch.keys[k] for k in numbers)
    return Batch(batch.hu[numbers], batch.packed[numbers], batch.annotated[numbers], keys)


def make_config(augmentation, windows=WINDOWS):
    return TrainConfig(augmentation=augmentation, windows_hu=windows)


@pytest.mark.parametrize("augment", [False, True])
def test_what_is_off_leaves_windows_of_the_slices_as_they_are(augment):
    batch = make_batch(3)
    images, packed = network_input(batch, make_config(AugmentationConfig(**OFF)), augment=augment)
    assert torch.allclose(images, windowed(batch.hu.float(), WINDOWS), atol=1e-5)
    assert torch.equal(packed, batch.packed)


def test_not_asked_for_nothing_is_changed():
    batch = make_batch(2)
    images, packed = network_input(batch, make_config(EVERYTHING), augment=False)
    assert torch.equal(images, windowed(batch.hu.float(), WINDOWS))
    assert packed is batch.packed


def test_what_comes_in_is_not_changed():
    batch = make_batch(8)
    hu, packed = batch.hu.clone(), batch.packed.clone()
    network_input(batch, make_config(EVERYTHING), augment=True)
    assert torch.equal(batch.hu, hu)
    assert torch.equal(batch.packed, packed)


@pytest.mark.parametrize("size", [(24, 20), (64, 48)])
def test_same_key_same_result_in_another_batch(size):
    batch = make_batch(9, size)
    images, packed = network_input(batch, make_config(EVERYTHING), augment=True)
    for numbers in ([3], [8, 0], [1, 2, 4, 5, 6, 7], list(reversed(range(9)))):
        alone = network_input(part(batch, numbers), make_config(EVERYTHING), augment=True)
        assert torch.equal(alone[0], images[numbers])
        assert torch.equal(alone[1], packed[numbers])


def test_values_stay_between_zero_and_one_and_bits_within_the_structures():
    images, packed = network_input(make_batch(20), make_config(EVERYTHING), augment=True)
    assert images.min() == 0
    assert images.max() == 1
    assert images.isfinite().all()
    assert unpack_bits(packed, 11).any()
    assert not unpack_bits(packed, 16)[:, 11:].any()


def test_contrast_is_around_the_middle_of_the_windows():
    # Middles are 50 and -500 HU, their mean -225: what is there stays.
    batch = make_batch(4)
    batch.hu[:] = -225
    scaled = AugmentationConfig(**{**OFF, "hu_scale": 0.9})
    images, _ = network_input(batch, make_config(scaled), augment=True)
    assert torch.allclose(images[:, 1], torch.tensor(0.775), atol=1e-5)
    batch.hu[:] = 50
    images, _ = network_input(batch, make_config(scaled, windows=WINDOWS[:1]), augment=True)
    assert torch.allclose(images, torch.tensor(0.5), atol=1e-5)


def test_gamma_is_of_windowed_values():
    # 50 HU are 0.5 in the window: 0.5 to the drawn power.
    batch = make_batch(6)
    batch.hu[:] = 50
    bent = AugmentationConfig(**OFF, gamma=0.9, gamma_probability=1)
    images, _ = network_input(batch, make_config(bent, WINDOWS[:1]), augment=True)
    for image, key in zip(images, batch.keys, strict=True):
        assert torch.allclose(image, torch.tensor(0.5 ** draw_change(key, bent).gamma), atol=1e-5)


def test_all_channels_of_a_sample_move_alike():
    batch = make_batch(2, (24, 20))
    stack = batch.hu.float().expand(-1, 3, -1, -1)
    moved = Change(turn_degrees=20, shift=(0.1, 0.2), bend_pixels=2, hu_factor=1.1, blur_pixels=1, resolution=0.7)
    images, _ = apply_changes(stack, batch.packed, [moved, Change()], 0.0)
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])
    assert not torch.equal(images[0, 0], stack[0, 0])


def test_outside_of_the_view_is_air_whatever_else_happens():
    batch = make_batch(1, (10, 10))
    hu = torch.full((1, 1, 10, 10), 40.0)
    view = FieldOfView(False, (0.5, 1.0), (-1.0, 0.0))
    change = Change(hu_shift=30, noise_hu=20, blur_pixels=2, resolution=0.5, view=view)
    images, packed = apply_changes(hu, torch.full_like(batch.packed, 255), [change], 50.0)
    assert (images[:, :, 5:] == AIR_HU).all()
    assert not packed[:, :, 5:].any()
    assert (images[:, :, :5] > -100).all()
    assert (packed[:, :, :5] == 255).all()


def test_the_slices_of_a_block_move_alike():
    slices = make_batch(2, size=(24, 20, 6))
    moved, masks = network_input(
        slices, make_config(AugmentationConfig(**{**OFF, "rotation_degrees": 30})), augment=True
    )
    assert moved.shape == (2, 2, 24, 20, 6)
    assert masks.shape == slices.packed.shape
    for k in range(6):
        one = Batch(slices.hu[..., k], slices.packed[..., k], slices.annotated, slices.keys)
        images, packed = network_input(
            one, make_config(AugmentationConfig(**{**OFF, "rotation_degrees": 30})), augment=True
        )
        assert torch.allclose(moved[..., k], images, atol=1e-5)
        assert torch.equal(masks[..., k], packed)
