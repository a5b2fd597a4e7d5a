"""Scores of one structure in one case, and conventions for empty masks.

A structure that is not annotated has no score. For one that is annotated and absent no Dice is right: 0 would
penalise a correct result, 1 would reward predicting nothing. By default it has none, and its predicted volume is
reported as false positive. Other tools decide otherwise; `EMPTIES` has their conventions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tomoseg.options import EmptiesName

Outcome = Literal["found", "missed", "false alarm", "absent"]


@dataclass(frozen=True)
class EmptyMaskPolicy:
    """Convention for scores if a mask is empty; None is no score. A missed structure always has an overlap of 0.

    Attributes:
        both: Overlap (Dice, IoU, surface Dice) if both masks are empty.
        false_alarm: Overlap if only the reference is empty.
        far: Outcomes for which distances are set to the diagonal of the scan, the largest possible distance.
        both_distance: Distance in mm if both masks are empty.
    """

    both: float | None
    false_alarm: float | None
    far: tuple[Outcome, ...] = ()
    both_distance: float | None = None


EMPTIES: dict[EmptiesName, EmptyMaskPolicy] = {
    "tomoseg": EmptyMaskPolicy(None, None, ("missed",)),
    "totalsegmentator": EmptyMaskPolicy(None, None),
    "nnunet": EmptyMaskPolicy(None, 0.0),
    "brats": EmptyMaskPolicy(1.0, 0.0, ("missed", "false alarm"), 0.0),
}
"""Conventions by tool. `tomoseg` gives absent structures no score, and missed ones the largest possible distance."""


@dataclass(frozen=True)
class StructureScore:
    """The scores of one structure in one case.

    Attributes:
        structure: Name of the structure.
        reference_ml: Volume of the reference in ml.
        predicted_ml: Volume of the prediction in ml.
        values: Metrics by their names in `evaluation/metrics.py`; None if a metric has no value.
    """

    structure: str
    reference_ml: float
    predicted_ml: float
    values: Mapping[str, float | None]

    def value(self, metric: str) -> float | None:
        """Return one metric; None if it has no value or was not computed."""
        return self.values.get(metric)

    @property
    def dice(self) -> float | None:
        """Dice; None if there is none."""
        return self.value("dice")

    @property
    def outcome(self) -> Outcome:
        """`found` if the masks share a voxel, otherwise `missed`; `false alarm` or `absent` for an absent structure."""
        if self.reference_ml == 0:
            return "false alarm" if self.predicted_ml else "absent"
        return "found" if self.dice else "missed"

    @property
    def false_positive_ml(self) -> float | None:
        """Predicted volume in ml of an absent structure; None if it is present."""
        return self.predicted_ml if self.reference_ml == 0 else None


@dataclass(frozen=True)
class CaseScore:
    """The scores of one case, one per annotated structure.

    Attributes:
        case: Name of the case.
        structures: Scores of the structures, in channel order.
        patient: The patient that the case belongs to, since cases of one patient are not independent; an empty name
            stands for a patient with this case only.
        spacing_mm: Voxel spacing along x, y and z of the grid that was scored on; empty if unknown.
    """

    case: str
    structures: tuple[StructureScore, ...]
    patient: str = ""
    spacing_mm: tuple[float, ...] = ()
