"""The settings of an imported nnU-Net model: its network, preprocessing, and how logits become masks.

They are saved in `model.json` and hold everything that results depend on. Axes are the network's own: a file's axes in
reverse order, permuted as nnU-Net's plans say. `inference/nnunet` maps them to the axes of a scan.

Source: Isensee, F. et al. (2021). nnU-Net. Nature Methods 18, 203-211; details as in nnU-Net 2.8.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from tomoseg.settings import Config

MOST_STAGES = 12
MOST_CHANNELS = 4096
MOST_BLOCKS = 64
MOST_KERNEL = 15
MOST_PATCH_VOXELS = 2**26
MOST_STRUCTURES = 4096
LEAST_EDGE_MM, MOST_EDGE_MM = 0.01, 100.0
"""Limits for networks built from plans of unknown origin; those of real networks lie far below."""

Edge = Annotated[float, Field(ge=LEAST_EDGE_MM, le=MOST_EDGE_MM)]
"""Voxel edge in mm."""

NetworkName = Literal["plain_conv_unet", "residual_encoder_unet"]


class NnunetNetwork(Config):
    """The architecture of the network.

    Example:
        >>> settings = {"channels": (8, 16), "kernels": ((3, 3), (3, 3)), "strides": ((1, 1), (2, 2))}
        >>> NnunetNetwork(kind="plain_conv_unet", blocks=(2, 2), decoder_convs=(2,), **settings).dims
        2
    """

    kind: NetworkName
    """Plain convolutions, or residual blocks in the encoder."""
    in_channels: PositiveInt = 1
    """Number of input channels."""
    channels: tuple[PositiveInt, ...]
    """Channels of each stage, from the input's resolution down."""
    kernels: tuple[tuple[PositiveInt, ...], ...]
    """Kernel size of each stage's convolutions."""
    strides: tuple[tuple[PositiveInt, ...], ...]
    """Downsampling factors of each stage relative to the one before."""
    blocks: tuple[PositiveInt, ...]
    """Number of convolutions, or residual blocks, in each stage of the encoder."""
    decoder_convs: tuple[PositiveInt, ...]
    """Number of convolutions in each stage of the decoder, from the deepest."""
    bias: bool = True
    """Whether convolutions have a bias."""
    norm_eps: PositiveFloat = 1e-5
    """Term added to the variance in instance normalisation."""
    norm_affine: bool = True
    """Whether instance normalisation has a learned scale and shift."""
    negative_slope: float = Field(0.01, ge=0)
    """Negative slope of the leaky ReLU."""

    @model_validator(mode="after")
    def _stages_agree(self) -> NnunetNetwork:
        stages = len(self.channels)
        if not 2 <= stages <= MOST_STAGES:
            raise ValueError(f"a network has 2 to {MOST_STAGES} stages, got {stages}")
        for what, values, count in (
            ("kernels", self.kernels, stages),
            ("strides", self.strides, stages),
            ("blocks", self.blocks, stages),
            ("decoder_convs", self.decoder_convs, stages - 1),
        ):
            if len(values) != count:
                raise ValueError(f"{what} needs {count} entries for {stages} stages, got {len(values)}")
        if max(self.channels) > MOST_CHANNELS or max(*self.blocks, *self.decoder_convs) > MOST_BLOCKS:
            raise ValueError(f"expected at most {MOST_CHANNELS} channels and {MOST_BLOCKS} blocks per stage, got more")
        return self

    @model_validator(mode="after")
    def _axes_agree(self) -> NnunetNetwork:
        edges = [*self.kernels, *self.strides]
        if self.dims not in (2, 3) or any(len(each) != self.dims for each in edges):
            raise ValueError(f"kernels and strides need 2 edges each, or 3, got {self.kernels} and {self.strides}")
        if max(map(max, edges)) > MOST_KERNEL or any(edge % 2 == 0 for kernel in self.kernels for edge in kernel):
            raise ValueError(f"kernels need odd edges up to {MOST_KERNEL}, got {self.kernels}")
        if max(self.strides[0]) > 1:  # its logits would not lie on the voxels of its input
            raise ValueError(f"expected a first stage without strides, got {self.strides[0]}")
        return self

    @property
    def dims(self) -> int:
        """Number of spatial dimensions, 2 or 3."""
        return len(self.kernels[0])

    @property
    def stride(self) -> tuple[int, ...]:
        """Factors of which the edges of the input must be multiples, one per axis."""
        whole = [1] * self.dims
        for stage in self.strides:
            whole = [edge * step for edge, step in zip(whole, stage, strict=True)]
        return tuple(whole)


class Intensity(Config):
    """Normalisation of an image's values, before it is resampled to the network's grid.

    Example:
        >>> Intensity(scheme="ct", mean=20.0, sd=200.0, low=-900.0, high=900.0).masked
        False
    """

    scheme: Literal["ct", "zscore", "rescale", "none"]
    """`ct`: clip to `low` and `high`, then standardise by the training data's `mean` and `sd`; `zscore`: standardise by
    the image's own; `rescale`: scale to 0..1; `none`: leave as they are."""
    mean: float = 0.0
    sd: float = Field(1.0, ge=0)
    low: float = 0.0
    high: float = 0.0
    masked: bool = False
    """Whether `zscore` uses only the voxels that are not 0, with holes filled; the others stay 0."""


class Box(Config):
    """The part of a scan that a network is given: the box around structures found by a coarser model.

    Example:
        >>> Box(finder="total-6mm", structures=("liver",)).margin_mm
        20.0
    """

    finder: str
    """Name of the coarser model in `tomoseg fetch`."""
    structures: tuple[str, ...] = Field(min_length=1)
    """Structures of that model; the box encloses all of them."""
    margin_mm: float = Field(20.0, ge=0)
    """Margin in mm around them."""


class TaskRules(Config):
    """The pre- and post-processing of one of TotalSegmentator's tasks.

    Source: TotalSegmentator 2.18.

    Example:
        >>> TaskRules(task="total-3mm", voxels_mm=(3, 3, 3), subset_finder="total-6mm").box is None
        True
    """

    task: str
    """Name of the task in `tomoseg fetch`."""
    voxels_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Voxel spacing in mm along x, y and z that a scan is resampled to before nnU-Net; None to leave it to nnU-Net."""
    box: Box | None = None
    """The part of a scan that the network was trained on and is given; None for the whole scan."""
    subset_finder: str | None = None
    """Name of the model that finds the box of structures if only some are requested."""
    largest: tuple[str, ...] = ()
    """Structures of which only the largest component is kept."""
    least_mm3: dict[str, PositiveFloat] = Field({})
    """Structures of which components up to a volume in mm3 are removed, with that volume."""


class NnunetPlan(Config):
    """Preprocessing of a scan for the network, and the meaning of its logits.

    Example:
        >>> plan = {"spacing_mm": (3.0, 1.5, 1.5), "patch": (16, 32, 32), "intensity": Intensity(scheme="none")}
        >>> NnunetPlan(decision="exclusive", **plan).step
        0.5
    """

    axes: Literal["file", "ras"] = "file"
    """Axes that training used: those of the files, or those of the scan in RAS+ order."""
    transpose: tuple[int, int, int] = (0, 1, 2)
    """Permutation of the axes (z, y, x) that gives the network's axes."""
    spacing_mm: tuple[Edge, ...]
    """Voxel spacing in mm along the network's axes; for a 2D network, in the plane of its slices."""
    patch: tuple[PositiveInt, ...]
    """Size in voxels of the patches that the network is given."""
    intensity: Intensity
    """Normalisation of values."""
    scan_order: Literal[0, 1, 3] = 3
    """Order of the splines with which a scan is resampled to the grid."""
    separate_scan: bool | None = None
    """Whether to interpolate within slices and take the nearest one between them; if omitted, only if voxels are more
    than three times as long as wide."""
    separate_logits: bool | None = None
    """The same for resampling logits to the scan."""
    step: float = Field(0.5, gt=0, le=1)
    """Step between patches as a share of their edge."""
    mirrored: tuple[int, ...] = ()
    """Axes of the network along which training mirrored images, so that `--flips` can."""
    decision: Literal["exclusive", "regions"]
    """`exclusive`: a voxel belongs to the structure with the highest logit, or to the background, whose logit is 0;
    `regions`: to every structure whose logit is above 0, the last of them in a label map."""
    rules: TaskRules | None = None
    """Pre- and post-processing if the network is of one of TotalSegmentator's tasks."""

    @model_validator(mode="after")
    def _axes_agree(self) -> NnunetPlan:
        dims = len(self.patch)
        if dims not in (2, 3) or len(self.spacing_mm) != dims or sorted(self.transpose) != [0, 1, 2]:
            raise ValueError(
                f"expected as many voxel edges as the patch has, two or three, and a permutation of three axes, got "
                f"{self.spacing_mm}, {self.patch} and {self.transpose}"
            )
        voxels = 1
        for edge in self.patch:
            voxels *= edge
        if voxels > MOST_PATCH_VOXELS:
            raise ValueError(f"expected a patch of at most {MOST_PATCH_VOXELS} voxels, got {self.patch}")
        if any(not 0 <= axis < dims for axis in self.mirrored):
            raise ValueError(f"expected mirrored axes from 0 to {dims - 1}, got {self.mirrored}")
        return self
