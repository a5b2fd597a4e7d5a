"""Where weights come from and what is kept of them: warm starts and running means."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from tomoseg.config import TRAIN_PRESETS, TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.network_kinds import NetworkConfig
from tomoseg.networks.network import Network

HEAD = ("head.weight", "head.bias")
"""The last layer's parameters, one row a structure."""


@torch.no_grad()
def warm_start(network: Network, record: ModelRecord, model: Model) -> tuple[str, ...]:
    """Give a network the weights of a trained one; in the last layer only those of the structures that both have.

    Where the slice lies (`network.position`), if only the new network is told of it, counts for nothing at first.

    Args:
        network: Changed in place; other structures keep the last layer that they have.
        record: What it is.
        model: Another's weights.

    Returns:
        The structures that both have.

    Raises:
        TrainingError: If the architectures differ, or what the networks see of a scan.
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
        else:  # the first layers have a channel more, the last: where the slice lies, which counts for nothing yet
            value.zero_()
            value[:, : source[key].shape[1]] = source[key].to(value)
    return shared


def fitted_to(config: TrainConfig, source: ModelRecord | TrainConfig) -> TrainConfig:
    """Settings whose network and windows are those to start from, unless they have some of their own.

    Args:
        config: The settings.
        source: The model to start from, or the settings of a run that began so.

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
    """Refuse a model whose weights mean something else.

    Raises:
        TrainingError: If the architectures differ, or what the networks see of a scan.
    """
    _check_is_own(old)
    assert isinstance(new.network, NetworkConfig)  # what is trained here
    free = {"dropout", "prior_bias"} | (set() if new.network.record.one_size else {"tile"})
    free |= {"position"} if new.network.position else set()  # one that was not told can learn to be
    fields = [name for name in type(new.network).model_fields if name not in free]
    compared = [(f"network.{name}", getattr(old.network, name), getattr(new.network, name)) for name in fields]
    for name, was, now in (*compared, ("windows_hu", old.windows_hu, new.windows_hu)):
        if was != now:
            raise TrainingError(
                f"expected {name} of the model to start from, {was!r}, got {now!r}; set {name} so, or start afresh"
            )


def _check_is_own(source: ModelRecord | TrainConfig) -> None:
    """Refuse an imported model.

    Raises:
        TrainingError: If it is one.
    """
    if not isinstance(source.network, NetworkConfig):
        raise TrainingError(
            "expected a model of tomoseg's own to start from, got an imported one; start afresh, or train on masks "
            "that it predicts"
        )


def average_of(network: Network, decay: float) -> AveragedModel:
    """A running mean of a network's weights and of its batch statistics.

    Args:
        network: `update_parameters` takes it in after each step.
        decay: Share of the mean that stays in a step; less at first, so that the start is soon forgotten.
    """

    def mean(average: Tensor, now: Tensor, steps: Tensor | int) -> Tensor:
        if not average.is_floating_point():
            return now
        stays = min(decay, (1 + int(steps)) / (10 + int(steps)))
        return average.lerp(now, 1 - stays)

    return AveragedModel(network, avg_fn=mean, use_buffers=True)
