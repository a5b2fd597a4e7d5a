"""In which language a command speaks: `--lang`, which every command takes, or else the variable `TOMOSEG_LANG`."""

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
"""The option of commands whose settings have no language of their own."""


def language_of(argv: Sequence[str]) -> Language:
    """The language of a command line, before anything else of it is read; that of the environment if it names none.

    Args:
        argv: What follows the command's name.

    Raises:
        ConfigError: If the environment names one that is not known; what is wrong with a flag is told with the others.
    """
    known: tuple[Language, ...] = get_args(Language)
    named = os.environ.get(VARIABLE) or "en"
    usual = next((lang for lang in known if lang == named), None)
    if usual is None:
        raise ConfigError(f"{VARIABLE}: expected {' or '.join(known)}, got {named!r}; correct it")
    asked = f" {' '.join(argv)} ".replace(" --lang=", " --lang ")
    return next((lang for lang in known if f" --lang {lang} " in asked), usual)
