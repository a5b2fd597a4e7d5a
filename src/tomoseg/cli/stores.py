"""URLs among the arguments of a command: what is read is fetched before it begins, or when it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tomoseg.errors import ConfigError, InputError
from tomoseg.files.stores.addresses import is_mirrored, url_of
from tomoseg.options import PredictOptions

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
        command: Its name.
        given: Its arguments; a URL is the place in the cache that stands for it.

    Raises:
        ConfigError: If the command takes no URL there, or a package is not installed.
        InputError: If a store cannot be reached or refuses, or has nothing there.
        OutputError: If a store cannot be written to.
    """
    places = list(_places(given))
    if not places:
        return
    taken = (*_READ.get(command, ()), *(("output",) if command in _WRITTEN else ()))
    for name, path in places:
        if name not in taken:
            told = f"expected a path of this machine for --{name} of tomoseg {command}, got a URL; copy it first"
            raise ConfigError(f"{url_of(path)}: {told}")
    _refuse_sharing(given)
    is_lazy = command == "predict" and given.get("server") is None
    for name, path in places:
        _have(name, path, lazily=is_lazy and name != "model")


def _places(given: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """The places that stand for URLs, each with its argument's name."""
    for name, value in given.items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Path) and is_mirrored(one):
                yield name, one


def _refuse_sharing(given: Mapping[str, Any]) -> None:
    """Leases need a folder that all workers see.

    Raises:
        ConfigError: If workers are to share a store.
    """
    options, output = given.get("options"), given.get("output")
    if isinstance(options, PredictOptions) and options.join and isinstance(output, Path) and is_mirrored(output):
        raise ConfigError(
            f"{url_of(output)}: expected a folder that all workers share for --join, got a store; take --part 1/8 to "
            "8/8, or a shared folder"
        )


def _have(name: str, place: Path, *, lazily: bool) -> None:
    from tomoseg.files.stores.mirror import mirror
    from tomoseg.files.stores.upload import check_store
    from tomoseg.terminal import console

    if name == "output":
        check_store(place)
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
