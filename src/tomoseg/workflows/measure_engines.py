"""What each engine and precision of a model costs and gives: size, time, and Dice on real scans."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tomoseg.evaluation.summary import Summary, summarise
from tomoseg.files.atomic import whole_file
from tomoseg.files.outputs import check_folder
from tomoseg.inference.engines import ENGINES
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import score_cases
from tomoseg.models.exports import EXPORTS, find_export, set_trusted
from tomoseg.models.folder import WEIGHTS, Model, load_model
from tomoseg.models.packaged import check_is_own
from tomoseg.networks.images import own_input
from tomoseg.options import Compute, EngineName, Precision
from tomoseg.preprocessed.fits import fitted
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.workflows.export import calibration_slices, network_image
from tomoseg.workflows.time_engines import Timing, time_engines

MEASURED = "measured.json"
MEAN_LOSS, STRUCTURE_LOSS = 0.01, 0.03
"""The Dice that a faster way may lose against fp32 to be trusted: in the mean, and in any structure."""
TIMED_SLICES = 8


@dataclass(frozen=True)
class Way:
    """One engine in one precision.

    Attributes:
        engine: Its name.
        precision: What it computes in.
        megabytes: Of the files that it reads its weights from.
        ms_per_slice: Median time of the network for one slice, after a warm-up.
        dice: Of each structure, over the cases where it is annotated and present; None if there is none.
        mean_dice: Over the structures.
        ms_quartiles: Between which the middle half of the rounds lie; None if they were not kept.
        rounds: In which it was timed.
        is_stable: Whether the rounds came to agree; if not, the time says little.
    """

    engine: EngineName
    precision: Precision
    megabytes: float
    ms_per_slice: float
    dice: dict[str, float | None]
    mean_dice: float | None
    ms_quartiles: tuple[float, float] | None = None
    rounds: int = 0
    is_stable: bool = True

    def times_faster(self, reference: Way) -> float | None:
        """How many times as fast as another it is; None where one of the two was not stable."""
        stable = self.is_stable and reference.is_stable
        return reference.ms_per_slice / self.ms_per_slice if stable else None

    def losses(self, reference: Way) -> dict[str, float]:
        """Dice lost against another way, structure by structure."""
        pairs = ((name, reference.dice[name], mine) for name, mine in self.dice.items())
        return {name: before - mine for name, before, mine in pairs if before is not None and mine is not None}

    def is_close_to(self, reference: Way) -> bool:
        """Whether what is lost against another way is within the limits."""
        losses = list(self.losses(reference).values())
        return bool(losses) and float(np.mean(losses)) <= MEAN_LOSS and max(losses) <= STRUCTURE_LOSS


def measure_engines(
    model: Path,
    preprocessed: Path,
    split: str = "validation",
    on_case: Callable[[str, int, int], None] = lambda way, done, total: None,
    every: int = 1,
) -> list[Way]:
    """Measure every engine and precision that this machine and the model have; write `measured.json` into its folder.

    An int8 export that loses little enough is from then on what `--engine auto` takes.

    Args:
        model: A model folder or a run folder.
        preprocessed: A preprocessed dataset with the model's structures and grid.
        split: The cases that are scored.
        on_case: Told the way, its cases done and in all.
        every: Of the cases that are scored: 4 takes a quarter of them.

    Returns:
        PyTorch in fp32, which the others are compared with, and then the others.

    Raises:
        ConfigError: If it is an imported model.
        DatasetError: If the split is empty, or the dataset has other structures or another grid than the model.
        ModelError: If the model cannot be loaded, or is a packaged one.
        OutputError: If its folder cannot be written to.
    """
    loaded = load_model(model)
    own_input(loaded.record.reads)
    assert loaded.folder is not None  # it was read from one
    check_is_own(loaded.folder)
    check_folder(loaded.folder, (MEASURED, EXPORTS))
    data = fitted(loaded.record.labels.names, loaded.record.grid, Preprocessed(preprocessed))
    cases = data.split(split)[::every]
    known = ways_of(loaded)
    predictors = [
        Predictor(loaded, Compute(engine=engine, device="cpu", precision=precision)) for engine, precision in known
    ]
    chosen = calibration_slices(cases, len(data.labels), TIMED_SLICES)
    images = [network_image(loaded.record.reads, case, k) for case, k in chosen]
    times = time_engines([predictor.engines()[0].run for predictor in predictors], images)
    ways = []
    for (engine, precision), predictor, timing in zip(known, predictors, times, strict=True):
        done = iter(range(1, len(cases) + 1))
        name = f"{engine} {precision}"
        scores = score_cases(predictor, cases, lambda _, d=done, n=name: on_case(n, next(d), len(cases)))  # type: ignore[misc]
        ways.append(_way(loaded, engine, precision, timing, summarise(scores, data.labels)))
    _write(loaded, ways, data.folder.name, split, len(cases))
    return ways


def ways_of(model: Model) -> list[tuple[EngineName, Precision]]:
    """Engines and precisions that this machine and the model's folder have on a CPU, PyTorch in fp32 first."""
    kinds = sorted(ENGINES.values(), key=lambda kind: kind.name != "torch")
    return [(kind.name, precision) for kind in kinds for precision in kind.compared(model)]  # type: ignore[misc]


def _way(model: Model, engine: EngineName, precision: Precision, timing: Timing, summary: Summary) -> Way:
    dice = {row.structure: row.dice for row in summary.structures}
    return Way(
        engine,
        precision,
        _megabytes(model, engine, precision),
        timing.median,
        dice,
        summary.dice,
        (timing.low, timing.high),
        timing.rounds,
        timing.is_stable,
    )


def _megabytes(model: Model, engine: EngineName, precision: Precision) -> float:
    assert model.folder is not None  # it was read from one
    export = find_export(model, engine, ENGINES[engine].stores(precision))
    files = [WEIGHTS] if export is None else list(export.files)
    return sum((model.folder / name).stat().st_size for name in files) / 1e6


def _write(model: Model, ways: Sequence[Way], dataset: str, split: str, cases: int) -> None:
    assert model.folder is not None  # it was read from one
    for way in ways:
        if way.precision == "int8":
            set_trusted(model.folder, f"{way.engine}/int8", way.is_close_to(ways[0]))
    entries = [asdict(way) | {"dice_lost": way.losses(ways[0])} for way in ways]
    content = {"weights_sha256": model.sha256, "dataset": dataset, "split": split, "cases": cases, "ways": entries}
    with whole_file(model.folder / MEASURED) as aside:
        aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
