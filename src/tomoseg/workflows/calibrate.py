"""Temperatures for a model's probabilities, from patients that it has not learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from tomoseg.evaluation.temperatures import LogitCounts
from tomoseg.grid import Placement
from tomoseg.inference.predictor import GridLogits, GridMasks
from tomoseg.inference.score_cases import AS_TRAINED, on_grid
from tomoseg.masks import unpack
from tomoseg.models.calibrated import Calibration, calibration_in, save_calibration
from tomoseg.models.folder import model_in
from tomoseg.models.tuned import LEAST_PATIENTS
from tomoseg.options import Compute
from tomoseg.preprocessed.read import PreprocessedCase
from tomoseg.workflows.held_out import HeldOut, held_out


class CountedCase:
    """Counts the logits of a case as they pass, slice by slice of the network's grid.

    Args:
        case: A case with its reference on the voxels that the predictor is given.
        counts: The counts to add to.
        places: Placement of the grid in the voxels of the case; None if they are the same.
    """

    def __init__(self, case: PreprocessedCase, counts: LogitCounts, places: Placement | None = None) -> None:
        self._case, self._counts, self._next = case, counts, 0
        self._at = None if places is None else _nearest(places)

    def add(self, logits: GridLogits, members: Sequence[GridLogits] = (), inside: GridMasks | None = None) -> None:
        """Take in the next slice."""
        self._counts.add(logits, unpack(self._reference(), len(logits)))
        self._next += 1

    def _reference(self) -> UInt8[np.ndarray, "b gx gy"]:
        """Packed masks at the next slice's points."""
        if self._at is None:
            return self._case.masks_slice(self._next)
        x, y, z = self._at
        return self._case.masks_slice(int(z[self._next]))[:, x[:, None], y]

    def end(self) -> None:
        """Finish after the last slice."""
        self._counts.end_case(list(self._case.record.annotated))


def _nearest(places: Placement) -> list[Int64[np.ndarray, "_"]]:
    """Return for each axis the index of the voxel nearest to each grid point."""
    edges = zip(places.start, places.extent, places.shape, strict=True)
    return [start + ((2 * np.arange(points) + 1) * extent // (2 * points)) for start, extent, points in edges]


def calibrate(
    model: Path, dataset: Path, compute: Compute, should_stop: Callable[[], bool] = lambda: False
) -> Calibration | None:
    """Fit temperatures on cases not used for training, and write them to the model folder.

    Args:
        model: A model folder or a run folder.
        dataset: The preprocessed dataset that it learned from.
        compute: The engine, device and precision that run the networks.
        should_stop: Called after each case.

    Returns:
        The calibration, or the existing one for these weights; None if fewer than `LEAST_PATIENTS` patients show a
        structure, or if it was stopped.

    Raises:
        ModelError: If the model cannot be loaded, or is a packaged one.
        OutputError: If its folder cannot be written to.
    """
    folder = model_in(model)
    there = calibration_in(folder)
    if there is not None:
        return there
    found = held_out(model, dataset, "auto", compute)
    if not any(number >= LEAST_PATIENTS for number in patients_with(found).values()):
        return None
    counts = LogitCounts(len(found.data.labels))
    for case in found.cases:
        if should_stop():
            return None
        predictor, scan = found.judge(case), on_grid(case)
        watch = CountedCase(case, counts, predictor.watched_at(scan))
        for _ in predictor.slices(scan, predictor.choices(AS_TRAINED), watch=watch):
            pass
        watch.end()
    return keep(found, counts, folder)


def patients_with(found: HeldOut) -> dict[str, int]:
    """Return the number of patients with each structure, from the records alone."""
    shown = [{c.record.patient for c in found.cases if c.record.voxels.get(n)} for n in range(len(found.data.labels))]
    return {name: len(patients) for name, patients in zip(found.data.labels.names, shown, strict=True)}


def keep(found: HeldOut, counts: LogitCounts, folder: Path) -> Calibration:
    """Fit temperatures and write them to the model folder.

    Args:
        found: The cases that were counted.
        counts: The logit counts of all cases.
        folder: The model folder.

    Raises:
        ModelError: If it is a packaged model.
        OutputError: If it cannot be written.
    """
    patients = patients_with(found)
    few = {name: number for name, number in patients.items() if number < LEAST_PATIENTS}
    together = counts.fit(None)
    temperatures = {
        name: together if name in few else counts.fit(channel) for channel, name in enumerate(found.data.labels.names)
    }
    fitted_on = {"dataset": found.data.folder.name, "split": found.split, "cases": len(found.cases), "together": few}
    calibration = Calibration(found.model.sha256, temperatures, fitted_on)
    save_calibration(calibration, folder)
    return calibration
