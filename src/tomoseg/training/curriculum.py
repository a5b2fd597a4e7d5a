"""Curriculum: the slices that an epoch may draw, easy ones first."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from tomoseg.config import CurriculumConfig
from tomoseg.errors import DatasetError
from tomoseg.preprocessed.format import CaseRecord


def curriculum_share(config: CurriculumConfig, progress: float) -> float:
    """Return the fraction of slices that may be drawn, which rises linearly from `start_share` to 1 at `until`.

    Args:
        config: The schedule.
        progress: Fraction of the budget used when the epoch began, 0 to 1.

    Example:
        >>> schedule = CurriculumConfig(start_share=0.2, until=0.5)
        >>> [round(curriculum_share(schedule, progress), 2) for progress in (0, 0.25, 0.5, 0.9)]
        [0.2, 0.6, 1.0, 1.0]
    """
    if progress >= config.until:
        return 1.0
    return config.start_share + (1 - config.start_share) * progress / config.until


def easiest_slices(records: Sequence[CaseRecord], share: float) -> list[Bool[np.ndarray, "_"]]:
    """Return masks of the slices of each case that are among the easiest fraction of all.

    Slices are ranked over all cases. Ties with the last one are included, so nothing depends on the order of cases. A
    case without any such slice has its own easiest ones.

    Args:
        records: The training cases, each with its difficulties.
        share: Fraction above 0; 1 is all slices.

    Returns:
        A mask `(slices,)` for each case.

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
            f"{len(records)} training cases, such as {without[0]}; preprocess again, or turn the curriculum off"
        )
