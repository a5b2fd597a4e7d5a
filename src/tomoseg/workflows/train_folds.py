"""`tomoseg train --folds`: a network per fold, out-of-fold masks of each case, and all networks as one model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tomoseg.config import TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.files.atomic import whole_file
from tomoseg.files.outputs import begin_folder
from tomoseg.files.results import write_masks
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import AS_TRAINED, on_grid
from tomoseg.inference.sinks import MaskSink, collect
from tomoseg.models.folder import VIEWS, load_model
from tomoseg.models.folds import FOLDS, MADE, OUT_OF_FOLD, Folds, part_of, read_folds, save_folds
from tomoseg.models.views import Fusion, save_fusion
from tomoseg.options import Compute
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.training.folds import assign_folds, fold_of
from tomoseg.training.learner import CustomLoss
from tomoseg.training.listener import Listener, TrainingOutcome
from tomoseg.training.ranks import Ranks
from tomoseg.training.run_folder import BEST, CONFIG, FILES, save_settings, saving_first
from tomoseg.workflows.one_run import train_one
from tomoseg.workflows.run_kinds import OF_VIEWS, ONE, kind_in


def check_run_of(output: Path, folds: int | None) -> None:
    """Refuse an output that cannot be written, or that holds a run of another number of folds or of views.

    Args:
        output: The run folder.
        folds: Number of folds requested; None for a run without folds.

    Raises:
        ModelError: If the folder's record of folds cannot be read.
        OutputError: If a folder or a file cannot be made.
        TrainingError: If it holds another kind of run.
    """
    _check_kind(output, folds)
    if folds is None:
        begin_folder(output, FILES)
        begin_folder(output / BEST)
        return
    begin_folder(output, (FOLDS, CONFIG, VIEWS, MADE))
    begin_folder(output / OUT_OF_FOLD)
    for fold in range(1, folds + 1):
        begin_folder(part_of(output, fold), FILES)
        begin_folder(part_of(output, fold) / BEST)


def _check_kind(output: Path, folds: int | None) -> None:
    """Refuse a folder that holds a run of another number of folds, or of another kind.

    Raises:
        ModelError: If the folder's record of folds cannot be read.
        TrainingError: If it holds another kind of run.
    """
    there = read_folds(output)
    if there is not None and there.count != folds:
        raise TrainingError(
            f"{output}: expected --folds {there.count}, which the run in this folder was started with, got "
            f"{folds or 'none'}; give that number, or another run folder"
        )
    kind = kind_in(output)
    if folds is None and kind == OF_VIEWS:
        raise TrainingError(
            f"{output}: expected --views, which the run in this folder was started with, got none; give them, "
            "or another run folder"
        )
    if folds is not None and kind in (ONE, OF_VIEWS):
        raise TrainingError(
            f"{output}: expected a new run folder, or one with {folds} folds, got a run of {kind} on the "
            "dataset's own splits; choose another folder, or leave --folds off"
        )


def train_folds(
    data: Preprocessed,
    output: Path,
    config: TrainConfig,
    told: Listener,
    loss: CustomLoss | None,
    ranks: Ranks,
    *,
    force: bool,
) -> TrainingOutcome:
    """Train a network for each fold, or continue the run of folds in the output folder.

    Args:
        data: The preprocessed dataset.
        output: The run folder.
        config: The settings; its budget is each fold's.
        told: Callbacks for progress, and for stopping early.
        loss: A custom loss: a function of logits, masks and annotated structures that returns a scalar.
        ranks: The processes that train together.
        force: Continue a run that began with other settings.

    Raises:
        DatasetError: If there are fewer patients than folds, or the dataset cannot be used.
        ModelError: If the folder's record of folds cannot be read.
        OutputError: If the run folder cannot be written.
        TrainingError: If the run in the folder has other settings or patients, the loss is not finite, or a process is
            lost.
    """
    assert config.folds is not None  # checked by the caller
    folds = _dealt(data, output, config.folds, config.seed)

    def save() -> None:
        save_folds(folds, output)
        save_settings(config, output)

    own, saving = config.model_copy(update={"folds": None}), saving_first(told, save)
    best: list[float | None] = []
    for fold in folds.numbers:
        if ranks.is_first:
            told.on_part(f"Fold {fold} of {folds.count}")
        own_data = fold_of(data, folds.cases, fold)
        outcome = train_one(own_data, part_of(output, fold), own, saving, loss, ranks, force=force)
        best.append(outcome.best_dice)
        if not (outcome.finished and _kept_out_of_fold(own_data, output, fold, own, told, ranks)):
            return TrainingOutcome(False, outcome.history, outcome.best_dice, tuple(best))
    if ranks.is_first:
        save_fusion(_together(output, folds), output)
    return TrainingOutcome(True, outcome.history, _mean(best), tuple(best))


def _dealt(data: Preprocessed, output: Path, count: int, seed: int) -> Folds:
    """Return the folds that the run began with, or new ones.

    Raises:
        DatasetError: If there are fewer patients than folds.
        TrainingError: If the run began with other patients.
    """
    folds, there = Folds(count, assign_folds(data, count, seed)), read_folds(output)
    if there is not None and there != folds:
        raise TrainingError(
            f"{output}: expected the patients and the seed that the folds of this run were drawn with, got others in "
            f"{data.folder}; use those or another run folder"
        )
    return folds


def _kept_out_of_fold(
    data: Preprocessed, output: Path, fold: int, config: TrainConfig, told: Listener, ranks: Ranks
) -> bool:
    """Let the first process write masks of the fold's own cases; return False if it was stopped before the end."""
    return ranks.first(_keep_out_of_fold(data, output, fold, config, told) if ranks.is_first else True)


def _keep_out_of_fold(data: Preprocessed, output: Path, fold: int, config: TrainConfig, told: Listener) -> bool:
    """Write masks of the fold's own cases with its best network; existing ones of the same weights are kept.

    Returns:
        False if it was stopped before all were written.
    """
    if data.grid.view != "axial":
        told.on_warning(
            f"no out-of-fold masks are kept: a dataset of {data.grid.view} slices does not say how its scans "
            "lie in space. `tomoseg evaluate RUN PREPROCESSED` scores the folds all the same"
        )
        return True
    model = load_model(part_of(output, fold))
    compute = Compute(engine="torch", device=config.device, precision=config.precision)
    predictor = Predictor(model, compute)
    choices = predictor.choices(AS_TRAINED)
    made = _made(output)
    todo = [case for case in data.split("validation") if not _is_made(case, output, made, str(model.sha256))]
    for done, case in enumerate(todo):
        if told.should_stop():
            return False
        told.on_stage(f"writing out-of-fold masks, case {done + 1} of {len(todo)}")
        masks = MaskSink(choices.labels, case.record.source)
        collect(predictor.slices(on_grid(case), choices), masks)
        write_masks(masks.result, output / OUT_OF_FOLD / case.name)
        made = {**made, case.name: str(model.sha256)}
        with whole_file(output / MADE) as aside:
            aside.write_text(json.dumps(made, indent=1), encoding="utf-8")
    return True


def _made(output: Path) -> dict[str, str]:
    """Return the hash of the weights that made the masks of each case; unreadable records are ignored."""
    try:
        return {str(name): str(sha) for name, sha in json.loads((output / MADE).read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _is_made(case: PreprocessedCase, output: Path, made: dict[str, str], sha256: str) -> bool:
    return made.get(case.name) == sha256 and (output / OUT_OF_FOLD / case.name).is_dir()


def _together(output: Path, folds: Folds) -> Fusion:
    """Combine the folds' best models into one, with the scores of their own cases."""
    scores = [load_model(part_of(output, fold)).record.scores for fold in folds.numbers]
    return Fusion(
        tuple(f"{part_of(Path(), fold).name}/{BEST}" for fold in folds.numbers),
        (),
        provenance={
            "folds": folds.count,
            "validation_dice": _mean([one["validation_dice"] for one in scores if "validation_dice" in one]),
            "dice": dict(_means([one["dice"] for one in scores if "dice" in one])),
        },
    )


def _means(rows: Sequence[dict[str, float | None]]) -> Iterator[tuple[str, float | None]]:
    """Yield the mean of each structure over the folds whose cases contain it."""
    for name in rows[0] if rows else ():
        yield name, _mean([row[name] for row in rows if row.get(name) is not None])


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
