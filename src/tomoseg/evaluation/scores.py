"""What is said of one structure of one case, and what is said where a mask is empty.

A structure that is not annotated has no score. For one that is annotated and absent there is no right Dice: 0 would
punish a right answer, 1 would reward silence. By default it has none, and what was predicted for it is told as a
false-positive volume. Other tools decide otherwise; `EMPTIES` names their conventions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tomoseg.options import EmptiesName

Outcome = Literal["found", "missed", "false alarm", "absent"]


@dataclass(frozen=True)
class EmptyMaskPolicy:
    """Scores where a mask is empty; None is no score. A missed structure always has an overlap of 0.

    Attributes:
        both: Overlap (Dice, IoU, surface Dice) where both are empty.
        false_alarm: Overlap where the prediction alone has voxels.
        far: Outcomes whose distances are the scan's diagonal, the farthest that anything can be.
        both_distance: Distance in mm where both are empty.
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
"""By the tool that scores so. `tomoseg` leaves out what is absent, and has a missed structure as far as can be."""


@dataclass(frozen=True)
class StructureScore:
    """How one structure of one case was predicted.

    Attributes:
        structure: Its name.
        reference_ml: Volume of the reference.
        predicted_ml: Volume of the prediction.
        values: Its metrics by their names in `evaluation/metrics.py`; None where one has no value.
    """

    structure: str
    reference_ml: float
    predicted_ml: float
    values: Mapping[str, float | None]

    def value(self, metric: str) -> float | None:
        """One metric; None where it has no value or was not computed."""
        return self.values.get(metric)

    @property
    def dice(self) -> float | None:
        """Its Dice; None where there is none."""
        return self.value("dice")

    @property
    def outcome(self) -> Outcome:
        """Whether it was there and whether it was found: some voxel of it, or of the prediction where it is absent."""
        if self.reference_ml == 0:
            return "false alarm" if self.predicted_ml else "absent"
        return "found" if self.dice else "missed"

    @property
    def false_positive_ml(self) -> float | None:
        """Volume predicted of an absent structure; None where it is present."""
        return self.predicted_ml if self.reference_ml == 0 else None


@dataclass(frozen=True)
class CaseScore:
    """The scores of one case: one for each annotated structure.

    Attributes:
        case: Its name.
        structures: In channel order.
        patient: Whose it is: cases of one patient are not independent. Empty stands for a patient of its own.
        spacing_mm: Voxel edges along x, y and z of the grid that was scored on; empty where that is not known.
    """

    case: str
    structures: tuple[StructureScore, ...]
    patient: str = ""
    spacing_mm: tuple[float, ...] = ()
