"""The metrics, one record each in `METRICS`.

Computation, `scores.csv`, `summary.json`, the terminal's tables and the report all follow from that record. A metric
that is not `by_default` is computed only if it is requested by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from tomoseg.errors import ConfigError, unknown_name_message
from tomoseg.evaluation.centre_lines import centre_line_dice
from tomoseg.evaluation.pairs import MaskPair, VoxelCounts
from tomoseg.evaluation.scores import CaseScore, EmptyMaskPolicy, Outcome
from tomoseg.language.words import later, say
from tomoseg.packages import require_installed
from tomoseg.settings import Language

Place = Literal["terminal", "card", "caption", "comparison"]
"""Places in which a metric is shown in addition to the report's table: the terminal's tables, the cards at the top of
the report, the captions of its pictures, and its comparison with other scores."""

WhereEmpty = Literal["overlap", "distance", "relative"]
"""Rule for a metric if a mask is empty. `overlap` and `distance` follow the convention in use; a `relative` metric has
no value if the reference is empty, and is computed as usual if only the prediction is."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric, with its name and how it is shown.

    Attributes:
        english: Its name in English, marked for translation by `later`.
        digits: Number of decimals shown.
        where_empty: Rule for its value if a mask is empty.
        higher_is_better: Whether a higher value is better; None if neither direction is.
        unit: Unit of its values; empty for a share from 0 to 1.
        signed: Whether positive values are shown with a sign.
        at_tolerance: Whether it depends on `--tolerance-mm`, which the report then states next to its name.
        places: Places in which it is shown in addition to the table of the report.
        by_default: Whether it is computed without being requested.
        group: The group of structures that it is limited to, if the label set has such a group.
        check: Called before anything is computed; refuses the metric if a package for it is missing.
    """

    english: str
    digits: int
    where_empty: WhereEmpty
    higher_is_better: bool | None
    unit: str = ""
    signed: bool = False
    at_tolerance: bool = False
    places: tuple[Place, ...] = ("terminal", "card")
    by_default: bool = True
    group: str | None = None
    check: Callable[[], None] = lambda: None

    def name(self, lang: Language = "en") -> str:
        """Return its name in a language.

        Example:
            >>> METRICS["surface_dice"].name("fr")
            'Dice de surface'
        """
        return say(self.english, lang)


@dataclass(frozen=True, kw_only=True)
class VoxelMetric(Metric):
    """A metric of voxel counts alone, which are also counted slice by slice while a network predicts.

    Attributes:
        compute: Its value; called with a reference that is not empty.
    """

    compute: Callable[[VoxelCounts], float]


@dataclass(frozen=True, kw_only=True)
class MaskMetric(Metric):
    """A metric of two whole masks.

    Attributes:
        compute: Its value; called with masks that are both not empty.
        of_surfaces: Whether it is left out with `--no-surfaces`.
    """

    compute: Callable[[MaskPair], float]
    of_surfaces: bool = False


METRICS: dict[str, VoxelMetric | MaskMetric] = {
    "dice": VoxelMetric(
        compute=lambda n: 2 * n.both / (n.predicted + n.reference),
        english=later("Dice"),
        digits=3,
        where_empty="overlap",
        higher_is_better=True,
        places=("terminal", "card", "caption", "comparison"),
    ),
    "iou": VoxelMetric(
        compute=lambda n: n.both / (n.predicted + n.reference - n.both),
        english=later("IoU"),
        digits=3,
        where_empty="overlap",
        higher_is_better=True,
        places=("terminal",),
    ),
    "surface_dice": MaskMetric(
        compute=lambda pair: pair.surfaces.dice(pair.tolerance_mm),
        english=later("surface Dice"),
        digits=3,
        where_empty="overlap",
        higher_is_better=True,
        at_tolerance=True,
        places=("terminal", "card", "caption", "comparison"),
        of_surfaces=True,
    ),
    "hd95_mm": MaskMetric(
        compute=lambda pair: pair.surfaces.hausdorff(),
        english=later("HD95"),
        unit="mm",
        digits=1,
        where_empty="distance",
        higher_is_better=False,
        places=("terminal", "card", "caption", "comparison"),
        of_surfaces=True,
    ),
    "surface_distance_mm": MaskMetric(
        compute=lambda pair: pair.surfaces.mean(),
        english=later("mean distance"),
        unit="mm",
        digits=2,
        where_empty="distance",
        higher_is_better=False,
        of_surfaces=True,
    ),
    "volume_error_ml": VoxelMetric(
        compute=lambda n: n.predicted_ml - n.reference_ml,
        english=later("volume error"),
        unit="ml",
        digits=1,
        signed=True,
        where_empty="relative",
        higher_is_better=None,
        places=(),
    ),
    "volume_error_percent": VoxelMetric(
        compute=lambda n: 100 * (n.predicted_ml / n.reference_ml - 1),
        english=later("volume error"),
        unit="%",
        digits=1,
        signed=True,
        where_empty="relative",
        higher_is_better=None,
        places=("terminal", "card", "caption"),
    ),
    "surface_dice_1mm": MaskMetric(
        compute=lambda pair: pair.surfaces.dice(1.0),
        english=later("surface Dice at 1 mm"),
        digits=3,
        where_empty="overlap",
        higher_is_better=True,
        of_surfaces=True,
        by_default=False,
    ),
    "cldice": MaskMetric(
        compute=centre_line_dice,
        english=later("centre-line Dice"),
        digits=3,
        where_empty="overlap",
        higher_is_better=True,
        by_default=False,
        group="vessels",
        check=partial(require_installed, "skimage"),
    ),
}
"""Metrics by name, which is the column in `scores.csv` and the key in `summary.json`."""


VOXEL_METRICS: tuple[str, ...] = tuple(
    name for name, metric in METRICS.items() if metric.by_default and isinstance(metric, VoxelMetric)
)
"""Names of the default metrics that need no masks."""


def default_metrics() -> tuple[str, ...]:
    """Return the names of the metrics that are computed without being requested."""
    return tuple(name for name, metric in METRICS.items() if metric.by_default)


def metrics_in(scores: Iterable[CaseScore]) -> tuple[str, ...]:
    """Return the names of the default metrics and of all others that occur in scores."""
    found = {name for case in scores for score in case.structures for name in score.values}
    return tuple(name for name, metric in METRICS.items() if metric.by_default or name in found)


def check_metrics(names: Sequence[str]) -> None:
    """Check that metrics exist and can be computed.

    Args:
        names: The requested names.

    Raises:
        ConfigError: If one is unknown, or a package for it is missing.
    """
    for name in names:
        if name not in METRICS:
            raise ConfigError(f"metrics: {unknown_name_message(name, list(METRICS))}")
        METRICS[name].check()


def values_of(
    counts: VoxelCounts,
    wanted: Iterable[str],
    empties: EmptyMaskPolicy,
    pair: MaskPair | None = None,
    farthest_mm: float | None = None,
) -> dict[str, float | None]:
    """Compute the metrics of one structure.

    Args:
        counts: Voxel counts of its two masks.
        wanted: Names of the metrics to compute.
        empties: The convention for empty masks.
        pair: The masks, if neither is empty; without them only metrics of voxel counts are computed.
        farthest_mm: The largest possible distance in the scan, which conventions may assign to empty masks.

    Returns:
        A value per default metric and per wanted one; None if it was not computed or has no value.

    Example:
        >>> from tomoseg.evaluation.scores import EMPTIES
        >>> found = values_of(VoxelCounts(8, 8, 4, 0.5), ["dice"], EMPTIES["tomoseg"])
        >>> found["dice"], found["hd95_mm"]
        (0.5, None)
    """
    values: dict[str, float | None] = dict.fromkeys(default_metrics())
    for name in wanted:
        metric = METRICS[name]
        if not counts.reference or (not counts.predicted and metric.where_empty != "relative"):
            values[name] = _where_empty(metric.where_empty, counts, empties, farthest_mm)
        elif isinstance(metric, VoxelMetric):
            values[name] = metric.compute(counts)
        elif pair is not None:
            values[name] = metric.compute(pair)
    return values


def _where_empty(
    rule: WhereEmpty, counts: VoxelCounts, empties: EmptyMaskPolicy, farthest_mm: float | None
) -> float | None:
    """Return the value of a metric if the reference, the prediction or both are empty."""
    outcome: Outcome = "missed" if counts.reference else "false alarm" if counts.predicted else "absent"
    if rule == "overlap":
        return {"missed": 0.0, "false alarm": empties.false_alarm, "absent": empties.both}[outcome]
    if rule == "distance":
        return empties.both_distance if outcome == "absent" else farthest_mm if outcome in empties.far else None
    return None
