"""The U-Net, in two or three dimensions, plain or with residual blocks or attention gates.

Source: Ronneberger, O. et al. (2015). U-Net. MICCAI, LNCS 9351, 234-241; batch normalisation and padded
convolutions as in the guide.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tomoseg.network_kinds import NetworkConfig
from tomoseg.networks.blocks import AttentionGate, DoubleConv, ResidualBlock
from tomoseg.networks.network import CONV, Network

TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


class UNet(Network):
    """Encoder, bottleneck and decoder with skip connections.

    Args:
        in_channels: Input channels.
        out_channels: Number of structures.
        config: Width of each level down to the bottleneck (each level halves the resolution), and its variants.
    """

    def __init__(self, in_channels: int, out_channels: int, config: NetworkConfig) -> None:
        channels, dims = config.channels, config.dims
        super().__init__(in_channels, dims, config.stride, channels[:-1])
        kind = ResidualBlock if config.residual else DoubleConv

        def block(source: int, width: int) -> nn.Module:
            return kind(source, width, dims, config.normalisation, config.dropout)

        sources = (in_channels, *channels[:-1])
        self.encoder = nn.ModuleList(block(source, width) for source, width in zip(sources, channels, strict=True))
        self.pool = POOL[dims](2)
        pairs = list(zip(channels[:0:-1], channels[-2::-1], strict=True))
        self.up = nn.ModuleList(TRANSPOSED[dims](deep, width, kernel_size=2, stride=2) for deep, width in pairs)
        self.gates = nn.ModuleList(AttentionGate(width, dims) for _, width in pairs if config.attention)
        self.decoder = nn.ModuleList(block(2 * width, width) for _, width in pairs)
        self.head = CONV[dims](channels[0], out_channels, kernel_size=1)

    def scales(self, images: Float[Tensor, "b c *xyz"]) -> list[Tensor]:
        """Return the decoder's features: the input's resolution first, then half of it, and so on."""
        skips: list[Tensor] = []
        x: Tensor = images
        for level, block in enumerate(self.encoder):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        made: list[Tensor] = []
        for level, (up, block, skip) in enumerate(zip(self.up, self.decoder, skips[-2::-1], strict=True)):
            risen = up(x)
            passed = self.gates[level](skip, risen) if len(self.gates) else skip
            x = block(torch.cat([risen, passed], dim=1))
            made.append(x)
        return made[::-1]
