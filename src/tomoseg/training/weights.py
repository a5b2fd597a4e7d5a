"""Warm starts, and moving averages of weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from tomoseg.config import TRAIN_PRESETS, TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.network_kinds import NetworkConfig
from tomoseg.networks.network import Network
from tomoseg.settings import written

HEAD = ("head.weight", "head.bias")
"""Parameters of the last layer, one row per structure."""


@torch.no_grad()
def warm_start(network: Network, record: ModelRecord, model: Model) -> tuple[str, ...]:
    """Copy a trained model's weights into a network; in the last layer those of common structures only.

    The weights of the slice's position (`network.position`) start at 0 if only the new network has it as an input.

    Args:
        network: Modified in place; other structures keep their last layer.
        record: Its description.
        model: The trained model.

    Returns:
        The common structures.

    Raises:
        TrainingError: If the architectures or windows differ, or the model is an imported one.
    """
    _check_fits(model.record, record)
    old, new = model.record.labels, record.labels
    shared = tuple(name for name in new.names if name in old.names)
    state, source = network.state_dict(), model.network.state_dict()
    into, out_of = ([labels.channel(name) for name in shared] for labels in (new, old))
    for key, value in state.items():
        if key in HEAD:
            value[into] = source[key][out_of].to(value)
        elif value.shape == source[key].shape:
            value.copy_(source[key])
        else:  # first layers with one more input channel, the slice's position, whose weights start at 0
            value.zero_()
            value[:, : source[key].shape[1]] = source[key].to(value)
    return shared


def fitted_to(config: TrainConfig, source: ModelRecord | TrainConfig) -> TrainConfig:
    """Return settings with the network and windows of a model to start from, unless they differ from all presets.

    Args:
        config: The settings.
        source: The model to start from, or the settings of a run that began with it.

    Raises:
        TrainingError: If it is an imported model.
    """
    _check_is_own(source)
    usual = [(preset.network, preset.windows_hu) for preset in TRAIN_PRESETS.values()]
    told = {"position": config.network.position}
    of_presets = [(network.model_copy(update=told), windows_hu) for network, windows_hu in usual]
    if (config.network, config.windows_hu) not in of_presets:
        return config
    network = source.network
    if isinstance(network, NetworkConfig) and config.network.position:
        network = network.model_copy(update=told)
    return config.model_copy(update={"network": network, "windows_hu": source.windows_hu})


def _check_fits(old: ModelRecord, new: ModelRecord) -> None:
    """Refuse a model whose weights do not fit.

    Raises:
        TrainingError: If the architectures or windows differ, or the model is an imported one.
    """
    _check_is_own(old)
    assert isinstance(new.network, NetworkConfig)  # true of all networks trained here
    free = {"dropout", "prior_bias"} | (set() if new.network.record.one_size else {"tile"})
    free |= {"position"} if new.network.position else set()  # the input can be added
    fields = [name for name in type(new.network).model_fields if name not in free]
    compared = [(f"network.{name}", getattr(old.network, name), getattr(new.network, name)) for name in fields]
    for name, was, now in (*compared, ("windows_hu", old.windows_hu, new.windows_hu)):
        if was != now:
            raise TrainingError(
                f"expected {name} as in the model to start from, {written(was)}, got {written(now)}; set {name} to "
                "that, or start from scratch"
            )


def _check_is_own(source: ModelRecord | TrainConfig) -> None:
    """Refuse an imported model.

    Raises:
        TrainingError: If it is one.
    """
    if not isinstance(source.network, NetworkConfig):
        raise TrainingError(
            "expected a model of tomoseg's own to start from, got an imported one; start from scratch, or "
            "train on masks that it predicts"
        )


def average_of(network: Network, decay: float) -> AveragedModel:
    """Make an exponential moving average of a network's weights and batch statistics.

    Args:
        network: The network, passed to `update_parameters` after each step.
        decay: Fraction of the average kept in a step; less in early steps, so that the start is soon forgotten.
    """

    def mean(average: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
        if not average.is_floating_point():
            return now
        stays = min(decay, (1 + int(steps)) / (10 + int(steps)))
        return average.lerp(now, 1 - stays)

    return AveragedModel(network, avg_fn=mean, use_buffers=True)
