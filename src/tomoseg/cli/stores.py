"""URLs among the arguments of a command: inputs are fetched before it begins, or when they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tomoseg.errors import ConfigError, InputError
from tomoseg.files.stores.addresses import is_mirrored, url_of
from tomoseg.language.words import say
from tomoseg.options import HERE, PredictOptions, Spread

_READ = {
    "predict": ("input", "model"),
    "evaluate": ("predicted", "reference"),
    "check": ("dataset",),
    "preprocess": ("dataset", "corrections"),
    "inspect": ("scan",),
}
"""Arguments of commands that may be URLs to read."""

_WRITTEN = ("predict", "evaluate", "check", "preprocess", "inspect")
"""Commands whose output may be a URL."""

_PATTERN = "*?["


def with_files(command: str, given: Mapping[str, Any]) -> None:
    """Fetch the files of URLs among the arguments of a command.

    Args:
        command: Name of the command.
        given: Its arguments; a URL is given as its path in the cache.

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
    is_lazy = command == "predict" and given.get("server") is None
    for path in (path for name, path in places if name == "output"):
        _check(path)
    for name, path in places:
        _have(name, path, lazily=is_lazy and name != "model")


def _places(given: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Yield the paths that stand for URLs, each with the name of its argument."""
    for name, value in given.items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Path) and is_mirrored(one):
                yield name, one


def _refuse_others(command: str, places: Iterable[tuple[str, Path]]) -> None:
    """Refuse URLs for arguments that cannot be URLs.

    Raises:
        ConfigError: If there is one.
    """
    taken = (*_READ.get(command, ()), *(("output",) if command in _WRITTEN else ()))
    for name, path in places:
        if name not in taken:
            told = f"expected a path of this machine for --{name} of tomoseg {command}, got a URL; copy it first"
            raise ConfigError(f"{url_of(path)}: {told}")


def _refuse_sharing(given: Mapping[str, Any]) -> None:
    """Refuse a store as the output of workers that share leases, which need a common folder.

    Raises:
        ConfigError: If workers would share a store.
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


def _check(place: Path) -> None:
    from tomoseg.files.stores.upload import check_store
    from tomoseg.terminal.rows import progress

    waiting = say("Waiting for {url} to answer", url=url_of(place))
    with progress(say("output"), line=lambda: waiting):
        check_store(place)


def _have(name: str, place: Path, *, lazily: bool) -> None:
    from tomoseg.files.stores.mirror import mirror
    from tomoseg.terminal.rows import progress

    url, done_of = url_of(place), (0, 0)

    def on_object(done: int, total: int) -> None:
        nonlocal done_of
        done_of = done, total
        show(done, total)

    def words() -> str:
        done, total = done_of
        if not total:
            return say("Waiting for {url} to answer", url=url)
        return say("Downloading {url}: {done} of {total} files", url=url, done=done, total=total)

    with progress(say("download"), line=words) as show:
        there = mirror(_without_pattern(place), lazily=lazily, on_object=on_object)
    if not there and name != "output":
        raise InputError(f"{url_of(place)}: expected an object, or some below it, found none; check the address")


def _without_pattern(place: Path) -> Path:
    """Return the folder that a pattern searches."""
    parents = [
        one for one in (place, *place.parents) if not any(mark in part for part in one.parts for mark in _PATTERN)
    ]
    return parents[0]
