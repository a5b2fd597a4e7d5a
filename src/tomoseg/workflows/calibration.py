"""What int8 takes its scales from: slices of a preprocessed dataset, or what a network is given of unlabelled scans."""

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
"""Of the images that scales are taken from, where all are of one size."""

LEAST_IMAGES = 8
MOST_SCANS = 16
"""From which images are drawn."""

CHECKED_SHARE = 8
"""One in so many images more, by which sensitive layers are told."""

EvaluationData = Preprocessed | Unlabelled


@dataclass(frozen=True)
class CalibrationData:
    """What int8 is calibrated with and engines are measured on.

    Attributes:
        calibrate: What int8 takes its scales from.
        measure: Where every engine is measured.
    """

    calibrate: EvaluationData | None
    measure: EvaluationData | None

    @classmethod
    def at(cls, calibrate: Path | None, measure: Path | None) -> CalibrationData:
        """What was named.

        Raises:
            DatasetError: If it is a dataset that cannot be read.
            InputError: If it is none and there is no scan.
        """
        return cls(*(None if place is None else opened(place) for place in (calibrate, measure)))

    @property
    def unlabelled(self) -> list[Unlabelled]:
        """Those that are scans without masks."""
        return [place for place in (self.calibrate, self.measure) if isinstance(place, Unlabelled)]

    @property
    def compared_on(self) -> EvaluationData | None:
        """Where engines are compared: on what was named for it, else on the scans that int8 was calibrated with."""
        return self.measure or (self.calibrate if isinstance(self.calibrate, Unlabelled) else None)

    @property
    def failed(self) -> dict[str, str]:
        """Why scans could not be read, by their names."""
        return {name: reason for place in self.unlabelled for name, reason in place.failed.items()}

    @property
    def left_something_out(self) -> bool:
        """Whether a scan was not looked at that might have been."""
        return any(place.failed or place.found.left_out for place in self.unlabelled)


def opened(place: Path) -> EvaluationData:
    """A preprocessed dataset, or scans without masks.

    Args:
        place: What was named.

    Raises:
        DatasetError: If it is a dataset that cannot be read.
        InputError: If it is none and there is no scan.
    """
    return Preprocessed(place) if (place / INDEX).is_file() else Unlabelled(place)


def calibration_of(
    model: Model, place: EvaluationData, on_scan: Callable[[int, int], None] = lambda done, total: None
) -> tuple[Calibration, dict[str, Any]]:
    """What int8 is made with, and what is to be said of it in the record of the export.

    Args:
        model: The model of one network.
        place: A preprocessed dataset, of which the training cases count, or scans. An axial one serves models of any
            view, which draw from its scans as if they had no masks.
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
    """Images of scans, as many of each; of these one in some is kept aside.

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
        raise InputError("expected scans that show something to calibrate with, got values all alike; use others")
    order = np.random.default_rng(0).permutation(len(images))
    aside = max(1, len(images) // (CHECKED_SHARE + 1)) if len(images) > 1 else 0
    checked, rest = ([images[k] for k in part] for part in (order[:aside], order[aside:]))
    made = {"calibrated_with": names, "images": len(rest), "checked_with": len(checked)}
    return Calibration(rest, checked or rest), made


def draw_some(predictor: Predictor, scans: Iterator[OnGrid], count: int) -> list[NetworkImage]:
    """Images of the first scans that give as many.

    Args:
        predictor: The predictor of a model of one network; it serves for nothing else from then on.
        scans: As it takes them.
        count: How many.
    """
    images: list[NetworkImage] = []
    for scan in scans:
        images += draw_images(predictor, scan, count - len(images))
        if len(images) >= count:
            break
    return images


def images_wanted(input_spec: EngineInput, most: int = CALIBRATION_SLICES, most_bytes: int = MOST_BYTES) -> int:
    """How many slices, blocks or patches; of large ones fewer.

    Args:
        input_spec: The input that the network expects: windows, neighbouring slices, channels, tile size.
        most: So many of small ones.
        most_bytes: Of all of them.
    """
    each = 4 * input_spec.channels * math.prod(input_spec.fixed) if input_spec.fixed else 0
    return max(LEAST_IMAGES, min(most, most_bytes // each)) if each else most


def _spread(cases: Sequence[PreprocessedCase], most: int) -> list[PreprocessedCase]:
    count = min(most, len(cases))
    return [cases[k] for k in np.linspace(0, len(cases) - 1, count).round().astype(int)]


def calibration_slices(
    cases: Sequence[PreprocessedCase], structures: int, count: int = CALIBRATION_SLICES, seed: int = 0
) -> list[tuple[PreprocessedCase, int]]:
    """Slices spread over structures and cases: each structure in turn, in the case that was drawn from least so far.

    Args:
        cases: Where they are drawn from.
        structures: How many structures the dataset has.
        count: How many slices.
        seed: The seed of the draws.

    Raises:
        DatasetError: If no case holds any structure.
    """
    random = np.random.default_rng(seed)
    order = [cases[k] for k in random.permutation(len(cases))]
    holding = {c: [case for case in order if case.record.occurrence.get(c)] for c in range(structures)}
    present = [c for c, found in holding.items() if found]
    if not present:
        raise DatasetError("expected cases that hold structures to calibrate with, got none; use another dataset")
    drawn = dict.fromkeys((case.name for case in order), 0)
    chosen: list[tuple[PreprocessedCase, int]] = []
    for k in range(count):
        channel = present[k % len(present)]
        case = min(holding[channel], key=lambda case: drawn[case.name])
        drawn[case.name] += 1
        chosen.append((case, int(random.choice(case.record.slices_of(channel)))))
    return chosen


def network_image(input_spec: EngineInput, case: PreprocessedCase, k: int) -> Float32[np.ndarray, "1 w *xyz"]:
    """What the network is given to segment a slice: with its neighbours, or the block around it.

    Args:
        input_spec: The input that the network expects: windows, neighbouring slices, channels, tile size.
        case: A case of a preprocessed dataset.
        k: The slice; a tile that is smaller than it is taken from its middle.

    Raises:
        ConfigError: If it is an imported network.
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
