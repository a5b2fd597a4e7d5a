"""How several views were brought together, in the terminal."""

from __future__ import annotations

import numpy as np

from tomoseg.terminal.console import out, table
from tomoseg.workflows.fuse import Fused


def show_fused(fused: Fused) -> None:
    """Each structure's Dice by view and together, and how much each view counts in tall scans."""
    views, tall = fused.fusion.folders, fused.fusion.shares[-1].of
    rows = [
        (name, *(alone[name] for alone in fused.alone), dice, " ".join(f"{share:.2f}" for share in tall[name]))
        for name, dice in fused.dice.items()
        if np.isfinite(dice)
    ]
    table("Dice of all voxels of the cases that chose", ("structure", *views, "together", "shares"), rows)
    means = [float(np.nanmean(list(dice.values()))) for dice in (*fused.alone, fused.dice)]
    out.print(", ".join(f"{name} {mean:.4f}" for name, mean in zip((*views, "together"), means, strict=True)))
    if fused.fusion.left_out:
        out.print(f"Found only when they are asked for: {', '.join(fused.fusion.left_out)}.")
