"""The U-Net, in two or three dimensions.

Source: Ronneberger, O. et al. (2015). U-Net. MICCAI, LNCS 9351, 234-241; batch normalisation and padded
convolutions as in the guide.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
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
                _normalisation(normalisation, outputs, dims),
                nn.ReLU(inplace=True),
            ]
        if dropout > 0:
            layers.append(DROPOUT[dims](dropout))
        super().__init__(*layers)


class UNet(nn.Module):
    """Encoder, bottleneck and decoder with skip connections; one logit a structure and voxel.

    Args:
        in_channels: Windows of the CT given as channels.
        out_channels: Structures.
        channels: Width of each level down to the bottleneck; each level halves the resolution.
        dims: 2 for `(b, c, x, y)`, 3 for `(b, c, x, y, z)`.
        normalisation: `batch` or `group`.
        dropout: Share of channels dropped in each block while training.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        channels: tuple[int, ...] = (32, 64, 128, 256, 512),
        dims: int = 2,
        normalisation: str = "batch",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.stride = 2 ** (len(channels) - 1)
        block = {"dims": dims, "normalisation": normalisation, "dropout": dropout}
        self.encoder = nn.ModuleList(
            DoubleConv(source, width, **block)  # type: ignore[arg-type]
            for source, width in zip((in_channels, *channels[:-1]), channels, strict=True)
        )
        self.pool = POOL[dims](2)
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.up = nn.ModuleList(TRANSPOSED[dims](deep, width, kernel_size=2, stride=2) for deep, width in pairs)
        self.decoder = nn.ModuleList(DoubleConv(2 * width, width, **block) for _, width in pairs)  # type: ignore[arg-type]
        self.head = CONV[dims](channels[0], out_channels, kernel_size=1)

    def features(self, images: Float[Tensor, "b c *xyz"]) -> Float[Tensor, "b f *xyz"]:
        """What the last 1x1 convolution reads."""
        skips: list[Tensor] = []
        x: Tensor = images
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        for up, block, skip in zip(self.up, self.decoder, skips[-2::-1], strict=True):
            x = block(torch.cat([up(x), skip], dim=1))
        return x

    def forward(self, images: Float[Tensor, "b c *xyz"]) -> Float[Tensor, "b s *xyz"]:
        """Logits of each structure; every edge of the input must be a multiple of `stride`."""
        return cast(Tensor, self.head(self.features(images)))


def _normalisation(kind: str, channels: int, dims: int) -> nn.Module:
    return BATCH_NORM[dims](channels) if kind == "batch" else nn.GroupNorm(channels // GROUP_SIZE, channels)
