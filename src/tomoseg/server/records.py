"""What the interface sends and takes, as it is documented: jobs, uploads, results."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

State = Literal["received", "checking", "queued", "running", "done", "failed", "cancelled", "expired"]
"""Where a job is, in this order; the last four are ends."""

ENDS: frozenset[str] = frozenset({"done", "failed", "cancelled", "expired"})
"""What no job leaves, but for `expired`, which takes the files of any of the others."""

RESULT = "result.json"
"""Beside the files of a result: what is sent of it."""

LABEL_MAP_STEM = "segmentation"
"""How the names of a label map and of what belongs to it begin."""

LABEL_MAP = f"{LABEL_MAP_STEM}.nii.gz"
"""What a label map is called; a result of masks is a folder."""

Stage = Literal["load", "read", "segment", "write"]
"""What is done to a scan that is running."""


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
    "advice": None,
    "choices": [],
    "warnings": [],
    "corrections": 0,
}


def _like(example: dict[str, Any]) -> ConfigDict:
    """How the description of the interface shows what is sent."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class Shape(BaseModel):
    """Base of what is sent."""

    model_config = ConfigDict(use_attribute_docstrings=True, frozen=True)


class Told(Shape):
    """Something that was noticed."""

    text: str
    """One or two sentences."""
    kind: str
    """Short and stable."""
    level: Literal["note", "warning"]
    """Whether it may make the result wrong."""


class ListedSeries(Shape):
    """One of several scans in an upload."""

    series: int
    """What the option `series` takes to choose it."""
    text: str
    """What it is."""


class Upload(Shape):
    """Files that were sent, or are on their way."""

    model_config = _like(_UPLOAD)

    id: str
    """Cannot be guessed."""
    bytes: int
    """Of all of it, when it is complete."""
    received: int
    """So many of them are here."""
    complete: bool
    """Whether jobs can be made of it."""
    files: int
    """One is a scan; several are the slices of one."""
    sha256: str | None
    """Of the file; of several, of the sorted digests of each. None until it is complete."""
    expires: float
    """When it is removed, in seconds since 1970, unless it is used."""


class Job(Shape):
    """One scan, one model, and what is asked for."""

    model_config = _like(_JOB)

    id: str
    """Cannot be guessed."""
    number: int
    """In order of arrival."""
    state: State
    """Where it is."""
    position: int | None
    """Of a queued one: so many jobs are before it."""
    stage: Stage | None
    """Of a running one."""
    share: float | None
    """Of a running one: how much of it is done, 0 to 1."""
    seconds_left: float | None
    """Of a running one, once it can be said."""
    model: str
    """Its name."""
    options: dict[str, Any]
    """What was asked for, as `tomoseg predict` calls it."""
    uploads: list[str]
    """What it is made of."""
    created: float
    """Seconds since 1970, as are the next three."""
    started: float | None
    finished: float | None
    expires: float | None
    """When its files are removed."""
    reason: str | None
    """Why it failed, in one sentence."""
    advice: str | None
    """What to do about it."""
    choices: list[ListedSeries]
    """Of one that failed because an upload holds several scans: which there are."""
    warnings: list[Told]
    """What was noticed about the scan."""
    corrections: int = 0
    """How many corrected versions of masks there are."""


class Jobs(Shape):
    """Some of the jobs."""

    jobs: list[Job]
    """The newest first."""


class AskedJob(BaseModel):
    """A job to be made."""

    model_config = _like(_ASKED) | ConfigDict(extra="forbid", use_attribute_docstrings=True)

    uploads: list[str]
    """Ids of complete uploads, which together are one scan."""
    model: str | None = None
    """One of those that are offered; the first if omitted."""
    options: dict[str, Any] = {}
    """Those of `tomoseg predict`, by their names."""


class StructureShape(Shape):
    """A structure that a model knows."""

    id: int
    """Its value in a label map."""
    name: str
    """As in file names."""
    group: str
    """What it is listed with."""
    colour: tuple[int, int, int]
    """Red, green and blue, 0 to 255."""


class OfferedModel(Shape):
    """A model that jobs may name."""

    name: str
    """As it is named."""
    sha256: str
    """Of its weights."""
    structures: list[StructureShape]
    """All that it knows."""


class ResultStructure(StructureShape):
    """A structure of a result. What cannot be said is null."""

    file: str | None
    """Of its mask, where each has its own."""
    present: bool
    """Whether anything was found."""
    volume_ml: float | None
    mean_hu: float | None
    median_hu: float | None
    std_hu: float | None
    centroid_mm: tuple[float, float, float] | None
    """In the scan's world, RAS+."""
    touches_border: bool | None
    """Whether a part of it may lie outside of the scan."""
    expected_dice: float | None
    """How sure the model is, where `triage` was asked for."""


class ResultFile(Shape):
    """A file of a result."""

    name: str
    """What the route of files takes."""
    bytes: int
    """Its size."""


class Result(Shape):
    """What became of a job that is done."""

    job: str
    """Its id."""
    model: str
    """What made it."""
    seconds: dict[str, float]
    """By stage."""
    structures: list[ResultStructure]
    """In the model's order."""
    warnings: list[Told]
    """What was noticed."""
    files: list[ResultFile]
    """What can be had."""


class Correction(Shape):
    """A corrected mask."""

    structure: str
    """Of what."""
    version: int
    """Which of the job's versions it is, from 1; of each structure the last counts."""
    who: str
    """Whose work it is, as they said."""
    when: str
    """When it was saved, as ISO 8601 in UTC."""
    voxels: int
    """How many it has."""


class Corrections(Shape):
    """Corrected masks of a job."""

    corrections: list[Correction]
    """The first first."""


class SavedCorrection(Shape):
    """A mask that was saved."""

    version: int
    """Which of the job's versions it is."""


class FormatShape(Shape):
    """What a result can be written as."""

    name: str
    """What the option `format` takes."""
    help: str
    """What it is."""


class Limits(Shape):
    """What is refused beyond, said before anything is sent."""

    upload_bytes: int
    """Of one upload."""
    quota_bytes: int
    """Of all that is kept."""
    used_bytes: int
    """Of that."""
    keep_hours: float
    """How long results and scans are kept."""
    job_minutes: float
    """How long one job may take."""
    job_memory_bytes: int | None
    """How much memory one job may take."""


class Info(Shape):
    """What this server is and offers."""

    tomoseg: str
    """Its version."""
    api: int
    """The version of this interface."""
    default_model: str
    """Which is taken where none is named."""
    models: list[str]
    """Names of all."""
    formats: list[FormatShape]
    """What results can be written as here."""
    suffixes: list[str]
    """How files may end that are a scan each; those of DICOM may end in anything."""
    limits: Limits
    """What is refused beyond."""


class Health(Shape):
    """That the server answers."""

    status: Literal["ok"]
    """Always."""
    tomoseg: str
    """Its version."""
    api: int
    """The version of this interface."""
    token: bool
    """Whether other routes ask for one."""
