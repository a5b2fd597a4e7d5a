"""`tomoseg demo`: the whole pipeline on procedural CTs, with a table and pictures in a few minutes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from tomoseg.bodies import BodyConfig, make_body, procedural_anatomy
from tomoseg.bodies.config import FieldOfViewConfig
from tomoseg.config import (
    TRAIN_PRESETS,
    GridConfig,
    PreprocessConfig,
    SamplingConfig,
    TrainConfig,
)
from tomoseg.evaluation.baselines import (
    AtlasBaseline,
    ThresholdBaseline,
    fit_atlas_baseline,
    fit_threshold_baseline,
)
from tomoseg.evaluation.overlap import OverlapCounter
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.summary import Summary, summarise
from tomoseg.files.outputs import check_folder
from tomoseg.inference.segment import open_predictor, segment
from tomoseg.labels import LabelSet
from tomoseg.language.words import later, pointed, say
from tomoseg.options import DEFAULT_MODEL, EvaluateOptions, PredictOptions
from tomoseg.pictures.preview import draw_preview
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.segmentation import boxed_masks
from tomoseg.training.listener import Listener
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.panels import draw_panels
from tomoseg.workflows.phantom import make_dataset
from tomoseg.workflows.predict import predict
from tomoseg.workflows.preprocess import preprocess
from tomoseg.workflows.train import train_run
from tomoseg.workflows.tune import tune

COUNTS = {"train": 24, "validation": 2, "test": 6}
SPACING_MM = 3.0
MADE = ("dataset", "preprocessed", "run", "scores", "prediction", "pictures")
"""The output folders."""
GRID = GridConfig(mode="spacing", spacing_mm=5.0, crop="body")
TRAINING: TrainConfig = TRAIN_PRESETS["default"].model_copy(
    update={
        "network": TRAIN_PRESETS["default"].network.model_copy(update={"channels": (16, 32, 64, 128)}),
        "loss": TRAIN_PRESETS["default"].loss.model_copy(update={"emphasis_power": 0.25}),
        "views": ("axial", "coronal"),
        "side_by_side": True,
        "minutes": 3.8,
        "batch_size": 4,
        "sampling": SamplingConfig(slices_per_case=50),
        "validate_every": 4,
        "workers": 0,
    }
)
"""The default recipe for a few minutes: a smaller network and smaller batches give it more steps, longer epochs fewer
interruptions, and with so few steps masks that the emphasis made too large would not come down again. Vertebrae and
ribs are numbered best from the front, organs and muscles from above, and two networks side by side use two cores
better than one."""

SHOWN_SEED, SHOWN_MM = 700_000, (2.0, 2.0, 3.0)
"""Seed and voxel spacing in mm of the body for the packaged model; the seed is not among those it was trained on."""

SHOWN = ("liver", "kidney_left", "vertebrae_L1", "aorta")
"""Structures drawn in the four-panel figure."""


@dataclass(frozen=True)
class DemoReport:
    """Results of the demo on phantoms not used for training.

    Attributes:
        summary: The scores of both views together.
        baselines: Scores of methods that learn no shapes: an HU threshold, a mean-position atlas.
        pictures: Paths of the pictures.
        minutes: Duration in minutes.
        packaged: Result of the packaged whole-body model on a synthetic body.
        scores: Folder with the score of each structure.
    """

    summary: Summary
    baselines: dict[str, Summary]
    pictures: list[Path]
    minutes: float
    packaged: PackagedShown
    scores: Path


@dataclass(frozen=True)
class PackagedShown:
    """Result of the packaged model on one body not used for its training.

    Attributes:
        structures: Number of structures found, among those present in the body and known to the model.
        there: Number of structures present in the body and known to the model.
        dice: Their mean Dice.
        seconds: Time from the scan to the masks.
        picture: Path of the picture.
    """

    structures: int
    there: int
    dice: float
    seconds: float
    picture: Path


def demo(folder: Path, seed: int, tell: Callable[[str], None], listener: Listener) -> DemoReport | None:
    """Make phantoms, preprocess, train, tune, evaluate, predict, draw; then show the packaged model on another body.

    Args:
        folder: Output folder; existing results in it are kept.
        seed: Seed of the bodies.
        tell: Called with each line of what happens, in the language of this process.
        listener: Callbacks for progress, and for stopping early.

    Returns:
        The report; None if training was stopped.

    Raises:
        KeyboardInterrupt: If a wish to stop comes before or after training; what is done is kept.
    """
    for place in (folder, *(folder / name for name in MADE)):
        check_folder(place)
    began = time.monotonic()
    with listener.waiting():
        _prepare(folder, seed, tell, listener)
    minutes = pointed(f"{TRAINING.minutes:g}")
    tell(say("Training for {minutes} minutes into {folder}", minutes=minutes, folder=folder / "run"))
    outcome = train_run(folder / "preprocessed", folder / "run", TRAINING, listener)
    if not outcome.finished:
        return None
    with listener.waiting():
        return _shown(folder, seed, tell, listener, began)


def _prepare(folder: Path, seed: int, tell: Callable[[str], None], listener: Listener) -> None:
    """Make phantoms and preprocess them."""
    tell(say("Generating {count} phantoms in {folder}", count=sum(COUNTS.values()), folder=folder / "dataset"))
    cases = sum(COUNTS.values())
    made, preprocessed = count(1), count(1)
    make_dataset(folder / "dataset", COUNTS, seed, SPACING_MM, lambda path: listener.on_count(next(made), cases))
    tell(say("Preprocessing them into {folder}", folder=folder / "preprocessed"))
    preprocess(
        folder / "dataset",
        folder / "preprocessed",
        PreprocessConfig(grid=GRID),
        on_case=lambda done: listener.on_count(next(preprocessed), cases),
    )


def _shown(folder: Path, seed: int, tell: Callable[[str], None], listener: Listener, began: float) -> DemoReport:
    """Tune the trained networks, evaluate them, predict, draw, and show the packaged model."""
    tell(say("Choosing a threshold on {count} phantoms that were not trained on", count=COUNTS["validation"]))
    tune(folder / "run", folder / "preprocessed", on_case=listener.on_count)
    tell(say("Scoring {count} phantoms that were not trained on", count=COUNTS["test"]))
    evaluation = evaluate(
        folder / "run",
        folder / "preprocessed",
        EvaluateOptions(split="test", surfaces=False, tuned=True),
        output=folder / "scores",
        on_case=listener.on_count,
    )
    data = Preprocessed(folder / "preprocessed")
    baselines = score_baselines(data)
    tell(say("Segmenting and drawing one of them"))
    pictures = _draw(folder, data)
    tell(say("Segmenting a synthetic body with the packaged model {model}", model=DEFAULT_MODEL))
    packaged = show_packaged(folder / "pictures" / f"{DEFAULT_MODEL}.png", seed)
    minutes_taken = (time.monotonic() - began) / 60
    return DemoReport(evaluation.summary, baselines, pictures, minutes_taken, packaged, folder / "scores")


def show_packaged(picture: Path, seed: int) -> PackagedShown:
    """Segment a synthetic body with the packaged model of the whole body, score it and draw it.

    Args:
        picture: The PNG to write.
        seed: Seed of the body.
    """
    whole = BodyConfig(view=FieldOfViewConfig(whole_share=1.0, narrow_share=0.0))
    body = make_body(procedural_anatomy(SHOWN_SEED + seed), SHOWN_SEED + seed, whole, SHOWN_MM)
    began = time.monotonic()
    found = segment(body.volume)
    seconds = time.monotonic() - began
    dice = []
    voxels = np.bincount(body.numbers.ravel("K"), minlength=len(body.labels) + 1)
    for name, mask in zip(found.labels.names, boxed_masks(found.result), strict=True):
        number = body.labels.channel(name) + 1
        if voxels[number]:
            shared = np.count_nonzero(body.numbers[mask.box][mask.inside] == number)
            dice.append(2 * shared / (mask.voxels + voxels[number]))
    draw_preview(body.volume, found.result, picture, say("A synthetic body, segmented by {model}", model=DEFAULT_MODEL))
    return PackagedShown(int(np.count_nonzero(dice)), len(dice), float(np.mean(dice)), seconds, picture)


def score_baselines(data: Preprocessed) -> dict[str, Summary]:
    """Score an HU threshold and a mean-position atlas on the test cases, on the network's grid.

    Args:
        data: The dataset, to whose training cases both are fitted.
    """

    def training() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield from ((case.ct(), case.masks()) for case in data.split("train"))

    structures = len(data.labels)
    baselines: dict[str, ThresholdBaseline | AtlasBaseline] = {
        later("HU threshold"): fit_threshold_baseline(training(), structures),
        later("mean-position atlas"): fit_atlas_baseline(training(), structures),
    }
    cases = data.split("test")
    return {
        name: summarise([_score(baseline.predict(case.ct()), case, data.labels) for case in cases], data.labels)
        for name, baseline in baselines.items()
    }


def _score(predicted: np.ndarray, case: PreprocessedCase, labels: LabelSet) -> CaseScore:
    counter = OverlapCounter(len(labels))
    counter.add(predicted, case.masks())
    return CaseScore(case.name, counter.scores(labels, case.record.annotated, 1.0))


def _draw(folder: Path, data: Preprocessed) -> list[Path]:
    """Draw the test case with the most structures: its preview, and four panels of some structures."""
    case = max(data.split("test"), key=lambda c: sum(n > 0 for n in c.record.voxels.values()))
    ct = folder / "dataset" / "test" / case.name / "ct.nii.gz"
    label_map = folder / "prediction" / f"{case.name}.nii.gz"
    predict(ct, label_map, folder / "run", PredictOptions(ml=True, preview=True))
    panels = draw_panels(open_predictor(folder / "run"), case, SHOWN, folder / "pictures")
    histories = [folder / "run" / view / "history.png" for view in TRAINING.views]
    return [*histories, label_map.with_name(f"{case.name}_preview.png"), *panels]
