"""Temperatures: what they are fitted to, their bounds, and that they keep every sign."""

import numpy as np
import pytest

from tomoseg.evaluation.temperatures import LEAST, MOST, WIDTH, LogitCounts, scales_of


def made_case(rng, above, below, shape=(1, 200, 200)):
    """Logits and a reference that is drawn with the probability of each logit at the temperatures."""
    logits = rng.normal(-2, 6, shape).astype(np.float32)
    scaled = np.where(logits > 0, logits / above, logits / below)
    return logits, rng.random(shape) < 1 / (1 + np.exp(-scaled))


def fitted(cases, structures=1):
    counts = LogitCounts(structures)
    for logits, reference in cases:
        counts.add(logits, reference)
        counts.end_case(list(range(structures)))
    return counts


@pytest.mark.parametrize(("above", "below"), [(1.0, 1.0), (4.0, 2.0), (0.5, 3.0)])
def test_the_temperatures_that_made_the_reference_are_found(rng, above, below):
    counts = fitted([made_case(rng, above, below) for _ in range(6)])
    assert counts.fit(0) == pytest.approx((above, below), rel=0.06)


def test_expected_voxels_are_those_of_the_reference_on_either_side(rng):
    logits, reference = made_case(rng, 3.0, 1.5)
    logits = np.round(logits / WIDTH) * np.float32(WIDTH) + np.float32(WIDTH / 2)  # in the middle of their steps
    scales = scales_of({"a": fitted([(logits, reference)]).fit(0)}, ("a",))
    p = 1 / (1 + np.exp(-logits * np.where(logits > 0, scales[0, 0], scales[0, 1])))
    assert p[logits > 0].sum() == pytest.approx((reference & (logits > 0)).sum(), rel=1e-3)
    assert p[logits < 0].sum() == pytest.approx((reference & (logits < 0)).sum(), rel=1e-3)
    dice = 2 * (reference & (logits > 0)).sum() / (reference.sum() + (logits > 0).sum())
    expected = 2 * p[logits > 0].sum() / (p.sum() + (logits > 0).sum())
    assert expected == pytest.approx(dice, rel=1e-3)


def test_a_large_patient_counts_as_a_small_one(rng):
    small, other = made_case(rng, 2.0, 2.0), made_case(rng, 6.0, 1.0)
    large = tuple(np.tile(part, (1, 3, 3)) for part in other)
    assert fitted([small, large]).fit(0) == pytest.approx(fitted([small, other]).fit(0))


def test_bounds_and_sides_without_voxels():
    right = np.full((1, 4, 4), 5.0, np.float32), np.ones((1, 4, 4), bool)
    assert fitted([right]).fit(0) == (LEAST, 1.0)  # surely right inside, nothing outside
    half = np.tile([[True, False, False, False]], (1, 4, 1))
    wrong = np.full((1, 4, 4), 5.0, np.float32), half
    assert fitted([wrong]).fit(0) == (MOST, 1.0)  # less than half is right


def test_what_is_not_annotated_or_absent_does_not_count():
    counts = LogitCounts(2)
    logits = np.full((2, 3, 3), 5.0, np.float32)
    reference = np.zeros((2, 3, 3), bool)
    reference[0] = True
    counts.add(logits, reference)
    counts.end_case([1])
    assert counts.cases.tolist() == [0, 0]
    assert counts.fit(None) == (1.0, 1.0)


def test_all_together_are_the_sum_of_all(rng):
    one, other = made_case(rng, 4.0, 2.0), made_case(rng, 4.0, 2.0)
    both = fitted([tuple(np.concatenate(pair) for pair in zip(one, other, strict=True))], structures=2)
    assert both.fit(None) == pytest.approx(fitted([one, other]).fit(0))


def test_scales():
    assert scales_of(None, ("a", "b")).tolist() == [[1, 1], [1, 1]]
    assert scales_of({"a": (2.0, 4.0), "b": (1.0, 0.5)}, ("b",)).tolist() == [[1, 2]]
