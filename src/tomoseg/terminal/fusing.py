"""How several views were brought together, in the terminal."""

from __future__ import annotations

import numpy as np

from tomoseg.language.words import number, say
from tomoseg.terminal.console import out, table
from tomoseg.workflows.fuse import Fused


def show_fused(fused: Fused) -> None:
    """Each structure's Dice by view and together, and how much each view counts in tall scans."""
    views, tall = fused.fusion.folders, fused.fusion.shares[-1].of
    rows = [
        (name, *(alone[name] for alone in fused.alone), dice, " ".join(number(share, 2) for share in tall[name]))
        for name, dice in fused.dice.items()
        if np.isfinite(dice)
    ]
    title = say("Dice over all voxels of the cases that the weights were chosen on")
    table(title, (say("structure"), *views, say("together"), say("weights")), rows)
    means = [float(np.nanmean(list(dice.values()))) for dice in (*fused.alone, fused.dice)]
    each = ", ".join(f"{name} {number(mean, 4)}" for name, mean in zip((*views, say("together")), means, strict=True))
    out.print(say("Mean Dice: {means}", means=each))
    if fused.fusion.left_out:
        out.print(say("Segmented only on request: {structures}.", structures=", ".join(fused.fusion.left_out)))
