"""Easy slices first: which slices an epoch may draw."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from tomoseg.config import CurriculumConfig
from tomoseg.errors import DatasetError
from tomoseg.preprocessed.format import CaseRecord


def curriculum_share(config: CurriculumConfig, progress: float) -> float:
    """Share of the slices that may be drawn: it rises in a line from `start_share` to 1 at `until`.

    Args:
        config: The schedule.
        progress: How much of the budget was used when the epoch began, 0 to 1.

    Example:
        >>> schedule = CurriculumConfig(start_share=0.2, until=0.5)
        >>> [round(curriculum_share(schedule, progress), 2) for progress in (0, 0.25, 0.5, 0.9)]
        [0.2, 0.6, 1.0, 1.0]
    """
    if progress >= config.until:
        return 1.0
    return config.start_share + (1 - config.start_share) * progress / config.until


def easiest_slices(records: Sequence[CaseRecord], share: float) -> list[Bool[np.ndarray, "_"]]:
    """Which slices of each case are among the easiest share of all.

    Slices are ranked over all cases together. Those that are as hard as the last one within the share are in as well,
    so nothing depends on the order of cases. A case that would have none has those that are the easiest in it.

    Args:
        records: The training cases, each with its difficulties.
        share: Above 0; 1 is all slices.

    Returns:
        For each case `(slices,)`.

    Raises:
        DatasetError: If a case has no difficulties.
    """
    check_difficulties(records)
    difficulties = [np.array(record.difficulty) for record in records]
    ranked = np.sort(np.concatenate(difficulties))
    hardest = ranked[max(math.ceil(share * len(ranked)), 1) - 1]
    return [each <= max(hardest, each.min()) for each in difficulties]


def check_difficulties(records: Sequence[CaseRecord]) -> None:
    """Refuse a dataset from before difficulties were stored.

    Raises:
        DatasetError: If a case has none.
    """
    without = [record.name for record in records if record.difficulty is None]
    if without:
        raise DatasetError(
            f"expected the difficulty of each slice, which curriculum.enabled needs, got none in {len(without)} of "
            f"{len(records)} training cases, the first {without[0]}; preprocess again, or turn the curriculum off"
        )
