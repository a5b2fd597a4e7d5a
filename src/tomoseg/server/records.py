"""Schemas of the interface: jobs, uploads, results."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

State = Literal["received", "checking", "queued", "running", "done", "failed", "cancelled", "expired"]
"""State of a job, in order; the last four are final."""

ENDS: frozenset[str] = frozenset({"done", "failed", "cancelled", "expired"})
"""Final states; only `expired`, when files are removed, follows another one."""

RESULT = "result.json"
"""Name of the file with a result's record, beside its files."""

LABEL_MAP_STEM = "segmentation"
"""Stem of the file names of a label map."""

LABEL_MAP = f"{LABEL_MAP_STEM}.nii.gz"
"""File name of a label map; a result of masks is a folder."""

Stage = Literal["load", "read", "segment", "write"]
"""Stage of a running job."""


_UPLOAD = {
    "id": "0f8b2c6d1e4a4b0c9d7e5f3a2b1c0d9e",
    "bytes": 2206612,
    "received": 2206612,
    "complete": True,
    "files": 1,
    "sha256": "dbd3ae6d614d1d7ef3a46925c30c70038ed52da6b37fdd6afdc7b9b71387e3e1",
    "expires": 1796611502.7,
}
_ASKED: dict[str, Any] = {
    "uploads": [_UPLOAD["id"]],
    "model": "body-117",
    "options": {"format": ["nifti", "dicom-seg"], "roi_subset": ["liver", "spleen"]},
}
_JOB = _ASKED | {
    "id": "5a1f0c7b3d2e4f6a8b9c0d1e2f3a4b5c",
    "number": 1,
    "state": "running",
    "position": None,
    "stage": "segment",
    "share": 0.42,
    "seconds_left": 31.0,
    "created": 1796006702.5,
    "started": 1796006703.1,
    "finished": None,
    "expires": None,
    "reason": None,
    "reason_fr": None,
    "advice": None,
    "choices": [],
    "warnings": [],
    "corrections": 0,
}


def _like(example: dict[str, Any]) -> ConfigDict:
    """Return a configuration with an example for the OpenAPI description."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class Shape(BaseModel):
    """Base class of responses."""

    model_config = ConfigDict(use_attribute_docstrings=True, frozen=True)


class Told(Shape):
    """A note or warning about a scan or a result."""

    text: str
    """Text of one or two sentences."""
    kind: str
    """Short, stable kind."""
    level: Literal["note", "warning"]
    """`warning` if the result may be wrong because of it."""


class ListedSeries(Shape):
    """One of several scans in an upload."""

    series: int
    """Value of the option `series` that chooses it."""
    text: str
    """Description of the scan."""
    text_fr: str = ""
    """The same in French."""


class Upload(Shape):
    """Uploaded files, complete or in progress."""

    model_config = _like(_UPLOAD)

    id: str
    """Cannot be guessed."""
    bytes: int
    """Total size in bytes, when complete."""
    received: int
    """Bytes received."""
    complete: bool
    """Whether it is complete, so that jobs can use it."""
    files: int
    """Number of files; several are the slices of one scan."""
    sha256: str | None
    """SHA-256 of the file, or of the sorted digests of several; None until it is complete."""
    expires: float
    """Time of removal in seconds since 1970, unless it is used."""


class Job(Shape):
    """A job: one scan, one model, and options."""

    model_config = _like(_JOB)

    id: str
    """Cannot be guessed."""
    number: int
    """Number in order of arrival."""
    state: State
    """State of the job."""
    position: int | None
    """Number of jobs before it in the queue, if it is queued."""
    stage: Stage | None
    """Stage, if it is running."""
    share: float | None
    """Progress, 0 to 1, if it is running."""
    seconds_left: float | None
    """Estimated seconds left, if it is running, as soon as known."""
    model: str
    """Name of the model."""
    options: dict[str, Any]
    """Options, named as in `tomoseg predict`."""
    uploads: list[str]
    """Ids of its uploads."""
    created: float
    """Time of creation in seconds since 1970, like the next three."""
    started: float | None
    finished: float | None
    expires: float | None
    """Time at which its files are removed."""
    reason: str | None
    """Reason of its failure, in one sentence."""
    reason_fr: str | None = None
    """The same in French."""
    advice: str | None
    """What to do about it."""
    choices: list[ListedSeries]
    """Scans to choose from, if it failed because its upload contains several."""
    warnings: list[Told]
    """Notes and warnings about the scan."""
    corrections: int = 0
    """Number of corrected masks."""


class Jobs(Shape):
    """Some of the jobs."""

    jobs: list[Job]
    """Jobs, the newest first."""


class AskedJob(BaseModel):
    """Request for a job."""

    model_config = _like(_ASKED) | ConfigDict(extra="forbid", use_attribute_docstrings=True)

    uploads: list[str]
    """Ids of complete uploads, which together form one scan."""
    model: str | None = None
    """Name of an offered model; if omitted, the first."""
    options: dict[str, Any] = {}
    """Options of `tomoseg predict`, by name."""


class StructureShape(Shape):
    """A structure of a model."""

    id: int
    """Value in a label map."""
    name: str
    """Name, as in file names."""
    group: str
    """Group in which it is listed."""
    colour: tuple[int, int, int]
    """Red, green and blue, 0 to 255."""


class OfferedModel(Shape):
    """A model that jobs can use."""

    name: str
    """Name of the model."""
    sha256: str
    """SHA-256 of its weights."""
    structures: list[StructureShape]
    """Its structures."""


class ResultStructure(StructureShape):
    """A structure of a result. Unknown values are null."""

    file: str | None
    """Name of its mask's file, if each structure has one."""
    present: bool
    """Whether it was found."""
    volume_ml: float | None
    mean_hu: float | None
    median_hu: float | None
    std_hu: float | None
    centroid_mm: tuple[float, float, float] | None
    """Centroid in the scan's world coordinates, RAS+ mm."""
    touches_border: bool | None
    """Whether it may extend beyond the scan."""
    expected_dice: float | None
    """Expected Dice, if `triage` was requested."""


class ResultFile(Shape):
    """A file of a result."""

    name: str
    """Name for the route of files."""
    bytes: int
    """Size in bytes."""


class Result(Shape):
    """Result of a completed job."""

    job: str
    """Id of the job."""
    model: str
    """Name of the model."""
    seconds: dict[str, float]
    """Duration of each stage."""
    structures: list[ResultStructure]
    """Structures, in the model's order."""
    warnings: list[Told]
    """Notes and warnings."""
    files: list[ResultFile]
    """Files for download."""


class Correction(Shape):
    """A corrected mask."""

    structure: str
    """Name of the structure."""
    version: int
    """Number of the version in the job, from 1; the latest of each structure counts."""
    who: str
    """Name of the person who corrected it, as given."""
    when: str
    """Time at which it was saved, ISO 8601 in UTC."""
    voxels: int
    """Number of voxels of the mask."""


class Corrections(Shape):
    """Corrected masks of a job."""

    corrections: list[Correction]
    """Corrections, in order."""


class SavedCorrection(Shape):
    """A saved mask."""

    version: int
    """Number of the version in the job."""


class FormatShape(Shape):
    """An output format."""

    name: str
    """Value of the option `format`."""
    help: str
    """Description of the format."""


class Limits(Shape):
    """Limits of the server."""

    upload_bytes: int
    """Largest size of one upload."""
    quota_bytes: int
    """Largest size of all stored files."""
    used_bytes: int
    """Size of all stored files."""
    keep_hours: float
    """Hours for which scans and results are kept."""
    job_minutes: float
    """Time limit of a job."""
    job_memory_bytes: int | None
    """Memory limit of a job; null for most of the machine's memory."""


class Info(Shape):
    """Description of the server."""

    tomoseg: str
    """Version of tomoseg."""
    api: int
    """The version of this interface."""
    default_model: str
    """Name of the model that is used if none is named."""
    models: list[str]
    """Names of all models."""
    formats: list[FormatShape]
    """Output formats."""
    suffixes: list[str]
    """Suffixes of files that contain one scan; DICOM files may have any."""
    limits: Limits
    """Limits of the server."""


class Health(Shape):
    """Confirmation that the server answers."""

    status: Literal["ok"]
    """Always `ok`."""
    tomoseg: str
    """Version of tomoseg."""
    api: int
    """The version of this interface."""
    token: bool
    """Whether other routes require a token."""
