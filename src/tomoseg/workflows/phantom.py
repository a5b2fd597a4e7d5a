"""`tomoseg phantom`: a dataset of procedural CTs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tomoseg.phantom import make_phantom_dataset

SLICE_MM = 5.0
"""Distance of the slices."""


def make_dataset(
    folder: Path,
    counts: Mapping[str, int],
    seed: int = 0,
    spacing_mm: float = 3.0,
    on_done: Callable[[Path], None] | None = None,
) -> int:
    """Write phantoms as a dataset with splits; cases that are there already are kept.

    Args:
        folder: The dataset.
        counts: Cases of each split.
        seed: Another seed makes other bodies.
        spacing_mm: In-plane voxel edge.
        on_done: Told each case's folder.

    Returns:
        How many cases the dataset has.

    Raises:
        InputError: If a count is negative.
        OutputError: If a file cannot be written.
    """
    spacing = (spacing_mm, spacing_mm, SLICE_MM)
    return len(make_phantom_dataset(folder, counts, seed, spacing, workers=os.cpu_count() or 1, on_done=on_done))
