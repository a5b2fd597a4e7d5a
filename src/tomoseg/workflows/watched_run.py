"""A training run as it is watched: its parts, and the epochs that each has written so far. Nothing is written."""

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
"""The folder of pictures in a run folder, with one for each structure."""

CONFIG, METRICS, LAST = "config.yaml", "metrics.jsonl", "last.pt"
"""As `training/run_folder.py` names them; that module imports PyTorch."""

QUIET_MINUTES, QUIET_EPOCHS = 10.0, 3.0
"""A run that has written nothing for so long, and for so many of its longest epochs, may have ended."""

State = Literal["waiting", "running", "quiet", "finished"]


@dataclass(frozen=True)
class RunPart:
    """One network of a run.

    Attributes:
        name: `fold-1`, `axial`; empty where the run is of one network.
        folder: Its run folder, which need not be there yet.
    """

    name: str
    folder: Path


@dataclass(frozen=True)
class WatchedRun:
    """A run.

    Attributes:
        title: What it is called.
        parts: Its networks, in the order in which they are trained.
    """

    title: str
    parts: tuple[RunPart, ...]


@dataclass(frozen=True)
class Seen:
    """What a part has written so far.

    Attributes:
        state: Whether it goes on; `waiting` before the first epoch, `quiet` where it may have been stopped.
        epochs: A record each, in their order; one that came twice as it was last. Numbers that are none are None.
        written: When the last was written, in seconds since 1970; None before there is one.
        odd_lines: Lines that are no record of an epoch.
        pictures: Of each structure that has any, the epochs of its pictures.
    """

    state: State
    epochs: tuple[Mapping[str, Any], ...] = ()
    written: float | None = None
    odd_lines: tuple[int, ...] = ()
    pictures: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def find_run(place: Path) -> WatchedRun | None:
    """The run in a folder; None where there is none.

    Args:
        place: A run folder, of one network, of folds or of views.

    Raises:
        ConfigError: If its settings cannot be read.
        InputError: If it lacks its settings.
        ModelError: If what it says of its folds cannot be read.
    """
    if not (place / CONFIG).is_file():
        if (place / METRICS).exists() or (place / LAST).exists():
            raise InputError(f"{place}: expected a run folder with its {CONFIG}, got one without; copy it there too")
        return None
    config = load_config(TrainConfig, TrainConfig(), place / CONFIG)
    folds = read_folds(place)  # the settings of a fold may say of how many it is one
    parts = [part_of(place, number) for number in folds.numbers] if folds else [place / view for view in config.views]
    named = tuple(RunPart(folder.name, folder) for folder in parts)
    return WatchedRun(place.absolute().name, named or (RunPart("", place),))


def look_at(part: RunPart, now: float | None = None) -> Seen:
    """Read what a part has written so far.

    A last line without its line break is being written, and is waited for.

    Args:
        part: Of a run.
        now: In seconds since 1970; the clock's time if omitted.
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
    """Whether a run goes on.

    Args:
        epochs: The epochs of the run so far.
        minutes: Since the last one was written.

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
    """Where the picture of a structure after an epoch lies.

    Example:
        >>> picture_path(Path("run"), "liver", 12).as_posix()
        'run/pictures/liver/0012.png'
    """
    return run / PICTURES / structure / f"{epoch:04}.png"


def pictures_of(run: Path, epoch: int) -> dict[str, Path]:
    """The pictures after an epoch, by structure.

    Args:
        run: A run folder.
        epoch: From 1.
    """
    return {name: picture_path(run, name, epoch) for name, epochs in pictures_in(run).items() if epoch in epochs}


def pictures_in(run: Path) -> dict[str, tuple[int, ...]]:
    """Of each structure that has pictures the epochs of them, in order.

    Args:
        run: A run folder.
    """
    found: dict[str, list[int]] = {}
    for path in (run / PICTURES).glob("*/*.png"):
        if path.stem.isdecimal() and path == picture_path(run, path.parent.name, int(path.stem)):
            found.setdefault(path.parent.name, []).append(int(path.stem))
    return {name: tuple(sorted(found[name])) for name in sorted(found)}


def _record(line: bytes) -> dict[str, Any] | None:
    """What a line says of an epoch, as far as it is numbers; None where it is no such line."""
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
