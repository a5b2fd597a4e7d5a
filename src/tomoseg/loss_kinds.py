"""The settings of the loss, and one record for each kind of loss.

Nothing here needs torch. A kind of loss is a record in `LOSSES`: terms that are computed together with the network's
last layer, in chunks, so that no array of structures x pixels is held; or, for other losses, a function in `training`
of logits and masks; or both, which are added. The names that the settings take, their help and the reference follow
from the records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from tomoseg.settings import Config


@dataclass(frozen=True)
class Terms:
    """Weights of a sum of cross-entropy (or focal loss) and soft Dice (or Tversky) loss.

    Attributes:
        entropy: Weight of the cross-entropy.
        dice: Weight of one minus the soft Dice or Tversky index.
        gamma: Exponent of the focal loss; 0 is plain cross-entropy.
        alpha: Tversky weight of false positive voxels.
        beta: Tversky weight of false negative voxels; if both are 0.5, it is Dice.
    """

    entropy: float
    dice: float
    gamma: float = 0.0
    alpha: float = 0.5
    beta: float = 0.5


@dataclass(frozen=True)
class LossKind:
    """A kind of loss.

    Attributes:
        summary: The loss in words, for the help: a clause without its name.
        terms: Returns the terms computed with the last layer, from the settings and the number of structures.
        plain: A function of logits and masks, as `module:name`; `training.losses` loads it, since it needs torch, and
            defines its signature (`PlainLoss`).
    """

    summary: str
    terms: Callable[[LossConfig, int], Terms] | None = None
    plain: str | None = None


LOSSES: dict[str, LossKind] = {
    "bce": LossKind("binary cross-entropy of each structure", lambda config, structures: Terms(1, 0)),
    "dice": LossKind(
        "one minus the soft Dice of the structures that occur in the batch", lambda config, structures: Terms(0, 1)
    ),
    "bce_dice": LossKind(
        "the sum of `bce` and `dice`", lambda config, structures: Terms(1, config.dice_weight / structures)
    ),
    "focal": LossKind(
        "cross-entropy in which voxels that are already classified well count little",
        lambda config, structures: Terms(1, 0, gamma=config.focal_gamma),
    ),
    "tversky": LossKind(
        "`dice` with different weights for false positive and false negative voxels",
        lambda config, structures: Terms(0, 1, alpha=config.tversky_alpha, beta=config.tversky_beta),
    ),
    "boundary": LossKind(
        "`bce_dice` plus a boundary loss, the distance of predicted voxels from the structure's boundary",
        lambda config, structures: Terms(1, config.dice_weight / structures),
        plain="tomoseg.training.boundary:boundary_loss",
    ),
    "lovasz": LossKind(
        "the Lovász hinge, a surrogate of one minus the Jaccard index of each structure",
        plain="tomoseg.training.lovasz:lovasz_hinge",
    ),
}
"""Kinds of loss by the name used in the settings."""

if TYPE_CHECKING:
    LossName = str
else:
    LossName = Literal[*LOSSES]


class LossConfig(Config):
    """The loss function."""

    kind: LossName = Field(
        "bce_dice", description="; ".join(f"`{name}`: {kind.summary}" for name, kind in LOSSES.items()) + "."
    )
    dice_weight: float = Field(7.0, ge=0)
    """Weight of the Dice term in `bce_dice` and `boundary`, relative to the cross-entropies of all structures
    together."""
    focal_gamma: float = Field(2.0, ge=0)
    """Exponent of the focal loss: how strongly voxels that are already classified well are discounted; 0 is plain
    cross-entropy."""
    tversky_alpha: float = Field(0.3, ge=0)
    """Weight of false positive voxels in `tversky`."""
    tversky_beta: float = Field(0.7, ge=0)
    """Weight of false negative voxels in `tversky`; if both weights are 0.5, it equals `dice`."""
    boundary_weight: float = Field(0.01, ge=0)
    """Weight of the boundary term in `boundary`, whose distances are in voxels of the network's grid."""
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field({})
    """Weights of structures in the loss, by name: `{liver: 2}` counts the liver twice as much as structures that are
    not named. Only the ratios matter; a structure with weight 0 is not learned."""
    deep_supervision: int = Field(0, ge=0)
    """Deep supervision: number of coarser decoder levels of a `unet` that also contribute to the loss, each with half
    the weight of the next finer one. Only training changes, not the model."""
    emphasis_power: float = Field(0.5, ge=0, le=1)
    """Exponent of the positive weight in the cross-entropy: foreground voxels of a structure are weighted by (1 /
    frequency) ** emphasis_power, so that rare structures are learned too. It falls to 0 over the budget, so that they
    are not oversegmented in the end; 0 weights all voxels equally."""

    @property
    def record(self) -> LossKind:
        """Record of its kind."""
        return LOSSES[self.kind]

    def terms(self, structures: int) -> Terms:
        """Return the terms computed together with the last layer; with weights of 0 if there are none.

        Args:
            structures: Number of structures in the label set.

        Example:
            >>> LossConfig(kind="bce_dice", dice_weight=7).terms(14)
            Terms(entropy=1, dice=0.5, gamma=0.0, alpha=0.5, beta=0.5)
        """
        return self.record.terms(self, structures) if self.record.terms else Terms(0, 0)
