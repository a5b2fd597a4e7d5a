"""Base class of all networks: features at the input's resolution, and a last 1x1 convolution, the head."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}

MEMORY_FORMAT = {2: torch.channels_last, 3: torch.channels_last_3d}
"""Memory format by number of dimensions: channels last, fastest for convolutions and for reading logits."""


class Network(nn.Module):
    """A network that gives one logit per structure and voxel.

    Attributes:
        head: The last 1x1 convolution; a subclass creates it last.

    Args:
        in_channels: Input channels.
        dims: 2 for `(b, c, x, y)`, 3 for `(b, c, x, y, z)`.
        stride: Every edge of the input must be a multiple of it.
        widths: Channels of each of the `scales`, from the finest to the coarsest.
    """

    head: nn.Module

    def __init__(self, in_channels: int, dims: int, stride: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.in_channels, self.dims, self.stride, self.widths = in_channels, dims, stride, widths

    def scales(self, images: Float[Tensor, "b c *xyz"]) -> list[Tensor]:
        """Return the decoder's features: the input's resolution first, then half of it, and so on."""
        raise NotImplementedError

    def features(self, images: Float[Tensor, "b c *xyz"]) -> Float[Tensor, "b f *xyz"]:
        """Return the head's input."""
        return self.scales(images)[0]

    def forward(self, images: Float[Tensor, "b c *xyz"]) -> Float[Tensor, "b s *xyz"]:
        """Return the logits of each structure."""
        return cast(Tensor, self.head(self.features(images)))


class Headless(Network):
    """A network that returns its features in place of logits; the head is applied elsewhere.

    Args:
        whole: The network with its head.
    """

    def __init__(self, whole: Network) -> None:
        super().__init__(whole.in_channels, whole.dims, whole.stride, whole.widths)
        self.whole, self.head = whole, nn.Identity()

    def scales(self, images: Float[Tensor, "b c *xyz"]) -> list[Tensor]:
        """Return the scales of the whole network."""
        return self.whole.scales(images)
