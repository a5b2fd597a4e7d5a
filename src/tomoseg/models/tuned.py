"""What `tomoseg tune` found to help a model: kept beside its weights, and used by `tomoseg predict`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tomoseg.errors import ModelError
from tomoseg.files.atomic import whole_file
from tomoseg.models.packaged import check_is_own
from tomoseg.models.views import digest_in

TUNED = "tuned.json"

LEAST_PATIENTS = 5
"""Of fewer a structure is left as it is: what gains on two patients gains next to nothing on others."""


@dataclass(frozen=True)
class Tuned:
    """Decisions that validation chose.

    Attributes:
        weights_sha256: The SHA-256 of the weights that they were chosen for.
        smoothing: The smoothing of logits over neighbouring slices, in slices.
        thresholds: The thresholds of structures that are not decided at 0.5.
        steps: What is done to structures' masks, as text.
        chosen_on: The dataset, split and cases, the Dice before and after, that on patients that did not choose, what
            gained nothing there and was not taken, and patients of each structure that too few show, which was left as
            it is.
    """

    weights_sha256: str
    smoothing: float = 0.0
    thresholds: dict[str, float] = field(default_factory=dict)
    steps: dict[str, list[str]] = field(default_factory=dict)
    chosen_on: dict[str, Any] = field(default_factory=dict)

    @property
    def cases(self) -> int | None:
        """How many chose, if that was written down."""
        found = self.chosen_on.get("cases")
        return found if isinstance(found, int) else None

    @property
    def gain(self) -> float | None:
        """Mean Dice that it gains on patients that did not choose it, if that was written down."""
        where = self.chosen_on
        return where["dice_on_others"] - where["dice_before"] if "dice_on_others" in where else None


def save_tuned(tuned: Tuned, folder: Path) -> None:
    """Write it into a model folder.

    Raises:
        ModelError: If it is a packaged model.
        OutputError: If it cannot be written.
    """
    check_is_own(folder)
    with whole_file(folder / TUNED) as aside:
        aside.write_text(json.dumps(asdict(tuned), indent=1), encoding="utf-8")


def load_tuned(folder: Path | None, sha256: str | None) -> Tuned | None:
    """What was found for a model's present weights, if anything was.

    Args:
        folder: The model's own; None if it was not read from one.
        sha256: The SHA-256 of its weights; of several networks as `views.digest_in` has it.

    Raises:
        ModelError: If the file is no such record.
    """
    found = None if folder is None else read_tuned(folder)
    return found if found is not None and found.weights_sha256 == sha256 else None


def read_tuned(folder: Path) -> Tuned | None:
    """What was found for a model, for its present weights or for former ones.

    Args:
        folder: The model's own.

    Raises:
        ModelError: If the file is no such record.
    """
    path = folder / TUNED
    if not path.exists():
        return None
    try:
        return Tuned(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: expected a record of tuning, got: {error}; delete it and tune again") from None


@dataclass(frozen=True)
class Tuning:
    """Whether a model is tuned.

    Attributes:
        found: What was found for it, if anything was.
        is_current: Whether that is for its present weights; else it is not used.
    """

    found: Tuned | None
    is_current: bool


def tuning_of(folder: Path) -> Tuning:
    """Whether a model is tuned, its weights not read.

    Args:
        folder: The model's own.

    Raises:
        ModelError: If a record cannot be read.
    """
    found = read_tuned(folder)
    return Tuning(found, found is not None and found.weights_sha256 == digest_in(folder))
