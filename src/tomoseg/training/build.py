"""Building a training run from a dataset and settings, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tomoseg.config import TrainConfig
from tomoseg.errors import ConfigError, TrainingError, unknown_name_message
from tomoseg.inference.device import autocast_dtype, choose_device
from tomoseg.models.folder import ModelRecord
from tomoseg.models.views import load_for_view
from tomoseg.networks.build import set_prior_bias
from tomoseg.networks.images import own_input
from tomoseg.networks.network import MEMORY_FORMAT, Network
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase, range_of
from tomoseg.training.budget import Budget, Clock
from tomoseg.training.curriculum import check_difficulties
from tomoseg.training.learner import CustomLoss, Learner
from tomoseg.training.optimisation import LearningRate, build_optimizer
from tomoseg.training.ranks import ALONE, Ranks
from tomoseg.training.run import Run
from tomoseg.training.sampling import pos_weights_of, sample_size, structure_frequencies, with_pos_weights
from tomoseg.training.sides import sides_of
from tomoseg.training.slices import DrawnSlices, EpochLoader
from tomoseg.training.stacks import stacks_of
from tomoseg.training.state import TrainState
from tomoseg.training.weights import average_of, warm_start


def build_run(data: Preprocessed, config: TrainConfig, loss: CustomLoss | None = None, ranks: Ranks = ALONE) -> Run:
    """Build a run before its first step; weights and all other random values follow from the seed.

    Args:
        data: The preprocessed dataset.
        config: The settings.
        loss: A custom loss instead of the configured one.
        ranks: The processes that train together.

    Raises:
        DatasetError: If there are no training cases, or they lack difficulties for the curriculum.
        ConfigError: If the dataset lacks a structure that is given a weight, or `network.position` is set for axial
            slices.
        TrainingError: If a batch has fewer slices than there are processes.
    """
    _check_batch(config, ranks)
    _check_position(data, config)
    cases = data.split("train")
    validation = [case for case in data.cases if case.split == "validation"]
    device = training_device(config)
    dtype = ranks.first(autocast_dtype(config.precision, device, training=True))
    size = sample_size([case.record for case in cases], config)
    record = build_record(data, config, cases, size)
    torch.manual_seed(config.seed)
    network = record.build()
    if config.curriculum.enabled:
        check_difficulties([case.record for case in cases])
    frequencies = structure_frequencies([case.record for case in cases], len(data.labels))
    set_first_weights(network, record, config, frequencies)
    place(network, device)
    weights = structure_weights(config.loss.weights, data.labels.names, device)
    state = build_state(network, config, dtype, loss)
    shared = state.learner if ranks.count == 1 else DistributedDataParallel(state.learner)
    slices = drawn_slices(data, config, size, own_input(record.input_spec).reach)
    return Run(
        data=data,
        config=config,
        ranks=ranks,
        loss=loss,
        cases=cases,
        validation=validation,
        device=device,
        dtype=dtype,
        size=size,
        record=record,
        frequencies=frequencies,
        weights=weights,
        shared=shared,
        loader=EpochLoader(slices, config, device, ranks),
        budget=Budget.of(config, len(cases)),
        clock=Clock(ranks, device),
        state=state,
    )


def drawn_slices(data: Preprocessed, config: TrainConfig, size: tuple[int, ...], reach: int) -> DrawnSlices:
    """Return the slices or blocks of the training cases, with mirror images and shortened stacks if configured.

    Args:
        data: The preprocessed dataset.
        config: The settings.
        size: Pixels of a slice, or voxels of a block.
        reach: Neighbours of each slice on either side.

    Raises:
        ConfigError: If mirror images are configured, and a structure on a side has no counterpart.
        DatasetError: If there are no training cases.
    """
    sides, stacks = sides_of(data.labels, data.grid.view, config), stacks_of(data.grid.view, config)
    placed = config.network.position
    return DrawnSlices(data.split("train"), len(data.labels), size, reach, sides=sides, stacks=stacks, placed=placed)


def _check_position(data: Preprocessed, config: TrainConfig) -> None:
    """Refuse positions for axial slices: the middle of a scan's range along the body has no anatomical meaning.

    Raises:
        ConfigError: If they are configured.
    """
    if config.network.position and data.grid.view == "axial":
        raise ConfigError(
            "expected coronal or sagittal slices for network.position, got axial ones; preprocess with --grid.view, "
            "train --views, or leave it out"
        )


def training_device(config: TrainConfig) -> torch.device:
    """Return the device of training.

    Raises:
        ConfigError: If this machine has no such device.
        TrainingError: If a setting needs a GPU and there is none.
    """
    device = choose_device(config.device)
    if config.sync_batch_norm and device.type != "cuda":
        raise TrainingError(f"expected GPUs for sync_batch_norm, got {device.type}; use network.normalisation group")
    return device


def build_record(
    data: Preprocessed, config: TrainConfig, cases: Sequence[PreprocessedCase], size: tuple[int, ...]
) -> ModelRecord:
    """Make the model's record; a 3D network is trained with blocks of its tile size."""
    tiled = config.network.model_copy(update={"tile": size}) if len(size) == 3 else config.network
    return ModelRecord(data.labels, tiled, data.grid, config.windows_hu, trained_on=range_of(cases))


def set_first_weights(network: Network, record: ModelRecord, config: TrainConfig, frequencies: Sequence[float]) -> None:
    """Set the initial weights: the head's bias to each structure's frequency, or another model's weights.

    Args:
        network: Modified in place.
        record: Its description.
        config: `prior_bias` and `warm_start`.
        frequencies: Fraction of the voxels that each structure fills.

    Raises:
        TrainingError: If the other model is of another architecture.
    """
    if config.network.prior_bias:
        pos_weight = pos_weights_of(frequencies, config.loss.emphasis_power)
        set_prior_bias(network, with_pos_weights(frequencies, pos_weight))
    if config.warm_start is not None:
        warm_start(network, record, load_for_view(config.warm_start, record.grid.view))


def place(network: Network, device: torch.device) -> None:
    """Move a network to its device, in the memory format that its layers are fastest in."""
    network.to(device).to(memory_format=MEMORY_FORMAT[network.dims])  # type: ignore[call-overload]
    network.head.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]  # as its gradients are


def build_state(
    network: Network, config: TrainConfig, dtype: torch.dtype, loss: CustomLoss | None = None
) -> TrainState:
    """Make the state before the first step.

    Args:
        network: The network, on its device.
        config: The loss, the moving average, the optimiser and its schedule.
        dtype: Data type of convolutions.
        loss: A custom loss instead of the configured one.
    """
    average = average_of(network, config.ema_decay) if config.ema_decay > 0 else None
    if config.sync_batch_norm:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    learner = Learner(network, config, dtype, loss)
    device = next(network.parameters()).device
    return TrainState(
        learner=learner,
        average=average,
        optimizer=build_optimizer(learner.parameters(), config.optimizer),
        rate=LearningRate(config.schedule),
        scaler=torch.amp.GradScaler(device.type, enabled=dtype == torch.float16),
    )


def structure_weights(
    weights: dict[str, float], names: Sequence[str], device: torch.device
) -> Float[Tensor, "c"] | None:
    """Return the weight of each structure in the loss, with a mean of 1; None if all are equal.

    Args:
        weights: Weights of some structures; the others weigh 1.
        names: The structures in channel order.
        device: Device of the losses.

    Raises:
        ConfigError: If a structure is unknown, or all weights are 0.
    """
    for name in weights:
        if name not in names:
            raise ConfigError(f"loss.weights: {unknown_name_message(name, names)}")
    each = torch.tensor([weights.get(name, 1.0) for name in names], device=device)
    if not each.any():
        raise ConfigError("loss.weights: expected a structure that weighs more than 0, got none; give one a weight")
    return None if (each == each[0]).all() else each / each.mean()


def _check_batch(config: TrainConfig, ranks: Ranks) -> None:
    if config.batch_size < ranks.count:
        raise TrainingError(
            f"expected a batch_size of at least one slice per process, got {config.batch_size} for "
            f"{ranks.count} processes; raise batch_size, which counts the slices of all processes together"
        )
