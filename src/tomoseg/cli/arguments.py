"""Arguments of several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

Output = Annotated[Path, arg(aliases=("-o",), metavar="PATH")]
MaybeOutput = Annotated[Path | None, arg(aliases=("-o",), metavar="PATH")]
Models = Annotated[tuple[Path, ...], arg(aliases=("-m",), metavar="MODEL [MODEL ...]")]


def is_planned(preset: str | None, config: Path | None) -> bool:
    """Whether settings are planned: if the preset is `planned`, or neither a preset nor a file is given."""
    return preset == "planned" or (preset is None and config is None)
