"""What the dataset doctor says, and the robust statistics that it says it by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from tomoseg.checks.holdings import Holdings
from tomoseg.notices import DECISIVE

LEAST_CASES = 8
"""With fewer cases nothing can be said to be unlike the others."""

SCAN = "scan: "
"""Before the kind of a notice that is a finding."""

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """Something that looks wrong.

    Attributes:
        level: `error` for what would teach or score something false, `warning` for what a person should look at.
        kind: Short, the same for all findings alike.
        case: Where; empty for the dataset itself.
        structure: Of which structure, if of one.
        text: What was seen, what was expected, what to do.
    """

    level: Level
    kind: str
    case: str
    structure: str | None
    text: str

    @property
    def weight(self) -> int:
        """0 for errors, 1 for what may make a whole scan worthless, 2 for other warnings: the order of a list."""
        if self.level == "error":
            return 0
        return 1 if self.kind.startswith(SCAN) and self.kind.removeprefix(SCAN) in DECISIVE else 2

    @classmethod
    def error(cls, kind: str, text: str, case: str, structure: str | None = None) -> Finding:
        """What would teach or score something false.

        Args:
            kind: Short, the same for all findings alike.
            text: What was seen, what was expected, what to do.
            case: Its name; empty for the dataset itself.
            structure: The structure, if it is of one.
        """
        return cls("error", kind, case, structure, text)

    @classmethod
    def warning(cls, kind: str, text: str, case: str, structure: str | None = None) -> Finding:
        """What a person should look at.

        Args:
            kind: Short, the same for all findings alike.
            text: What was seen, what was expected, what to do.
            case: Its name; empty for the dataset itself.
            structure: The structure, if it is of one.
        """
        return cls("warning", kind, case, structure, text)


@dataclass(frozen=True)
class RobustStats:
    """The middle of many values and how far they usually lie from it.

    Attributes:
        middle: Median.
        spread: 1.4826 times the median distance from it: the standard deviation, were they normal.
        low: The value below which a twentieth lies.
        high: The value above which a twentieth lies.
    """

    middle: float
    spread: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Float64[np.ndarray, " n"]) -> RobustStats:
        """Of at least one value.

        Example:
            >>> RobustStats.of(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).middle
            3.0
        """
        middle = float(np.median(values))
        low, high = (float(value) for value in np.percentile(values, (5, 95)))
        return cls(middle, 1.4826 * float(np.median(np.abs(values - middle))), low, high)

    def is_far(self, value: float, spreads: float, least: float) -> bool:
        """Whether a value lies so many spreads from the middle, and at least so far."""
        return abs(value - self.middle) > max(spreads * self.spread, least)


@dataclass(frozen=True)
class CheckReport:
    """What was found.

    Attributes:
        dataset: Its folder.
        cases: How many cases.
        masks: How many masks of structures.
        findings: Errors first.
        warnings: What was noticed before any scan was opened.
        holdings: What the dataset holds.
        left_out: Which of the warnings are about cases that were left out.
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
        """Findings that are errors."""
        return sum(finding.level == "error" for finding in self.findings)

    @property
    def flagged_masks(self) -> int:
        """Masks that something is said of."""
        return len({(f.case, f.structure) for f in self.findings if f.structure is not None})
