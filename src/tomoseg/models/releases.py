"""Published models that can be fetched: the tasks of TotalSegmentator, as `data/totalsegmentator.toml` lists them."""

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
    """What it is called among several."""
    file: str
    """Its release and name, below the address of all."""
    bytes: PositiveInt
    """The archive's size."""
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")
    """Its sum, where the server states one."""
    ids: tuple[int, int] | None = None
    """The first and the last of the 117 structures that it finds; if omitted, the archive names its own."""
    names: tuple[str, ...] = ()
    """What it finds, where its makers' code names it."""

    @property
    def file_name(self) -> str:
        """What the archive is called on disk."""
        return self.file.rpartition("/")[2]

    @property
    def structures(self) -> LabelSet | None:
        """What it finds, in channel order; None where the archive says it."""
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
    """What it is called."""
    tells: str
    """What it finds."""
    training: str
    """The training's folder in each archive."""
    parts: tuple[ReleasedPart, ...]
    """Its networks; where two of them claim a voxel, the later has it."""
    folds: tuple[str, ...] = ("0",)
    """Which folds are used; none named takes all."""
    step: float = Field(0.5, gt=0, le=1)
    """By which tiles move on, of their edge."""
    voxels_mm: tuple[float, float, float] | None = None
    """Edges of the voxels that its makers bring a scan to; if omitted, nnU-Net alone does."""
    box: Box | None = None
    """What of a scan its makers show the network alone; if omitted, all of it."""
    subset_finder: str | None = None
    """What finds the box of structures that are asked for alone."""
    largest: tuple[str, ...] = ()
    """Structures of which its makers keep the largest piece."""
    least_mm3: dict[str, float] = Field({})
    """Structures of which they take away pieces of no more than a volume."""

    @property
    def rules(self) -> TaskRules:
        """What is done around its networks."""
        shared = {name: getattr(self, name) for name in TaskRules.model_fields if name != "task"}
        return TaskRules(task=self.name, **shared)

    @property
    def megabytes(self) -> int:
        """Of all its archives."""
        return round(sum(part.bytes for part in self.parts) / 1e6)


class Releases(Config):
    """The table of all."""

    address: str
    """Where the archives are, without release and name."""
    licence: str
    """What all of them may be used under, as their makers state it."""
    citations: tuple[str, ...]
    """What their makers ask to be cited."""
    tasks: dict[str, Task]
    """By name."""
    refused: dict[str, str]
    """What cannot be fetched, with the name of the reason."""
    reasons: dict[str, str]
    """The reasons, by name."""


@cache
def releases() -> Releases:
    """The table."""
    text = resources.files("tomoseg.data").joinpath("totalsegmentator.toml").read_text(encoding="utf-8")
    data: dict[str, Any] = tomllib.loads(text)
    tasks = {name: {"name": name, **task} for name, task in data.pop("tasks").items()}
    return Releases(tasks=tasks, **data)


def task_named(name: str) -> Task:
    """A task of the table.

    Args:
        name: As it is listed; `-` and `_` are alike.

    Raises:
        ConfigError: If there is none of that name, or it may not be fetched; the message says why.
    """
    known = releases()
    found = listed_name(name, tuple(known.tasks))
    if found is not None:
        return known.tasks[found]
    refused = listed_name(name, tuple(known.refused))
    if refused is not None:
        why = known.reasons[known.refused[refused]]
        raise ConfigError(f"expected a task that anybody may use, got {refused}, which {why}")
    raise ConfigError(f"{unknown_name_message(name, tuple(known.tasks))}; `tomoseg fetch` lists all")


def listed_name(name: str, names: Sequence[str]) -> str | None:
    """The one of some names that is meant, however its words are divided; None if there is none.

    Example:
        >>> listed_name("total_3mm", ["total", "total-3mm"])
        'total-3mm'
    """
    return next((one for one in names if _plain(one) == _plain(name)), None)


def _plain(name: str) -> str:
    return name.replace("-", "_").casefold()


def reason_against(name: str) -> str | None:
    """Why a task may not be fetched; None of one that may, or that there is not.

    Args:
        name: As it is listed; `-` and `_` are alike.

    Example:
        >>> reason_against("total_mr"), reason_against("total")
        ('is for MR images, and tomoseg segments CT', None)
    """
    known = releases()
    refused = listed_name(name, tuple(known.refused))
    return None if refused is None else known.reasons[known.refused[refused]]
