"""What every network is: features at the input's resolution, and a last 1x1 convolution that reads them."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}

MEMORY_FORMAT = {2: torch.channels_last, 3: torch.channels_last_3d}
"""By a network's dimensions: channels last, as convolutions are fastest and decisions read logits."""


class Network(nn.Module):
    """One logit a structure and voxel.

    Attributes:
        head: The last 1x1 convolution; a subclass makes it, at its end.

    Args:
        in_channels: Windows of the CT times neighbouring slices.
        dims: 2 for `(b, c, x, y)`, 3 for `(b, c, x, y, z)`.
        stride: Every edge of the input must be a multiple of it.
        widths: Channels of what `scales` gives, from the finest to the coarsest.
    """

    head: nn.Module

    def __init__(self, in_channels: int, dims: int, stride: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.in_channels, self.dims, self.stride, self.widths = in_channels, dims, stride, widths

    def scales(self, images: Float[Tensor, "b c *xyz"]) -> list[Tensor]:
        """The decoder's features: the input's resolution first, each of the next at half the one before."""
        raise NotImplementedError

    def features(self, images: Float[Tensor, "b c *xyz"]) -> Float[Tensor, "b f *xyz"]:
        """What the last 1x1 convolution reads."""
        return self.scales(images)[0]

    def forward(self, images: Float[Tensor, "b c *xyz"]) -> Float[Tensor, "b s *xyz"]:
        """Logits of each structure."""
        return cast(Tensor, self.head(self.features(images)))


class Headless(Network):
    """A network that gives its features in place of logits, for who applies the last 1x1 convolution later.

    Args:
        whole: The network.
    """

    def __init__(self, whole: Network) -> None:
        super().__init__(whole.in_channels, whole.dims, whole.stride, whole.widths)
        self.whole, self.head = whole, nn.Identity()

    def scales(self, images: Float[Tensor, "b c *xyz"]) -> list[Tensor]:
        """As the whole network gives them."""
        return self.whole.scales(images)
