"""What a call of prediction or evaluation is asked for: options that decide nothing about a trained model.

The docstring under a field is its help text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tomoseg.config import Language
from tomoseg.errors import ConfigError
from tomoseg.labels import unknown_name_message

EngineName = Literal["auto", "torch", "openvino", "onnx"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]


@dataclass(frozen=True)
class Compute:
    """What computes a trained network, where, and in what.

    Raises:
        ConfigError: If the batch size is below 1.

    Example:
        >>> Compute(engine="torch", device="cpu", max_memory="2GB").batch_size is None
        True
    """

    engine: EngineName = "auto"
    """auto (OpenVINO on a CPU where it is installed and can hold the network, else torch), torch, openvino or onnx."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    precision: Precision = "auto"
    """auto, fp32, bf16, fp16 or int8."""
    batch_size: int | None = None
    """Slices in one forward pass, at most; nothing is 1 on a CPU, where more is no faster and takes memory, and 4
    elsewhere."""
    max_memory: str | None = None
    """What the process may take, such as 2GB or 1500MB; batches shrink to fit, a scan that cannot is refused."""

    def __post_init__(self) -> None:
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"expected batches of 1 slice or more, got {self.batch_size}; raise the batch size")
        if self.max_memory is not None:
            bytes_of(self.max_memory)


AUTO = Compute()
"""The fastest that there is."""

AS_IN_TRAINING = Compute(engine="torch")
"""Gives the numbers that training shows."""


UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def bytes_of(text: str) -> int:
    """Bytes of an amount of memory as people write it.

    Raises:
        ConfigError: If it is not a positive amount.

    Example:
        >>> bytes_of("1.5GB"), bytes_of("512MiB")
        (1500000000, 536870912)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?I?)B?", text.strip().upper())
    if match is None or match[2] not in UNITS or float(match[1]) == 0:
        raise ConfigError(f"expected an amount of memory such as 2GB or 1500MB, got {text!r}; correct it")
    return int(float(match[1]) * UNITS[match[2]])


@dataclass(frozen=True)
class Decisions:
    """What decides whether a voxel belongs to a structure.

    Raises:
        ConfigError: If a threshold does not lie between 0 and 1, or the smoothing is below 0.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    """The probability from which a structure is taken for present; 0.5 where a structure is not named."""
    flips: bool = False
    """Average with the left-right mirror image; refused for structures with a left and a right."""
    smoothing: float = 0.0
    """Standard deviation of a mean over neighbouring slices of the network's grid, in slices."""

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < math.inf:
            raise ConfigError(f"expected a smoothing of 0 slices or more, got {self.smoothing}; correct it")
        for name, value in self.thresholds.items():
            if not 0 < value < 1:
                raise ConfigError(f"expected a threshold between 0 and 1, got {name}={value}; correct it")


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


FormatName = Literal["nifti", "nrrd", "dicom-seg", "dicom-seg-binary", "rtstruct", "stl", "ply"]


@dataclass(frozen=True)
class PredictOptions:
    """Which of the scans are segmented, and what is written.

    Example:
        >>> PredictOptions(format=("nifti", "dicom-seg"), roi_subset=("liver",)).ml
        False
    """

    ml: bool = False
    """One structure a voxel: write one multi-label map instead of a mask file a structure."""
    format: tuple[FormatName, ...] = ("nifti",)
    """What is written, several in a row: nifti, nrrd (3D Slicer), dicom-seg, rtstruct, stl, ply; dicom-seg is a
    LABELMAP where no masks overlap, dicom-seg-binary never."""
    roi_subset: tuple[str, ...] = ()
    """Only these structures."""
    preview: bool = False
    """Also draw a preview sheet."""
    lang: Language = "en"
    """Language of the preview sheet: en or fr."""
    statistics: bool = False
    """Also write volume, HU and place of each structure."""
    confidence: bool = False
    """Also write probabilities, 0 to 255: a map a structure, or with ml one of the most probable."""
    threshold: tuple[str, ...] = ()
    """Probability from which a structure is taken for present: 0.4 for all, liver=0.3 for one."""
    flips: bool = False
    """Average with the mirror image; only for structures without a left and a right."""
    smoothing: float | None = None
    """Mean of logits over neighbouring slices, as a standard deviation in slices; nothing is what tune chose, or 0."""
    postprocess: tuple[str, ...] | None = None
    """Steps for masks, in order: largest, fill_holes, remove_small:ML, opening:MM, closing:MM, crf, for all structures
    or as liver=largest for one; nothing is what tune chose."""
    triage: bool = False
    """Also say which Dice may be expected, and rank many scans by it, the worst first."""
    tuned: bool = True
    """Use what tomoseg tune chose for this model."""
    part: str | None = None
    """2/8 does every eighth scan, from the second."""
    series: int | None = None
    """Which of several DICOM series, from 1 as they are listed; nothing is the largest axial one."""
    assume_spacing: tuple[float, float, float] | None = None
    """Voxel edges in mm along the file's axes, for scans that do not say where their voxels lie."""
    strict: bool = False
    """Segment no scan that there is a warning about."""


ALL_MASKS = PredictOptions()

EmptiesName = Literal["tomoseg", "totalsegmentator", "nnunet", "brats"]


@dataclass(frozen=True)
class EvaluateOptions:
    """What is scored, how, and what is drawn.

    Example:
        >>> EvaluateOptions(structures=("liver",), tolerance_mm=2.0).split
        'validation'
    """

    split: str = "validation"
    """validation or test, of a preprocessed dataset."""
    structures: tuple[str, ...] = ()
    """Only these structures."""
    tolerance_mm: float = 3.0
    """Tolerance of surface Dice."""
    tolerances: Path | None = None
    """YAML file of one tolerance in mm a structure."""
    surfaces: bool = True
    """Measure distances between surfaces."""
    empties: EmptiesName = "tomoseg"
    """Which tool's scores are given where a mask is empty."""
    resample: bool = False
    """Put predictions on another grid onto the reference's, the nearest voxel."""
    tuned: bool = False
    """Use what tomoseg tune chose for the model."""
    against: Path | None = None
    """Scores of another model on the same cases, as written by --output."""
    panels: int = 0
    """Draw so many of the worst structures."""
    lang: Language = "en"
    """Language of the report and the pictures: en or fr."""

    def __post_init__(self) -> None:
        if not self.tolerance_mm >= 0:
            raise ConfigError(f"expected a tolerance of 0 mm or more, got {self.tolerance_mm}; raise it")


AS_DEFINED = EvaluateOptions()
