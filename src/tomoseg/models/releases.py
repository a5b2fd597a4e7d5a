"""Published models that can be fetched: TotalSegmentator's tasks, listed in `data/totalsegmentator.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from pydantic import Field, PositiveInt

from tomoseg.errors import ConfigError, unknown_name_message
from tomoseg.labels import LabelSet
from tomoseg.nnunet import Box, TaskRules
from tomoseg.settings import Config


class ReleasedPart(Config):
    """An archive of one network.

    Example:
        >>> part = ReleasedPart(file="v1/One.zip", bytes=10, ids=(5, 6))
        >>> part.structures.names, part.file_name
        (('liver', 'stomach'), 'One.zip')
    """

    name: str = ""
    """Name among several parts."""
    file: str
    """Release and file name, relative to `address`."""
    bytes: PositiveInt
    """Size of the archive in bytes."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """SHA-256 of the archive, where the server states one."""
    ids: tuple[int, int] | None = None
    """First and last of the 117 structures that it finds; if omitted, `names` or the archive state them."""
    names: tuple[str, ...] = ()
    """Structures that it finds, where TotalSegmentator's code names them."""

    @property
    def file_name(self) -> str:
        """File name of the archive on disk."""
        return self.file.rpartition("/")[2]

    @property
    def structures(self) -> LabelSet | None:
        """Its structures in channel order; None where only the archive states them."""
        if self.ids is None:
            return LabelSet.from_names(self.names) if self.names else None
        first, last = self.ids
        return LabelSet(LabelSet.total().structures[first - 1 : last])


class Task(Config):
    """A model that can be fetched.

    Example:
        >>> task = task_named("total-3mm")
        >>> len(task.parts), task.megabytes, task.step
        (1, 135, 0.8)
    """

    name: str
    """Name of the task."""
    tells: str
    """Description of what it finds."""
    training: str
    """Folder of the training in each archive."""
    parts: tuple[ReleasedPart, ...]
    """Its networks; where two claim a voxel, the later one wins."""
    folds: tuple[str, ...] = ("0",)
    """Folds that are used; if empty, all."""
    step: float = Field(0.5, gt=0, le=1)
    """Step between tiles as a fraction of their edge."""
    voxels_mm: tuple[float, float, float] | None = None
    """Voxel spacing in mm that TotalSegmentator resamples a scan to before nnU-Net does; if omitted, none."""
    box: Box | None = None
    """Part of a scan that TotalSegmentator passes to the network; if omitted, all of it."""
    subset_finder: str | None = None
    """Task that finds the box of the structures when only some are asked for."""
    largest: tuple[str, ...] = ()
    """Structures of which TotalSegmentator keeps the largest component."""
    least_mm3: dict[str, float] = Field({})
    """Structures of which it removes components up to a volume in mm³."""

    @property
    def rules(self) -> TaskRules:
        """Pre- and postprocessing around its networks."""
        shared = {name: getattr(self, name) for name in TaskRules.model_fields if name != "task"}
        return TaskRules(task=self.name, **shared)

    @property
    def megabytes(self) -> int:
        """Size of all its archives in MB (10⁶ bytes)."""
        return round(sum(part.bytes for part in self.parts) / 1e6)


class Releases(Config):
    """All tasks and their common properties."""

    address: str
    """Base URL of the archives, without release and file name."""
    licence: str
    """Licence of the weights, as their authors state it."""
    citations: tuple[str, ...]
    """Publications that their authors ask to be cited."""
    tasks: dict[str, Task]
    """Tasks by name."""
    refused: dict[str, str]
    """Tasks that cannot be fetched, each with the name of the reason."""
    reasons: dict[str, str]
    """Text of each reason, by name."""


@cache
def releases() -> Releases:
    """Read the table, once."""
    text = resources.files("tomoseg.data").joinpath("totalsegmentator.toml").read_text(encoding="utf-8")
    data: dict[str, Any] = tomllib.loads(text)
    tasks = {name: {"name": name, **task} for name, task in data.pop("tasks").items()}
    return Releases(tasks=tasks, **data)


def task_named(name: str) -> Task:
    """Return a task of the table.

    Args:
        name: Name of the task; case is ignored, and `-` and `_` are equivalent.

    Raises:
        ConfigError: If there is none of that name, or it cannot be fetched; the message says why.
    """
    known = releases()
    found = listed_name(name, tuple(known.tasks))
    if found is not None:
        return known.tasks[found]
    refused = listed_name(name, tuple(known.refused))
    if refused is not None:
        why = known.reasons[known.refused[refused]]
        raise ConfigError(f"expected a task that anybody may use, got {refused}, which {why}")
    told = unknown_name_message(name, tuple(known.tasks))
    raise ConfigError(told if told.endswith("?") else f"{told}; `tomoseg fetch` lists all")


def listed_name(name: str, names: Sequence[str]) -> str | None:
    """Return the name that matches when case is ignored and `-` and `_` are equivalent; None if there is none.

    Example:
        >>> listed_name("total_3mm", ["total", "total-3mm"])
        'total-3mm'
    """
    return next((one for one in names if _plain(one) == _plain(name)), None)


def _plain(name: str) -> str:
    return name.replace("-", "_").casefold()


def reason_against(name: str) -> str | None:
    """Return the reason why a task cannot be fetched; None if it can, or does not exist.

    Args:
        name: Name of the task; case is ignored, and `-` and `_` are equivalent.

    Example:
        >>> reason_against("total_mr"), reason_against("total")
        ('is for MR images, and tomoseg segments CT', None)
    """
    known = releases()
    refused = listed_name(name, tuple(known.refused))
    return None if refused is None else known.reasons[known.refused[refused]]
