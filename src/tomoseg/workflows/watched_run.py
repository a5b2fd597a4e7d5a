"""Read-only access to a training run in progress: its parts, and the epochs that each has written so far."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from tomoseg.config import TrainConfig
from tomoseg.errors import InputError
from tomoseg.models.folds import part_of, read_folds
from tomoseg.settings import load_config

PICTURES = "pictures"
"""Name of the folder of pictures in a run folder, with a subfolder per structure."""

CONFIG, METRICS, LAST = "config.yaml", "metrics.jsonl", "last.pt"
"""File names as in `training/run_folder.py`, repeated since that module imports PyTorch."""

QUIET_MINUTES, QUIET_EPOCHS = 10.0, 3.0
"""A run that has written nothing for this many minutes, and this many of its longest epochs, may have ended."""

State = Literal["waiting", "running", "quiet", "finished"]


@dataclass(frozen=True)
class RunPart:
    """One network of a run.

    Attributes:
        name: Name such as `fold-1` or `axial`; empty in a run of one network.
        folder: Its run folder, which may not exist yet.
    """

    name: str
    folder: Path


@dataclass(frozen=True)
class WatchedRun:
    """A training run.

    Attributes:
        title: Title of the run.
        parts: Its networks, in training order.
    """

    title: str
    parts: tuple[RunPart, ...]


@dataclass(frozen=True)
class Seen:
    """The state and epochs of a part so far.

    Attributes:
        state: State of the part; `waiting` before the first epoch, `quiet` if it may have been stopped.
        epochs: One record per epoch, in order; the last one if an epoch was repeated. NaN and infinity become None.
        written: Time of the last record in seconds since 1970; None before there is one.
        odd_lines: Numbers of lines that are not records of epochs.
        pictures: Epochs of the pictures of each structure that has any.
    """

    state: State
    epochs: tuple[Mapping[str, Any], ...] = ()
    written: float | None = None
    odd_lines: tuple[int, ...] = ()
    pictures: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def find_run(place: Path) -> WatchedRun | None:
    """Return the run in a folder; None if there is none.

    Args:
        place: A run folder, of one network, of folds or of views.

    Raises:
        ConfigError: If its settings cannot be read.
        InputError: If it lacks its settings.
        ModelError: If the folder's record of folds cannot be read.
    """
    if not (place / CONFIG).is_file():
        if (place / METRICS).exists() or (place / LAST).exists():
            raise InputError(f"{place}: expected a run folder with its {CONFIG}, got one without; copy it there too")
        return None
    config = load_config(TrainConfig(), place / CONFIG)
    folds = read_folds(place)  # the settings of a fold may say of how many it is one
    parts = [part_of(place, number) for number in folds.numbers] if folds else [place / view for view in config.views]
    named = tuple(RunPart(folder.name, folder) for folder in parts)
    return WatchedRun(place.absolute().name, named or (RunPart("", place),))


def look_at(part: RunPart, now: float | None = None) -> Seen:
    """Read the state and epochs of a part so far.

    A last line without a line break is still being written, and is ignored until complete.

    Args:
        part: The part of a run.
        now: Time in seconds since 1970; the current time if omitted.
    """
    path = part.folder / METRICS
    try:
        written = path.stat().st_mtime
        *lines, _ = path.read_bytes().split(b"\n")
    except OSError:
        return Seen("waiting")
    epochs: dict[int, Mapping[str, Any]] = {}
    odd = []
    for number, line in enumerate(lines, start=1):
        record = _record(line)
        if record is None:
            odd.append(number)
        else:
            epochs[record["epoch"]] = record
    found = tuple(epochs[epoch] for epoch in sorted(epochs))
    passed = (time.time() if now is None else now) - written
    pictures = pictures_in(part.folder)
    return Seen(state_of(found, passed / 60), found, written if found else None, tuple(odd), pictures)


def state_of(epochs: tuple[Mapping[str, Any], ...], minutes: float) -> State:
    """Return the state of a run.

    Args:
        epochs: The epochs of the run so far.
        minutes: Minutes since the last one was written.

    Example:
        >>> state_of(({"epoch": 1, "minutes": 2.0, "minutes_left": 4.0},), 1.0)
        'running'
    """
    if not epochs:
        return "waiting"
    if epochs[-1].get("minutes_left") == 0:
        return "finished"
    ends = [0.0, *(float(end) for one in epochs if (end := one.get("minutes")) is not None)]
    longest = max((after - before for before, after in pairwise(ends)), default=0.0)
    return "quiet" if minutes > max(QUIET_MINUTES, QUIET_EPOCHS * longest) else "running"


def picture_path(run: Path, structure: str, epoch: int) -> Path:
    """Return the path of the picture of a structure after an epoch.

    Example:
        >>> picture_path(Path("run"), "liver", 12).as_posix()
        'run/pictures/liver/0012.png'
    """
    return run / PICTURES / structure / f"{epoch:04}.png"


def pictures_of(run: Path, epoch: int) -> dict[str, Path]:
    """Return the paths of the pictures after an epoch, by structure.

    Args:
        run: A run folder.
        epoch: Number of the epoch, from 1.
    """
    return {name: picture_path(run, name, epoch) for name, epochs in pictures_in(run).items() if epoch in epochs}


def pictures_in(run: Path) -> dict[str, tuple[int, ...]]:
    """Return the epochs of the pictures of each structure, in order.

    Args:
        run: A run folder.
    """
    found: dict[str, list[int]] = {}
    for path in (run / PICTURES).glob("*/*.png"):
        if path.stem.isdecimal() and path == picture_path(run, path.parent.name, int(path.stem)):
            found.setdefault(path.parent.name, []).append(int(path.stem))
    return {name: tuple(sorted(found[name])) for name in sorted(found)}


def _record(line: bytes) -> dict[str, Any] | None:
    """Parse the numbers in the record of an epoch; None if the line is not such a record."""
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict) or type(read.get("epoch")) is not int:
        return None
    dice = read.get("dice")
    return {**dict(_numbers(read)), "dice": dict(_numbers(dice)) if isinstance(dice, dict) else {}}


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, float | int | None]]:
    for name, value in values.items():
        if value is None or type(value) in {int, float}:
            yield name, value if value is not None and math.isfinite(value) else None
