"""What slices look like, changed: by hand, and against SciPy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from tomoseg.training.changes import Change
from tomoseg.training.intensities import add_noise_, blur_, change_gamma_, change_hu_, coarsen_


def random(n=1, channels=1, size=(20, 16), seed=0):
    return torch.rand(n, channels, *size, generator=torch.Generator().manual_seed(seed)) * 1000 - 500


ALL = {
    "hu": lambda images, changes: change_hu_(images, changes, 50.0),
    "noise": add_noise_,
    "blur": blur_,
    "resolution": coarsen_,
    "gamma": change_gamma_,
}


@pytest.mark.parametrize("group", ALL)
def test_what_is_off_is_the_identity(group):
    images = random(3)
    before = images.clone()
    ALL[group](images, [Change()] * 3)
    assert torch.equal(images, before)


def test_hu_by_hand():
    images = torch.tensor([-1000.0, 50, 90, 1050])[None, None, None].repeat(3, 2, 1, 1)
    changes = [Change(hu_shift=25), Change(hu_factor=0.5), Change(hu_factor=1.5, hu_shift=-10)]
    change_hu_(images, changes, 50.0)
    for channel in range(2):
        assert images[0, channel, 0].tolist() == [-975, 75, 115, 1075]
        assert images[1, channel, 0].tolist() == [-475, 50, 70, 550]
        assert images[2, channel, 0].tolist() == [-1535, 40, 100, 1540]


def test_noise_has_its_deviation_and_its_seed():
    images = torch.full((3, 2, 100, 100), 40.0)
    add_noise_(images, [Change(noise_hu=20, noise_seed=1), Change(noise_hu=20, noise_seed=1), Change(noise_hu=5)])
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0, 0], images[0, 1])  # neighbouring slices have noise of their own
    assert (images[0] - 40).std().item() == pytest.approx(20, rel=0.03)
    assert (images[2] - 40).std().item() == pytest.approx(5, rel=0.03)
    assert images.mean().item() == pytest.approx(40, abs=0.4)


def test_blur_of_an_impulse_keeps_its_sum_and_has_its_variance():
    images = torch.zeros(1, 1, 41, 31)
    images[0, 0, 20, 15] = 1000
    blur_(images, [Change(blur_pixels=2.0)])
    shares = images[0, 0] / 1000
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(shares, shares.flip(0))
    x = torch.arange(41.0) - 20
    assert (shares.sum(1) * x**2).sum().item() == pytest.approx(4, rel=0.03)  # less what three deviations cut off
    assert shares[20, 15].item() == pytest.approx((1 / (2 * np.sqrt(2 * np.pi))) ** 2, rel=0.01)


@pytest.mark.parametrize("deviation", [0.3, 1.0, 1.7])
def test_blur_is_what_scipy_finds(deviation):
    images = random(2, 3)
    reach = int(np.ceil(3 * deviation))
    expected = [gaussian_filter(i, deviation, mode="nearest", radius=reach) for i in images.flatten(0, 1).numpy()]
    blur_(images, [Change(blur_pixels=deviation), Change(blur_pixels=deviation)])
    assert np.allclose(images.flatten(0, 1), expected, atol=1e-2)


def test_each_slice_has_its_own_blur():
    images = random(4)
    changes = [Change(blur_pixels=deviation) for deviation in (0.5, 0.0, 3.0, 1.0)]
    together = images.clone()
    blur_(together, changes)
    for n, change in enumerate(changes):
        alone = images[n : n + 1].clone()
        blur_(alone, [change])
        assert torch.equal(together[n], alone[0])
        assert torch.equal(alone[0], images[n]) == (change.blur_pixels == 0)


def test_blur_and_resolution_of_a_constant_are_constant():
    for change, function in ((Change(blur_pixels=1.3), blur_), (Change(resolution=0.37), coarsen_)):
        images = torch.full((1, 2, 21, 30), -700.0)
        function(images, [change])
        assert torch.allclose(images, torch.tensor(-700.0), atol=1e-3)


def test_half_the_resolution_by_hand():
    # Pairs average to 10, 30 and 70 at 0.5, 2.5 and 4.5; between them lines, beyond the first and the last nothing new.
    images = torch.tensor([0.0, 20, 20, 40, 60, 80])[None, None, :, None].repeat(1, 1, 1, 2)
    coarsen_(images, [Change(resolution=0.5)])
    assert images[0, 0, :, 0].tolist() == pytest.approx([10, 15, 25, 40, 60, 70])
    assert torch.equal(images[..., 0], images[..., 1])


def test_the_least_resolution_is_one_pixel():
    images = random()
    mean = images.mean()
    coarsen_(images, [Change(resolution=0.01)])
    assert torch.allclose(images, mean, atol=1e-3)


def test_gamma_by_hand():
    images = torch.tensor([0.0, 0.25, 0.5, 1.0])[None, None, None].repeat(3, 1, 1, 1)
    change_gamma_(images, [Change(gamma=2.0), Change(), Change(gamma=0.5)])
    assert images[0, 0, 0].tolist() == pytest.approx([0, 0.0625, 0.25, 1])
    assert images[1, 0, 0].tolist() == [0, 0.25, 0.5, 1]
    assert images[2, 0, 0].tolist() == pytest.approx([0, 0.5, 0.5**0.5, 1])
