"""The random field against its formula, written out."""

import numpy as np
import pytest

from tomoseg.masks import BoxedMask
from tomoseg.postprocess.crf import CrfSettings, refine

SPACING = (1.0, 1.0, 2.0)


def made(seed=0, shape=(9, 8, 5)):
    rng = np.random.default_rng(seed)
    probability = rng.integers(0, 256, shape).astype(np.uint8)
    hu = np.where(np.arange(shape[0])[:, None, None] < 4, 0, 100) + rng.integers(-20, 20, shape)
    return probability, hu.astype(np.int16)


def by_formula(mask, probability, hu, settings):
    chance = np.clip(probability / 255, 1e-3, 1 - 1e-3)
    logits = np.log(chance / (1 - chance))
    logits = np.where(mask, np.maximum(logits, 1e-6), np.minimum(logits, -1e-6))
    voxels = list(np.ndindex(mask.shape))
    place = np.array(voxels) * SPACING
    far = np.linalg.norm(place[:, None] - place[None], axis=2)
    near = (far > 0) & (far <= settings.radius_mm)
    spatial = np.exp(-0.5 * (far / settings.sigma_mm) ** 2) * near
    reach = [int(settings.radius_mm / s) for s in SPACING]
    around = np.array(list(np.ndindex(*(2 * r + 1 for r in reach)))) - reach
    distance = np.linalg.norm(around * SPACING, axis=1)
    whole = np.exp(-0.5 * (distance / settings.sigma_mm) ** 2)[(distance > 0) & (distance <= settings.radius_mm)].sum()
    flat = hu.ravel().astype(float)
    kernel = spatial * np.exp(-0.5 * ((flat[:, None] - flat) / settings.sigma_hu) ** 2) * settings.weight / whole
    band = ((probability >= 13) & (probability <= 242)).ravel()
    state = np.tanh(logits.ravel() / 2)
    for _ in range(settings.rounds):
        state = np.where(band, np.tanh((logits.ravel() + kernel @ state) / 2), state)
    return np.where(band, state > 0, mask.ravel()).reshape(mask.shape)


@pytest.mark.parametrize("seed", range(4))
def test_mean_field_is_its_formula(seed):
    probability, hu = made(seed)
    mask = probability > 127
    settings = CrfSettings(weight=4.0, radius_mm=3.0, sigma_mm=2.0, sigma_hu=40.0, rounds=3)
    found = refine(BoxedMask.of(mask), probability, hu, SPACING, settings).whole()
    expected = by_formula(mask, probability, hu, settings)
    assert np.array_equal(found, expected)
    assert (found != mask).any()


@pytest.mark.parametrize("threshold", [60, 127, 200])
def test_without_weight_it_is_the_identity_whatever_the_threshold(threshold):
    probability, hu = made()
    mask = probability > threshold
    found = refine(BoxedMask.of(mask), probability, hu, SPACING, CrfSettings(weight=0.0))
    assert np.array_equal(found.whole(), mask)


def test_a_border_moves_to_the_edge_of_the_ct():
    hu = np.zeros((12, 9, 9), np.int16)
    hu[6:] = 200
    probability = np.full(hu.shape, 5, np.uint8)
    probability[7:] = 250
    probability[5:7] = 130  # undecided on both sides of the edge
    mask = BoxedMask.of(probability > 127)
    found = refine(mask, probability, hu, (1.0, 1.0, 1.0), CrfSettings()).whole()
    assert np.array_equal(found[:, 3:6, 3:6], (hu > 100)[:, 3:6, 3:6])


def test_what_is_certain_or_absent_stays():
    hu = made()[1]
    certain = np.where(hu > 50, 255, 0).astype(np.uint8)
    assert np.array_equal(refine(BoxedMask.of(certain > 0), certain, hu, SPACING, CrfSettings()).whole(), certain > 0)
    nothing = BoxedMask.of(np.zeros(hu.shape, bool))
    assert refine(nothing, np.zeros(hu.shape, np.uint8), hu, SPACING, CrfSettings()).voxels == 0
