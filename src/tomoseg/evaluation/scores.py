"""What is said of one structure of one case, and what is said where a mask is empty.

A structure that is not annotated has no score. For one that is annotated and absent there is no right Dice: 0 would
punish a right answer, 1 would reward silence. By default it has none, and what was predicted for it is told as a
false-positive volume. Other tools decide otherwise; `EMPTIES` names their conventions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tomoseg.options import EmptiesName

Outcome = Literal["found", "missed", "false alarm", "absent"]


@dataclass(frozen=True)
class Empties:
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


EMPTIES: dict[EmptiesName, Empties] = {
    "tomoseg": Empties(None, None, ("missed",)),
    "totalsegmentator": Empties(None, None),
    "nnunet": Empties(None, 0.0),
    "brats": Empties(1.0, 0.0, ("missed", "false alarm"), 0.0),
}
"""By the tool that scores so. `tomoseg` leaves out what is absent, and has a missed structure as far as can be."""


@dataclass(frozen=True)
class StructureScore:
    """How one structure of one case was predicted; what cannot be said is None.

    Attributes:
        structure: Its name.
        dice: 2 |A and B| / (|A| + |B|) in [0, 1].
        iou: |A and B| / |A or B|.
        reference_ml: Volume of the reference.
        predicted_ml: Volume of the prediction.
        surface_dice: Share of both surfaces within a tolerance of the other, in [0, 1].
        hd95_mm: Distance within which 95 % of each surface lie of the other.
        surface_distance_mm: Mean distance over both surfaces.
    """

    structure: str
    dice: float | None
    iou: float | None
    reference_ml: float
    predicted_ml: float
    surface_dice: float | None = None
    hd95_mm: float | None = None
    surface_distance_mm: float | None = None

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

    @property
    def volume_error_ml(self) -> float | None:
        """Predicted less reference volume; None where it is absent."""
        return self.predicted_ml - self.reference_ml if self.reference_ml else None

    @property
    def volume_error_percent(self) -> float | None:
        """The same in percent of the reference."""
        return 100 * (self.predicted_ml / self.reference_ml - 1) if self.reference_ml else None


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


def overlap_scores(
    predicted: int, reference: int, both: int, empties: Empties = EMPTIES["tomoseg"]
) -> tuple[float | None, float | None]:
    """Dice and IoU.

    Args:
        predicted: Voxels of the prediction.
        reference: Voxels of the reference.
        both: Voxels of both at once.
        empties: What is said where there are none.

    Example:
        >>> overlap_scores(8, 8, 4)
        (0.5, 0.3333333333333333)
    """
    if reference == 0:
        overlap = empties.both if predicted == 0 else empties.false_alarm
        return overlap, overlap
    return 2 * both / (predicted + reference), both / (predicted + reference - both)
