"""The exceptions of tomoseg.

Every message says what was expected, what came instead, and what to do about it. Nothing below the
command line prints or exits; it raises one of these.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

NEAR = 0.6
"""From this similarity on, a name is taken for a slip of another."""


class TomosegError(Exception):
    """Base class of all errors of tomoseg.

    Example:
        >>> try:
        ...     raise InputError("ct.nii: expected 3 axes, got 4; pass one volume")
        ... except TomosegError as error:
        ...     print(error)
        ct.nii: expected 3 axes, got 4; pass one volume
    """


class InputError(TomosegError):
    """A scan, a mask or an argument that cannot be used as it is."""


class GridError(TomosegError):
    """Two images that should lie on one grid and do not, or geometry that cannot be used."""


class LabelError(TomosegError):
    """A structure that is unknown, duplicated or missing from a label set."""


class ConfigError(TomosegError):
    """A configuration with an unknown key, a wrong value, or two values that contradict each other."""


class DatasetError(TomosegError):
    """A dataset folder, or a preprocessed dataset, that cannot be used."""


class DownloadError(TomosegError):
    """A file that could not be fetched from a server, or is not the one that was expected."""


class ModelError(TomosegError):
    """A model folder that is incomplete, altered, or does not fit the request."""


class OutputError(TomosegError):
    """A result that could not be written; nothing half-written is left behind."""


class ServerError(TomosegError):
    """A server that cannot be reached, has another version, or refuses a request.

    Attributes:
        status: HTTP status of its answer; 0 if there was none.

    Args:
        message: One sentence; the server's own if it refused.
        status: HTTP status of its answer; 0 if there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class TrainingError(TomosegError):
    """A training run that cannot start or go on."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun, in the singular for 1.

    Args:
        number: The number.
        one: The noun in the singular.
        many: The noun in the plural; if omitted, `one` with an s.

    Example:
        >>> counted(1, "case"), counted(3, "case"), counted(2, "box", "boxes")
        ('1 case', '3 cases', '2 boxes')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def near_names(name: str, known: Sequence[str]) -> list[str]:
    """Return the known name that is near to an unknown one, if there is one.

    Example:
        >>> near_names("livr", ["liver", "spleen"]), near_names("de", ["en", "fr"])
        (['liver'], [])
    """
    return difflib.get_close_matches(name, known, n=1, cutoff=NEAR)


def unknown_name_message(name: str, known: Sequence[str]) -> str:
    """Return the message for an unknown name, with the known one that is near, or else with the known ones.

    Args:
        name: What was given.
        known: The known names.

    Example:
        >>> unknown_name_message("de", ["en", "fr"])
        "expected one of 2 known names, got 'de'; choose from en, fr"
        >>> unknown_name_message("livr", ["liver", "spleen"])
        "expected one of 2 known names, got 'livr'; did you mean 'liver'?"
    """
    if len(known) == 1:
        return f"expected {known[0]!r}, got {name!r}; correct it"
    near = near_names(name, known)
    hint = (
        f"did you mean {near[0]!r}?"
        if near
        else f"choose from {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}"
    )
    return f"expected one of {len(known)} known names, got {name!r}; {hint}"
