"""Intervals over patients, and the paired comparison of two sets of scores.

Values come as a table of cases and structures with NaN where there is no score. A mean is always taken over cases first
and over structures then, so that a structure counts once however many cases show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

DRAWS = 2000
LEVEL_PERCENT = 95.0
LEAST_PATIENTS = 5
"""Fewer give neither an interval nor a p: drawn from two to four values, an interval is far narrower than what other
patients would show, and a signed-rank test of four can say nothing below 0.125."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        mean: None where nothing has a value.
        low: Lower end of the 95 % interval; None where fewer than `LEAST_PATIENTS` have a value.
        high: Its upper end.
        n: Cases of one structure, or structures of an overall mean, that have a value.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Difference:
    """How much one set of scores lies above another on the same cases.

    Attributes:
        difference: Mean of ours less theirs.
        low: Lower end of its 95 % interval over patients; None where fewer than `LEAST_PATIENTS` have a pair.
        high: Its upper end.
        p: Wilcoxon's signed-rank test over patients, two-sided; None where fewer than `LEAST_PATIENTS` have a pair, or
            none of them differs.
        n: Pairs of scores.
    """

    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int


class Bootstrap:
    """Patients drawn again and again with replacement; all cases of a patient come together.

    Args:
        patients: Of each case, whose it is.
        draws: How often.
        seed: The same seed gives the same interval.
    """

    def __init__(self, patients: Sequence[str], draws: int = DRAWS, seed: int = 0) -> None:
        self.names, self.patient = np.unique(np.array(patients, dtype=object), return_inverse=True)
        rng = np.random.default_rng(seed)
        count = len(self.names)
        times = rng.multinomial(count, np.full(count, 1 / count), size=draws) if count else np.zeros((draws, 0), int)
        self._times = times[:, self.patient].astype(np.float64)

    def column(self, values: Float64[np.ndarray, " n"]) -> Estimate:
        """Mean over cases, with its interval.

        Args:
            values: `(n,)` one a case; NaN is no value.
        """
        n = int(np.isfinite(values).sum())
        mean = float(np.nanmean(values)) if n else None
        return Estimate(mean, *self._interval(values[:, None], self._means(values[:, None])[:, 0]), n)

    def table(self, values: Float64[np.ndarray, "n c"]) -> Estimate:
        """Mean over cases, then over the columns that have one, with its interval.

        Args:
            values: `(n, c)` cases and structures; NaN is no value.
        """
        columns = np.isfinite(values).any(axis=0)
        if not columns.any():
            return Estimate(None)
        kept = values[:, columns]
        mean = float(np.nanmean(kept, axis=0).mean())
        return Estimate(mean, *self._interval(kept, _mean_of_known(self._means(kept))), int(columns.sum()))

    def _means(self, values: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, "d c"]:
        """Of each draw the mean of each column; NaN where the draw holds none of its cases."""
        known = np.isfinite(values)
        weights = self._times @ known
        return np.divide(
            self._times @ np.where(known, values, 0.0), weights, out=np.full(weights.shape, np.nan), where=weights > 0
        )

    def _interval(
        self, values: Float64[np.ndarray, "n c"], means: Float64[np.ndarray, " d"]
    ) -> tuple[float | None, float | None]:
        """The interval of the draws' means; none where too few patients have values."""
        means = means[np.isfinite(means)]
        if len(set(self.patient[np.isfinite(values).any(axis=1)])) < LEAST_PATIENTS or not len(means):
            return None, None
        tail = (100 - LEVEL_PERCENT) / 2
        low, high = np.percentile(means, (tail, 100 - tail))
        return float(low), float(high)

    def paired(self, ours: Float64[np.ndarray, "n c"], theirs: Float64[np.ndarray, "n c"]) -> Difference:
        """Compare two tables of the same cases and structures, where both have a value.

        Args:
            ours: `(n, c)`.
            theirs: `(n, c)`.
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
    """P-values corrected for how many there are, by Holm's method; None stays None.

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
    """Mean of each row over what is not NaN; NaN where all is."""
    known = np.isfinite(values)
    count = known.sum(axis=1)
    return np.divide(np.where(known, values, 0.0).sum(axis=1), count, out=np.full(len(values), np.nan), where=count > 0)
