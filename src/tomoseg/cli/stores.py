"""URLs among the arguments of a command: what is read is fetched before it begins, or when it is read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tomoseg.errors import ConfigError, InputError
from tomoseg.files.stores.addresses import is_mirrored, url_of
from tomoseg.options import HERE, PredictOptions, Spread

_READ = {
    "predict": ("input", "model"),
    "evaluate": ("predicted", "reference"),
    "check": ("dataset",),
    "preprocess": ("dataset", "corrections"),
    "inspect": ("scan",),
}
"""What commands read that may lie in a store, by their arguments' names."""

_WRITTEN = ("predict", "evaluate", "check", "preprocess", "inspect")
"""Commands whose output may."""

_PATTERN = "*?["


def with_files(command: str, given: Mapping[str, Any]) -> None:
    """Have the files of URLs among arguments.

    Args:
        command: Name of the command.
        given: Its arguments; a URL is the place in the cache that stands for it.

    Raises:
        ConfigError: If the command takes no URL there, or a package is not installed.
        InputError: If a store cannot be reached or refuses, or has nothing there.
        OutputError: If a store cannot be written to.
    """
    places = list(_places(given))
    if not places:
        return
    _refuse_others(command, places)
    _refuse_sharing(given)
    from tomoseg.files.stores.upload import check_store

    is_lazy = command == "predict" and given.get("server") is None
    for path in (path for name, path in places if name == "output"):
        check_store(path)
    for name, path in places:
        _have(name, path, lazily=is_lazy and name != "model")


def _places(given: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """The places that stand for URLs, each with its argument's name."""
    for name, value in given.items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Path) and is_mirrored(one):
                yield name, one


def _refuse_others(command: str, places: Iterable[tuple[str, Path]]) -> None:
    """Only some arguments may be URLs.

    Raises:
        ConfigError: If another one is.
    """
    taken = (*_READ.get(command, ()), *(("output",) if command in _WRITTEN else ()))
    for name, path in places:
        if name not in taken:
            told = f"expected a path of this machine for --{name} of tomoseg {command}, got a URL; copy it first"
            raise ConfigError(f"{url_of(path)}: {told}")


def _refuse_sharing(given: Mapping[str, Any]) -> None:
    """Leases need a folder that all workers see.

    Raises:
        ConfigError: If workers are to share a store.
    """
    output = given.get("output")
    if not isinstance(output, Path) or not is_mirrored(output):
        return
    spread = next((one for one in given.values() if isinstance(one, Spread)), HERE)
    asked = "--join" if isinstance(spread, PredictOptions) and spread.join else f"--on {spread.on}"
    if asked == "--join" or spread.on.startswith("slurm"):
        raise ConfigError(
            f"{url_of(output)}: expected a folder that all workers share for {asked}, got a store; choose such a "
            "folder; predict also takes --part 1/8 to 8/8"
        )


def _have(name: str, place: Path, *, lazily: bool) -> None:
    from tomoseg.files.stores.mirror import mirror
    from tomoseg.terminal import console

    with console.progress("fetch") as show:
        there = mirror(_without_pattern(place), lazily=lazily, on_object=show)
    if not there and name != "output":
        raise InputError(f"{url_of(place)}: expected an object, or some below it, found none; check the address")


def _without_pattern(place: Path) -> Path:
    """The folder that a pattern looks into."""
    parents = [
        one for one in (place, *place.parents) if not any(mark in part for part in one.parts for mark in _PATTERN)
    ]
    return parents[0]
