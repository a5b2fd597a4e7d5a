"""Descriptions of engines, available before one is opened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tomoseg.inference.engine import Engine
from tomoseg.models.folder import Model
from tomoseg.packages import is_installed

Images = Sequence[Float32[np.ndarray, "1 w ..."]]
"""Slices or blocks as the network's input."""


@dataclass(frozen=True)
class Calibration:
    """Images for int8 quantisation.

    Attributes:
        images: Images that the scales are determined on.
        checked: Other images, on which layers that lose much accuracy are found; if empty, these are not searched for.
    """

    images: Images
    checked: Images = ()


@dataclass(frozen=True)
class Converted:
    """A model in an engine's format.

    Attributes:
        write: Writes the main file at the path that it is given, and others beside it.
        made: How it was made; `write` may add to it.
    """

    write: Callable[[Path], None]
    made: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversion:
    """Conversion of a model to an engine's file format.

    Attributes:
        suffix: Suffix of the main file.
        stored: Precisions that files are stored in.
        convert: Takes a model and the calibration for int8, None for other precisions.

    Raises of `convert`:
        ConfigError: If a package is missing, or the network's layers depend on an input size that is not given.
    """

    suffix: str
    stored: tuple[str, ...]
    convert: Callable[[Model, Calibration | None], Converted]


@dataclass(frozen=True)
class EngineKind:
    """Description of an engine.

    Attributes:
        name: Its name in `--engine`.
        package: Python package that it needs.
        precisions: Precisions that it computes in.
        on: Whether it runs on a device such as `cpu` or `cuda:1`.
        open: Opens the engine for a model, a device and a precision (`auto` or one of its precisions).
        automatic: Whether `auto` may choose it for a model.
        compared: Precisions in which this machine's CPU can compute a model, as `export --measure` compares them.
        stores: Stored precision of the export that a precision is computed from.
        conversion: Conversion to its file format; None if it computes from the weights.
    """

    name: str
    package: str
    precisions: tuple[str, ...]
    on: Callable[[str], bool]
    open: Callable[[Model, str, str], Engine]
    automatic: Callable[[Model], bool]
    compared: Callable[[Model], tuple[str, ...]]
    stores: Callable[[str], str] = lambda precision: precision
    conversion: Conversion | None = None

    @property
    def is_installed(self) -> bool:
        """Whether its package is installed."""
        return is_installed(self.package)
