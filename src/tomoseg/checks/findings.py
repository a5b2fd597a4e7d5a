"""Findings of the dataset check, and the robust statistics that they are based on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from tomoseg.checks.holdings import Holdings
from tomoseg.language.words import all_later, say
from tomoseg.notices import DECISIVE
from tomoseg.settings import Language

LEAST_CASES = 8
"""Minimum number of cases for comparing them with each other."""

SCAN = "scan: "
"""Prefix of the kind of a finding that was made from a notice about the scan."""

Level = Literal["error", "warning"]

all_later(
    *("HU", "blank slices", "constant", "duplicate", "empty", "gap", "in two splits", "left and right swapped"),
    *("mirrored", "not HU", "outside of the scan", "overlap", "position", "scan mirrored under its masks"),
    *("unreadable", "volume"),
)


def kind_in_words(kind: str, lang: Language | None = None) -> str:
    r"""Translate the kind of a finding; that of a notice keeps its documented name.

    Args:
        kind: As in `Finding`.
        lang: The language; if omitted, this process's.

    Example:
        >>> kind_in_words("mirrored", "fr"), kind_in_words("scan: tilt", "fr")
        ('en miroir', 'scanner\xa0: tilt')
    """
    if kind.startswith(SCAN):
        return say("scan: {kind}", lang, kind=kind.removeprefix(SCAN))
    return say(kind, lang)


@dataclass(frozen=True)
class Finding:
    """A likely mistake in a dataset.

    Attributes:
        level: `error` for what makes training or scores wrong, `warning` for what a person should look at.
        kind: Short name of the kind of finding.
        case: Name of the case; empty for the dataset itself.
        structure: Name of the structure, if it is about one.
        text: What was found, what was expected, what to do.
    """

    level: Level
    kind: str
    case: str
    structure: str | None
    text: str

    @property
    def weight(self) -> int:
        """Rank by which findings are sorted: 0 for errors, 1 for decisive notices, 2 for other warnings."""
        if self.level == "error":
            return 0
        return 1 if self.kind.startswith(SCAN) and self.kind.removeprefix(SCAN) in DECISIVE else 2

    @classmethod
    def error(cls, kind: str, text: str, case: str, structure: str | None = None) -> Finding:
        """Make an error, which makes training or scores wrong.

        Args:
            kind: Short name of the kind of finding.
            text: What was found, what was expected, what to do.
            case: Name of the case; empty for the dataset itself.
            structure: Name of the structure, if it is about one.
        """
        return cls("error", kind, case, structure, text)

    @classmethod
    def warning(cls, kind: str, text: str, case: str, structure: str | None = None) -> Finding:
        """Make a warning, which a person should look at.

        Args:
            kind: Short name of the kind of finding.
            text: What was found, what was expected, what to do.
            case: Name of the case; empty for the dataset itself.
            structure: Name of the structure, if it is about one.
        """
        return cls("warning", kind, case, structure, text)


@dataclass(frozen=True)
class RobustStats:
    """Median and spread of values, robust to outliers.

    Attributes:
        middle: Median.
        spread: 1.4826 times the median absolute deviation, which is the standard deviation of normal values.
    """

    middle: float
    spread: float

    @classmethod
    def of(cls, values: Float64[np.ndarray, " n"]) -> RobustStats:
        """Compute the statistics of one or more values.

        Example:
            >>> RobustStats.of(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).middle
            3.0
        """
        middle = float(np.median(values))
        return cls(middle, 1.4826 * float(np.median(np.abs(values - middle))))

    def is_far(self, value: float, spreads: float, least: float) -> bool:
        """Whether a value is more than `spreads` spreads, and more than `least`, from the median."""
        return abs(value - self.middle) > max(spreads * self.spread, least)

    def usual(self, values: Float64[np.ndarray, " n"], spreads: float, least: float) -> tuple[float, float]:
        """Return the smallest and the largest of the values that are not far from the median.

        Example:
            >>> values = np.array([1.0, 2.0, 3.0, 4.0, 100.0])
            >>> RobustStats.of(values).usual(values, 5, 1)
            (1.0, 4.0)
        """
        near = [value for value in values.tolist() if not self.is_far(value, spreads, least)]
        return min(near), max(near)


@dataclass(frozen=True)
class CheckReport:
    """The result of checking a dataset.

    Attributes:
        dataset: Folder of the dataset.
        cases: Number of cases.
        masks: Number of masks of structures.
        findings: The findings, errors first.
        warnings: Warnings from before any scan was opened.
        holdings: Contents of the dataset.
        left_out: Those of the warnings that are about cases that were left out.
    """

    dataset: Path
    cases: int
    masks: int
    findings: list[Finding]
    warnings: tuple[str, ...]
    holdings: Holdings
    left_out: tuple[str, ...] = ()

    @property
    def errors(self) -> int:
        """Number of findings that are errors."""
        return sum(finding.level == "error" for finding in self.findings)

    @property
    def flagged_masks(self) -> int:
        """Number of masks with a finding."""
        return len({(f.case, f.structure) for f in self.findings if f.structure is not None})
