"""Arguments that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

Output = Annotated[Path, arg(aliases=("-o",), metavar="PATH")]
MaybeOutput = Annotated[Path | None, arg(aliases=("-o",), metavar="PATH")]
Models = Annotated[tuple[Path, ...], arg(aliases=("-m",), metavar="MODEL [MODEL ...]")]
