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
"""With `planned`, what `tomoseg plan` would choose goes over the default preset."""


class GridConfig(Config):
    """The grid that the network sees, made from the scan's own grid.

    Example:
        >>> GridConfig(spacing_mm=2.0).mode
        'spacing'
    """

    mode: Literal["size", "native", "spacing"] = "spacing"
    """`size`: every axial slice becomes `size` pixels; `native`: the scan's own voxels; `spacing`: voxels of
    `spacing_mm`."""
    size: tuple[PositiveInt, PositiveInt] = (256, 256)
    """Pixels of a slice along x and y in mode `size`. It distorts when the scans' fields of view differ in shape."""
    spacing_mm: float = Field(1.5, gt=0)
    """In-plane pixel edge in mm in mode `spacing`."""
    slice_spacing_mm: float | None = Field(None, gt=0)
    """Distance of slices in mm in mode `spacing`; the scan's own slices if omitted."""
    crop: Literal["none", "body"] = "body"
    """`body` cuts the surrounding air and table away first, with a margin."""
    body_margin_mm: float = Field(10.0, ge=0)
    """What `crop: body` keeps around the body."""
    view: ViewName = "axial"
    """What a network of slices looks at: `axial` slices, `coronal` or `sagittal` ones of the same voxels. `spacing_mm`
    and `size` stay those of axial slices."""


class PreprocessConfig(Config):
    """How `tomoseg preprocess` turns a dataset into a fast one.

    Example:
        >>> PreprocessConfig(structures=("liver", "spleen")).grid.spacing_mm
        1.5
    """

    grid: Annotated[GridConfig, Role.RESULT] = GridConfig()
    """The network's grid."""
    structures: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Structures to keep, by name; none named keeps all that the dataset has."""
    leave_out: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Masks not to be believed, as CASE/STRUCTURE (`tomoseg check` finds such): they count as not annotated."""
    trusted_share: Annotated[float, Role.RESULT] = Field(0.8, gt=0, le=1)
    """Of a model's own masks (a folder that `tomoseg predict --triage` wrote): share of the scans in which it found a
    structure whose masks are believed, those that it is surest of. Elsewhere the structure is unknown, as where it
    found nothing."""
    validation_share: Annotated[float, Role.RESULT] = Field(0.15, ge=0, lt=1)
    """Share of patients held out for validation where the dataset has no splits of its own."""
    test_share: Annotated[float, Role.RESULT] = Field(0.0, ge=0, lt=1)
    """Share of patients held out for testing where the dataset has no splits of its own."""
    seed: Annotated[int, Role.RESULT] = Field(0, ge=0)
    """Seeds the split."""
    workers: Annotated[int, Role.RESOURCES] = Field(0, ge=0)
    """Cases worked on at once; 0 takes the processor's cores, at most 8."""


class OptimizerConfig(Config):
    """How the weights move."""

    kind: Literal["adam", "adamw", "sgd"] = "adamw"
    """`adam` adds weight decay to the gradient, `adamw` applies it to the weights; `sgd` uses `momentum`."""
    learning_rate: float = Field(2e-3, gt=0)
    """Largest step size."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running mean and of the running square of the gradient (adam, adamw)."""
    eps: float = Field(1e-8, gt=0)
    """Keeps the division by the running square finite."""
    weight_decay: float = Field(1e-2, ge=0)
    """Pull of the weights towards zero."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Nesterov momentum (sgd)."""
    clip_norm: float | None = Field(1.0, gt=0)
    """Largest norm of the gradient; without limit if `null`."""


class ScheduleConfig(Config):
    """How the learning rate changes."""

    kind: Literal["plateau", "cosine", "polynomial", "constant"] = "cosine"
    """`plateau`: halved when validation Dice stalls; `cosine` and `polynomial`: to zero over the whole budget;
    `constant`."""
    factor: float = Field(0.5, gt=0, lt=1)
    """What a plateau multiplies the learning rate by."""
    patience: int = Field(3, ge=0)
    """Validations without improvement before that."""
    warmup_share: float = Field(0.02, ge=0, lt=1)
    """Share of the budget in which the learning rate rises from zero (cosine, polynomial)."""
    power: float = Field(0.9, gt=0)
    """Of what is left of the budget, as a share of the learning rate (polynomial)."""


class SamplingConfig(Config):
    """Which slices an epoch is made of."""

    slices_per_case: int = Field(10, ge=1)
    """Draws from each case in an epoch."""
    structure_share: float = Field(0.5, ge=0, le=1)
    """Share of draws from slices that hold a randomly chosen structure of the case; the rest are uniform over its
    slices."""
    rare_power: float = Field(0.0, ge=0, le=1)
    """Choose that structure with a probability in proportion to its frequency to minus this power, where frequency is
    the share of training slices that hold it; 0 chooses all alike."""
    patch_size: tuple[PositiveInt, PositiveInt] | None = None
    """Pixels of a training slice along x and y; larger slices are cropped at random, smaller ones padded with air.
    The size of the median case if omitted."""


class CurriculumConfig(Config):
    """Easy slices first, the hard ones later."""

    enabled: bool = False
    """Begin with slices full of large structures; small, thin and scattered structures, and slices without any, come
    in over time."""
    start_share: float = Field(0.3, gt=0, le=1)
    """Share of the training slices, the easiest, that the first epoch draws from."""
    until: float = Field(0.5, gt=0, le=1)
    """Share of the budget after which all slices are drawn as without a curriculum; up to there the share rises in a
    line, from epoch to epoch."""


class AugmentationConfig(Config):
    """Random changes of training slices."""

    enabled: bool = True
    """Off trains on the slices as they are."""
    rotation_degrees: float = Field(10.0, ge=0)
    """Largest rotation either way."""
    scale: float = Field(0.15, ge=0, lt=1)
    """Largest relative change of size."""
    shift: float = Field(0.05, ge=0, lt=1)
    """Largest shift as a share of the slice's edge."""
    move_probability: float = Field(0.33, ge=0, le=1)
    """Share of slices that are turned, resized and shifted; the others keep the sharpness and the exact masks that
    interpolation takes away."""
    elastic_pixels: float = Field(0.0, ge=0)
    """Largest standard deviation of a smooth random displacement, in pixels; 0 leaves it out. Above a quarter of the
    control points' distance, tissue may fold."""
    elastic_points: int = Field(8, ge=4, le=64)
    """Control points of the displacement along each edge of the slice; fewer bend it more smoothly."""
    elastic_probability: float = Field(0.3, ge=0, le=1)
    """Share of slices that are displaced."""
    hu_scale: float = Field(0.1, ge=0, lt=1)
    """Largest relative change of HU around the middle of the windows."""
    hu_shift: float = Field(25.0, ge=0)
    """Largest change added to HU."""
    noise_hu: float = Field(15.0, ge=0)
    """Largest standard deviation of Gaussian noise in HU."""
    blur_pixels: float = Field(0.0, ge=0, le=16)
    """Largest standard deviation of a Gaussian blur in pixels; 0 leaves it out."""
    blur_probability: float = Field(0.2, ge=0, le=1)
    """Share of slices that are blurred."""
    low_resolution: float = Field(0.0, ge=0, lt=1)
    """Largest share of the pixels along each edge that are lost by averaging and interpolating back: 0.5 makes pixels
    up to twice as large, 0 leaves it out."""
    low_resolution_probability: float = Field(0.2, ge=0, le=1)
    """Share of slices that lose resolution."""
    cut: float = Field(0.0, ge=0, lt=1)
    """Largest share of the slice's edges that lies outside of a disc or a rectangle, as outside of a scanner's field of
    view: air without structures; 0 leaves it out."""
    cut_probability: float = Field(0.2, ge=0, le=1)
    """Share of slices that are cut."""
    gamma: float = Field(0.0, ge=0)
    """Largest relative change, up or down, of the power that windowed values are raised to; 0 leaves it at 1."""
    gamma_probability: float = Field(0.3, ge=0, le=1)
    """Share of slices whose gamma changes."""
    position_mm: float = Field(15.0, ge=0)
    """How far the middle of the body may be taken to lie from where it does (`network.position`): of a short stack or a
    narrow field of view it is not found as well."""
    short_stacks: float = Field(0.2, ge=0, le=1)
    """Share of coronal and sagittal slices of which 40 to 160 mm of the height are left, as of a scan of few axial
    slices."""
    exchange_sides: float | None = Field(None, ge=0, le=1)
    """Share of slices that become their left-right mirror image, in which every left structure is the right one; if
    omitted, half of them where every structure is one of a pair, and none otherwise."""


class AdversarialConfig(Config):
    """Training against an adversary."""

    kind: Literal["none", "fgsm", "vat", "discriminator"] = "none"
    """`fgsm`: also learn each batch with its input changed to where the loss rises; `vat`: also keep predictions from
    changing where the input does; `discriminator`: also keep a second network from telling predicted masks from
    references."""
    epsilon: float = Field(0.02, gt=0)
    """How far windowed values, 0 to 1, are changed (`fgsm`, `vat`): 0.02 is 10 HU of a window of 500."""
    weight: float = Field(0.1, ge=0)
    """What is added of `vat`'s divergence or of the discriminator's loss; `fgsm` learns both inputs alike."""


class TrainConfig(Config):
    """How `tomoseg train` trains.

    Example:
        >>> TrainConfig(network=NetworkConfig(channels=(16, 32, 64)), minutes=60).batch_size
        8
    """

    network: Annotated[NetworkConfig, Role.RESULT] = NetworkConfig(
        channels=(16, 32, 64, 128, 256), slices=5, residual=True
    )
    """The network."""
    windows_hu: Annotated[tuple[tuple[float, float], ...], Role.RESULT] = ((-200.0, 300.0),)
    """HU windows, each mapped to 0..1 and given to the network as one channel."""
    loss: Annotated[LossConfig, Role.RESULT] = LossConfig(deep_supervision=2)
    """The loss."""
    optimizer: Annotated[OptimizerConfig, Role.RESULT] = OptimizerConfig()
    """The optimiser."""
    schedule: Annotated[ScheduleConfig, Role.RESULT] = ScheduleConfig()
    """The learning rate over time."""
    sampling: Annotated[SamplingConfig, Role.RESULT] = SamplingConfig()
    """The draw of slices."""
    curriculum: Annotated[CurriculumConfig, Role.RESULT] = CurriculumConfig()
    """The order of slices."""
    augmentation: Annotated[AugmentationConfig, Role.RESULT] = AugmentationConfig()
    """Random changes of training slices."""
    adversarial: Annotated[AdversarialConfig, Role.RESULT] = AdversarialConfig()
    """The adversary."""
    batch_size: Annotated[int, Role.RESULT] = Field(8, ge=1)
    """Slices in one forward pass, of all processes together."""
    accumulation: Annotated[int, Role.RESULT] = Field(1, ge=1)
    """Batches whose gradients are summed before each step."""
    epochs: Annotated[int | None, Role.LENGTH] = Field(None, ge=1)
    """Passes over the draws of all cases, at most; if omitted, 100 where neither `steps` nor `minutes` is given."""
    steps: Annotated[int | None, Role.LENGTH] = Field(None, ge=1)
    """Steps of the optimiser, at most."""
    minutes: Annotated[float | None, Role.LENGTH] = Field(None, gt=0)
    """Training stops after so many minutes, validations included. What is used up first ends it."""
    early_stopping: Annotated[int | None, Role.LENGTH] = Field(None, ge=1)
    """Validations in a row without a better Dice after which training ends; never if omitted."""
    folds: Annotated[int | None, Role.RESULT] = Field(None, ge=2)
    """Deal training and validation patients into so many folds, and train a network for each, which learns from the
    others and is validated by its own. The run folder is then their mean as one model, and keeps masks of each case by
    the network that had not seen it. `epochs`, `steps` and `minutes` are each fold's. One network on the dataset's own
    splits if omitted."""
    views: Annotated[tuple[ViewName, ...], Role.RESULT] = ()
    """Train a network for each of two or three views of an axial dataset. The run folder is then one model of them, and
    validation cases choose how much each counts for each structure. `epochs`, `steps` and `minutes` are each view's.
    One network of the dataset's own view if omitted."""
    validate_every: Annotated[int, Role.LENGTH] = Field(5, ge=1)
    """Epochs between validations of the whole volumes."""
    warm_start: Annotated[Path | None, Role.RESULT] = None
    """A model whose weights training starts from; structures that both have keep their last layer. Where the settings
    name no network and no windows, these are the model's too; of a model of several views the dataset's counts."""
    ema_decay: Annotated[float, Role.RESULT] = Field(0.0, ge=0, lt=1)
    """Validate and keep a running mean of the weights that forgets so little in a step (0.999, say); 0 keeps the
    weights themselves."""
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Role.RESULT] = "auto"
    """Autocast precision; `auto` is bf16 on a CPU where it was measured to be faster and on a GPU that computes in it,
    else fp16 on a GPU and fp32 on a CPU."""
    sync_batch_norm: Annotated[bool, Role.RESULT] = False
    """Batch statistics over all processes, on GPUs; otherwise each process has its own share's."""
    compile: Annotated[bool, Role.RESOURCES] = False
    """Run the network through `torch.compile`."""
    workers: Annotated[int, Role.RESOURCES] = Field(1, ge=0)
    """Processes that read slices; 0 reads in the training process."""
    prefetch_factor: Annotated[int, Role.RESOURCES] = Field(2, ge=1)
    """Batches that each of them reads ahead."""
    pin_memory: Annotated[bool, Role.RESOURCES] = True
    """Page-locked batches for faster copies to a GPU; without effect on a CPU."""
    device: Annotated[str, Role.RESOURCES] = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:1`, `mps`; `gpu` is the one that is there."""
    seed: Annotated[int, Role.RESULT] = Field(0, ge=0)
    """Seeds weights, draws and augmentation."""
    deterministic: Annotated[bool, Role.RESULT] = False
    """Only algorithms that give the same bits every time; slower on a GPU, a CPU does so anyway."""
    pictures: Annotated[tuple[str, ...], Role.PRESENTATION] = ()
    """Structures to draw, each in a slice of a validation case, whenever a validation is the best so far; `tomoseg view
    RUN` shows the pictures."""
    tensorboard: Annotated[bool, Role.PRESENTATION] = False
    """Also write the course of the run for TensorBoard, into the folder `tensorboard` of the run."""
    wandb: Annotated[bool, Role.PRESENTATION] = False
    """Also write it for Weights & Biases, into the folder `wandb` of the run; it is sent while it is written only if
    WANDB_MODE is set to `online`."""
    mlflow: Annotated[bool, Role.PRESENTATION] = False
    """Also write it for MLflow, into the folder `mlflow` of the run, or to where MLFLOW_TRACKING_URI says."""
    export: Annotated[bool, Role.PRESENTATION] = True
    """Write the OpenVINO export of the best model when training ends, so that it predicts where PyTorch is missing, and
    starts sooner where it is not."""
    lang: Annotated[Language, Role.PRESENTATION] = "en"
    """Language of the pictures and of the page about the run: `en` or `fr`."""

    def of_view(self, view: str) -> TrainConfig:
        """What trains the network of one of several views: axial slices are not told where they lie."""
        told = self.network.position and view != "axial"
        return self.model_copy(update={"network": self.network.model_copy(update={"position": told}), "views": ()})

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
