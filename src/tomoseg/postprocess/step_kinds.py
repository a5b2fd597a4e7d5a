"""The kinds of post-processing steps, one record each in `STEP_KINDS`.

How a step is written, its help, the errors about it and what it can be applied to follow from that record.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tomoseg.masks import BoxedMask
from tomoseg.postprocess.components import keep_largest, remove_small
from tomoseg.postprocess.crf import CrfSettings, refine
from tomoseg.postprocess.morphology import closing, fill_holes, opening

Spacing = tuple[float, float, float]
"""Voxel spacing in mm along x, y and z."""


@dataclass(frozen=True)
class Evidence:
    """The scan's HU and the structure's probabilities, 0 to 255, for steps that use them."""

    hu: np.ndarray
    probability: np.ndarray


@dataclass(frozen=True, kw_only=True)
class StepKind:
    """Base of the kinds of steps.

    Attributes:
        does: Its effect, for help.
        amount: Default of the number after the colon; None for steps without one.
        unit: Unit of that number.
    """

    does: str
    amount: float | None = None
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class MaskStep(StepKind):
    """A step that uses the mask alone, and so applies to label maps too.

    Attributes:
        run: Returns the new mask, from the mask, the voxel spacing and the amount, 0 for steps without one.
    """

    run: Callable[[BoxedMask, Spacing, float], BoxedMask]


@dataclass(frozen=True, kw_only=True)
class ScanStep(StepKind):
    """A step that also uses the scan and probabilities, which label maps do not have.

    Attributes:
        run: Returns the new mask, from the mask, the voxel spacing, the amount and the evidence.
    """

    run: Callable[[BoxedMask, Spacing, float, Evidence], BoxedMask]


STEP_KINDS: dict[str, MaskStep | ScanStep] = {
    "largest": MaskStep(
        run=lambda mask, spacing_mm, amount: keep_largest(mask),
        does="keeps the largest connected component",
    ),
    "fill_holes": MaskStep(
        run=lambda mask, spacing_mm, amount: fill_holes(mask),
        does="fills enclosed holes",
    ),
    "remove_small": MaskStep(
        run=lambda mask, spacing_mm, ml: remove_small(mask, float(np.prod(spacing_mm)) / 1000, ml),
        does="removes components smaller than this volume",
        amount=0.5,
        unit="ml",
    ),
    "opening": MaskStep(
        run=lambda mask, spacing_mm, mm: opening(mask, mm, spacing_mm),
        does="removes what a ball of this radius does not fit into",
        amount=2.0,
        unit="mm",
    ),
    "closing": MaskStep(
        run=lambda mask, spacing_mm, mm: closing(mask, mm, spacing_mm),
        does="fills what a ball of this radius cannot reach beside the mask",
        amount=2.0,
        unit="mm",
    ),
    "crf": ScanStep(
        run=lambda mask, spacing_mm, weight, seen: refine(
            mask, seen.probability, seen.hu, spacing_mm, CrfSettings(weight=weight)
        ),
        does="decides uncertain voxels again from surrounding voxels with similar HU, which together add at most this "
        "to a logit",
        amount=3.0,
        unit="logits",
    ),
}
"""Kinds by their name on the command line."""
