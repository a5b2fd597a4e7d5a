"""Image formation on flat bodies: what is done to HU can be told by hand."""

import numpy as np
import pytest

from tomoseg.bodies.scanner import Scan, acquire, noise_spread

QUIET = Scan(
    pixel_mm=1.0, slice_mm=2.0, kernel_fwhm_mm=0.0, noise_hu=0.0, grain_mm=1.0, streaks=0.0, hardening_hu=0.0,
    cupping_hu=0.0,
)  # fmt: skip
SPACING = (2.0, 2.0, 2.0)


def scan(**changed):
    return Scan(**{**QUIET.__dict__, **changed})


def block():
    hu = np.full((40, 40, 12), -1000, np.float32)
    hu[8:32, 8:32] = 50
    return hu, hu > -500


def test_nothing_is_done_by_a_perfect_scanner():
    hu, body = block()
    assert np.array_equal(acquire(hu, body, SPACING, QUIET, np.random.default_rng(0)), hu.astype(np.int16))


@pytest.mark.parametrize(
    ("slice_mm", "spacing", "expected"),
    [(5.0, (1, 1, 5), 10.0), (1.25, (1, 1, 1.25), 20.0), (5.0, (3, 3, 5), 5.0), (1.25, (1, 1, 5), 10.0)],
)
def test_thin_slices_are_noisier_and_coarse_grids_less(slice_mm, spacing, expected):
    assert noise_spread(spacing, scan(noise_hu=10.0, slice_mm=slice_mm, grain_mm=1.5)) == pytest.approx(expected)


def test_noise_has_the_spread_that_was_asked_for():
    hu = np.full((120, 120, 12), 50, np.float32)
    quiet = acquire(hu, np.zeros(hu.shape, bool), SPACING, scan(noise_hu=20.0, grain_mm=2.0), np.random.default_rng(1))
    # without a body slices count as the slimmest: 0.6; 5 mm slices at 20 HU are 31.6 at 2 mm
    assert quiet.std() == pytest.approx(0.6 * 20 * np.sqrt(5 / 2), rel=0.03)
    assert quiet.mean() == pytest.approx(50, abs=1)


def test_thick_slices_reach_into_their_neighbours_and_the_kernel_into_pixels():
    hu, body = block()
    hu[:, :, 6] += 100
    thick = acquire(hu, body, SPACING, scan(slice_mm=6.0), np.random.default_rng(0))
    assert thick[20, 20, 6] < 120
    assert thick[20, 20, 5] > 60
    assert thick[20, 20, 4:9].sum() - 5 * 50 == pytest.approx(100, abs=8)  # nothing is lost
    soft = acquire(hu, body, SPACING, scan(kernel_fwhm_mm=4.0), np.random.default_rng(0))
    assert soft[7, 20, 0] > -1000
    assert soft[8, 20, 0] < 50


def test_motion_blurs_to_front_and_back_only():
    hu, body = block()
    moved = acquire(hu, body, SPACING, scan(motion_mm=8.0), np.random.default_rng(0))
    assert moved[20, 7, 5] > -1000
    assert moved[7, 20, 5] == -1000


def test_between_two_bones_it_is_darker():
    hu, body = block()
    hu[10:13, 18:22], hu[27:30, 18:22] = 1200, 1200
    dark = acquire(hu, body, SPACING, scan(hardening_hu=20.0), np.random.default_rng(0)).astype(float) - hu
    assert dark[20, 20, 5] < -5
    assert dark[20, 30, 5] == pytest.approx(0, abs=1)


def test_metal_throws_rays_in_its_slices_only():
    hu, body = block()
    hu[18:22, 18:22, 5] = 3000
    rays = acquire(hu, body, SPACING, QUIET, np.random.default_rng(0)).astype(float) - hu
    assert np.abs(rays[:, :, 5]).max() > 30
    assert np.abs(rays[:, :, :5]).max() < 1
