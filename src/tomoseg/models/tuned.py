"""Decisions found by `tomoseg tune`: kept beside a model's weights, and used by `tomoseg predict`."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tomoseg.errors import ConfigError, ModelError
from tomoseg.files.atomic import whole_file
from tomoseg.models.packaged import check_is_own
from tomoseg.models.views import digest_in
from tomoseg.postprocess.steps import steps_of

TUNED = "tuned.json"

LEAST_PATIENTS = 5
"""Patients that must show a structure for choices of its own; gains on fewer do not carry over to others."""


@dataclass(frozen=True)
class Tuned:
    """Decisions chosen on validation cases.

    Attributes:
        weights_sha256: SHA-256 of the weights that they were chosen for.
        smoothing: Smoothing of logits over neighbouring slices, in slices.
        thresholds: Thresholds of structures that are not decided at 0.5.
        steps: Postprocessing of each structure's mask, as text.
        chosen_on: The dataset, split and cases; the Dice before and after, and on held-out patients; decisions
            dropped for no gain there; the number of patients of structures with too few for choices of their own.
    """

    weights_sha256: str
    smoothing: float = 0.0
    thresholds: dict[str, float] = field(default_factory=dict)
    steps: dict[str, list[str]] = field(default_factory=dict)
    chosen_on: dict[str, Any] = field(default_factory=dict)

    @property
    def cases(self) -> int | None:
        """Number of cases that it was chosen on, if recorded."""
        found = self.chosen_on.get("cases")
        return found if isinstance(found, int) else None

    @property
    def gain(self) -> float | None:
        """Gain in mean Dice on held-out patients, if recorded."""
        where = self.chosen_on
        return where["dice_on_others"] - where["dice_before"] if "dice_on_others" in where else None


def save_tuned(tuned: Tuned, folder: Path) -> None:
    """Write the record into a model folder.

    Raises:
        ModelError: If it is a packaged model.
        OutputError: If it cannot be written.
    """
    check_is_own(folder)
    with whole_file(folder / TUNED) as aside:
        aside.write_text(json.dumps(asdict(tuned), indent=1), encoding="utf-8")


def load_tuned(folder: Path | None, sha256: str | None) -> Tuned | None:
    """Read the tuning of a model's present weights, if there is one.

    Args:
        folder: The model's folder; None for a model without one.
        sha256: SHA-256 of its weights, as returned by `views.digest_in`.

    Raises:
        ModelError: If the record cannot be read.
    """
    found = None if folder is None else read_tuned(folder)
    return found if found is not None and found.weights_sha256 == sha256 else None


def read_tuned(folder: Path) -> Tuned | None:
    """Read the tuning in a model folder, if there is one, whichever weights it is for.

    Args:
        folder: The model's folder.

    Raises:
        ModelError: If the record cannot be read.
    """
    path = folder / TUNED
    if not path.exists():
        return None
    try:
        return _checked(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ArithmeticError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise ModelError(f"{path}: expected a record of tuning, got: {error}; delete it and tune again") from None


def _checked(data: dict[str, Any]) -> Tuned:
    """What was read, each entry of its kind: a file may have been edited, or cut and mended.

    Raises:
        ValueError: If a number is none that can decide; another error if an entry is of another kind.
    """
    thresholds = {str(name): float(value) for name, value in data.get("thresholds", {}).items()}
    smoothing, chosen_on = float(data.get("smoothing", 0.0)), dict(data.get("chosen_on", {}))
    for name, value in thresholds.items():
        if not 0 < value < 1:
            raise ValueError(f"a threshold of {value:g} for {name}")
    if not 0 <= smoothing < math.inf:
        raise ValueError(f"a smoothing of {smoothing:g}")
    steps = {str(name): list(map(str, texts)) for name, texts in data.get("steps", {}).items()}
    for texts in steps.values():
        steps_of(texts, ())
    if "dice_on_others" in chosen_on:
        chosen_on |= {name: float(chosen_on[name]) for name in ("dice_before", "dice_on_others")}
    return Tuned(str(data["weights_sha256"]), smoothing, thresholds, steps, chosen_on)


@dataclass(frozen=True)
class Tuning:
    """State of a model's tuning.

    Attributes:
        found: The tuning, if there is one.
        is_current: Whether it is for the present weights; otherwise it is not used.
    """

    found: Tuned | None
    is_current: bool


def tuning_of(folder: Path) -> Tuning:
    """Read the state of a model's tuning, without reading its weights.

    Args:
        folder: The model's folder.

    Raises:
        ModelError: If a record cannot be read.
    """
    found = read_tuned(folder)
    return Tuning(found, found is not None and found.weights_sha256 == digest_in(folder))
