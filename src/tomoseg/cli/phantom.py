"""`tomoseg phantom`."""

from __future__ import annotations

from itertools import count

from tomoseg.cli.arguments import Output
from tomoseg.cli.exits import DONE
from tomoseg.terminal import console


def phantom(
    output: Output, train: int = 8, validation: int = 2, test: int = 2, seed: int = 0, spacing_mm: float = 3.0
) -> int:
    """Make a dataset of procedural CTs with all 117 structures.

    Args:
        output: Folder of the dataset.
        train: Training cases.
        validation: Validation cases.
        test: Test cases.
        seed: Another seed makes other bodies.
        spacing_mm: In-plane voxel edge, 0.5 or more; slices are 5 mm apart.
    """
    from tomoseg.workflows.phantom import make_dataset

    counts, done = {"train": train, "validation": validation, "test": test}, count(1)
    with console.progress("phantoms", sum(counts.values())) as show:
        made = make_dataset(output, counts, seed, spacing_mm, lambda case: show(next(done)))
    console.out.print(f"{made} phantoms in {output}")
    return DONE
