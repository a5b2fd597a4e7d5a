"""What an imported nnU-Net model is: its network, how it is given a scan, and how its logits become masks.

Everything that its results depend on is written down here, in `model.json`, and nothing of it is looked up again. Axes
are the network's own: a file's axes in reverse order, permuted as the plans say. `inference/nnunet` knows where these
lie in a scan.

Source: Isensee, F. et al. (2021). nnU-Net. Nature Methods 18, 203-211; the rules are those of nnU-Net 2.8.
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
"""Limits of what is built from plans that anybody may have written; real ones lie far below."""

Edge = Annotated[float, Field(ge=LEAST_EDGE_MM, le=MOST_EDGE_MM)]
"""Of a voxel, in mm."""

NetworkName = Literal["plain_conv_unet", "residual_encoder_unet"]


class NnunetNetwork(Config):
    """The network, before it is built.

    Example:
        >>> settings = {"channels": (8, 16), "kernels": ((3, 3), (3, 3)), "strides": ((1, 1), (2, 2))}
        >>> NnunetNetwork(kind="plain_conv_unet", blocks=(2, 2), decoder_convs=(2,), **settings).dims
        2
    """

    kind: NetworkName
    """Plain convolutions, or residual blocks in the encoder."""
    in_channels: PositiveInt = 1
    """Images that it reads."""
    channels: tuple[PositiveInt, ...]
    """Of each stage, from the input's resolution down."""
    kernels: tuple[tuple[PositiveInt, ...], ...]
    """Edges of each stage's convolutions."""
    strides: tuple[tuple[PositiveInt, ...], ...]
    """By which each stage divides the one before."""
    blocks: tuple[PositiveInt, ...]
    """Convolutions of each stage of the encoder, or residual blocks."""
    decoder_convs: tuple[PositiveInt, ...]
    """Convolutions of each stage of the decoder, from the deepest."""
    bias: bool = True
    """Whether convolutions have one."""
    norm_eps: PositiveFloat = 1e-5
    """Added to the variance that instances are normalised by."""
    norm_affine: bool = True
    """Whether normalisation has a scale and a shift of its own."""
    negative_slope: float = Field(0.01, ge=0)
    """Of the leaky rectifier."""

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
            raise ValueError(f"expected at most {MOST_CHANNELS} channels and {MOST_BLOCKS} blocks a stage, got more")
        return self

    @model_validator(mode="after")
    def _axes_agree(self) -> NnunetNetwork:
        edges = [*self.kernels, *self.strides]
        if self.dims not in (2, 3) or any(len(each) != self.dims for each in edges):
            raise ValueError(f"kernels and strides need 2 edges each, or 3, got {self.kernels} and {self.strides}")
        if max(map(max, edges)) > MOST_KERNEL or any(edge % 2 == 0 for kernel in self.kernels for edge in kernel):
            raise ValueError(f"kernels need odd edges up to {MOST_KERNEL}, got {self.kernels}")
        if max(self.strides[0]) > 1:  # else its logits would lie on other voxels than what it is given
            raise ValueError(f"expected a first stage without strides, got {self.strides[0]}")
        return self

    @property
    def dims(self) -> int:
        """2 for slices, 3 for blocks."""
        return len(self.kernels[0])

    @property
    def stride(self) -> tuple[int, ...]:
        """The input's edges must be multiples of these."""
        whole = [1] * self.dims
        for stage in self.strides:
            whole = [edge * step for edge, step in zip(whole, stage, strict=True)]
        return tuple(whole)


class Intensity(Config):
    """How an image's values are normalised before it is brought to the network's grid.

    Example:
        >>> Intensity(scheme="ct", mean=20.0, sd=200.0, low=-900.0, high=900.0).masked
        False
    """

    scheme: Literal["ct", "zscore", "rescale", "none"]
    """`ct`: clipped, then by mean and deviation of training; `zscore`: by this image's own; `rescale`: to 0..1."""
    mean: float = 0.0
    sd: float = Field(1.0, ge=0)
    low: float = 0.0
    high: float = 0.0
    masked: bool = False
    """`zscore` over the voxels that are not 0 (holes filled) alone; others stay 0."""


class Box(Config):
    """The part of a scan that a network is shown: around what a coarser model finds in all of it.

    Example:
        >>> Box(finder="total-6mm", structures=("liver",)).margin_mm
        20.0
    """

    finder: str
    """The model, as `tomoseg fetch` names it."""
    structures: tuple[str, ...] = Field(min_length=1)
    """Of that model; the box encloses all of them."""
    margin_mm: float = Field(20.0, ge=0)
    """What is kept around them."""


class TaskRules(Config):
    """What TotalSegmentator does around the networks of one of its tasks.

    Source: TotalSegmentator 2.18.

    Example:
        >>> TaskRules(task="total-3mm", voxels_mm=(3, 3, 3), subset_finder="total-6mm").box is None
        True
    """

    task: str
    """The task, as `tomoseg fetch` names it."""
    voxels_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Edges of the voxels along x, y and z that it brings a scan to; none where nnU-Net alone does."""
    box: Box | None = None
    """What of a scan the network was trained on and is shown; none for all of it."""
    subset_finder: str | None = None
    """The model that finds the box of structures that are asked for alone."""
    largest: tuple[str, ...] = ()
    """Structures of which the largest piece is kept."""
    least_mm3: dict[str, PositiveFloat] = Field({})
    """Structures of which pieces of no more than a volume are taken away."""


class NnunetPlan(Config):
    """How the network is given a scan, and what its logits mean.

    Example:
        >>> plan = {"spacing_mm": (3.0, 1.5, 1.5), "patch": (16, 32, 32), "intensity": Intensity(scheme="none")}
        >>> NnunetPlan(decision="exclusive", **plan).step
        0.5
    """

    axes: Literal["file", "ras"] = "file"
    """The axes that training had: those of the files, or of the scan in RAS+ order."""
    transpose: tuple[int, int, int] = (0, 1, 2)
    """Which of the axes (z, y, x) the network's first, second and third are."""
    spacing_mm: tuple[Edge, ...]
    """Voxel edges along the network's axes; of a network of slices the slices' own."""
    patch: tuple[PositiveInt, ...]
    """Voxels that the network is given at once."""
    intensity: Intensity
    """How values are normalised."""
    scan_order: Literal[0, 1, 3] = 3
    """Order of the splines that bring a scan to the grid."""
    separate_scan: bool | None = None
    """Whether slices are interpolated alone and the nearest is taken between them; if omitted, where voxels are more
    than three times as long as wide."""
    separate_logits: bool | None = None
    """The same of logits on their way back."""
    step: float = Field(0.5, gt=0, le=1)
    """By which tiles move on, of their edge."""
    mirrored: tuple[int, ...] = ()
    """Axes of the network along which training mirrored, so that `--flips` may."""
    decision: Literal["exclusive", "regions"]
    """`exclusive`: the structure of the highest logit, the background's being 0; `regions`: each where its own logit is
    above 0, painted over those before it in a label map."""
    rules: TaskRules | None = None
    """What is done around the network of one of TotalSegmentator's tasks."""

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
