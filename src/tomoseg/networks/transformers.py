"""Transformers of MONAI behind the interface of the other networks.

MONAI is optional: `pip install "tomoseg[transformers]"`. It is imported only when needed. Its output convolution is
replaced by this package's `head`, so that loss, export and prediction treat all networks alike.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn

from tomoseg.errors import ConfigError
from tomoseg.network_kinds import UNETR_HEAD_WIDTH, NetworkConfig
from tomoseg.networks.network import CONV, Network


class SwinUNETR(Network):
    """Swin transformer encoder of five levels with shifted windows, and a convolutional decoder.

    Args:
        in_channels: Input channels.
        out_channels: Number of structures.
        config: The first of its `channels` is the width of the first level.

    Raises:
        ConfigError: If MONAI is not installed.

    Source: Hatamizadeh, A. et al. (2022). Swin UNETR. BrainLes, LNCS 12962, 272-284.
    """

    def __init__(self, in_channels: int, out_channels: int, config: NetworkConfig) -> None:
        width = config.channels[0]
        super().__init__(in_channels, config.dims, config.stride, (width,))
        net = _monai_nets().SwinUNETR(
            in_channels, out_channels, feature_size=width, spatial_dims=config.dims, drop_rate=config.dropout
        )
        net.out = nn.Identity()
        self.net = net
        self.head = CONV[config.dims](width, out_channels, kernel_size=1)

    def scales(self, images: Float[Tensor, "b c *xyz"]) -> list[Tensor]:
        """The decoder's features at the input's resolution."""
        return [cast(Tensor, self.net(images))]


class UNETR(Network):
    """Vision transformer over patches of 16 voxels, and a convolutional decoder; the input's size is fixed.

    Args:
        in_channels: Input channels.
        out_channels: Number of structures.
        config: Its `tile` is the input's size; the first of its `channels` is the decoder's width, the last the
            transformer's.

    Raises:
        ConfigError: If MONAI is not installed.

    Source: Hatamizadeh, A. et al. (2022). UNETR. WACV, 574-584.
    """

    def __init__(self, in_channels: int, out_channels: int, config: NetworkConfig) -> None:
        width, hidden = config.channels[0], config.channels[-1]
        super().__init__(in_channels, config.dims, config.stride, (width,))
        net = _monai_nets().UNETR(
            in_channels,
            out_channels,
            img_size=config.tile,
            feature_size=width,
            hidden_size=hidden,
            mlp_dim=4 * hidden,
            num_heads=hidden // UNETR_HEAD_WIDTH,
            dropout_rate=config.dropout,
            spatial_dims=config.dims,
        )
        net.out = nn.Identity()
        for name, parameter in net.named_parameters():
            if "cross_attn" in name:  # unused by UNETR: it would never get a gradient
                parameter.requires_grad_(False)
        self.net = net
        self.head = CONV[config.dims](width, out_channels, kernel_size=1)

    def scales(self, images: Float[Tensor, "b c *xyz"]) -> list[Tensor]:
        """The decoder's features at the input's resolution."""
        return [cast(Tensor, self.net(images))]


def _monai_nets() -> Any:
    if importlib.util.find_spec("monai") is None or importlib.util.find_spec("einops") is None:
        raise ConfigError(
            'expected MONAI for this network, found none; run: pip install "tomoseg[transformers]", or use kind unet'
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from MONAI's own imports
        from monai.networks import nets
    return nets
