"""`tomoseg evaluate`: a model scored on a split of a preprocessed dataset."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tomoseg.config import AS_IN_TRAINING, Compute
from tomoseg.errors import ConfigError, DatasetError
from tomoseg.evaluation.cases import score_cases
from tomoseg.evaluation.overlap import CaseScore
from tomoseg.evaluation.summary import Summary, summarise
from tomoseg.files.atomic import whole_file
from tomoseg.inference.predictor import Predictor
from tomoseg.masks import structure_mask
from tomoseg.models.folder import load_model
from tomoseg.pictures.panel import best_slice, draw_panel
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase


@dataclass(frozen=True)
class Evaluation:
    """What a model reached.

    Attributes:
        summary: Structures, groups and the overall mean.
        scores: One entry a case.
    """

    summary: Summary
    scores: list[CaseScore]


def evaluate(
    model: Path,
    preprocessed: Path,
    split: str = "validation",
    *,
    output: Path | None = None,
    panels: int = 0,
    compute: Compute = AS_IN_TRAINING,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Score a model on whole volumes, each on its own grid.

    Args:
        model: A model folder or a run folder.
        preprocessed: A preprocessed dataset with the model's structures and grid.
        split: `validation` or `test`.
        output: Folder for the scores and panels.
        panels: Cases of which the worst and the best structure are drawn.
        compute: What computes the network, where, and in what.
        on_case: Told cases done and in all.

    Raises:
        ConfigError: If panels are asked for and no folder is given.
        DatasetError: If the split is empty, or the dataset has other structures or another grid than the model.
        ModelError: If the model cannot be loaded.
    """
    if panels and output is None:
        raise ConfigError(f"expected a folder for the pictures of {panels} cases, got none; name one with --output")
    loaded = load_model(model)
    data = Preprocessed(preprocessed)
    check_fits(loaded.record.labels.names, loaded.record.grid, data)
    cases = data.split(split)
    predictor = Predictor(loaded, **vars(compute))
    done = iter(range(1, len(cases) + 1))
    scores = score_cases(predictor, cases, lambda score: on_case(next(done), len(cases)))
    evaluation = Evaluation(summarise(scores, data.labels), scores)
    if output is not None:
        write_scores(evaluation, output)
        for case, score in list(zip(cases, scores, strict=True))[:panels]:
            draw_panels(predictor, case, worst_and_best(score), output)
    return evaluation


def check_fits(names: tuple[str, ...], grid: object, data: Preprocessed) -> None:
    """Refuse a dataset that a model was not made for.

    Raises:
        DatasetError: If its structures or its grid differ.
    """
    if names != data.labels.names:
        raise DatasetError(
            f"{data.folder}: expected the model's {len(names)} structures, got {len(data.labels)} "
            f"({', '.join(data.labels.names[:4])}, ...); preprocess with the same structures"
        )
    if grid != data.grid:
        raise DatasetError(
            f"{data.folder}: expected the model's grid ({grid}), got {data.grid}; preprocess with the same grid"
        )


def write_scores(evaluation: Evaluation, folder: Path) -> None:
    """Write `scores.csv`, a line a case and structure, and `summary.json`.

    Args:
        evaluation: What to write.
        folder: Where to; made if it is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "scores.csv") as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["case", "structure", "dice", "iou", "reference_ml", "predicted_ml", "false_positive_ml"])
        for case in evaluation.scores:
            for s in case.structures:
                row = (s.dice, s.iou, s.reference_ml, s.predicted_ml, s.false_positive_ml)
                writer.writerow([case.case, s.structure, *("" if v is None else f"{v:.6g}" for v in row)])
    with whole_file(folder / "summary.json") as aside:
        aside.write_text(json.dumps(asdict(evaluation.summary), indent=1), encoding="utf-8")


def worst_and_best(score: CaseScore) -> tuple[str, ...]:
    """The structures of lowest and highest Dice of a case; fewer where fewer have one."""
    scored = sorted((s.dice, s.structure) for s in score.structures if s.dice is not None)
    return tuple(dict.fromkeys(name for _, name in (scored[0], scored[-1]))) if scored else ()


def draw_panels(predictor: Predictor, case: PreprocessedCase, structures: Sequence[str], folder: Path) -> list[Path]:
    """The guide's four-panel figure of some structures of a case, each at its largest slice, on the network's grid.

    Args:
        predictor: Of the dataset's structures.
        case: What to predict.
        structures: Which structures; those that the case lacks are passed over.
        folder: Where the pictures go.

    Returns:
        The pictures.
    """
    ct, reference = case.ct(), case.masks()
    drawn = []
    for name in structures:
        channel = predictor.labels.channel(name)
        mask = structure_mask(reference, channel)
        if not mask.any():
            continue
        k = best_slice(mask)
        predicted = predictor.grid_masks(ct[:, :, k : k + 1])[channel, :, :, 0]
        path = folder / f"{case.name}_{name}.png"
        draw_panel(ct[:, :, k], mask[:, :, k], predicted, name, case.grid_spacing_mm[:2], path)
        drawn.append(path)
    return drawn
