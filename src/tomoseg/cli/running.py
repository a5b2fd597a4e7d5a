"""Running one command: settings from preset, file and flags; errors in one line."""

from __future__ import annotations

import argparse
import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Any

from tomoseg.cli.exits import NOT_STARTED, STOPPED
from tomoseg.cli.language import language_of
from tomoseg.cli.mistaken import mistaken
from tomoseg.cli.reading import read
from tomoseg.cli.stores import with_files
from tomoseg.errors import ConfigError, TomosegError
from tomoseg.language.words import say, speak, spoken
from tomoseg.limits import refusal, refuse_too_little
from tomoseg.packages import EXTRAS, missing
from tomoseg.settings import Config, Language, load_together, names_in, naming
from tomoseg.terminal import console


def command_of(name: str) -> Callable[..., int]:
    """Import and return the function of a command."""
    called = called_in_python(name)
    return getattr(import_module(f"tomoseg.cli.{called}"), called)


def called_in_python(name: str) -> str:
    """Return the name of a command's module and function: its own, with `_` appended if it is a Python keyword.

    Example:
        >>> called_in_python("import"), called_in_python("predict")
        ('import_', 'predict')
    """
    return f"{name}_" if iskeyword(name) else name


def run(name: str, argv: Sequence[str]) -> int:
    """Run a command and return its exit status.

    Args:
        name: One of `COMMANDS`.
        argv: Its arguments.

    Raises:
        ModuleNotFoundError: If a package is missing that every installation has.
        OSError: If output cannot be printed.
    """
    given: Mapping[str, Any] | None = None
    before = spoken()
    try:
        command = command_of(name)
        speak(language_of(argv))
        call = read(command, name, argv, _settings(command, argv))
        speak(_chosen_language(call.keywords))
        refuse_too_little(name)
        with_files(name, call.keywords)
        given = call.keywords
        return call()
    except console.PrintError as error:
        raise error.__cause__ or error from None
    except KeyboardInterrupt:
        console.error(say("stopped"))
        return STOPPED
    except Exception as error:
        is_help_unread = given is None and isinstance(error, OSError) and error.filename is None
        told = None if is_help_unread else _told(error, name, given or {})
        if told is None:
            raise
        console.error(told)
        return NOT_STARTED
    finally:
        speak(before)  # a program may call several commands, each in its own language


def refuse(message: str, argv: Sequence[str]) -> int:
    """Print why no command could start, and return the exit status.

    Args:
        message: A finished English sentence.
        argv: All arguments, which may name a language.
    """
    before = spoken()
    with contextlib.suppress(ConfigError):
        speak(language_of(argv))
    console.error(message)
    speak(before)
    return NOT_STARTED


def _told(error: Exception, name: str, given: Mapping[str, Any]) -> str | None:
    """Return the message of an expected error; None for a bug."""
    if isinstance(error, TomosegError):
        about_places = None if isinstance(error, ConfigError) else mistaken(name, given)
        return about_places or str(error)
    if isinstance(error, ModuleNotFoundError):
        return missing(error.name) if error.name in EXTRAS else None
    return refusal(error)


def _settings(command: Callable[..., int], argv: Sequence[str]) -> dict[str, Config]:
    """Return the settings from the command's preset and file, as the defaults of its flags."""
    parameters = inspect.signature(command).parameters
    settings = _defaults(command)
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset", default="default")
    early.add_argument("--config", type=Path)
    try:
        chosen, _ = early.parse_known_args(argv)
    except argparse.ArgumentError:
        return settings  # tyro reports the error
    if "preset" in parameters:
        settings = {name: naming(_speaking(_preset(one, chosen.preset)), ()) for name, one in settings.items()}
    if settings and "config" in parameters and chosen.config is not None:
        beside = _beside(settings.values()) if "preset" in parameters else []
        loaded = zip(settings, load_together(list(settings.values()), chosen.config, beside), strict=True)
        settings = {name: naming(one, names_in(chosen.config)) for name, one in loaded}
    return settings


def _defaults(command: Callable[..., int]) -> dict[str, Config]:
    """Return the default settings of a command."""
    parameters = inspect.signature(command).parameters
    defaults = {name: one.default for name, one in parameters.items() if isinstance(one.default, Config)}
    return {name: naming(_speaking(one), ()) for name, one in defaults.items()}


def _speaking(settings: Config) -> Config:
    """Return the settings in the language of this process, if they have one."""
    return settings.model_copy(update={"lang": spoken()}) if "lang" in type(settings).model_fields else settings


def _chosen_language(given: Mapping[str, Any]) -> Language:
    """Return the language in a command's settings; the current one if they have none."""
    return next((one.lang for one in given.values() if isinstance(one, Config) and hasattr(one, "lang")), spoken())


def _preset(default: Config, name: str) -> Config:
    """Return the preset of that name, or the default if there is none, which tyro reports."""
    from tomoseg.config import PREPROCESS_PRESETS, TRAIN_PRESETS

    presets: tuple[dict[str, Any], ...] = (PREPROCESS_PRESETS, TRAIN_PRESETS)
    return next((one for one in presets if type(one["default"]) is type(default)), {name: default}).get(name, default)


def _beside(settings: Iterable[Config]) -> list[Config]:
    """Return the default settings of the other of preprocess and train: `tomoseg plan` writes one file for both."""
    from tomoseg.config import PREPROCESS_PRESETS, TRAIN_PRESETS

    kinds = {type(one) for one in settings}
    both: tuple[Config, ...] = (PREPROCESS_PRESETS["default"], TRAIN_PRESETS["default"])
    return [one for one in both if type(one) not in kinds]
