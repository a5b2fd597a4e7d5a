"""The options of prediction, evaluation, viewer and server, which do not change a trained model."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, ConfigDict, Field, ValidationError, WrapValidator, model_validator

from tomoseg.errors import ConfigError, unknown_name_message
from tomoseg.formats import FORMATS, FormatName
from tomoseg.language.words import part
from tomoseg.settings import Config, Language, Role

EngineName = Literal["auto", "torch", "openvino", "onnx"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Resampling = Literal["smooth", "exact"]

_MEMORY = part("an amount of memory such as 2GB or 1500MB")


def _memory_size(given: object, parse: Callable[[object], ByteSize]) -> ByteSize:
    text = f"{given.strip()}B" if isinstance(given, str) and given.strip().lower().endswith("i") else given  # 2Gi
    try:
        size = parse(text)
    except ValidationError:
        size = ByteSize(0)
    if size < 1:
        raise ValueError(f"expected {_MEMORY}, got {given!r}")
    return size


MemorySize = Annotated[ByteSize, WrapValidator(_memory_size)]
"""Number of bytes, or text such as 2GB, 1.5 GiB or 1500M."""


class Compute(Config):
    """The engine, device and precision that run a trained network.

    Raises:
        ConfigError: If the batch size is below 1, or the memory is not an amount of memory.

    Example:
        >>> Compute(max_memory="1.5GB").max_memory
        1500000000
    """

    engine: Annotated[EngineName, Role.RESULT] = "auto"
    """Inference engine. auto takes OpenVINO on a CPU if it is installed and supports the network, and torch otherwise;
    torch reproduces the scores shown during training."""
    device: Annotated[str, Role.RESULT] = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, mps, or gpu for whichever GPU is available. auto takes a GPU if
    there is one."""
    precision: Annotated[Precision, Role.RESULT] = "auto"
    """Numerical precision. auto takes int8 if the model has an int8 export that was measured to be close to fp32,
    otherwise half precision where that is faster, otherwise fp32."""
    batch_size: Annotated[int | None, Role.RESOURCES] = Field(None, ge=1)
    """Maximum number of slices per forward pass. If omitted: 4 on a GPU; with OpenVINO one per thread, at most 4 and
    fewer of large slices; otherwise 1, since more are no faster."""
    max_memory: Annotated[MemorySize | None, Role.RESOURCES] = None
    """Maximum memory of the process, such as 2GB or 1500MB. Batches are made smaller to fit, and a scan that cannot fit
    is refused. Unlimited if omitted."""

    def divided(self, workers: int) -> Compute:
        """Return the settings of one of several processes that share the memory.

        Example:
            >>> Compute(max_memory="2GB").divided(4).max_memory
            500000000
        """
        share = None if self.max_memory is None else ByteSize(max(1, self.max_memory // workers))
        return self.model_copy(update={"max_memory": share})


AUTO = Compute()
"""The fastest available engine, device and precision."""

AS_IN_TRAINING = Compute(engine="torch")
"""Reproduces the scores shown during training."""


class Decisions(Config):
    """The settings that decide whether a voxel belongs to a structure.

    Raises:
        ConfigError: If a threshold does not lie between 0 and 1, or the smoothing is below 0.
    """

    thresholds: Annotated[dict[str, Annotated[float, Field(gt=0, lt=1)]], Role.RESULT] = Field({})
    """Probability above which a voxel belongs to the structure; 0.5 for structures that are not named."""
    flips: Annotated[bool, Role.RESULT] = False
    """Average the logits with those of the left-right mirror image, in which left and right structures are
    exchanged."""
    smoothing: Annotated[float, Role.RESULT] = Field(0.0, ge=0)
    """Standard deviation of the Gaussian that smooths the logits along the slice axis, in slices of the network's grid;
    0 is no smoothing."""


AT_ONE_HALF = Decisions()


def thresholds_of(texts: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """Parse thresholds as written on a command line: `0.4` for all structures, `liver=0.3` for one.

    Args:
        texts: The thresholds as written; later ones override earlier ones.
        names: The names of the model's structures.

    Raises:
        ConfigError: If one is no number between 0 and 1 or names an unknown structure.

    Example:
        >>> thresholds_of(["0.4", "liver=0.3"], ["liver", "spleen"])
        {'liver': 0.3, 'spleen': 0.4}
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not 0 < value < 1:
            raise ConfigError(
                f"expected a threshold between 0 and 1 such as 0.4 or liver=0.3, got {text!r}; correct it"
            )
        if name and name not in names:
            raise ConfigError(f"threshold {text}: {unknown_name_message(name, names)}")
        found |= {name: value} if name else dict.fromkeys(names, value)
    return found


class Request(Config):
    """What to compute for one scan: which structures, how their masks are decided, and which measurements to add.

    Example:
        >>> Request(roi_subset=("liver",), threshold=("0.4",)).ml
        False
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)  # a file may have `threshold: [0.4]`

    ml: Annotated[bool, Role.RESULT] = False
    """Write one label map, with one structure per voxel, instead of one mask per structure."""
    roi_subset: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Segment only these structures; if omitted, all that the model reports by default."""
    all: Annotated[bool, Role.RESULT] = False
    """Also segment the structures that the model leaves out by default because it segments them poorly (its model card
    lists them)."""
    confidence: Annotated[bool, Role.RESULT] = False
    """Also write probability maps, in which 0 to 255 stand for 0 to 1: one per structure, or with --ml a single map
    with the probability of the most probable structure in each voxel."""
    threshold: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Probability above which a voxel belongs to a structure: 0.4 for all structures, liver=0.3 for one; several
    may be given. If omitted, the thresholds chosen by `tomoseg tune`, or 0.5."""
    flips: Annotated[bool, Role.RESULT] = False
    """Average the logits with those of the left-right mirror image, in which left and right structures are exchanged.
    Takes twice as long and helps only networks trained on mirrored images (augmentation.exchange_sides)."""
    smoothing: Annotated[float | None, Role.RESULT] = Field(None, ge=0)
    """Smooth the logits across neighbouring slices: standard deviation of the Gaussian, in slices of the network's
    grid; 0 is off. If omitted, the value chosen by `tomoseg tune`, or 0."""
    postprocess: Annotated[tuple[str, ...] | None, Role.RESULT] = None
    """Post-processing steps in order: largest, fill_holes, remove_small:ML, opening:MM, closing:MM, crf:LOGITS; written
    liver=largest, a step applies to one structure, otherwise to all. If omitted, the steps chosen by `tomoseg tune`, or
    none."""
    tuned: Annotated[bool, Role.RESULT] = True
    """Use the thresholds, smoothing and post-processing steps that `tomoseg tune` chose for this model; options given
    here override them."""
    calibrated: Annotated[bool, Role.RESULT] = True
    """Apply the model's calibration temperatures, if it has any, to probabilities and expected Dice; masks do not
    change."""
    resampling: Annotated[Resampling, Role.RESULT] = "smooth"
    """How masks of an imported TotalSegmentator task are resampled. smooth interpolates the logits to the scan's own
    grid, as nnU-Net does. exact reproduces TotalSegmentator 2.18, for comparison with it: the scan is resampled to the
    task's spacing, and labels are resampled back by nearest neighbour."""
    triage: Annotated[bool, Role.RESULT] = False
    """Also rate how confident the model is of each result, and rank the scans so that those most in need of review come
    first. With a calibrated model the rating is an expected Dice; scans unlike the training data get none."""
    statistics: Annotated[bool, Role.RESULT] = False
    """Also write for each structure its volume in ml, mean, median and standard deviation of HU, centroid in mm, and
    whether it touches the border of the scan; for several scans also as one table, statistics.csv."""
    strict: Annotated[bool, Role.RESULT] = False
    """Refuse scans that give rise to a warning: they count as failed, and the other scans are still segmented."""


DEFAULT_MODEL = "body-117"
"""The packaged model that is used if none is named."""

AS_TUNED = Request()
"""Independent masks of all structures, with the settings that `tomoseg tune` chose."""


_PLACES = r"here|processes:[1-9]\d*|ray(://[^\s/:]+:\d+)?|slurm(:[1-9]\d*)?"


def _place(given: str) -> str:
    if not re.fullmatch(_PLACES, given):
        raise ValueError(
            f"expected here, processes:4 (for 4 processes), ray, ray://HOST:PORT or slurm:8 (for 8 jobs), got {given!r}"
        )
    return given


def _sbatch(given: str) -> str:
    if not re.fullmatch(r"[a-z][a-z-]*(=\S.*)?", given):
        raise ValueError(f"expected an option of sbatch such as partition=gpu or exclusive, got {given!r}")
    return given


class Spread(Config):
    """The place where cases are processed: this process, several processes on this machine, or a cluster.

    Raises:
        ConfigError: If there is no such place, or another option does not apply to it.

    Example:
        >>> Spread(on="processes:4").on
        'processes:4'
    """

    on: Annotated[str, AfterValidator(_place), Role.RESOURCES] = "here"
    """Where to process the cases. here: in this process. processes:4: in 4 processes on this machine, which share its
    cores and memory. ray: on the Ray cluster that this machine belongs to, or on a local one if there is none;
    ray://HOST:PORT: on that cluster. slurm:8: in 8 SLURM jobs (slurm alone means 8)."""
    cpus: Annotated[int, Role.RESOURCES] = Field(1, ge=1)
    """CPU cores per worker, with --on ray or slurm."""
    gpus: Annotated[float, Role.RESOURCES] = Field(0.0, ge=0)
    """GPUs per worker, with --on ray or slurm; with ray, 0.25 lets four workers share one GPU."""
    hours: Annotated[float, Role.RESOURCES] = Field(4.0, gt=0)
    """Time limit of each job in hours, with --on slurm; a job that reaches it is queued again and continues."""
    sbatch: Annotated[tuple[str, ...], AfterValidator(lambda given: tuple(map(_sbatch, given))), Role.RESOURCES] = ()
    """Further sbatch options, with --on slurm, written without the dashes: partition=gpu mem=16G."""

    @model_validator(mode="after")
    def _fits(self) -> Spread:
        is_slurm = self.on.startswith("slurm")
        takes = {"hours", "sbatch", "cpus", "gpus"} if is_slurm else {"cpus", "gpus"} if "ray" in self.on[:3] else set()
        for name in ("cpus", "gpus", "hours", "sbatch"):
            if name not in takes and getattr(self, name) != Spread.model_fields[name].default:
                whose = "slurm" if name in {"hours", "sbatch"} else "ray or slurm"
                raise ValueError(f"expected --on {whose} with --{name}, got --on {self.on}")
        if is_slurm and self.gpus % 1:
            raise ValueError(f"expected whole GPUs with --on slurm, got --gpus {self.gpus:g}")
        return self


HERE = Spread()
"""In this process."""


class PredictOptions(Request, Spread):
    """The options of `tomoseg predict`.

    Example:
        >>> PredictOptions(format=("nifti", "dicom-seg"), roi_subset=("liver",)).ml
        False
    """

    format: Annotated[tuple[FormatName, ...], Role.RESULT] = Field(
        ("nifti",),
        description="Output formats; several may be given. "
        + ". ".join(f"{k}: {v.help}" for k, v in FORMATS.items())
        + ".",
    )
    """Output formats; several may be given. docs/reference/written-files.md describes them."""
    preview: Annotated[bool, Role.PRESENTATION] = False
    """Also draw a preview sheet: one picture that shows the result at a glance."""
    page_3d: Annotated[bool, Role.PRESENTATION] = False
    """Also write a 3D page: one HTML file that shows the structures in any browser, without a server or a network
    connection."""
    lang: Annotated[Language, Role.PRESENTATION] = "en"
    """Language of the preview sheet, and the initial language of the 3D page: en or fr."""
    part: Annotated[str | None, Role.RESOURCES] = None
    """Segment only a part of the scans: 2/8 takes every eighth scan, starting with the second, so that eight machines
    or processes can divide a list among them."""
    join: Annotated[bool, Role.RESOURCES] = False
    """Share the scans with every process, on this machine or others, that runs the same command on the same output
    folder: each takes the next unclaimed scan, and processes may join or leave at any time."""
    force: Annotated[bool, Role.RESULT] = False
    """Also segment files that are recognised as something other than a scan: label maps, masks, results of tomoseg."""
    series: Annotated[int | None, Role.RESULT] = None
    """Which of several DICOM series to segment, numbered from 1 as they are listed; if omitted, the largest axial
    one."""
    assume_spacing: Annotated[tuple[float, float, float] | None, Role.RESULT] = None
    """Voxel spacing X Y Z in mm along the file's axes, for scans whose files state no geometry."""


ALL_MASKS = PredictOptions()

OF_MANY = ("part", "join", *Spread.model_fields)
"""Names of the options that only apply to several scans."""

SplitName = Literal["auto", "train", "validation", "test", "out-of-fold"]
"""Splits of a preprocessed dataset that a model can be scored on."""

EmptiesName = Literal["tomoseg", "totalsegmentator", "nnunet", "brats"]


Success = Annotated[float, Field(gt=0, le=1)]
"""Dice threshold at or above which a case counts as a success."""

SUCCESS_AT: tuple[Success, ...] = (0.5, 0.7, 0.8, 0.9)
"""Thresholds if none are given."""


class EvaluateOptions(Spread):
    """The options of `tomoseg evaluate`.

    Raises:
        ConfigError: If there is no Dice threshold for success, or one is not above 0 and at most 1.

    Example:
        >>> EvaluateOptions(structures=("liver",), tolerance_mm=2.0).split
        'auto'
    """

    split: Annotated[SplitName, Role.RESULT] = "auto"
    """Cases of the preprocessed dataset to score: train, validation, test, or out-of-fold. For a cross-validation run,
    train, validation and out-of-fold cases are each scored by the network that was not trained on them. auto is
    out-of-fold for a cross-validation run with its own dataset, otherwise validation. A dataset of other patients only
    is scored by all folds together."""
    structures: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Score only these structures; if omitted, all."""
    tolerance_mm: Annotated[float, Role.RESULT] = Field(3.0, ge=0)
    """Tolerance of the surface Dice in mm."""
    tolerances: Annotated[Path | None, Role.RESULT] = None
    """YAML file with a surface Dice tolerance in mm per structure (liver: 3); it overrides --tolerance-mm."""
    metrics: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Further metrics to compute; the documentation page on scores lists those that are not computed by default."""
    surfaces: Annotated[bool, Role.RESULT] = True
    """Measure surface distances; without them, only overlap and volume are computed, which is faster."""
    empties: Annotated[EmptiesName, Role.RESULT] = "tomoseg"
    """Convention for scoring a structure whose predicted or reference mask is empty: that of tomoseg, TotalSegmentator,
    nnU-Net or BraTS."""
    resample: Annotated[bool, Role.RESULT] = False
    """Resample predictions that lie on another grid to the reference's grid (nearest neighbour) instead of refusing
    them."""
    tuned: Annotated[bool, Role.RESULT] = False
    """Use the thresholds, smoothing and post-processing that `tomoseg tune` chose for the model, as predict does."""
    against: Annotated[Path | None, Role.RESULT] = None
    """Output folder of an earlier evaluation, of another model on the same cases, to compare with case by case."""
    success_at: Annotated[tuple[Success, ...], Role.PRESENTATION] = Field(SUCCESS_AT, min_length=1)
    """Dice thresholds at or above which a structure counts as segmented successfully in a case; several may be
    given."""
    panels: Annotated[int, Role.PRESENTATION] = Field(0, ge=0)
    """Number of worst-scoring structures to draw, each in the slice with the largest error."""
    pages_3d: Annotated[int, Role.PRESENTATION] = Field(0, ge=0)
    """Number of worst cases, by mean Dice, to write as 3D pages that show prediction and reference without a server."""
    lang: Annotated[Language, Role.PRESENTATION] = "en"
    """Language of the report and the pictures: en or fr. Structures that the package does not know keep their names."""


AS_DEFINED = EvaluateOptions()


class ViewOptions(Config):
    """The options of `tomoseg view`.

    Raises:
        ConfigError: If the port or the number of the series is out of range.
    """

    series: Annotated[int | None, Role.PRESENTATION] = Field(None, ge=1)
    """Which of several DICOM series to show, numbered from 1; if omitted, the one that the masks belong to, otherwise
    the largest axial one."""
    assume_spacing: Annotated[tuple[float, float, float] | None, Role.PRESENTATION] = None
    """Voxel spacing X Y Z in mm along the file's axes, for scans whose files state no geometry."""
    format: Annotated[tuple[FormatName, ...], Role.PRESENTATION] = ()
    """Formats to write corrected masks in, in addition to NIfTI: any output format of predict."""
    reviewer: Annotated[str | None, Role.PRESENTATION] = Field(None, max_length=100)
    """Name recorded with corrections and verdicts; if omitted, the user name of the account."""
    read_only: Annotated[bool, Role.PRESENTATION] = False
    """Only show: masks cannot be corrected, and cases cannot be judged."""
    lang: Annotated[Language, Role.PRESENTATION] = "en"
    """Initial language of the page: en or fr."""
    host: Annotated[str, Role.PRESENTATION] = "127.0.0.1"
    """Address to listen on. Any address other than the default lets everyone look who can reach this machine and knows
    the address of the page."""
    port: Annotated[int, Role.PRESENTATION] = Field(0, ge=0, le=65535)
    """Port to listen on; 0 takes any free port."""
    open: Annotated[bool, Role.PRESENTATION] = True
    """Open the page in the browser; its address is always printed."""


AS_SEEN = ViewOptions()


class ServeOptions(Config):
    """The options of `tomoseg serve`.

    Example:
        >>> ServeOptions(quota="20GB").quota
        20000000000
    """

    host: Annotated[str, Role.RESOURCES] = "127.0.0.1"
    """Address to listen on; 0.0.0.0 listens on every network interface. On any address other than this machine's own,
    clients need a token."""
    port: Annotated[int, Role.RESOURCES] = Field(8117, ge=0, le=65535)
    """Port to listen on; 0 takes any free port."""
    workers: Annotated[int, Role.RESOURCES] = Field(1, ge=1)
    """Number of segmentation processes, each with its own copy of the models."""
    token: Annotated[bool, Role.RESOURCES] = False
    """Require a token on this machine's own address too."""
    new_token: Annotated[bool, Role.RESOURCES] = False
    """Replace the token with a new one."""
    open_to_anybody: Annotated[bool, Role.RESOURCES] = False
    """Require no token on any address: anyone who can reach the server may see and delete all scans and results."""
    upload_size: Annotated[MemorySize, Role.RESOURCES] = ByteSize(4_000_000_000)
    """Maximum size of an uploaded scan, such as 2GB."""
    quota: Annotated[MemorySize, Role.RESOURCES] = ByteSize(100_000_000_000)
    """Maximum disk space of scans and results together, such as 100GB."""
    keep_hours: Annotated[float, Role.RESOURCES] = Field(168.0, gt=0)
    """Hours for which scans and results are kept."""
    job_minutes: Annotated[float, Role.RESOURCES] = Field(60.0, gt=0)
    """Time limit of a job in minutes."""
    job_memory: Annotated[MemorySize | None, Role.RESOURCES] = None
    """Maximum memory of a segmentation process, such as 8GB; if omitted, most of the machine's memory."""
    train_minutes: Annotated[float, Role.RESOURCES] = Field(60.0, gt=0)
    """Time limit in minutes of a training started by a client."""
    dicomweb: Annotated[str | None, Role.RESOURCES] = None
    """DICOMweb address of a PACS: OHIF shows its images through this server, and series are fetched from it."""
    show_workers: Annotated[bool, Role.RESOURCES] = False
    """Show what the segmentation processes print, which may include patient names from file headers."""


AS_SERVED = ServeOptions()
"""A server for this machine only."""
