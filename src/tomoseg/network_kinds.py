"""The settings of a network, and one record for each kind of network.

Nothing here needs torch. A kind of network is a module in `networks` and a record in `NETWORKS`; the names that the
settings take, their help and the reference follow from the records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt, model_validator

from tomoseg.settings import Config

SWIN_STRIDE, UNETR_STRIDE = 32, 16
"""Factors by which MONAI's transformers downsample their inputs."""

UNETR_HEAD_WIDTH = 32
"""Channels of each of a UNETR's attention heads."""


def _nothing(config: NetworkConfig) -> None:
    """Accept any settings."""


def _as_they_are(edges: tuple[int, ...]) -> tuple[int, ...]:
    return edges


@dataclass(frozen=True)
class NetworkKind:
    """A kind of network, before one is built.

    Attributes:
        summary: Description and the settings that it reads, for the help: a clause without its name.
        made_by: The class that builds it, as `module:name`; `networks.build` loads it, since it needs torch.
        stride: Factor of which every edge of the input must be a multiple.
        activation_bytes: Maximum memory of its feature maps per pixel or voxel of the input, in fp32.
        check: Raises ValueError if its channels make no network of this kind.
        any_size: Whether it takes inputs of any multiple of its stride, so that one trace serves all of them;
            otherwise `tile`, if it is set, is the only size.
        one_size: Whether its weights depend on the size of the input, so that `tile` is required.
        has_gates: Whether it has skip connections that `attention` can weight.
        batch_statistics: Whether it normalises over the batch, which needs more than one value per channel.
        grown: Returns the edges to pad the input to, from multiples of the stride.
    """

    summary: str
    made_by: str
    stride: Callable[[NetworkConfig], int]
    activation_bytes: Callable[[NetworkConfig], int]
    check: Callable[[NetworkConfig], None] = _nothing
    any_size: bool = False
    one_size: bool = False
    has_gates: bool = False
    batch_statistics: Callable[[NetworkConfig], bool] = lambda config: False
    grown: Callable[[tuple[int, ...]], tuple[int, ...]] = _as_they_are

    def fixed(self, config: NetworkConfig) -> tuple[int, ...]:
        """Return the only input size that the network takes; empty if it takes any multiple of its stride."""
        return () if self.any_size else config.tile

    def is_traceable(self, config: NetworkConfig) -> bool:
        """Whether one trace serves every input: the network takes any size, or its size is fixed."""
        return self.any_size or bool(config.tile)


def _unet_channels(config: NetworkConfig) -> None:
    if config.normalisation == "group" and any(c % 8 for c in config.channels):
        raise ValueError(f"group normalisation needs channels in multiples of 8, got {config.channels}")


def _swin_channels(config: NetworkConfig) -> None:
    if config.channels[0] % 12:
        raise ValueError(f"swin_unetr needs its first channels in multiples of 12, got {config.channels}")


def _unetr_channels(config: NetworkConfig) -> None:
    if config.channels[-1] % UNETR_HEAD_WIDTH:
        raise ValueError(f"unetr needs its last channels in multiples of {UNETR_HEAD_WIDTH}, got {config.channels}")


def _unet_activation_bytes(config: NetworkConfig) -> int:
    """Six widths of the first level, and half as much again for the libraries' buffers.

    At the input's resolution the decoder holds the skip connection, the upsampled map, their concatenation, and the
    results of two convolutions.
    """
    return 4 * 9 * config.channels[0]


def _swin_activation_bytes(config: NetworkConfig) -> int:
    """Measured, in widths of the first level: MONAI's residual blocks hold more at once than those of a U-Net."""
    return 4 * (16 if config.dims == 2 else 24) * config.channels[0]


def _unetr_activation_bytes(config: NetworkConfig) -> int:
    """Measured, in widths of the decoder's first level."""
    return 4 * 16 * config.channels[0]


def _two_voxels_at_the_bottom(edges: tuple[int, ...]) -> tuple[int, ...]:
    """Pad to at least two voxels at the coarsest level, over which a Swin UNETR normalises."""
    return (2 * SWIN_STRIDE, *edges[1:]) if max(edges) <= SWIN_STRIDE else edges


NETWORKS: dict[str, NetworkKind] = {
    "unet": NetworkKind(
        summary="convolutional encoder and decoder of any depth",
        made_by="tomoseg.networks.unet:UNet",
        stride=lambda config: 2 ** (len(config.channels) - 1),
        activation_bytes=_unet_activation_bytes,
        check=_unet_channels,
        any_size=True,
        has_gates=True,
        batch_statistics=lambda config: config.normalisation == "batch",
    ),
    "swin_unetr": NetworkKind(
        summary=f"MONAI's Swin UNETR transformer, with edges in multiples of {SWIN_STRIDE}; only the first of "
        "`channels` is used, a multiple of 12",
        made_by="tomoseg.networks.transformers:SwinUNETR",
        stride=lambda config: SWIN_STRIDE,
        activation_bytes=_swin_activation_bytes,
        check=_swin_channels,
        grown=_two_voxels_at_the_bottom,
    ),
    "unetr": NetworkKind(
        summary="MONAI's UNETR transformer, for inputs of one `tile` size; the first of `channels` is used for its "
        f"decoder and the last, a multiple of {UNETR_HEAD_WIDTH}, for its transformer",
        made_by="tomoseg.networks.transformers:UNETR",
        stride=lambda config: UNETR_STRIDE,
        activation_bytes=_unetr_activation_bytes,
        check=_unetr_channels,
        one_size=True,
    ),
}
"""Kinds of network by the name used in the settings."""

if TYPE_CHECKING:
    NetworkName = str
else:
    NetworkName = Literal[*NETWORKS]


class NetworkConfig(Config):
    """The network.

    Example:
        >>> NetworkConfig(channels=(16, 32, 64, 128), slices=5).dims
        2
    """

    kind: NetworkName = Field(
        "unet", description="; ".join(f"`{name}`: {kind.summary}" for name, kind in NETWORKS.items()) + "."
    )
    dims: Literal[2, 3] = 2
    """2: a 2D network that segments slices; 3: a 3D network that segments blocks."""
    slices: Literal[1, 3, 5, 7] = 1
    """Neighbouring slices that a 2D network gets as input channels (`dims` 2); the middle one is segmented."""
    position: bool = False
    """Give the network the distance of its slice from the body's midline as a further input channel, so that it can
    tell left from right in sagittal slices. Only for coronal and sagittal views; with `views`, the axial network does
    without."""
    channels: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Channels per level, from the input's resolution down to the bottleneck; some kinds use only the first or the
    last."""
    residual: bool = False
    """Residual blocks: add each block's input to its output (`unet`)."""
    attention: bool = False
    """Attention gates: weight the skip connections voxel by voxel (`unet`)."""
    normalisation: Literal["batch", "group"] = "batch"
    """`batch` normalisation, as in the guide, or `group` normalisation over groups of 8 channels, which does not depend
    on the batch (`unet`)."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of channels dropped at random in each block during training."""
    tile: tuple[PositiveInt, ...] = ()
    """Size of a block in voxels along x, y and z, in training and in prediction; if omitted, that of the median case,
    at most 128 x 128 x 32. Only for `dims` 3 and for transformers (two edges with `dims` 2): `unetr` requires it, and
    `swin_unetr` can be exported only with it."""
    prior_bias: bool = True
    """Initialise the biases of the last layer from each structure's frequency, so that training does not begin by
    unlearning false positives of rare structures."""

    @model_validator(mode="after")
    def _channels_make_sense(self) -> NetworkConfig:
        if len(self.channels) < 2 or min(self.channels) < 1:
            raise ValueError(f"channels needs two levels or more, each of 1 channel or more, got {self.channels}")
        self.record.check(self)
        return self

    @model_validator(mode="after")
    def _variants_fit(self) -> NetworkConfig:
        if self.attention and not self.record.has_gates:
            gated = " or ".join(name for name, record in NETWORKS.items() if record.has_gates)
            raise ValueError(f"attention applies to kind {gated}, got {self.kind}")
        return self

    @model_validator(mode="after")
    def _position_is_of_slices(self) -> NetworkConfig:
        if self.position and self.dims == 3:
            raise ValueError("position applies to dims 2; a block sees the axis of its slices anyway")
        return self

    @model_validator(mode="after")
    def _tile_fits(self) -> NetworkConfig:
        if not self.tile:
            if self.record.one_size:
                raise ValueError(
                    f"{self.kind} takes inputs of a fixed size, so it needs tile, such as 96 96 or 96 96 96"
                )
            return self
        if self.dims == 2 and self.record.any_size:
            raise ValueError("tile applies to dims 3 and to transformers; the size of slices is sampling.patch_size")
        if len(self.tile) != self.dims or any(edge % self.stride for edge in self.tile):
            raise ValueError(f"tile needs {self.dims} edges in multiples of {self.stride}, got {self.tile}")
        return self

    @property
    def record(self) -> NetworkKind:
        """Record of its kind."""
        return NETWORKS[self.kind]

    @property
    def neighbours(self) -> int:
        """Number of neighbouring slices given as channels: `slices` in 2D, 1 in 3D."""
        return self.slices if self.dims == 2 else 1

    @property
    def stride(self) -> int:
        """Factor of which every edge of the input must be a multiple."""
        return self.record.stride(self)
