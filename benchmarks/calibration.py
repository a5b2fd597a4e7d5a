"""Expected against true Dice, on patients other than those the temperatures were fitted on.

    .venv/bin/python benchmarks/calibration.py PREPROCESSED MODEL [--split validation] [--seed 0]

Patients are split in halves. Temperatures are fitted on one half and used on the other, and the other way, so that each
patient is told once by what others chose. Printed are the mean expected and the mean true Dice with the difference and
its 95 % interval, the rank correlation over cases with its interval (both from 2000 draws of patients), the same
structure by structure, and what other ways of fitting would have given.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.stats import spearmanr

from tomoseg.evaluation.temperatures import BINS, LEAST, MOST, WIDTH, LogitCounts, scales_of
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import AS_TRAINED, on_grid, score_case
from tomoseg.inference.segment import open_predictor
from tomoseg.inference.self_rating import RatingSums
from tomoseg.options import Compute
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.workflows.calibrate import CountedCase

DRAWS = 2000
LOGITS = (np.arange(BINS) - BINS // 2 + 0.5) * WIDTH


@dataclass
class Told:
    """Logit counts and Dice of a case.

    Attributes:
        case: The case.
        counts: Its logit counts.
        true: Dice of each structure that is annotated and present.
        expected: Expected Dice of each structure found.
    """

    case: PreprocessedCase
    counts: LogitCounts
    true: dict[str, float]
    expected: dict[str, float] = field(default_factory=dict)

    def pairs(self) -> list[tuple[str, float, float]]:
        """Expected and true Dice of each structure that has both."""
        return [(name, value, self.true[name]) for name, value in self.expected.items() if name in self.true]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preprocessed", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    predictor, data = open_predictor(given.model, Compute()), Preprocessed(given.preprocessed)
    engine = predictor.engines()[0]
    print(f"{given.model}, {engine.name} {engine.precision}; {data.folder.name}, {given.split}, seed {given.seed}")
    cases = [counted(predictor, case) for case in data.split(given.split)]
    patients = np.random.default_rng(given.seed).permutation(sorted({one.case.record.patient for one in cases}))
    first = set(patients[: len(patients) // 2].tolist())
    halves = [[one for one in cases if (one.case.record.patient in first) == mine] for mine in (True, False)]
    names = data.labels.names
    for fitted_on, told_of in (halves, halves[::-1]):
        temperatures = dict(zip(names, fitted(fitted_on, matched), strict=True))
        for one in told_of:
            one.expected = expected_of(predictor, one.case, scales_of(temperatures, names))
    told(
        "cases", [one for one in cases if one.pairs()], lambda one: np.mean([pair[1:] for pair in one.pairs()], axis=0)
    )
    for name in names:
        shown = [one for one in cases if any(pair[0] == name for pair in one.pairs())]
        if len(shown) > 2 and len(names) <= 20:
            told(name, shown, lambda one, name=name: np.array([one.expected[name], one.true[name]]))
    print("\nother ways, from counts of logits in steps of 1/16, both halves:")
    for way in (uncalibrated, one_by_likelihood, two_by_likelihood, matched):
        gaps = [gap for fit_on, of in (halves, halves[::-1]) for gap in differences(fitted(fit_on, way), of, names)]
        print(f"  {way.__name__.replace('_', ' '):20} expected less true {np.mean(gaps):+.3f}")


def counted(predictor: Predictor, case: PreprocessedCase) -> Told:
    """Return a case's logit counts and its true Dice."""
    counts = LogitCounts(len(predictor.record.labels))
    watch = CountedCase(case, counts)
    score = score_case(predictor, case, watch)
    watch.end()
    return Told(case, counts, {s.structure: s.dice for s in score.structures if s.dice is not None})


def expected_of(predictor: Predictor, case: PreprocessedCase, scales: np.ndarray) -> dict[str, float]:
    """Return the expected Dice of each structure, as `predict --triage` does."""
    choices = predictor.choices(AS_TRAINED)
    sums = RatingSums(choices.labels.names, choices.offsets, scales)
    for _ in predictor.slices(on_grid(case), choices, watch=sums):
        pass
    return {name: value for name, value in sums.rating().structures.items() if value is not None}


Fit = Callable[[np.ndarray], tuple[float, float]]


def fitted(cases: Sequence[Told], how: Fit) -> list[tuple[float, float]]:
    """Return the temperatures of each structure; those of all together if no case contains it."""
    total = np.sum([one.counts.weights for one in cases], axis=0)
    together = how(total.sum(axis=0))
    return [how(weights) if weights.any() else together for weights in total]


def matched(weights: np.ndarray) -> tuple[float, float]:
    """Fit temperatures as the package does."""
    counts = LogitCounts(1)
    counts.weights[0] = weights
    return counts.fit(0)


def uncalibrated(weights: np.ndarray) -> tuple[float, float]:
    """Return temperatures that keep the network's own probabilities."""
    return 1.0, 1.0


def one_by_likelihood(weights: np.ndarray) -> tuple[float, float]:
    """Fit one temperature for both sides."""
    found = likeliest(weights, np.ones(BINS, bool))
    return found, found


def two_by_likelihood(weights: np.ndarray) -> tuple[float, float]:
    """Fit a temperature for each side."""
    return likeliest(weights, LOGITS > 0), likeliest(weights, LOGITS < 0)


def likeliest(weights: np.ndarray, side: np.ndarray) -> float:
    """Return the temperature of maximum likelihood of the reference."""

    def loss(log_temperature: float) -> float:
        scaled = LOGITS[side] / np.exp(log_temperature)
        outside, inside = weights[:, side]
        return float((outside * np.logaddexp(0, scaled) + inside * np.logaddexp(0, -scaled)).sum())

    return float(np.exp(minimize_scalar(loss, bounds=np.log((LEAST, MOST)), method="bounded").x))


def differences(temperatures: list[tuple[float, float]], cases: Sequence[Told], names: Sequence[str]) -> list[float]:
    """Return expected minus true Dice of each case, from its counts."""
    found = []
    for one in cases:
        each = []
        for channel, name in enumerate(names):
            voxels = one.counts.weights[channel].sum(axis=0)
            if name in one.true and voxels[LOGITS > 0].any():
                above, below = temperatures[channel]
                p = voxels / (1 + np.exp(-LOGITS / np.where(LOGITS > 0, above, below)))
                expected = 2 * p[LOGITS > 0].sum() / (voxels[LOGITS > 0].sum() + p.sum())
                each.append(expected - one.true[name])
        found += [float(np.mean(each))] if each else []
    return found


def told(name: str, cases: Sequence[Told], of: Callable[[Told], np.ndarray]) -> None:
    """Print means, their difference, and the rank correlation, with intervals from draws of patients."""
    values = np.array([of(one) for one in cases])
    patients = np.array([one.case.record.patient for one in cases])
    known, rng = np.unique(patients), np.random.default_rng(0)
    gaps, ranks = [], []
    for _ in range(DRAWS):
        drawn = np.concatenate([np.flatnonzero(patients == one) for one in rng.choice(known, len(known))])
        expected, true = values[drawn].T
        gaps.append(expected.mean() - true.mean())
        if np.ptp(expected) > 0 and np.ptp(true) > 0:
            ranks.append(spearmanr(expected, true).statistic)
    (expected, true), gap, rank = values.T, np.percentile(gaps, (2.5, 97.5)), np.percentile(ranks, (2.5, 97.5))
    print(
        f"{name:24} n {len(cases):3}  expected {expected.mean():.3f}  true {true.mean():.3f}  "
        f"difference {expected.mean() - true.mean():+.3f} ({gap[0]:+.3f} to {gap[1]:+.3f})  "
        f"rank correlation {spearmanr(expected, true).statistic:.2f} ({rank[0]:.2f} to {rank[1]:.2f})"
    )


if __name__ == "__main__":
    main()
