"""`tomoseg train`: a preprocessed dataset in, a run folder with the best model out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tomoseg.config import TrainConfig
from tomoseg.errors import TomosegError
from tomoseg.inference.device import choose_device
from tomoseg.options import Compute
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.learner import CustomLoss
from tomoseg.training.listener import Listener, TrainingOutcome
from tomoseg.training.plan import Plan, plan_batches
from tomoseg.training.ranks import launched_ranks, local_rank
from tomoseg.workflows.calibrate import calibrate
from tomoseg.workflows.one_run import train_one
from tomoseg.workflows.train_folds import train_folds
from tomoseg.workflows.train_views import check_run, train_views


def train_run(
    preprocessed: Path | str,
    output: Path | str,
    config: TrainConfig,
    listener: Listener | None = None,
    loss: CustomLoss | None = None,
    *,
    force: bool = False,
) -> TrainingOutcome:
    """Train a network, or continue the run in the output folder; if started by `torchrun`, with all its processes.

    Args:
        preprocessed: A preprocessed dataset.
        output: Run folder to write to.
        config: The settings.
        listener: Callbacks for progress, and for stopping early.
        loss: A custom loss: a function of logits, masks and annotated structures that returns a scalar.
        force: Continue a run that began with other settings.

    Returns:
        Whether training is finished, and the best mean Dice on the validation cases: for folds the mean over them, for
        views that of the combined model. The folder of the best model then also contains its OpenVINO export, unless
        `config.export` is off.

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
    told, output = listener or Listener(), Path(output)
    check_run(output, config)
    told.on_stage("reading the dataset")
    data = Preprocessed(preprocessed)
    on_gpu = choose_device(config.device).type == "cuda"
    with launched_ranks(on_gpu=on_gpu) as ranks:
        if on_gpu and ranks.count > 1:
            config = config.model_copy(update={"device": f"cuda:{local_rank()}"})
        train_it = train_views if config.views else train_one if config.folds is None else train_folds
        outcome = train_it(data, output, config, told, loss, ranks, force=force)
        if outcome.finished and ranks.is_first and not _calibrated(data, output, config, told):
            return replace(outcome, finished=False)
        return outcome


def _calibrated(data: Preprocessed, output: Path, config: TrainConfig, told: Listener) -> bool:
    """Fit temperatures of the probabilities, and return False if that was stopped.

    A failure is reported and does not fail the training.
    """
    if config.folds is None and all(case.split != "validation" for case in data.cases):
        return True
    told.on_stage("calibrating the probabilities")
    compute = Compute(engine="torch", device=config.device, precision=config.precision)
    try:
        return calibrate(output, data.folder, compute, told.should_stop) is not None or not told.should_stop()
    except TomosegError as error:
        told.on_warning(f"no temperatures were found for the probabilities: {error}")
        return True


def plan_run(preprocessed: Path, config: TrainConfig, max_memory: int | None = None) -> Plan:
    """Measure how much memory training needs, and which batch sizes fit; nothing is written.

    Args:
        preprocessed: A preprocessed dataset.
        config: The settings.
        max_memory: Memory limit in bytes; None takes the memory that is free.

    Raises:
        DatasetError: If the dataset cannot be used.
        TrainingError: If no batch of one slice fits.
    """
    data = Preprocessed(preprocessed)
    return plan_batches(data, config.of_view(data.grid.view) if config.views else config, max_memory)
