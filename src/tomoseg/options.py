"""What a call of prediction or evaluation is asked for: options that decide nothing about a trained model."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ByteSize, ConfigDict, Field, ValidationError, WrapValidator, model_validator

from tomoseg.errors import ConfigError, unknown_name_message
from tomoseg.formats import FORMATS, FormatName
from tomoseg.settings import Config, Language, Role

EngineName = Literal["auto", "torch", "openvino", "onnx"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Resampling = Literal["smooth", "exact"]


def _memory_size(given: object, parse: Callable[[object], ByteSize]) -> ByteSize:
    text = f"{given.strip()}B" if isinstance(given, str) and given.strip().lower().endswith("i") else given  # 2Gi
    try:
        size = parse(text)
    except ValidationError:
        size = ByteSize(0)
    if size < 1:
        raise ValueError(f"expected an amount of memory such as 2GB or 1500MB, got {given!r}")
    return size


MemorySize = Annotated[ByteSize, WrapValidator(_memory_size)]
"""Bytes, as a number or as people write them: 2GB, 1.5 GiB, 1500M."""


class Compute(Config):
    """What computes a trained network, where, and in what.

    Raises:
        ConfigError: If the batch size is below 1, or the memory is no amount of it.

    Example:
        >>> Compute(max_memory="1.5GB").max_memory
        1500000000
    """

    engine: Annotated[EngineName, Role.RESULT] = "auto"
    """auto is OpenVINO on a CPU where it is installed and can hold the network, else torch; torch gives the numbers
    that training shows."""
    device: Annotated[str, Role.RESULT] = "auto"
    """auto, cpu, cuda, cuda:1, mps; gpu is the one that is there."""
    precision: Annotated[Precision, Role.RESULT] = "auto"
    """What the network computes in; auto is int8 where the model has an export of it that was measured to be close,
    else half precision where that is faster."""
    batch_size: Annotated[int | None, Role.RESOURCES] = Field(None, ge=1)
    """Slices in one forward pass, at most; if omitted, 1 on a CPU, where more is no faster and takes memory, and 4
    elsewhere."""
    max_memory: Annotated[MemorySize | None, Role.RESOURCES] = None
    """What the process may take, such as 2GB or 1500MB; batches shrink to fit, and a scan that cannot fit is
    refused."""

    def divided(self, workers: int) -> Compute:
        """The same for each of several processes, which share the memory.

        Example:
            >>> Compute(max_memory="2GB").divided(4).max_memory
            500000000
        """
        share = None if self.max_memory is None else ByteSize(max(1, self.max_memory // workers))
        return self.model_copy(update={"max_memory": share})


AUTO = Compute()
"""The fastest that there is."""

AS_IN_TRAINING = Compute(engine="torch")
"""Gives the numbers that training shows."""


class Decisions(Config):
    """What decides whether a voxel belongs to a structure.

    Raises:
        ConfigError: If a threshold does not lie between 0 and 1, or the smoothing is below 0.
    """

    thresholds: Annotated[dict[str, Annotated[float, Field(gt=0, lt=1)]], Role.RESULT] = Field({})
    """The probability from which a structure is taken for present; 0.5 where a structure is not named."""
    flips: Annotated[bool, Role.RESULT] = False
    """Average with the left-right mirror image, in which left structures are right ones."""
    smoothing: Annotated[float, Role.RESULT] = Field(0.0, ge=0)
    """Standard deviation of a mean over neighbouring slices of the network's grid, in slices."""


AT_ONE_HALF = Decisions()


def thresholds_of(texts: Sequence[str], names: Sequence[str]) -> dict[str, float]:
    """Thresholds as they are written on a command line: `0.4` for all structures, `liver=0.3` for one.

    Args:
        texts: What was written; later ones win.
        names: The structures that there are.

    Raises:
        ConfigError: If one is no number or names an unknown structure.

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
            raise ConfigError(f"expected a threshold such as 0.4 or liver=0.3, got {text!r}; correct it") from None
        if name and name not in names:
            raise ConfigError(f"threshold {text}: {unknown_name_message(name, names)}")
        found |= {name: value} if name else dict.fromkeys(names, value)
    return found


class Request(Config):
    """What is asked of the segmentation of one scan: what decides its masks, and what else is found out.

    Example:
        >>> Request(roi_subset=("liver",), threshold=("0.4",)).ml
        False
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)  # a file may have `threshold: [0.4]`

    ml: Annotated[bool, Role.RESULT] = False
    """One structure per voxel: one label map instead of a mask for each structure."""
    roi_subset: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Only these structures."""
    all: Annotated[bool, Role.RESULT] = False
    """Also the structures that a model leaves out because it finds them badly, as its card says."""
    confidence: Annotated[bool, Role.RESULT] = False
    """Also give probabilities, 0 to 255 for 0 to 1: a map for each structure, or with ml one of the most probable
    structure at each voxel."""
    threshold: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Probability from which a structure is taken for present: 0.4 for all, liver=0.3 for one, several in a row; if
    omitted, what tune chose, or 0.5."""
    flips: Annotated[bool, Role.RESULT] = False
    """Average the logits with those of the left-right mirror image, in which left structures are right ones, at twice
    the time; of use only for a network that was trained on such images (augmentation.exchange_sides)."""
    smoothing: Annotated[float | None, Role.RESULT] = Field(None, ge=0)
    """Mean of the logits over neighbouring slices, as a standard deviation in slices of the network's grid; if omitted,
    what tune chose, or 0."""
    postprocess: Annotated[tuple[str, ...] | None, Role.RESULT] = None
    """Steps for masks, in order: largest, fill_holes, remove_small:ML, opening:MM, closing:MM, crf:LOGITS, for all
    structures or as liver=largest for one; if omitted, what tune chose."""
    tuned: Annotated[bool, Role.RESULT] = True
    """Use the thresholds, smoothing and steps that tune chose for this model; those given go over them."""
    calibrated: Annotated[bool, Role.RESULT] = True
    """Give probabilities and the expected Dice at the temperatures of the model, if it has any; masks do not depend on
    them."""
    resampling: Annotated[Resampling, Role.RESULT] = "smooth"
    """How masks of a task of TotalSegmentator come about: smooth interpolates logits to the scan's own voxels, as
    nnU-Net does; exact does all as TotalSegmentator 2.18, to compare with it: the scan is brought to the task's voxels
    and the nearest label back."""
    triage: Annotated[bool, Role.RESULT] = False
    """Also rate each result by how sure the model is of it, and rank many scans by that, the one to look at first
    first. Of a model with temperatures the figure is the Dice to be expected, of another it is none; scans unlike those
    of training have none."""
    statistics: Annotated[bool, Role.RESULT] = False
    """Also give of each structure the volume in ml, mean, median and standard deviation of HU, centroid in mm, and
    whether it touches the border of the scan; those of many scans are in one table, statistics.csv, too."""
    strict: Annotated[bool, Role.RESULT] = False
    """Segment no scan that there is a warning about: it counts as failed, the others are done."""


DEFAULT_MODEL = "body-117"
"""The packaged model that is used where none is named."""

AS_TUNED = Request()
"""Independent masks of all structures, with what tune chose."""


_PLACES = r"here|processes:[1-9]\d*|ray(://[^\s/:]+:\d+)?|slurm(:[1-9]\d*)?"


def _place(given: str) -> str:
    if not re.fullmatch(_PLACES, given):
        raise ValueError(
            "expected here, processes:4 with the number of them, ray, ray://HOST:PORT, or slurm:8 with the number of "
            f"jobs, got {given!r}"
        )
    return given


def _sbatch(given: str) -> str:
    if not re.fullmatch(r"[a-z][a-z-]*(=\S.*)?", given):
        raise ValueError(f"expected an option of sbatch such as partition=gpu or exclusive, got {given!r}")
    return given


class Spread(Config):
    """Who does the cases of a command: this process, several of this machine, or a cluster.

    Raises:
        ConfigError: If there is no such place, or it does not take one of the other options.

    Example:
        >>> Spread(on="processes:4").on
        'processes:4'
    """

    on: Annotated[str, AfterValidator(_place), Role.RESOURCES] = "here"
    """Who does the cases: here, this process; processes:4, so many of this machine, which share its cores and the
    memory allowed; ray, the Ray cluster that this machine is part of, else one of this machine alone, or
    ray://HOST:PORT; slurm:8, so many jobs of SLURM, slurm being eight."""
    cpus: Annotated[int, Role.RESOURCES] = Field(1, ge=1)
    """Of ray and slurm: cores of each worker."""
    gpus: Annotated[float, Role.RESOURCES] = Field(0.0, ge=0)
    """Of ray and slurm: GPUs of each worker; with ray 0.25 lets four share one."""
    hours: Annotated[float, Role.RESOURCES] = Field(4.0, gt=0)
    """Of slurm: how long a job may run; one that runs into it is queued again, and goes on."""
    sbatch: Annotated[tuple[str, ...], AfterValidator(lambda given: tuple(map(_sbatch, given))), Role.RESOURCES] = ()
    """Of slurm: further options of its jobs, as sbatch has them without the dashes: partition=gpu mem=16G."""

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
"""This process."""


class PredictOptions(Request, Spread):
    """Which of the scans are segmented, how, and what is written.

    Example:
        >>> PredictOptions(format=("nifti", "dicom-seg"), roi_subset=("liver",)).ml
        False
    """

    format: Annotated[tuple[FormatName, ...], Role.RESULT] = Field(
        ("nifti",),
        description="What is written, several in a row. "
        + ". ".join(f"{k}: {v.help}" for k, v in FORMATS.items())
        + ".",
    )
    """What is written, several in a row; docs/reference/written-files.md says what each is."""
    preview: Annotated[bool, Role.PRESENTATION] = False
    """Also draw a preview sheet, a picture to judge the result by."""
    page_3d: Annotated[bool, Role.PRESENTATION] = False
    """Also write a page in 3D: one HTML file on which any browser turns the structures, without a server or a
    network."""
    lang: Annotated[Language, Role.PRESENTATION] = "en"
    """Language of the preview sheet, and that in which the page in 3D begins."""
    part: Annotated[str | None, Role.RESOURCES] = None
    """2/8 does every eighth scan, from the second, so that eight machines or processes share a list."""
    join: Annotated[bool, Role.RESOURCES] = False
    """Share the scans with whoever runs the same command on the same output folder, on this machine or others: each
    takes the next scan that nobody is at, and any number may join or leave."""
    force: Annotated[bool, Role.RESULT] = False
    """Also segment what is known to be no scan: label maps, masks, results of tomoseg."""
    series: Annotated[int | None, Role.RESULT] = None
    """Which of several DICOM series, from 1 as they are listed; the largest axial one if omitted."""
    assume_spacing: Annotated[tuple[float, float, float] | None, Role.RESULT] = None
    """Voxel edges X Y Z in mm along the file's axes, for scans that do not say where their voxels lie."""


ALL_MASKS = PredictOptions()

OF_MANY = ("part", "join", *Spread.model_fields)
"""Of these options: which are about many scans, not about one."""

SplitName = Literal["auto", "train", "validation", "test", "out-of-fold"]
"""Cases of a preprocessed dataset that judge a model."""

EmptiesName = Literal["tomoseg", "totalsegmentator", "nnunet", "brats"]


Success = Annotated[float, Field(gt=0, le=1)]
"""A Dice from which a case counts as a success."""


class EvaluateOptions(Spread):
    """What is scored, how, and what is drawn.

    Raises:
        ConfigError: If a Dice to succeed from does not lie above 0 and up to 1, or there is none.

    Example:
        >>> EvaluateOptions(structures=("liver",), tolerance_mm=2.0).split
        'auto'
    """

    split: Annotated[SplitName, Role.RESULT] = "auto"
    """validation or test, of a preprocessed dataset; out-of-fold, of a run of folds, each case by the network that had
    not seen it, as train and validation then are too. auto is out-of-fold of a run of folds, else validation."""
    structures: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Only these structures."""
    tolerance_mm: Annotated[float, Role.RESULT] = Field(3.0, ge=0)
    """Tolerance of surface Dice."""
    tolerances: Annotated[Path | None, Role.RESULT] = None
    """YAML file with a tolerance in mm for each structure (liver: 3)."""
    metrics: Annotated[tuple[str, ...], Role.RESULT] = ()
    """Also compute these metrics; the page on scores lists those that are not computed by default."""
    surfaces: Annotated[bool, Role.RESULT] = True
    """Measure distances between surfaces; without, overlap and volume alone."""
    empties: Annotated[EmptiesName, Role.RESULT] = "tomoseg"
    """Whose scores are given where a mask is empty."""
    resample: Annotated[bool, Role.RESULT] = False
    """Put predictions on another grid onto the reference's, the nearest voxel, instead of refusing them."""
    tuned: Annotated[bool, Role.RESULT] = False
    """Use what tune chose for the model, as predict does."""
    against: Annotated[Path | None, Role.RESULT] = None
    """An earlier --output, of another model on the same cases, to compare with case by case."""
    success_at: Annotated[tuple[Success, ...], Role.PRESENTATION] = Field((0.5, 0.7, 0.8, 0.9), min_length=1)
    """Dice from which a case counts as a success of a structure, several in a row."""
    panels: Annotated[int, Role.PRESENTATION] = Field(0, ge=0)
    """Draw so many of the worst structures, each in the slice in which most is wrong."""
    pages_3d: Annotated[int, Role.PRESENTATION] = Field(0, ge=0)
    """Write so many of the worst cases, by their mean Dice, as pages in 3D that need no server, with the reference."""
    lang: Annotated[Language, Role.PRESENTATION] = "en"
    """Language of the report and the pictures; structures that the package does not know keep their names."""


AS_DEFINED = EvaluateOptions()


class ViewOptions(Config):
    """How a scan is looked at, and what may be written meanwhile.

    Raises:
        ConfigError: If a port or a series cannot be one.
    """

    series: Annotated[int | None, Role.PRESENTATION] = Field(None, ge=1)
    """Which of several DICOM series, from 1; if omitted, the one that the masks lie on, else the largest axial one."""
    assume_spacing: Annotated[tuple[float, float, float] | None, Role.PRESENTATION] = None
    """Voxel edges X Y Z in mm along the file's axes, for scans that do not say where their voxels lie."""
    format: Annotated[tuple[FormatName, ...], Role.PRESENTATION] = ()
    """What a corrected mask is written as, beside NIfTI: any format of predict."""
    reviewer: Annotated[str | None, Role.PRESENTATION] = Field(None, max_length=100)
    """Who corrections and verdicts are by; if omitted, the name of the account."""
    read_only: Annotated[bool, Role.PRESENTATION] = False
    """Nothing can be corrected or judged."""
    lang: Annotated[Language, Role.PRESENTATION] = "en"
    """Language of the page to begin with: en or fr."""
    host: Annotated[str, Role.PRESENTATION] = "127.0.0.1"
    """Address to listen on; any other than this one lets those look who reach this machine and know the address of the
    page."""
    port: Annotated[int, Role.PRESENTATION] = Field(0, ge=0, le=65535)
    """Port to listen on; 0 is any free one."""
    open: Annotated[bool, Role.PRESENTATION] = True
    """Open the page in the browser; its address is printed in any case."""


AS_SEEN = ViewOptions()


class ServeOptions(Config):
    """Where a server listens, who may ask, and what it takes and keeps.

    Example:
        >>> ServeOptions(quota="20GB").quota
        20000000000
    """

    host: Annotated[str, Role.RESOURCES] = "127.0.0.1"
    """Where it listens; 0.0.0.0 is every network of this machine. Any address but this machine's own asks for a
    token."""
    port: Annotated[int, Role.RESOURCES] = Field(8117, ge=0, le=65535)
    """0 takes any that is free."""
    workers: Annotated[int, Role.RESOURCES] = Field(1, ge=1)
    """Processes that segment, each with its own copy of the models."""
    token: Annotated[bool, Role.RESOURCES] = False
    """Ask for a token on this machine's own address too."""
    new_token: Annotated[bool, Role.RESOURCES] = False
    """Make a new token in place of the former one."""
    open_to_anybody: Annotated[bool, Role.RESOURCES] = False
    """Ask for no token whatever the address: whoever reaches it may see all scans and results, and remove them."""
    upload_size: Annotated[MemorySize, Role.RESOURCES] = ByteSize(4_000_000_000)
    """Largest scan that is taken, such as 2GB."""
    quota: Annotated[MemorySize, Role.RESOURCES] = ByteSize(100_000_000_000)
    """How much is kept of scans and results together."""
    keep_hours: Annotated[float, Role.RESOURCES] = Field(168.0, gt=0)
    """How long scans and results are kept."""
    job_minutes: Annotated[float, Role.RESOURCES] = Field(60.0, gt=0)
    """How long a job may take."""
    job_memory: Annotated[MemorySize | None, Role.RESOURCES] = None
    """How much memory a worker may take; if omitted, most of what the machine has."""
    train_minutes: Annotated[float, Role.RESOURCES] = Field(60.0, gt=0)
    """How long a training may take that clients start."""
    dicomweb: Annotated[str | None, Role.RESOURCES] = None
    """Address of a PACS's DICOMweb: OHIF looks at its images through this server, and series are fetched from there."""
    show_workers: Annotated[bool, Role.RESOURCES] = False
    """Show what workers print, in which names from headers may occur."""


AS_SERVED = ServeOptions()
"""For this machine alone."""
