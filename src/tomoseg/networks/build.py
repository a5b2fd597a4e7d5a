"""Building a network from its settings."""

from __future__ import annotations

from collections.abc import Sequence
from pkgutil import resolve_name
from typing import cast

import torch

from tomoseg.network_kinds import NetworkConfig
from tomoseg.networks.network import Network


def build_network(config: NetworkConfig, in_channels: int, out_channels: int) -> Network:
    """Build the network that the settings describe, with weights drawn from torch's random state.

    Args:
        config: The network's settings.
        in_channels: HU windows times neighbouring slices, plus one if the network is told its position.
        out_channels: Number of structures.

    Raises:
        ConfigError: If the network needs a package that is not installed.
    """
    return cast(Network, resolve_name(config.record.made_by)(in_channels, out_channels, config))


def set_prior_bias(network: Network, frequencies: Sequence[float]) -> None:
    """Set the head's bias so that an untrained network predicts each structure with its prior frequency.

    Args:
        network: A network with a fresh head.
        frequencies: Fraction of annotated voxels that each structure fills, in channel order.

    Source: Lin, T.-Y. et al. (2017). Focal loss for dense object detection. ICCV, section 4.1.
    """
    prior = torch.as_tensor(frequencies, dtype=torch.float32).clamp(1e-5, 0.5)
    with torch.no_grad():
        network.head.bias.copy_(torch.logit(prior))  # type: ignore[operator]
