"""Building blocks of U-Nets."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tomoseg.networks.network import CONV

BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}

GROUP_SIZE = 8
"""Channels normalised together by group normalisation."""


class DoubleConv(nn.Sequential):
    """Convolution, normalisation, ReLU, twice; then dropout of whole channels if asked for."""

    def __init__(self, inputs: int, outputs: int, dims: int, normalisation: str, dropout: float) -> None:
        layers: list[nn.Module] = []
        for source in (inputs, outputs):
            layers += [
                CONV[dims](source, outputs, kernel_size=3, padding=1),
                normalise(normalisation, outputs, dims),
                nn.ReLU(inplace=True),
            ]
        if dropout > 0:
            layers.append(DROPOUT[dims](dropout))
        super().__init__(*layers)


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut, which is a 1x1 convolution where the widths differ.

    Source: He, K. et al. (2016). Deep residual learning for image recognition. CVPR, 770-778 (figure 2).
    """

    def __init__(self, inputs: int, outputs: int, dims: int, normalisation: str, dropout: float) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            CONV[dims](inputs, outputs, kernel_size=3, padding=1),
            normalise(normalisation, outputs, dims),
            nn.ReLU(inplace=True),
            CONV[dims](outputs, outputs, kernel_size=3, padding=1),
            normalise(normalisation, outputs, dims),
        )
        widened = [CONV[dims](inputs, outputs, kernel_size=1), normalise(normalisation, outputs, dims)]
        self.shortcut = nn.Identity() if inputs == outputs else nn.Sequential(*widened)
        self.dropout = DROPOUT[dims](dropout) if dropout > 0 else nn.Identity()

    def forward(self, x: Float[Tensor, "b c *xyz"]) -> Float[Tensor, "b d *xyz"]:
        """Return the rectified sum of the convolutions and the shortcut, after dropout."""
        return cast(Tensor, self.dropout(torch.relu(self.convolutions(x) + self.shortcut(x))))


class AttentionGate(nn.Module):
    """Weights every voxel of a skip connection by an attention coefficient in [0, 1].

    The gating features come from the level below, already at the skip's resolution; the source takes them before the
    interpolation.

    Source: Oktay, O. et al. (2018). Attention U-Net. MIDL, equations 1 to 3.
    """

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.of_skip = CONV[dims](channels, inner, kernel_size=1)
        self.of_gate = CONV[dims](channels, inner, kernel_size=1, bias=False)
        self.weight = CONV[dims](inner, 1, kernel_size=1)

    def forward(self, skip: Float[Tensor, "b c *xyz"], gate: Float[Tensor, "b c *xyz"]) -> Float[Tensor, "b c *xyz"]:
        """Return the skip's features, weighted."""
        return skip * torch.sigmoid(self.weight(torch.relu(self.of_skip(skip) + self.of_gate(gate))))


def normalise(kind: str, channels: int, dims: int) -> nn.Module:
    """Return a normalisation layer; `kind` is `batch` or `group`."""
    return BATCH_NORM[dims](channels) if kind == "batch" else nn.GroupNorm(channels // GROUP_SIZE, channels)
