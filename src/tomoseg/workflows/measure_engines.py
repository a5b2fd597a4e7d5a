"""Benchmark of a model's engines and precisions: size, time, and Dice on real scans.

The Dice is with the reference masks; for scans without any, with the masks of the first engine in fp32.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from tomoseg.errors import ConfigError
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.summary import summarise
from tomoseg.files.atomic import whole_file
from tomoseg.files.outputs import begin_folder
from tomoseg.inference.engine import Engine
from tomoseg.inference.engines import ENGINES
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.recorder import NetworkImage
from tomoseg.inference.score_cases import on_grid
from tomoseg.inference.segment import predictor_of
from tomoseg.inference.stages import Stages
from tomoseg.labels import LabelSet
from tomoseg.models.exports import EXPORTS, find_export, set_trusted
from tomoseg.models.folder import WEIGHTS, Model, load_model
from tomoseg.models.packaged import check_is_own
from tomoseg.networks.images import NetworkInput
from tomoseg.options import HERE, EngineName, Precision, Spread
from tomoseg.preprocessed.fits import fitted_in_part, grid_needed
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.workflows.agreement import agreements
from tomoseg.workflows.calibration import EvaluationData, calibration_slices, draw_some, network_image, opened
from tomoseg.workflows.score_with_engines import EngineChoice, predictor_in, score_with_engines
from tomoseg.workflows.time_engines import Timing, time_engines
from tomoseg.workflows.unlabelled import Unlabelled

MEASURED = "measured.json"
MEAN_LOSS, STRUCTURE_LOSS = 0.01, 0.03
"""Maximum loss of Dice against fp32 of a faster engine to be trusted: of the mean, and of any structure."""
TIMED_SLICES = 8
TIMED_VOXELS = 2**21
"""Maximum voxels of the blocks or patches timed in a round: one of the largest."""

COMPARED_SCANS = 4
"""Number of scans without masks on which engines are compared."""

OnCase = Callable[[str, int, int], None]


@dataclass(frozen=True)
class EngineBenchmark:
    """Time, size and scores of one engine in one precision.

    Attributes:
        engine: Name of the engine.
        precision: Precision that it computes in.
        megabytes: Size of the files that it reads its weights from.
        ms_per_slice: Median time of the network for one slice, block or patch in ms, after a warm-up.
        dice: Dice of each structure over the cases in which it is annotated and present; None if there is none. For
            scans without masks, the Dice with the masks of the first benchmark, over all scans.
        mean_dice: Mean over the structures.
        ms_quartiles: First and third quartile of the rounds in ms; None if they were not kept.
        rounds: Number of rounds in which it was timed.
        is_stable: Whether the rounds came to agree; if not, the time is not reliable.
        seconds_a_scan: Mean seconds per scan without masks, once the network is compiled.
        differing: Number of voxels of these scans that differ from the masks of the first benchmark.
        few: Structures that these scans hardly show, whose Dice is not considered.
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
    seconds_a_scan: float | None = None
    differing: int | None = None
    few: tuple[str, ...] = ()

    def times_faster(self, reference: EngineBenchmark) -> float | None:
        """Speed-up against another benchmark; None if one of the two was not stable."""
        stable = self.is_stable and reference.is_stable
        return reference.ms_per_slice / self.ms_per_slice if stable else None

    def losses(self, reference: EngineBenchmark) -> dict[str, float]:
        """Dice lost against another benchmark, by structure."""
        counted = ((name, mine) for name, mine in self.dice.items() if name not in reference.few)
        pairs = ((name, reference.dice[name], mine) for name, mine in counted)
        return {name: before - mine for name, before, mine in pairs if before is not None and mine is not None}

    def is_close_to(self, reference: EngineBenchmark) -> bool:
        """Whether the Dice lost against another benchmark is within the limits."""
        losses = list(self.losses(reference).values())
        return bool(losses) and float(np.mean(losses)) <= MEAN_LOSS and max(losses) <= STRUCTURE_LOSS


def measure_engines(
    model: Path,
    place: Path | EvaluationData,
    split: str = "validation",
    on_case: OnCase = lambda way, done, total: None,
    every: int = 1,
    ways: Sequence[EngineChoice] | None = None,
    spread: Spread = HERE,
) -> list[EngineBenchmark]:
    """Measure every engine and precision available for the model here, and write `measured.json` to its folder.

    An int8 export that loses little enough is used by `--engine auto` from then on.

    Args:
        model: A model folder or a run folder.
        place: A preprocessed dataset with the model's grid and all or some of its structures, or scans without masks.
        split: Split of the dataset to score.
        on_case: Called with the engine and precision, the number of its cases done and their total number.
        every: Step through the cases: 4 scores a quarter of them.
        ways: Engines and precisions, the first being the reference of the others; all if omitted.
        spread: Where cases of a dataset are scored; times are always measured in this process.

    Returns:
        The benchmarks; the first, PyTorch in fp32 by default, is the reference of the others.

    Raises:
        DatasetError: If the split is empty, or the dataset has none of the model's structures, or another grid.
        InputError: If there is no scan, or none that can be read.
        ModelError: If the model cannot be loaded, or is a packaged one.
        OutputError: If the model folder cannot be written to.
    """
    loaded = load_model(model)
    assert loaded.folder is not None  # it was read from one
    check_is_own(loaded.folder)
    begin_folder(loaded.folder, (MEASURED, EXPORTS))
    place = opened(place) if isinstance(place, Path) else place
    known = engines_and_precisions(loaded) if ways is None else list(ways)
    predictors = [predictor_in(loaded, asked) for asked in known]
    names = [f"{engine} {precision}" for engine, precision in known]
    if isinstance(place, Unlabelled):
        made = _beside_the_first(loaded, known, predictors, place, lambda way, *done: on_case(names[way], *done))
        where = {"scans": place.found.place.name, "cases": min(len(place), COMPARED_SCANS) - len(place.failed)}
    else:
        data = fitted_in_part(loaded.record.labels, grid_needed(loaded.record.grid, place), place)
        cases = data.split(split)[::every]
        times = _times([one.engines()[0] for one in predictors], _timed(loaded, data, cases))
        predictors.clear()  # scoring opens its own, one at a time
        scored = score_with_engines(loaded.folder, known, cases, spread, lambda way, *done: on_case(names[way], *done))
        made = [_scored(loaded, *of_way, data.labels) for of_way in zip(known, times, scored, strict=True)]
        where = {"dataset": data.folder.name, "split": split, "cases": len(cases)}
    _write(loaded, made, where)
    return made


def engines_and_precisions(model: Model) -> list[EngineChoice]:
    """Return the engines and precisions available for the model on the CPU, PyTorch in fp32 first."""
    kinds = sorted(ENGINES.values(), key=lambda kind: kind.name != "torch")
    return [(kind.name, precision) for kind in kinds for precision in kind.compared(model)]  # type: ignore[misc]


def ways_of_int8(model: Path, to: EngineName) -> list[EngineChoice]:
    """Return the engine choices that show the loss of an int8 export: fp32, in the same engine if possible, and int8.

    Args:
        model: A model folder or a run folder.
        to: The engine of the export.
    """
    known = engines_and_precisions(load_model(model))
    return [(to, "fp32") if (to, "fp32") in known else known[0], (to, "int8")]


def _times(engines: Sequence[Engine], images: Sequence[NetworkImage]) -> list[Timing]:
    """Time engines on as many slices at once as they usually get, or on single blocks and patches."""
    are_slices = isinstance(engines[0].input_spec, NetworkInput) and images[0].ndim == 4
    at_once = [engine.at_once if are_slices else 1 for engine in engines]

    def run(engine: Engine, count: int, image: NetworkImage) -> None:
        engine.prepare(image.shape[2:], count)
        engine.run(np.repeat(image, count, axis=0))

    runs = [partial(run, engine, count) for engine, count in zip(engines, at_once, strict=True)]
    return [one.divided_by(count) for one, count in zip(time_engines(runs, images), at_once, strict=True)]


def _timed(model: Model, data: Preprocessed, cases: Sequence[PreprocessedCase]) -> list[NetworkImage]:
    """Return the images of a dataset to time engines on."""
    if isinstance(model.record.input_spec, NetworkInput) and data.grid == model.record.grid:
        chosen = calibration_slices(cases, len(data.labels), TIMED_SLICES)
        return [network_image(model.record.input_spec, case, k) for case, k in chosen]
    return _images(model, (on_grid(case) for case in cases))


def _scored(
    model: Model, asked: EngineChoice, timing: Timing, scores: Sequence[CaseScore], labels: LabelSet
) -> EngineBenchmark:
    """Score engines with the masks of a dataset."""
    summary = summarise(scores, labels)
    return _way(model, asked, timing, {row.structure: row.dice for row in summary.structures}, summary.dice)


def _beside_the_first(
    model: Model,
    known: Sequence[EngineChoice],
    predictors: Sequence[Predictor],
    scans: Unlabelled,
    on_case: Callable[[int, int, int], None],
) -> list[EngineBenchmark]:
    """Compare engines with the masks of the first."""
    count = min(len(scans), COMPARED_SCANS)
    brought = predictors[0].on_grid
    images = _images(model, (brought(volume, Stages()) for _, volume in scans.some(count)))
    times = _times([predictor.engines()[0] for predictor in predictors], images)
    on_grids = (brought(volume, Stages()) for _, volume in scans.some(count))
    found = agreements(predictors, on_grids, lambda way, done: on_case(way, done, count))
    ways = []
    for asked, timing, one in zip(known, times, found, strict=True):
        there = [value for name, value in one.dice.items() if value is not None and name not in one.few]
        mean = float(np.mean(there)) if there else None
        way = _way(model, asked, timing, one.dice, mean)
        ways.append(replace(way, seconds_a_scan=one.seconds, differing=one.differing, few=one.few))
    return ways


def _images(model: Model, scans: Iterator[OnGrid]) -> list[NetworkImage]:
    """Return images of scans to time engines on.

    Raises:
        ConfigError: If the scans are empty.
    """
    voxels = math.prod(model.record.input_spec.fixed or (1,))
    images = draw_some(predictor_of(model), scans, max(1, min(TIMED_SLICES, TIMED_VOXELS // voxels)))
    if not images:
        raise ConfigError("expected scans with different values to measure on, got uniform ones; use others")
    return images


def _way(
    model: Model, asked: EngineChoice, timing: Timing, dice: dict[str, float | None], mean_dice: float | None
) -> EngineBenchmark:
    return EngineBenchmark(
        *asked,
        _megabytes(model, *asked),
        timing.median,
        dice,
        mean_dice,
        (timing.low, timing.high),
        timing.rounds,
        timing.is_stable,
    )


def _megabytes(model: Model, engine: EngineName, precision: Precision) -> float:
    assert model.folder is not None  # it was read from one
    export = find_export(model, engine, ENGINES[engine].stores(precision))
    files = [WEIGHTS] if export is None else list(export.files)
    return sum((model.folder / name).stat().st_size for name in files) / 1e6


def _write(model: Model, ways: Sequence[EngineBenchmark], where: dict[str, object]) -> None:
    assert model.folder is not None  # it was read from one
    for way in ways[1:]:
        if way.precision == "int8":
            set_trusted(model.folder, f"{way.engine}/int8", way.is_close_to(ways[0]))
    entries = [asdict(way) | {"dice_lost": way.losses(ways[0])} for way in ways]
    content = {"weights_sha256": model.sha256} | where | {"ways": entries}
    with whole_file(model.folder / MEASURED) as aside:
        aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
