"""Temperatures of a model's probabilities: kept beside its weights, used for `--confidence` and the expected Dice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tomoseg.errors import ModelError
from tomoseg.evaluation.temperatures import Temperatures
from tomoseg.files.atomic import whole_file
from tomoseg.models.packaged import check_is_own
from tomoseg.models.views import digest_in

CALIBRATED = "calibrated.json"


@dataclass(frozen=True)
class Calibration:
    """Temperatures that calibrate a model's probabilities.

    Attributes:
        weights_sha256: SHA-256 of the weights that they were fitted for.
        temperatures: Two temperatures per structure: for logits above 0, and for those below.
        fitted_on: The dataset, split and cases; also the structures that too few patients show, which have the
            temperatures of all structures pooled.
    """

    weights_sha256: str
    temperatures: Temperatures
    fitted_on: dict[str, Any] = field(default_factory=dict)


def save_calibration(calibration: Calibration, folder: Path) -> None:
    """Write a calibration into a model folder.

    Raises:
        ModelError: If it is a packaged model.
        OutputError: If it cannot be written.
    """
    check_is_own(folder)
    with whole_file(folder / CALIBRATED) as aside:
        aside.write_text(json.dumps(asdict(calibration), indent=1), encoding="utf-8")


def calibration_in(folder: Path) -> Calibration | None:
    """Read the calibration of a model's present weights, if there is one, without reading the weights.

    Args:
        folder: The model's folder.

    Raises:
        ModelError: If a record cannot be read.
    """
    return load_calibration(folder, digest_in(folder)) if (folder / CALIBRATED).exists() else None


def load_calibration(folder: Path | None, sha256: str | None, structures: Sequence[str] = ()) -> Calibration | None:
    """Read the calibration of a model's present weights, if there is one.

    Args:
        folder: The model's folder; None for a model without one.
        sha256: SHA-256 of its weights, as returned by `views.digest_in`.
        structures: Structures whose temperatures are needed.

    Raises:
        ModelError: If the record cannot be read, or lacks a structure.
    """
    if folder is None or not (folder / CALIBRATED).exists():
        return None
    path = folder / CALIBRATED
    try:
        found = _calibration_of(json.loads(path.read_text(encoding="utf-8")), path)
        is_current = found.weights_sha256 == sha256
        _check_has(found.temperatures, structures if is_current else ())
    except (OSError, ArithmeticError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{path}: expected a record of temperatures, got: {error!r}; delete it, or tune the model again"
        ) from None
    return found if is_current else None


def _calibration_of(data: dict[str, Any], path: Path) -> Calibration:
    """What was read from a record of temperatures.

    Raises:
        ModelError: If one is not above 0.
    """
    temperatures = {str(name): (float(above), float(below)) for name, (above, below) in data["temperatures"].items()}
    if not all(value > 0 for pair in temperatures.values() for value in pair):
        raise ModelError(f"{path}: expected temperatures above 0, got others; delete it, or tune the model again")
    return Calibration(str(data["weights_sha256"]), temperatures, dict(data["fitted_on"]))


def _check_has(temperatures: Temperatures, structures: Sequence[str]) -> None:
    """Refuse temperatures without some that are needed.

    Raises:
        ValueError: If some are missing.
    """
    missing = [name for name in structures if name not in temperatures]
    if missing:
        raise ValueError(f"no temperatures of {', '.join(missing[:3])}")
