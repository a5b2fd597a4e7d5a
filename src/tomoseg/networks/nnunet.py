"""nnU-Net's two networks, so that weights trained with it compute the same here.

A stage's first convolution carries the stride; every convolution is followed by instance normalisation and a leaky
ReLU. Parameters have nnU-Net's names, except the last 1x1 convolution, which is `head` as in every network here.

Source: Isensee, F. et al. (2021). nnU-Net. Nature Methods 18, 203-211. He, T. et al. (2019). Bag of tricks for image
classification with convolutional neural networks. CVPR (the skip of a strided block: a mean, then a 1x1 convolution).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tomoseg.networks.network import Network
from tomoseg.nnunet import NnunetNetwork

CONV: dict[int, Any] = {2: nn.Conv2d, 3: nn.Conv3d}
NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
MEAN: dict[int, Any] = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
TRANSPOSED: dict[int, Any] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}

Edges = tuple[int, ...]


class NnunetUNet(Network):
    """Encoder and decoder as nnU-Net's plans describe them.

    Args:
        out_channels: Number of logits per voxel.
        config: The architecture.
    """

    def __init__(self, out_channels: int, config: NnunetNetwork) -> None:
        super().__init__(config.in_channels, config.dims, math.lcm(*config.stride), config.channels[:-1])
        made_by = {"plain_conv_unet": _PlainEncoder, "residual_encoder_unet": _ResidualEncoder}
        self.encoder = made_by[config.kind](config)
        self.decoder = _Decoder(config)
        self.head = CONV[config.dims](config.channels[0], out_channels, kernel_size=1)

    def scales(self, images: Float[Tensor, "b c *xyz"]) -> list[Tensor]:
        """Return the decoder's features, from the input's resolution down."""
        made: list[Tensor] = self.decoder(self.encoder(images))
        return made[::-1]


class _Conv(nn.Module):
    """Convolution, instance normalisation and leaky ReLU."""

    def __init__(self, config: NnunetNetwork, source: int, width: int, kernel: Edges, stride: Edges) -> None:
        super().__init__()
        padding = tuple((edge - 1) // 2 for edge in kernel)
        self.conv = CONV[config.dims](source, width, kernel, stride, padding, bias=config.bias)
        self.norm = _norm(config, width)
        self.nonlin = _rectifier(config)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.nonlin(self.norm(self.conv(x)))
        return made


class _Ending(nn.Module):
    """Convolution and instance normalisation, without a rectifier."""

    def __init__(self, config: NnunetNetwork, source: int, width: int, kernel: Edges, *, bias: bool) -> None:
        super().__init__()
        padding = tuple((edge - 1) // 2 for edge in kernel)
        self.conv = CONV[config.dims](source, width, kernel, 1, padding, bias=bias)
        self.norm = _norm(config, width)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.norm(self.conv(x))
        return made


class _Convs(nn.Module):
    """A sequence of convolutions, of which the first may have a stride."""

    def __init__(
        self, config: NnunetNetwork, source: int, width: int, kernel: Edges, stride: Edges | None, count: int
    ) -> None:
        super().__init__()
        one = (1,) * config.dims
        self.convs = nn.Sequential(
            _Conv(config, source, width, kernel, stride or one),
            *(_Conv(config, width, width, kernel, one) for _ in range(count - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.convs(x)
        return made


class _Residual(nn.Module):
    """Two convolutions and a skip connection around them."""

    def __init__(self, config: NnunetNetwork, source: int, width: int, kernel: Edges, stride: Edges) -> None:
        super().__init__()
        self.conv1 = _Conv(config, source, width, kernel, stride)
        self.conv2 = _Ending(config, width, width, kernel, bias=config.bias)
        self.nonlin2 = _rectifier(config)
        skip: list[nn.Module] = []
        if max(stride) > 1:
            skip.append(MEAN[config.dims](stride, stride))
        if source != width:
            skip.append(_Ending(config, source, width, (1,) * config.dims, bias=False))
        self.skip = nn.Sequential(*skip)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.nonlin2(self.conv2(self.conv1(x)) + self.skip(x))
        return made


class _Residuals(nn.Module):
    """A sequence of residual blocks, of which the first may have a stride."""

    def __init__(self, config: NnunetNetwork, source: int, stage: int) -> None:
        super().__init__()
        width, kernel, one = config.channels[stage], config.kernels[stage], (1,) * config.dims
        self.blocks = nn.Sequential(
            _Residual(config, source, width, kernel, config.strides[stage]),
            *(_Residual(config, width, width, kernel, one) for _ in range(config.blocks[stage] - 1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.blocks(x)
        return made


class _PlainEncoder(nn.Module):
    def __init__(self, config: NnunetNetwork) -> None:
        super().__init__()
        sources = (config.in_channels, *config.channels[:-1])
        self.stages = nn.Sequential(
            *(
                nn.Sequential(_Convs(config, source, width, kernel, stride, count))
                for source, width, kernel, stride, count in zip(
                    sources, config.channels, config.kernels, config.strides, config.blocks, strict=True
                )
            )
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        return _each(self.stages, images)


class _ResidualEncoder(nn.Module):
    def __init__(self, config: NnunetNetwork) -> None:
        super().__init__()
        first = config.channels[0]
        self.stem = _Convs(config, config.in_channels, first, config.kernels[0], None, 1)
        sources = (first, *config.channels[:-1])
        self.stages = nn.Sequential(*(_Residuals(config, source, stage) for stage, source in enumerate(sources)))

    def forward(self, images: Tensor) -> list[Tensor]:
        return _each(self.stages, self.stem(images))


class _Decoder(nn.Module):
    """Upsamples from the deepest features; each stage is concatenated with the encoder's skip."""

    def __init__(self, config: NnunetNetwork) -> None:
        super().__init__()
        pairs = list(zip(config.channels[:0:-1], config.channels[-2::-1], strict=True))
        strides, kernels = config.strides[:0:-1], config.kernels[-2::-1]
        self.transpconvs = nn.ModuleList(
            TRANSPOSED[config.dims](deep, width, stride, stride, bias=config.bias)
            for (deep, width), stride in zip(pairs, strides, strict=True)
        )
        self.stages = nn.ModuleList(
            _Convs(config, 2 * width, width, kernel, None, count)
            for (_, width), kernel, count in zip(pairs, kernels, config.decoder_convs, strict=True)
        )

    def forward(self, skips: Sequence[Tensor]) -> list[Tensor]:
        x, made = skips[-1], []
        for up, stage, skip in zip(self.transpconvs, self.stages, skips[-2::-1], strict=True):
            x = stage(torch.cat([up(x), skip], dim=1))
            made.append(x)
        return made


def _each(stages: nn.Sequential, x: Tensor) -> list[Tensor]:
    made = []
    for stage in stages:
        x = stage(x)
        made.append(x)
    return made


def _norm(config: NnunetNetwork, width: int) -> nn.Module:
    return NORM[config.dims](width, eps=config.norm_eps, affine=config.norm_affine)


def _rectifier(config: NnunetNetwork) -> nn.Module:
    return nn.LeakyReLU(config.negative_slope)
