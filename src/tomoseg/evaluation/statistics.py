"""Confidence intervals over patients, and the paired comparison of two sets of scores.

Values are tables of cases and structures, with NaN where there is no score. A mean is always taken over cases first,
then over structures, so that every structure counts once, in however many cases it occurs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

DRAWS = 2000
LEVEL_PERCENT = 95.0
LEAST_PATIENTS = 5
"""Minimum number of patients for an interval or a p-value: bootstrapped from two to four values, an interval is far too
narrow, and a signed-rank test of four pairs cannot give a p-value below 0.125."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % confidence interval.

    Attributes:
        mean: The mean; None if there is no value.
        low: Lower end of the interval; None if fewer than `LEAST_PATIENTS` patients have a value.
        high: Upper end of the interval.
        n: Number of cases, or for an overall mean number of structures, that have a value.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Difference:
    """The mean difference between two sets of scores on the same cases.

    Attributes:
        difference: Mean of ours minus theirs.
        low: Lower end of its 95 % confidence interval over patients; None if fewer than `LEAST_PATIENTS` have a pair.
        high: Upper end of the interval.
        p: P-value of the two-sided Wilcoxon signed-rank test over patients; None if fewer than `LEAST_PATIENTS` have a
            pair, or no patient differs.
        n: Number of pairs of scores.
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int


class Bootstrap:
    """Bootstrap over patients, who are sampled with replacement together with all of their cases.

    Args:
        patients: The patient of each case.
        draws: Number of bootstrap samples.
        seed: Random seed; the same seed gives the same interval.
    """

    def __init__(self, patients: Sequence[str], draws: int = DRAWS, seed: int = 0) -> None:
        self.names, self.patient = np.unique(np.array(patients, dtype=object), return_inverse=True)
        rng = np.random.default_rng(seed)
        count = len(self.names)
        times = rng.multinomial(count, np.full(count, 1 / count), size=draws) if count else np.zeros((draws, 0), int)
        self._times = times[:, self.patient].astype(np.float64)

    def column(self, values: Float64[np.ndarray, " n"]) -> Estimate:
        """Return the mean over cases, with its confidence interval.

        Args:
            values: `(n,)`, one value per case; NaN if there is none.
        """
        n = int(np.isfinite(values).sum())
        mean = float(np.nanmean(values)) if n else None
        return Estimate(mean, *self._interval(values[:, None], self._means(values[:, None])[:, 0]), n)

    def table(self, values: Float64[np.ndarray, "n c"]) -> Estimate:
        """Return the mean over cases, then over the structures that have a value, with its confidence interval.

        Args:
            values: `(n, c)`, one value per case and structure; NaN if there is none.
        """
        columns = np.isfinite(values).any(axis=0)
        if not columns.any():
            return Estimate(None)
        kept = values[:, columns]
        mean = float(np.nanmean(kept, axis=0).mean())
        return Estimate(mean, *self._interval(kept, _mean_of_known(self._means(kept))), int(columns.sum()))

    def _means(self, values: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, "d c"]:
        """Return the mean of each column in each bootstrap sample; NaN if the sample has no value of the column."""
        known = np.isfinite(values)
        weights = self._times @ known
        return np.divide(
            self._times @ np.where(known, values, 0.0), weights, out=np.full(weights.shape, np.nan), where=weights > 0
        )

    def _interval(
        self, values: Float64[np.ndarray, "n c"], means: Float64[np.ndarray, " d"]
    ) -> tuple[float | None, float | None]:
        """Return the percentile interval of bootstrap means; None, None if too few patients have values."""
        means = means[np.isfinite(means)]
        if len(set(self.patient[np.isfinite(values).any(axis=1)])) < LEAST_PATIENTS or not len(means):
            return None, None
        tail = (100 - LEVEL_PERCENT) / 2
        low, high = np.percentile(means, (tail, 100 - tail))
        return float(low), float(high)

    def paired(self, ours: Float64[np.ndarray, "n c"], theirs: Float64[np.ndarray, "n c"]) -> Difference:
        """Compare two tables of the same cases and structures, using pairs in which both have a value.

        Args:
            ours: `(n, c)`, one value per case and structure; NaN if there is none.
            theirs: `(n, c)`, in the same way.
        """
        from scipy.stats import wilcoxon  # takes half a second to import, which only a comparison needs

        change = ours - theirs
        estimate = self.table(change)
        by_case = _mean_of_known(change)
        by_patient = np.array([_mean_of_known(by_case[self.patient == i][None])[0] for i in range(len(self.names))])
        by_patient = by_patient[np.isfinite(by_patient)]
        tested = len(by_patient) >= LEAST_PATIENTS and bool(np.any(by_patient))
        p = float(wilcoxon(by_patient).pvalue) if tested else None
        return Difference(estimate.mean, estimate.low, estimate.high, p, int(np.isfinite(change).sum()))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for multiple testing by Holm's method; None stays None.

    Source: Holm, S. (1979). Scandinavian Journal of Statistics 6(2), 65-70.

    Example:
        >>> holm([0.01, None, 0.04, 0.03])
        [0.03, None, 0.06, 0.06]
    """
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, p * (len(order) - rank)))
        corrected[place] = largest
    return corrected


def _mean_of_known(values: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, " n"]:
    """Return the mean of each row without NaN; NaN if a row has nothing else."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    return np.divide(np.where(known, values, 0.0).sum(axis=1), count, out=np.full(len(values), np.nan), where=count > 0)
