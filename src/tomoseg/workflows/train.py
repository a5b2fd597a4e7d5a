"""`tomoseg train`: a preprocessed dataset in, a run folder with the best model out."""

from __future__ import annotations

from pathlib import Path

from tomoseg.config import TrainConfig
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.recipe import CustomLoss, train
from tomoseg.training.run import Listener, Outcome
from tomoseg.training.run_folder import RunFolder


def train_run(
    preprocessed: Path,
    output: Path,
    config: TrainConfig,
    listener: Listener | None = None,
    loss: CustomLoss | None = None,
) -> Outcome:
    """Train, or go on with the run that is in the output folder.

    Args:
        preprocessed: A preprocessed dataset.
        output: The run folder.
        config: The settings.
        listener: Who is told how it goes.
        loss: A loss of one's own: logits, masks and known structures to a scalar.

    Raises:
        DatasetError: If the dataset cannot be used.
        TrainingError: If the run in the folder has other settings, or the loss is not finite.
    """
    data = Preprocessed(preprocessed)
    return train(data, config, RunFolder(output, config), listener, loss)
