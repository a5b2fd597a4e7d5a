"""The settings of `tomoseg preprocess` and `tomoseg train`; `docs/concepts/defaults.md` gives the reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from tomoseg.loss_kinds import LossConfig as LossConfig
from tomoseg.network_kinds import NetworkConfig as NetworkConfig
from tomoseg.settings import Config, Language, Role
from tomoseg.views import ViewName

PresetName = Literal["default", "guide"]
PlannedName = Literal["planned", "default", "guide"]
"""`planned` puts the settings that `tomoseg plan` would choose over the default preset."""


class GridConfig(Config):
    """The voxel grid that the network works on, derived from the scan's own grid.

    Example:
        >>> GridConfig(spacing_mm=2.0).mode
        'spacing'
    """

    mode: Literal["size", "native", "spacing"] = "spacing"
    """`size` resamples every axial slice to `size` pixels; `native` keeps the scan's own voxels; `spacing` resamples to
    voxels of `spacing_mm`."""
    size: tuple[PositiveInt, PositiveInt] = (256, 256)
    """Pixels of a slice along x and y in mode `size`. Slices are distorted if the scans' fields of view differ in
    shape."""
    spacing_mm: float = Field(1.5, gt=0)
    """In-plane pixel edge in mm in mode `spacing`."""
    slice_spacing_mm: float | None = Field(None, gt=0)
    """Slice spacing in mm in mode `spacing`; if omitted, the scan's own slices are kept."""
    crop: Literal["none", "body"] = "body"
    """`body` first crops to the body, which removes the surrounding air and the table; `none` keeps the whole scan."""
    body_margin_mm: float = Field(10.0, ge=0)
    """Margin in mm that `crop: body` keeps around the body."""
    view: ViewName = "axial"
    """Orientation of the slices that a 2D network sees: `axial`, `coronal` or `sagittal`. `spacing_mm` and `size`
    always refer to axial slices."""


class PreprocessConfig(Config):
    """The settings of `tomoseg preprocess`.

    Example:
        >>> PreprocessConfig(structures=("liver", "spleen")).grid.spacing_mm
        1.5
    """

    grid: Annotated[GridConfig, Role.RESULT] = GridConfig()
    """The voxel grid of the network."""
    structures: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Names of the structures to keep; if omitted, all that the dataset has."""
    leave_out: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Masks to ignore, as CASE/STRUCTURE, for example those that `tomoseg check` finds to be wrong: they count as not
    annotated."""
    trusted_share: Annotated[float, Role.RESULT] = Field(0.8, gt=0, le=1)
    """Only for pseudo-labels (a folder written by `tomoseg predict --triage`): for each structure, the share of the
    scans it was found in whose masks are used, the most confident first. In all other scans the structure counts as not
    annotated."""
    validation_share: Annotated[float, Role.RESULT] = Field(0.15, ge=0, lt=1)
    """Share of patients held out for validation if the dataset has no splits of its own."""
    test_share: Annotated[float, Role.RESULT] = Field(0.0, ge=0, lt=1)
    """Share of patients held out for testing if the dataset has no splits of its own."""
    seed: Annotated[int, Role.RESULT] = Field(0, ge=0)
    """Random seed of the split."""
    workers: Annotated[int, Role.RESOURCES] = Field(0, ge=0)
    """Number of cases processed in parallel; 0 takes one per CPU core, at most 8."""


class OptimizerConfig(Config):
    """The optimiser."""

    kind: Literal["muon", "adam", "adamw", "sgd"] = "muon"
    """`muon` equalises the singular values of each step of a convolution kernel, so that rare directions are learned as
    fast as common ones; all other parameters take the steps of `adamw`. `adam` adds weight decay to the gradient;
    `adamw` decouples it and applies it to the weights; `sgd` uses Nesterov `momentum`."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the running averages of the gradient and of its square (muon, adam, adamw)."""
    eps: float = Field(1e-8, gt=0)
    """Term added to the denominator for numerical stability (muon, adam, adamw)."""
    weight_decay: float = Field(1e-2, ge=0)
    """Weight decay coefficient."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Nesterov momentum coefficient (muon, sgd)."""
    clip_norm: float | None = Field(1.0, gt=0)
    """Maximum norm to which gradients are clipped; `null` turns clipping off."""


class ScheduleConfig(Config):
    """The learning-rate schedule."""

    kind: Literal["plateau", "cosine", "polynomial", "constant"] = "cosine"
    """`plateau` multiplies the learning rate by `factor` when validation Dice stalls; `cosine` and `polynomial` decay
    it to zero over the whole budget; `constant` leaves it as it is."""
    factor: float = Field(0.5, gt=0, lt=1)
    """Factor by which the learning rate is multiplied at a plateau."""
    patience: int = Field(3, ge=0)
    """Validations without improvement before the learning rate is reduced (plateau)."""
    warmup_share: float = Field(0.02, ge=0, lt=1)
    """Share of the budget over which the learning rate rises linearly from zero (cosine, polynomial)."""
    power: float = Field(0.9, gt=0)
    """Exponent of the decay: the learning rate is in proportion to the remaining share of the budget to this power
    (polynomial)."""


class SamplingConfig(Config):
    """Sampling of the slices of an epoch."""

    slices_per_case: int = Field(10, ge=1)
    """Slices sampled per case and epoch."""
    structure_share: float = Field(0.5, ge=0, le=1)
    """Share of samples taken from slices that contain a randomly chosen structure of the case; the rest are sampled
    uniformly from all its slices."""
    rare_power: float = Field(0.0, ge=0, le=1)
    """How much rare structures are preferred in that choice: the probability is in proportion to frequency **
    -rare_power, where frequency is the share of training slices that contain the structure; 0 chooses all with the same
    probability."""
    patch_size: tuple[PositiveInt, PositiveInt] | None = None
    """Pixels of a training slice along x and y; larger slices are cropped at random, smaller ones padded with air. If
    omitted, the slice size of the median case."""


class CurriculumConfig(Config):
    """Curriculum learning: easy slices first, hard ones later."""

    enabled: bool = False
    """Begin with slices full of large structures; slices with small, thin or scattered structures, or none, are added
    over time."""
    start_share: float = Field(0.3, gt=0, le=1)
    """Share of the training slices, the easiest ones, that the first epoch samples from."""
    until: float = Field(0.5, gt=0, le=1)
    """Share of the budget after which slices are sampled as without a curriculum; until then the share of slices rises
    linearly from epoch to epoch."""


class AugmentationConfig(Config):
    """Random augmentation of training slices."""

    enabled: bool = True
    """Augment training slices; if off, training uses the slices as they are."""
    rotation_degrees: float = Field(10.0, ge=0)
    """Maximum rotation in degrees, in either direction."""
    scale: float = Field(0.15, ge=0, lt=1)
    """Maximum relative change of size: 0.15 scales by 0.85 to 1.15."""
    shift: float = Field(0.05, ge=0, lt=1)
    """Maximum shift, as a share of the slice's edge length."""
    move_probability: float = Field(0.33, ge=0, le=1)
    """Share of slices that are rotated, scaled and shifted; the others keep the sharpness and the exact masks that are
    lost by interpolation."""
    elastic_pixels: float = Field(0.0, ge=0)
    """Elastic deformation: maximum standard deviation of a smooth random displacement, in pixels; 0 is off. Above a
    quarter of the control points' spacing, tissue may fold."""
    elastic_points: int = Field(8, ge=4, le=64)
    """Control points of the elastic deformation along each edge of the slice; fewer points deform it more smoothly."""
    elastic_probability: float = Field(0.3, ge=0, le=1)
    """Share of slices that are deformed."""
    hu_scale: float = Field(0.1, ge=0, lt=1)
    """Maximum relative change of contrast: HU are scaled about the centre of the windows."""
    hu_shift: float = Field(25.0, ge=0)
    """Maximum shift of brightness in HU, in either direction."""
    noise_hu: float = Field(15.0, ge=0)
    """Maximum standard deviation of added Gaussian noise in HU."""
    blur_pixels: float = Field(0.0, ge=0, le=16)
    """Maximum standard deviation of a Gaussian blur in pixels; 0 is off."""
    blur_probability: float = Field(0.2, ge=0, le=1)
    """Share of slices that are blurred."""
    low_resolution: float = Field(0.0, ge=0, lt=1)
    """Simulated low resolution: maximum share of the pixels along each edge that are lost by averaging and
    interpolating back; 0.5 makes pixels up to twice as large, 0 is off."""
    low_resolution_probability: float = Field(0.2, ge=0, le=1)
    """Share of slices whose resolution is reduced."""
    cut: float = Field(0.0, ge=0, lt=1)
    """Simulated narrow field of view: maximum share of the slice's edges that is cut off by a disc or a rectangle and
    becomes air without structures; 0 is off."""
    cut_probability: float = Field(0.2, ge=0, le=1)
    """Share of slices that are cut."""
    gamma: float = Field(0.0, ge=0)
    """Maximum relative change, up or down, of the exponent to which windowed values are raised; 0 is off."""
    gamma_probability: float = Field(0.3, ge=0, le=1)
    """Share of slices whose gamma changes."""
    position_mm: float = Field(15.0, ge=0)
    """Maximum random error in mm of the body's midline that the network is given (`network.position`), since in a short
    scan or a narrow field of view the midline is found less exactly."""
    short_stacks: float = Field(0.2, ge=0, le=1)
    """Share of coronal and sagittal slices that are cropped to a height of 40 to 160 mm, as in a scan of few axial
    slices."""
    exchange_sides: float | None = Field(None, ge=0, le=1)
    """Share of slices that are mirrored left-right, with left and right structures exchanged. If omitted, 0.5 if every
    structure is one of a left-right pair, and 0 otherwise."""


class AdversarialConfig(Config):
    """Adversarial training."""

    kind: Literal["none", "fgsm", "vat", "discriminator"] = "none"
    """`fgsm` also trains on each batch with its input perturbed in the direction in which the loss rises; `vat`
    penalises predictions that change when the input is perturbed; `discriminator` trains a second network to tell
    predicted masks from references, and the network to deceive it; `none` is off."""
    epsilon: float = Field(0.02, gt=0)
    """Size of the perturbation of windowed values, which lie between 0 and 1 (`fgsm`, `vat`): 0.02 is 10 HU in a window
    of 500 HU."""
    weight: float = Field(0.1, ge=0)
    """Weight of the divergence of `vat` or of the discriminator's loss; `fgsm` gives both inputs the same weight."""


class TrainConfig(Config):
    """The settings of `tomoseg train`.

    Example:
        >>> TrainConfig(network=NetworkConfig(channels=(16, 32, 64)), minutes=60).batch_size
        8
    """

    network: Annotated[NetworkConfig, Role.RESULT] = NetworkConfig(
        channels=(16, 32, 64, 128, 256), slices=5, residual=True
    )
    """Network architecture."""
    windows_hu: Annotated[tuple[tuple[float, float], ...], Role.RESULT] = ((-200.0, 300.0),)
    """HU windows as pairs of lowest and highest HU; each is mapped to 0..1 and becomes one input channel."""
    loss: Annotated[LossConfig, Role.RESULT] = LossConfig(deep_supervision=2)
    """Loss function."""
    optimizer: Annotated[OptimizerConfig, Role.RESULT] = OptimizerConfig()
    """Optimiser."""
    schedule: Annotated[ScheduleConfig, Role.RESULT] = ScheduleConfig()
    """Learning-rate schedule."""
    sampling: Annotated[SamplingConfig, Role.RESULT] = SamplingConfig()
    """Sampling of slices."""
    curriculum: Annotated[CurriculumConfig, Role.RESULT] = CurriculumConfig()
    """Curriculum learning."""
    augmentation: Annotated[AugmentationConfig, Role.RESULT] = AugmentationConfig()
    """Augmentation of training slices."""
    adversarial: Annotated[AdversarialConfig, Role.RESULT] = AdversarialConfig()
    """Adversarial training."""
    batch_size: Annotated[int, Role.RESULT] = Field(8, ge=1)
    """Slices per batch, over all processes together."""
    accumulation: Annotated[int, Role.RESULT] = Field(1, ge=1)
    """Batches whose gradients are accumulated before each optimiser step."""
    epochs: Annotated[int | None, Role.LENGTH] = Field(None, ge=1)
    """Maximum number of epochs; in each, `sampling.slices_per_case` slices of every case are seen. If omitted, 100 if
    neither `steps` nor `minutes` is given, otherwise unlimited."""
    steps: Annotated[int | None, Role.LENGTH] = Field(None, ge=1)
    """Maximum number of optimiser steps; unlimited if omitted."""
    minutes: Annotated[float | None, Role.LENGTH] = Field(None, gt=0)
    """Maximum training time in minutes, validations included; unlimited if omitted. Training ends as soon as the first
    of `epochs`, `steps` and `minutes` is reached."""
    early_stopping: Annotated[int | None, Role.LENGTH] = Field(None, ge=1)
    """Number of validations in a row without a better Dice after which training ends; if omitted, it does not end
    early."""
    folds: Annotated[int | None, Role.RESULT] = Field(None, ge=2)
    """Cross-validation: number of folds into which training and validation patients are divided; one network per fold
    is trained on the other folds. The run folder is then one model that averages the networks, and it keeps masks of
    each case by the network that was not trained on it. `epochs`, `steps` and `minutes` apply per fold. If omitted, one
    network is trained on the dataset's own splits."""
    views: Annotated[tuple[ViewName, ...], Role.RESULT] = ()
    """Train one network for each of two or three views of an axial dataset. The run folder is then one model that
    combines them, with weights per structure chosen on the validation cases. Each network starts from that of the view
    before, unless `warm_start` or `side_by_side` is given. `epochs`, `steps` and `minutes` apply per view. If omitted,
    one network is trained on the dataset's own view."""
    side_by_side: Annotated[bool, Role.RESULT] = False
    """Train all `views` at the same time, each in a process with its share of the threads. Needs the memory of all, and
    takes less time for small networks on a CPU; none starts from another."""
    validate_every: Annotated[int, Role.LENGTH] = Field(5, ge=1)
    """Number of epochs between validations, which segment whole volumes."""
    warm_start: Annotated[Path | None, Role.RESULT] = None
    """Model whose weights training starts from; structures that both have keep their weights in the last layer. Network
    and windows are also taken from the model if the settings do not name them. From a model of several views, the
    network of the dataset's view is taken."""
    ema_decay: Annotated[float, Role.RESULT] = Field(0.0, ge=0, lt=1)
    """Decay per step of an exponential moving average (EMA) of the weights, such as 0.999, which is then validated and
    saved instead of the weights themselves; 0 is off."""
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Role.RESULT] = "auto"
    """Precision of mixed-precision training. `auto` takes bf16 on a GPU that supports it and on a CPU where it was
    measured to be faster, otherwise fp16 on a GPU and fp32 on a CPU."""
    sync_batch_norm: Annotated[bool, Role.RESULT] = False
    """Compute batch-normalisation statistics over the processes of all GPUs together; if off, each process uses those
    of its own share of the batch."""
    compile: Annotated[bool, Role.RESOURCES] = False
    """Compile the network with `torch.compile`."""
    workers: Annotated[int, Role.RESOURCES] = Field(1, ge=0)
    """Number of data-loading processes; 0 loads slices in the training process."""
    prefetch_factor: Annotated[int, Role.RESOURCES] = Field(2, ge=1)
    """Batches that each data-loading process prefetches."""
    pin_memory: Annotated[bool, Role.RESOURCES] = True
    """Load batches into page-locked memory for faster copies to a GPU; no effect on a CPU."""
    device: Annotated[str, Role.RESOURCES] = "auto"
    """Device to train on: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, or `gpu` for whichever GPU is available. `auto` takes
    a GPU if there is one."""
    seed: Annotated[int, Role.RESULT] = Field(0, ge=0)
    """Random seed of the weights, the sampling and the augmentation."""
    deterministic: Annotated[bool, Role.RESULT] = False
    """Use only algorithms whose results are bit-for-bit reproducible; slower on a GPU, always so on a CPU."""
    pictures: Annotated[tuple[str, ...], Role.PRESENTATION] = ()
    """Structures to draw, each in one slice of a validation case, whenever a validation is the best so far; `tomoseg
    view RUN` shows the pictures."""
    tensorboard: Annotated[bool, Role.PRESENTATION] = False
    """Also log the run for TensorBoard, into `tensorboard` in the run folder."""
    wandb: Annotated[bool, Role.PRESENTATION] = False
    """Also log the run for Weights & Biases, into `wandb` in the run folder; nothing is uploaded unless WANDB_MODE is
    set to `online`."""
    mlflow: Annotated[bool, Role.PRESENTATION] = False
    """Also log the run for MLflow, into `mlflow` in the run folder or to MLFLOW_TRACKING_URI if that is set."""
    export: Annotated[bool, Role.PRESENTATION] = True
    """Export the best model to OpenVINO when training ends, so that it can predict without PyTorch and starts
    faster."""
    lang: Annotated[Language, Role.PRESENTATION] = "en"
    """Language of the pictures and of the run's page: `en` or `fr`."""

    def of_view(self, view: str) -> TrainConfig:
        """Return the settings for the network of one of several views; axial slices get no position channel."""
        told = self.network.position and view != "axial"
        network = self.network.model_copy(update={"position": told})
        return self.model_copy(update={"network": network, "views": (), "side_by_side": False})

    @model_validator(mode="after")
    def _windows_rise(self) -> TrainConfig:
        if not self.windows_hu or any(low >= high for low, high in self.windows_hu):
            raise ValueError(f"windows_hu needs one window or more, each from low to high HU, got {self.windows_hu}")
        return self


PREPROCESS_PRESETS: dict[str, PreprocessConfig] = {
    "default": PreprocessConfig(),
    "guide": PreprocessConfig(grid=GridConfig(mode="size", size=(256, 256), crop="none")),
}

TRAIN_PRESETS: dict[str, TrainConfig] = {
    "default": TrainConfig(),
    "guide": TrainConfig(
        network=NetworkConfig(prior_bias=False),
        loss=LossConfig(kind="bce", emphasis_power=0.0),
        optimizer=OptimizerConfig(kind="adam", learning_rate=1e-3, weight_decay=1e-5),
        schedule=ScheduleConfig(kind="plateau"),
        sampling=SamplingConfig(structure_share=0.0),
        augmentation=AugmentationConfig(enabled=False),
        validate_every=1,
        workers=4,
    ),
}
