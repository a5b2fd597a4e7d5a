"""Recognition, after a command has failed, of mistaken arguments, such as a model in place of a scan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from tomoseg.errors import TomosegError

Kind = Literal["model", "nnunet", "preprocessed", "dataset", "scan", "nothing"]

WORDS: dict[Kind, str] = {
    "model": "a model or a run",
    "nnunet": "a training of nnU-Net",
    "preprocessed": "a preprocessed dataset",
    "dataset": "a dataset",
    "scan": "a scan",
    "nothing": "nothing: there is no such file or folder",
}

WANTED: dict[str, dict[str, Kind]] = {
    "predict": {"input": "scan", "model": "model"},
    "inspect": {"scan": "scan"},
    "check": {"dataset": "dataset"},
    "plan": {"dataset": "dataset"},
    "preprocess": {"dataset": "dataset"},
    "preview": {"preprocessed": "preprocessed"},
    "train": {"preprocessed": "preprocessed"},
    "evaluate": {"predicted": "model", "reference": "preprocessed"},
    "tune": {"model": "model", "preprocessed": "preprocessed"},
    "export": {"model": "model"},
    "models": {"model": "model"},
    "fuse": {"models": "model", "on": "preprocessed"},
    "import": {"source": "nnunet"},
}
"""Expected kinds of the paths that a command reads, by argument. `evaluate` also takes masks for either."""

ADVICE: dict[tuple[Kind, Kind], str] = {
    ("scan", "model"): "-i of predict takes the scan, -m the model; `tomoseg models` shows what a model is",
    ("scan", "preprocessed"): (
        "name the scans that it was made from; `tomoseg evaluate MODEL PREPROCESSED` scores a model on it"
    ),
    ("scan", "nnunet"): "`tomoseg import` makes a model of it, which -m takes",
    ("model", "nnunet"): "`tomoseg import` makes a model of it",
    ("model", "scan"): "-m of predict takes the model, -i the scan",
    ("model", "dataset"): "`tomoseg preprocess` and `tomoseg train` make a model of it",
    ("model", "preprocessed"): "`tomoseg train` makes a model of it",
    ("nnunet", "model"): "it is a model of tomoseg already, which -m of predict takes",
    ("preprocessed", "dataset"): "`tomoseg preprocess` makes one of it",
    ("preprocessed", "model"): "name the preprocessed dataset; the run folder comes after -o",
    ("preprocessed", "scan"): "`tomoseg preprocess` makes one of many scans with their masks",
    ("preprocessed", "nothing"): "check the path",
    ("dataset", "preprocessed"): "it is preprocessed already, so `tomoseg train` takes it",
    ("dataset", "model"): "`tomoseg models` and `tomoseg labels` show what it is",
    ("dataset", "scan"): "a dataset is a folder of scans with their masks; `tomoseg inspect` looks at one scan",
}
"""Advice by the expected kind and the one that was given."""

EXCHANGED = {
    "predict": (("input", "-i", "output", "-o"), ("input", "-i", "model", "-m")),
    "train": (("preprocessed", "PREPROCESSED", "output", "-o"),),
    "preprocess": (("dataset", "DATASET", "output", "-o"),),
    "evaluate": (("predicted", "PREDICTED", "reference", "REFERENCE"),),
    "tune": (("model", "MODEL", "preprocessed", "PREPROCESSED"),),
}
"""Pairs of arguments that are easily exchanged, each with its name in messages."""


def mistaken(command: str, given: Mapping[str, Any]) -> str | None:
    """Return a message if an argument is of another kind than the command expects, and that kind is recognised.

    Args:
        command: Name of the command that failed.
        given: Its arguments.
    """
    wanted = WANTED.get(command, {})
    places = {name: place for name in {*wanted, "output"} if (place := _place(given.get(name))) is not None}
    exchanged = (_exchanged(pair, wanted, places) for pair in EXCHANGED.get(command, ()))
    wrong = (_wrong(command, name, kind, places) for name, kind in wanted.items() if name in places)
    return next((sentence for sentence in (*exchanged, *wrong) if sentence is not None), None)


def _exchanged(pair: tuple[str, str, str, str], wanted: Mapping[str, Kind], places: Mapping[str, Path]) -> str | None:
    first, called, second, other = pair
    if not _are_exchanged(places, first, second, wanted):
        return None
    return (
        f"expected {WORDS[wanted[first]]} for {called}, got it for {other} ({places[second]}); "
        f"exchange {called} and {other}"
    )


def _wrong(command: str, name: str, wanted: Kind, places: Mapping[str, Path]) -> str | None:
    got = kind_of(places[name])
    advice = None if got is None else ADVICE.get((wanted, got))
    if got is None or advice is None or _are_masks(command, name, places):
        return None
    return f"{places[name]}: expected {WORDS[wanted]}, got {WORDS[got]}; {advice}"


def _place(given: object) -> Path | None:
    """Return the path of an argument, the first of several; None if it is no path."""
    first = given[0] if isinstance(given, tuple) and given else given
    return first if isinstance(first, Path) else None


def _are_exchanged(places: Mapping[str, Path], first: str, second: str, wanted: Mapping[str, Kind]) -> bool:
    if first not in places or second not in places:
        return False
    one, other = kind_of(places[first]), kind_of(places[second])
    if second not in wanted:  # the output, which need not be there
        return other == wanted[first] and one in {None, "nothing"}
    return (one, other) == (wanted[second], wanted[first])


def _are_masks(command: str, name: str, places: Mapping[str, Path]) -> bool:
    """Whether an argument may be masks that are compared with masks."""
    if command != "evaluate":
        return False
    if name == "predicted":
        return kind_of(places[name]) != "preprocessed"
    return kind_of(places["predicted"]) != "model"


def kind_of(place: Path) -> Kind | None:
    """Return the kind of thing at a path, without opening a scan; None if it is unknown or cannot be read."""
    try:
        return _kind_of(place)
    except OSError:
        return None


def _kind_of(place: Path) -> Kind | None:
    from tomoseg.models.folder import is_model
    from tomoseg.models.nnunet.source import holds_training
    from tomoseg.preprocessed.format import INDEX

    if (place / INDEX).is_file():
        return "preprocessed"
    if is_model(place):
        return "model"
    if holds_training(place):
        return "nnunet"
    if not place.exists():
        return "nothing"
    return "dataset" if _is_dataset(place) else "scan" if _is_scan(place) else None


def _is_dataset(place: Path) -> bool:
    from tomoseg.datasets.layouts import find_dataset

    return _succeeds(lambda: find_dataset(place))


def _is_scan(place: Path) -> bool:
    from tomoseg.files.scan import SCAN_SUFFIXES, look

    return place.name.lower().endswith(SCAN_SUFFIXES) if place.is_file() else _succeeds(lambda: look(place))


def _succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (TomosegError, OSError):
        return False
    return True
