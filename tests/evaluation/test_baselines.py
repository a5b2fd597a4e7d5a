"""The baselines on cases whose answer is known, and on phantoms, where they must do badly."""

import numpy as np
import pytest

from tomoseg.errors import InputError
from tomoseg.evaluation.baselines import fit_atlas_baseline, fit_threshold_baseline
from tomoseg.masks import pack, unpack
from tomoseg.phantom import make_phantom


def case(shift=0, hu_inside=100):
    """A body of 0 HU in air, with a block of another HU as the only structure, and a structure that is never there."""
    hu = np.full((30, 30, 20), -1000, np.int16)
    hu[4 + shift : 24 + shift, 5:25] = 0
    block = np.zeros(hu.shape, bool)
    block[6 + shift : 14 + shift, 8:16, 5:15] = True
    hu[block] = hu_inside
    return hu, pack(np.stack([block, np.zeros_like(block)]))


def dice(predicted, reference):
    return 2 * (predicted & reference).sum() / (predicted.sum() + reference.sum())


def test_threshold_finds_a_structure_of_its_own_grey():
    baseline = fit_threshold_baseline([case(), case(3)], 2)
    assert baseline.intervals_hu[0, 0] <= 100 <= baseline.intervals_hu[0, 1]
    hu, packed = case(1, hu_inside=101)
    predicted = unpack(baseline.predict(hu), 2)
    assert np.array_equal(predicted[0], unpack(packed, 2)[0])
    assert not predicted[1].any()


def test_threshold_takes_the_best_interval():
    # Of 200 voxels in the bin of 0 HU 20 belong to the structure, of 20 in that of 100 HU 15 do:
    # 100 alone gives 2 * 15 / (20 + 35) = 0.55, both give 2 * 35 / (220 + 35) = 0.27.
    hu = np.zeros((20, 11, 1), np.int16)
    hu[:, 10] = 100
    mask = np.zeros(hu.shape, bool)
    mask[:, 0] = True
    mask[:15, 10] = True
    baseline = fit_threshold_baseline([(hu, pack(mask[None]))], 1)
    low, high = baseline.intervals_hu[0]
    assert 0 < low <= 100 <= high


def test_atlas_finds_what_does_not_move_in_the_body():
    baseline = fit_atlas_baseline([case(), case(2), case(5)], 2)
    hu, packed = case(3)
    predicted, reference = unpack(baseline.predict(hu), 2), unpack(packed, 2)
    assert dice(predicted[0], reference[0]) > 0.8
    assert not predicted[1].any()


def test_atlas_keeps_the_count_with_the_best_dice():
    def scan(end):
        hu = np.zeros((48, 48, 64), np.int16)
        mask = np.zeros(hu.shape, bool)
        mask[8:end, 8:24, 8:24] = True
        return hu, pack(mask[None])

    # Twice it ends at 24, once at 40. From 2 cases on: 2 * 48 / (48 + 64) = 0.86; from 1 on: 2 * 64 / (96 + 64) = 0.8.
    baseline = fit_atlas_baseline([scan(24), scan(24), scan(40)], 1)
    assert baseline.thresholds.tolist() == [1.5]
    predicted = unpack(baseline.predict(scan(24)[0]), 1)[0]
    assert predicted[10:22, 10:22, 10:22].all()
    assert not predicted[26:].any()


@pytest.mark.parametrize("fit", [fit_threshold_baseline, fit_atlas_baseline])
def test_refusals(fit):
    with pytest.raises(InputError, match="at least one training case"):
        fit([], 2)
    with pytest.raises(InputError, match="2 bytes per voxel for 9 structures"):
        fit([case()], 9)


def test_both_do_badly_on_phantoms():
    spacing = (12.0, 12.0, 12.0)
    train = [make_phantom(seed, spacing_mm=spacing) for seed in range(2)]
    test = [make_phantom(seed, spacing_mm=spacing, field_of_view="whole") for seed in (20,)]
    for fit, most in ((fit_threshold_baseline, 0.2), (fit_atlas_baseline, 0.4)):
        baseline = fit(((p.hu, p.packed) for p in train), 117)
        scores = []
        for phantom in test:
            predicted, reference = unpack(baseline.predict(phantom.hu), 117), unpack(phantom.packed, 117)
            scores += [dice(p, r) for p, r in zip(predicted, reference, strict=True) if r.any()]
        assert 0 < np.mean(scores) < most
