"""What there is to know of an engine before it is opened: a record, so that an engine is its module and one line."""

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
"""Slices or blocks as a network takes them."""


@dataclass(frozen=True)
class Calibration:
    """What int8 is made with.

    Attributes:
        images: What its scales are taken from.
        checked: Others, by which layers are told that lose much; if there are none, they are not looked for.
    """

    images: Images
    checked: Images = ()


@dataclass(frozen=True)
class Converted:
    """A model in an engine's format.

    Attributes:
        write: Writes the main file at the path that it is given, and others beside it.
        made: How it was made; what `write` finds out may be added.
    """

    write: Callable[[Path], None]
    made: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Conversion:
    """How a model becomes files of an engine.

    Attributes:
        suffix: The suffix of the main file.
        stored: Precisions that files are stored in.
        convert: Takes a model and what int8 is made with, which is None for other precisions.

    Raises of `convert`:
        ConfigError: If a package is missing, or the network's layers depend on an input size that is not given.
    """

    suffix: str
    stored: tuple[str, ...]
    convert: Callable[[Model, Calibration | None], Converted]


@dataclass(frozen=True)
class EngineKind:
    """An engine.

    Attributes:
        name: What users call it.
        package: Must be importable.
        precisions: What it computes in.
        on: Whether it runs on a device such as `cpu` or `cuda:1`.
        open: Makes the engine of a model, for a device and a precision (`auto` or one of its precisions).
        automatic: Whether `auto` may choose it for a model.
        compared: The precisions in which this machine's CPU can compute a model, as `export --measure` compares them.
        stores: The stored precision of the export that a precision is computed from.
        conversion: How a model becomes its files; None where it computes from the weights.
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
        """Whether its package is there."""
        return is_installed(self.package)
