"""`tomoseg phantom`."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from tomoseg.cli.arguments import Output
from tomoseg.cli.exits import DONE
from tomoseg.errors import ConfigError
from tomoseg.language.words import say, say_many
from tomoseg.terminal import console
from tomoseg.terminal.rows import progress


def phantom(
    output: Output,
    train: int = 8,
    validation: int = 2,
    test: int = 2,
    seed: int = 0,
    spacing_mm: float = 3.0,
    anatomy: tuple[str, ...] = (),
    config: Path | None = None,
) -> int:
    """Generate a dataset of synthetic CTs, either procedurally with all 117 structures or from label maps.

    Args:
        output: Folder to write the dataset to.
        train: Number of training cases.
        validation: Number of validation cases.
        test: Number of test cases.
        seed: Random seed; another seed generates other bodies.
        spacing_mm: In-plane voxel spacing in mm, 0.5 or more; the slice spacing is 5 mm.
        anatomy: Label maps, folders of masks or datasets to generate bodies from, in turn; `procedural` stands
            for the built-in anatomies.
        config: YAML file of the ranges that bodies are drawn from; only with --anatomy.

    Raises:
        ConfigError: If the file is given without --anatomy, or has an unknown key or a wrong value.
    """
    from tomoseg.bodies.config import BodyConfig
    from tomoseg.settings import load_config
    from tomoseg.terminal.phantoms import show_sources
    from tomoseg.workflows.phantom import make_bodies, make_dataset

    if config is not None and not anatomy:
        raise ConfigError(f"{config}: expected --anatomy with --config, got none; name label maps, or `procedural`")
    ranges = load_config(BodyConfig(), config)
    counts, done = {"train": train, "validation": validation, "test": test}, count(1)
    with progress(say("phantoms"), sum(counts.values())) as show:
        if anatomy:
            made = make_bodies(output, anatomy, counts, seed, spacing_mm, ranges, lambda case: show(next(done)))
            show_sources(made.sources)
            cases = made.cases
        else:
            cases = make_dataset(output, counts, seed, spacing_mm, lambda case: show(next(done)))
    console.out.print(say_many(cases, "1 phantom in {folder}", "{count} phantoms in {folder}", folder=output))
    return DONE
