"""`tomoseg train`: a preprocessed dataset in, a run folder with the best model out."""

from __future__ import annotations

from pathlib import Path

from tomoseg.config import TRAIN_PRESETS, TrainConfig
from tomoseg.errors import TomosegError
from tomoseg.files.outputs import check_folder
from tomoseg.inference.device import choose_device
from tomoseg.models.exports import find_export
from tomoseg.models.folder import ModelRecord, load_model
from tomoseg.models.views import load_for_view
from tomoseg.notices import Notice, gathered
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.settings import load_config
from tomoseg.training.learner import CustomLoss
from tomoseg.training.listener import Listener, Outcome
from tomoseg.training.plan import Plan, plan_training
from tomoseg.training.ranks import launched_ranks, local_rank
from tomoseg.training.recipe import train
from tomoseg.training.run_folder import BEST, CONFIG, FILES, RunFolder
from tomoseg.training.tensorboard import tensorboard_beside
from tomoseg.training.weights import fitted_to
from tomoseg.workflows.course import course_beside
from tomoseg.workflows.export import export


def train_run(
    preprocessed: Path,
    output: Path,
    config: TrainConfig,
    listener: Listener | None = None,
    loss: CustomLoss | None = None,
    *,
    force: bool = False,
) -> Outcome:
    """Train, or go on with the run that is in the output folder; with the other processes if `torchrun` started it.

    Args:
        preprocessed: A preprocessed dataset.
        output: The run folder.
        config: The settings.
        listener: Who is told how it goes.
        loss: A loss of one's own: logits, masks and known structures to a scalar.
        force: Go on with a run that began with other settings.

    Returns:
        Whether it is finished, and the best mean Dice of the validation cases. The best model's OpenVINO export is then
        in its folder, unless `config.export` says no.

    Raises:
        DatasetError: If the dataset cannot be used.
        OutputError: If the run folder cannot be written.
        TrainingError: If the run in the folder has other settings, the loss is not finite, or a process is lost.

    Example:
        >>> from tomoseg.config import NetworkConfig
        >>> settings = TrainConfig(network=NetworkConfig(channels=(8, 16)), steps=1, workers=0)
        >>> train_run(Path("PREPROCESSED"), Path("RUN"), settings).finished
        True
    """
    told = listener or Listener()
    check_folder(output, FILES)
    check_folder(output / BEST)
    told.on_stage("reading the dataset")
    data = Preprocessed(preprocessed)
    if config.warm_start is not None:
        config = fitted_to(config, _started_from(config.warm_start, output, data.grid.view))
    on_gpu = choose_device(config.device).type == "cuda"
    with launched_ranks(on_gpu=on_gpu) as ranks:
        if on_gpu and ranks.count > 1:
            config = config.model_copy(update={"device": f"cuda:{local_rank()}"})
        folder = RunFolder(output, config, force=force, writes=ranks.is_first)
        if not ranks.is_first:
            return train(data, config, folder, Listener(should_stop=told.should_stop), loss, ranks)
        with tensorboard_beside(told, output, wanted=config.tensorboard) as beside:
            drawn = course_beside(beside, output, data.labels, config, _noticed(data))
            outcome = train(data, config, folder, drawn, loss, ranks)
    if outcome.finished and config.export:
        _export_best(output, told)
    return outcome


def _started_from(model: Path, output: Path, view: str) -> ModelRecord | TrainConfig:
    """What a run starts from; of one that began, what it began with, since the model may be gone."""
    began = output / CONFIG
    if began.is_file():
        return load_config(TrainConfig, TRAIN_PRESETS["default"], began)
    return load_for_view(model, view).record


def _noticed(data: Preprocessed) -> list[Notice]:
    """Warnings about the scans of a dataset, the decisive first and alike ones together."""
    told = ((case.name, notice) for case in data.cases for notice in case.record.warnings)
    return gathered((name, notice) for name, notice in told if notice.level == "warning")


def _export_best(run: Path, told: Listener) -> None:
    """Write the OpenVINO export of the best model; what cannot be exported is no reason to lose what was trained."""
    if find_export(load_model(run), "openvino", "fp32") is not None:
        return
    told.on_stage("writing the OpenVINO export")
    try:
        export(run, "openvino")
    except TomosegError as error:
        told.on_warning(f"no OpenVINO export was written: {error}")


def plan_run(preprocessed: Path, config: TrainConfig, max_memory: int | None = None) -> Plan:
    """What training would take in memory, and which batches fit; nothing is written.

    Args:
        preprocessed: A preprocessed dataset.
        config: The settings.
        max_memory: In bytes; None takes what is free.

    Raises:
        DatasetError: If the dataset cannot be used.
        TrainingError: If no batch of one slice fits.
    """
    return plan_training(Preprocessed(preprocessed), config, max_memory)
