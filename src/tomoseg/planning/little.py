"""Likely causes of a training run with poor results, and advice: one sentence per cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tomoseg.errors import counted
from tomoseg.planning.needs import ENOUGH_SHARE, wanted_slices

NEAR_ZERO = 0.1
"""Mean Dice below which a run has found next to nothing; for one structure, half of it."""

FINER_SHARE = 0.6
"""Ratio of the grid's spacing to the scans' below which the grid is much too fine."""

LOST_CEILING = 0.6
"""Dice of a structure's mask with itself resampled to the grid and back, below which there is little to learn."""

FELL_SHARE = 0.95
"""Ratio of the last training loss to the first above which it did not fall."""

MOST_NAMED = 5


@dataclass(frozen=True)
class StructureFound:
    """One structure of a run.

    Attributes:
        name: Name of the structure.
        dice: Dice of the best validation; None if no validation case has a reference for it.
        cases: Number of training cases that contain it.
        ceiling: Median Dice after resampling to the grid and back; None if no case contains it.
    """

    name: str
    dice: float | None
    cases: int
    ceiling: float | None


@dataclass(frozen=True)
class RunFound:
    """Extent and result of a run.

    Attributes:
        dice: Best mean validation Dice.
        slices: Number of slices trained on.
        steps: Number of steps.
        minutes: Minutes given; None if its length was given in steps or epochs.
        structures: Result of each structure.
        grid_mm: Larger in-plane spacing of the grid, in the median case.
        scan_mm: Larger in-plane spacing of the scans, in the median case.
        first_loss: Mean training loss of the first epoch; None if unknown.
        last_loss: Mean training loss of the last epoch; None if unknown.
        emphasis_power: Exponent of the structures' rarity in the loss.
    """

    dice: float
    slices: int
    steps: int
    minutes: float | None
    structures: tuple[StructureFound, ...]
    grid_mm: float
    scan_mm: float
    first_loss: float | None = None
    last_loss: float | None = None
    emphasis_power: float = 0.5

    @property
    def lost(self) -> tuple[StructureFound, ...]:
        """Structures with a validation Dice near 0."""
        return tuple(one for one in self.structures if one.dice is not None and one.dice < NEAR_ZERO / 2)


def why_little(found: RunFound) -> list[str]:
    """Explain a poor result, the likeliest cause first; empty if all structures were found.

    Args:
        found: The run.
    """
    if found.dice >= NEAR_ZERO and not found.lost:
        return []
    causes = [*_of_structures(found), *_of_grid(found), *_of_length(found), *_of_settings(found)]
    return [_what(found), *(causes or [_UNKNOWN])]


def _what(found: RunFound) -> str:
    if found.dice < NEAR_ZERO:
        return f"this run found next to nothing: best validation Dice {found.dice:.3f}"
    return f"this run found nothing of {_names(found.lost)}"


def _of_structures(found: RunFound) -> Iterator[str]:
    """Yield causes in the data: structures rarely present, or lost by the grid."""
    lost = found.structures if found.dice < NEAR_ZERO else found.lost
    yield from _of_cases(lost)
    vanished = [one for one in lost if one.ceiling is not None and one.ceiling < LOST_CEILING]
    if vanished:
        yield (
            f"on pixels of {found.grid_mm:.3g} mm next to nothing is left of {_names(vanished)}, which are about as "
            f"small: preprocess again with --grid.spacing-mm {max(found.scan_mm, found.grid_mm / 3):.3g}"
        )


def _of_cases(lost: Sequence[StructureFound]) -> Iterator[str]:
    never = [one for one in lost if one.cases == 0]
    if never:
        yield f"no training case holds {_names(never)}: annotate some, or leave them out with preprocess --structures"
    once = [one for one in lost if one.cases == 1]
    if once:
        yield f"only one training case holds {_names(once)}: annotate more"


def _of_grid(found: RunFound) -> Iterator[str]:
    if found.grid_mm < FINER_SHARE * found.scan_mm:
        times = (found.scan_mm / found.grid_mm) ** 2
        yield (
            f"the grid has pixels of {found.grid_mm:.3g} mm where the scans have {found.scan_mm:.3g} mm: each step "
            f"takes about {times:.0f} times as long and shows no more detail; preprocess again with --grid.spacing-mm "
            f"{found.scan_mm:.3g}, or let it be planned"
        )


def _of_length(found: RunFound) -> Iterator[str]:
    wanted = wanted_slices(len(found.structures))
    if found.slices >= ENOUGH_SHARE * wanted:
        return
    times = wanted / max(found.slices, 1)
    if found.minutes is None:
        longer = f"{counted(round(times * max(found.steps, 1)), 'step')} in all (--steps)"
    else:
        longer = f"{counted(max(1, round(times * found.minutes)), 'minute')} in all (--minutes)"
    yield (
        f"{counted(found.steps, 'step')} saw {counted(found.slices, 'slice')}, and some {wanted} are wanted for "
        f"{counted(len(found.structures), 'structure')}: go on to about {longer}, or see `tomoseg plan` for settings "
        "that need fewer"
    )


def _of_settings(found: RunFound) -> Iterator[str]:
    first, last = found.first_loss, found.last_loss
    if first is not None and last is not None and found.steps > 100 and last > FELL_SHARE * first:
        yield (
            f"the training loss did not fall ({first:.3g} to {last:.3g}): try another optimizer.learning_rate, "
            "and check with `tomoseg preview` whether masks lie on the scans"
        )
    if found.emphasis_power == 0 and found.dice >= NEAR_ZERO:
        yield "loss.emphasis_power is 0, with which small structures stay empty for a long time: try 0.5"


_UNKNOWN = (
    "no usual cause was found: check with `tomoseg preview` whether masks lie on the scans, run `tomoseg check` on the "
    "dataset, and try another seed"
)


def _names(some: Sequence[StructureFound]) -> str:
    names = ", ".join(one.name for one in some[:MOST_NAMED])
    return names + (f" and {len(some) - MOST_NAMED} more" if len(some) > MOST_NAMED else "")
