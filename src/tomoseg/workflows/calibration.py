"""Calibration data for int8: slices of a preprocessed dataset, or network inputs from unlabelled scans."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tomoseg.errors import DatasetError, InputError
from tomoseg.inference.kinds import Calibration
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.recorder import NetworkImage, draw_images
from tomoseg.inference.score_cases import on_grid
from tomoseg.inference.segment import predictor_of
from tomoseg.inference.stages import Stages
from tomoseg.models.folder import Model
from tomoseg.networks.images import EngineInput, NetworkInput, neighbours, own_input
from tomoseg.preprocessed.fits import fitted, grid_needed
from tomoseg.preprocessed.format import INDEX
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.workflows.unlabelled import Unlabelled

CALIBRATION_SLICES = 128

MOST_BYTES = 2**27
"""Maximum size in bytes of all calibration images, if they have one size."""

LEAST_IMAGES = 8
MOST_SCANS = 16
"""Maximum number of scans to draw images from."""

CHECKED_SHARE = 8
"""Images per extra image that is kept aside to find sensitive layers."""

EvaluationData = Preprocessed | Unlabelled


@dataclass(frozen=True)
class CalibrationData:
    """Data for calibrating int8 and for measuring engines.

    Attributes:
        calibrate: Data that int8 scales are computed from.
        measure: Data that every engine is measured on.
    """

    calibrate: EvaluationData | None
    measure: EvaluationData | None

    @classmethod
    def at(cls, calibrate: Path | None, measure: Path | None) -> CalibrationData:
        """Open the named places.

        Raises:
            DatasetError: If it is a dataset that cannot be read.
            InputError: If it is none and there is no scan.
        """
        return cls(*(None if place is None else opened(place) for place in (calibrate, measure)))

    @property
    def unlabelled(self) -> list[Unlabelled]:
        """The unlabelled scans among `calibrate` and `measure`."""
        return [place for place in (self.calibrate, self.measure) if isinstance(place, Unlabelled)]

    @property
    def compared_on(self) -> EvaluationData | None:
        """The data to compare engines on: `measure`, or else the scans that int8 was calibrated with."""
        return self.measure or (self.calibrate if isinstance(self.calibrate, Unlabelled) else None)

    @property
    def failed(self) -> dict[str, str]:
        """Reason for each scan that could not be read, by name."""
        return {name: reason for place in self.unlabelled for name, reason in place.failed.items()}

    @property
    def left_something_out(self) -> bool:
        """Whether any scan was left out."""
        return any(place.failed or place.found.left_out for place in self.unlabelled)


def opened(place: Path) -> EvaluationData:
    """Open a preprocessed dataset, or scans without masks.

    Args:
        place: A preprocessed dataset, or a scan or folder of scans.

    Raises:
        DatasetError: If it is a dataset that cannot be read.
        InputError: If it is none and there is no scan.
    """
    return Preprocessed(place) if (place / INDEX).is_file() else Unlabelled(place)


def calibration_of(
    model: Model, place: EvaluationData, on_scan: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Calibration, dict[str, Any]]:
    """Return the calibration images for int8, and their description for the record of the export.

    Args:
        model: The model of one network.
        place: A preprocessed dataset, of which the training cases are used, or scans. An axial dataset serves models
            of any view, which draw from its scans as if they had no masks.
        on_scan: Called with the number of scans done and the total number of scans.

    Raises:
        DatasetError: If the dataset has other structures or another grid than the model, or no cases to train on.
        InputError: If no scan can be read, or all of them are of one value.
    """
    if isinstance(place, Preprocessed):
        data = fitted(model.record.labels.names, grid_needed(model.record.grid, place), place)
        cases = data.split("train")
        if isinstance(model.record.input_spec, NetworkInput) and data.grid == model.record.grid:
            chosen = calibration_slices(cases, len(data.labels))
            images = [network_image(model.record.input_spec, case, k) for case, k in chosen]
            return Calibration(images), {"calibrated_with": [f"{case.name}:{k}" for case, k in chosen]}
        scans = ((case.name, on_grid(case)) for case in _spread(cases, MOST_SCANS))
        return _drawn(model, scans, min(len(cases), MOST_SCANS), on_scan)
    grid_of = predictor_of(model).on_grid
    some = ((name, grid_of(volume, Stages())) for name, volume in place.some(MOST_SCANS))
    return _drawn(model, some, min(len(place), MOST_SCANS), on_scan)


def _drawn(
    model: Model, scans: Iterator[tuple[str, OnGrid]], count: int, on_scan: Callable[[int, int], None]
) -> tuple[Calibration, dict[str, Any]]:
    """Draw equally many images from each scan, and keep some aside for checking.

    Raises:
        InputError: If all scans are of one value.
    """
    wanted = images_wanted(model.record.input_spec)
    each = math.ceil(wanted * (1 + 1 / CHECKED_SHARE) / count)
    names, images = [], []
    for number, (name, scan) in enumerate(scans, start=1):
        images += draw_images(predictor_of(model), scan, each, seed=number)
        names.append(name)
        on_scan(number, count)
    if not images:
        raise InputError("expected scans with different values to calibrate with, got uniform ones; use others")
    order = np.random.default_rng(0).permutation(len(images))
    aside = max(1, len(images) // (CHECKED_SHARE + 1)) if len(images) > 1 else 0
    checked, rest = ([images[k] for k in part] for part in (order[:aside], order[aside:]))
    made = {"calibrated_with": names, "images": len(rest), "checked_with": len(checked)}
    return Calibration(rest, checked or rest), made


def draw_some(predictor: Predictor, scans: Iterator[OnGrid], count: int) -> list[NetworkImage]:
    """Draw images from the first scans that give `count` of them.

    Args:
        predictor: Predictor of a model of one network; it cannot be used for anything else afterwards.
        scans: Scans on the predictor's grid.
        count: Number of images.
    """
    images: list[NetworkImage] = []
    for scan in scans:
        images += draw_images(predictor, scan, count - len(images))
        if len(images) >= count:
            break
    return images


def images_wanted(input_spec: EngineInput, most: int = CALIBRATION_SLICES, most_bytes: int = MOST_BYTES) -> int:
    """Return the number of calibration slices, blocks or patches; fewer if they are large.

    Args:
        input_spec: The input that the network expects: windows, neighbouring slices, channels, tile size.
        most: Maximum number.
        most_bytes: Maximum size of all of them.
    """
    each = 4 * input_spec.channels * math.prod(input_spec.fixed) if input_spec.fixed else 0
    return max(LEAST_IMAGES, min(most, most_bytes // each)) if each else most


def _spread(cases: Sequence[PreprocessedCase], most: int) -> list[PreprocessedCase]:
    count = min(most, len(cases))
    return [cases[k] for k in np.linspace(0, len(cases) - 1, count).round().astype(int)]


def calibration_slices(
    cases: Sequence[PreprocessedCase], structures: int, count: int = CALIBRATION_SLICES, seed: int = 0
) -> list[tuple[PreprocessedCase, int]]:
    """Draw slices spread over structures and cases: each structure in turn, from the case drawn from least so far.

    Args:
        cases: Cases to draw from.
        structures: Number of structures of the dataset.
        count: Number of slices.
        seed: The seed of the draws.

    Raises:
        DatasetError: If no case holds any structure.
    """
    random = np.random.default_rng(seed)
    order = [cases[k] for k in random.permutation(len(cases))]
    holding = {c: [case for case in order if case.record.occurrence.get(c)] for c in range(structures)}
    present = [c for c, found in holding.items() if found]
    if not present:
        raise DatasetError("expected cases with structures to calibrate with, got none; use another dataset")
    drawn = dict.fromkeys((case.name for case in order), 0)
    chosen: list[tuple[PreprocessedCase, int]] = []
    for k in range(count):
        channel = present[k % len(present)]
        case = min(holding[channel], key=lambda case: drawn[case.name])
        drawn[case.name] += 1
        chosen.append((case, int(random.choice(case.record.slices_of(channel)))))
    return chosen


def network_image(input_spec: EngineInput, case: PreprocessedCase, k: int) -> Float32[np.ndarray, "1 w *xyz"]:
    """Return the network's input for one slice, with its neighbours or the block around it.

    Args:
        input_spec: The input that the network expects: windows, neighbouring slices, channels, tile size.
        case: A case of a preprocessed dataset.
        k: Index of the slice; a smaller tile is taken from its middle.

    Raises:
        ConfigError: If the network is an imported one.
    """
    input_spec = own_input(input_spec)
    tile = input_spec.tile(case.record.placement.shape)
    x, y = (
        slice((edge - part) // 2, (edge - part) // 2 + part)
        for edge, part in zip(case.shape[:2], tile[:2], strict=True)
    )
    if len(tile) == 3:
        first = min(max(k - tile[2] // 2, 0), case.slices - tile[2])
        return input_spec.of_block(case.ct_block(first, first + tile[2])[x, y])
    near = [case.ct_slice(j) for j in neighbours(k, input_spec.reach, case.slices)]
    positions_mm = case.positions_mm[k : k + 1] if input_spec.network.position else None
    return input_spec.of_slices(np.stack(near, axis=2)[x, y], positions_mm)
