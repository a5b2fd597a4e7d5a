"""Language of a command's output: `--lang`, which every command takes, or else the variable `TOMOSEG_LANG`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from inspect import Parameter
from typing import Annotated, get_args

from tyro.conf import arg

from tomoseg.errors import ConfigError
from tomoseg.settings import Language

VARIABLE = "TOMOSEG_LANG"

LANG_HELP = "Language of what is printed: `en` or `fr`."

LANG = Parameter(
    "lang",
    Parameter.KEYWORD_ONLY,
    default="en",
    annotation=Annotated[Language, arg(help=LANG_HELP)],
)
"""The `--lang` option of commands whose settings have no `lang`."""


def language_of(argv: Sequence[str]) -> Language:
    """Return the language of a command line, before it is parsed; that of the environment if it names none.

    Args:
        argv: Arguments after the command's name.

    Raises:
        ConfigError: If the environment names an unknown one; a wrong flag is reported later, with the others.
    """
    known: tuple[Language, ...] = get_args(Language)
    named = os.environ.get(VARIABLE) or "en"
    usual = next((lang for lang in known if lang == named), None)
    if usual is None:
        raise ConfigError(f"{VARIABLE}: expected {' or '.join(known)}, got {named!r}; correct it")
    asked = f" {' '.join(argv)} ".replace(" --lang=", " --lang ")
    return next((lang for lang in known if f" --lang {lang} " in asked), usual)
