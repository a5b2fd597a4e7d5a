"""Command lines that cannot be read, told in one line of ours instead of tyro's boxes, which are in English alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NoReturn

from tomoseg.cli.others import COMMANDS as OF_OTHERS
from tomoseg.errors import ConfigError, near_names, unknown_name_message


def refusing(command: str) -> AbstractContextManager[None]:
    """What tyro refuses within raises a ConfigError.

    Args:
        command: Name of the command that is being read.
    """
    try:
        from tyro._errors import on_parse_error  # not public: a tyro without it prints its box, and exits
    except ImportError:
        return nullcontext()
    return on_parse_error(partial(_refuse, command))


def without_command(first: str, commands: Sequence[str]) -> str:
    """Return the message for a line whose first word is no command.

    Args:
        first: The word; empty if there is none.
        commands: Our commands.
    """
    if not first:
        return "expected a command, got none; `tomoseg --help` lists them"
    if first.startswith("-"):
        return f"expected a command, got {first}; `tomoseg --help` lists them"
    ours = OF_OTHERS.get(first.lower())
    if ours is not None:
        return f"expected one of our commands, got {first!r}; `tomoseg {ours} --help` says how it is done"
    if not near_names(first, commands):
        return f"expected a command, got {first!r}; `tomoseg --help` lists them"
    return unknown_name_message(first, commands)


def see(command: str) -> str:
    """Return where the arguments of a command are listed."""
    return f"`tomoseg {command} --help` lists what it takes"


def _refuse(command: str, event: Any) -> None:
    """Raise what there is to say of an event of tyro; of one that is not known tyro tells itself."""
    tell = _TELLS.get(type(event).__name__)
    if tell is not None:
        tell(command, event)


def _missing(command: str, event: Any) -> NoReturn:
    """Refuse a line without some of the arguments that are required.

    Raises:
        ConfigError: Always.
    """
    wanted = ", ".join(_spelt(one.arg) for one in event.missing_arguments)
    raise ConfigError(f"expected {wanted}, got none; {see(command)}")


def _without_value(command: str, event: Any) -> NoReturn:
    """Refuse an option whose value is missing.

    Raises:
        ConfigError: Always.
    """
    raise ConfigError(f"expected {_spelt(event.argument)}, got none; {see(command)}")


def _wrong_value(command: str, event: Any) -> None:
    """Refuse a value that cannot be read.

    Raises:
        ConfigError: If it is known which.
    """
    if event.argument is None:
        return
    name, told = _name(event.argument), str(event.message)
    if "expected" not in told:  # tyro's own words, which quote what was given
        given = " ".join(re.findall("'([^']*)'", told))
        raise ConfigError(f"{name}: expected {event.argument.lowered.metavar}, got {given}; {see(command)}")
    raise ConfigError(f"{name}: {told}" if "; " in told else f"{name}: {told}; {see(command)}")


_TELLS: dict[str, Callable[[str, Any], None]] = {
    "MissingArgs": _missing,
    "BadValue": _without_value,
    "InstantiationFailure": _wrong_value,
}
"""By the names of tyro's events, of which every release may have others."""


def _name(argument: Any) -> str:
    """Return an argument's name: a flag, the first of several, or what the help calls it."""
    return str(argument.lowered.metavar if argument.is_positional() else argument.lowered.name_or_flags[0])


def _spelt(argument: Any) -> str:
    """Return the same with what comes after a flag."""
    return _name(argument) if argument.is_positional() else f"{_name(argument)} {argument.lowered.metavar}"
