"""`tomoseg export`: a model in the format of another runtime, int8 included, verified before it is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tomoseg.errors import ConfigError
from tomoseg.files.outputs import begin_folder, check_folder
from tomoseg.inference.engines import ENGINES
from tomoseg.inference.kinds import Calibration
from tomoseg.models.exports import EXPORTS, Export, add_export
from tomoseg.models.folder import load_model
from tomoseg.models.packaged import check_is_own
from tomoseg.options import HERE, Spread
from tomoseg.packages import require_installed, require_torch
from tomoseg.preprocessed.format import INDEX
from tomoseg.workflows.calibration import EvaluationData, calibration_of, opened


def export(
    model: Path,
    to: str,
    precision: str = "fp32",
    calibrate: Path | EvaluationData | None = None,
    on_scan: Callable[[int, int], None] = lambda done, total: None,
) -> Export:
    """Export a model in another format into its model folder.

    Args:
        model: A model folder or a run folder.
        to: The target engine, `openvino` or `onnx`.
        precision: `fp32`, `bf16` (OpenVINO only: the fp32 file, computed in bf16 when it is run) or `int8`.
        calibrate: Calibration data for int8: a preprocessed dataset, whose training cases are used, or scans without
            masks.
        on_scan: Called with the number of scans examined and the total number of scans.

    Raises:
        ConfigError: If the format has no such precision, int8 has no calibration data, a package is missing, or the
            network's layers depend on the input's size.
        DatasetError: If the dataset has other structures or another grid than the model.
        InputError: If there is no scan, or none that can be read.
        ModelError: If the model cannot be loaded, is a packaged one, or the export's output differs from the model's.
        OutputError: If the model folder cannot be written to.
    """
    engine = ENGINES[to]
    if engine.conversion is None:
        raise ConfigError(f"expected an engine with exported files, got {to}, which computes from the weights")
    if precision not in engine.precisions:
        known = " or ".join(engine.precisions)
        raise ConfigError(f"expected precision {known} for {to}, got {precision}; use one of these")
    if precision == "int8" and calibrate is None:
        raise ConfigError(
            "expected scans or a preprocessed dataset to calibrate int8 with, got none; add --calibrate SCANS"
        )
    loaded = load_model(model)
    assert loaded.folder is not None  # it was read from one
    check_is_own(loaded.folder)
    begin_folder(loaded.folder, (EXPORTS,))
    begin_folder(loaded.folder / to)
    check_folder(loaded.folder / to / engine.stores(precision))
    loaded.record.input_spec.example_shape()  # refuses a network that cannot be traced, before anything is read
    require_torch()
    calibration: Calibration | None = None
    made: dict[str, Any] = {}
    if precision == "int8" and calibrate is not None:
        require_installed("nncf")
        place = opened(calibrate) if isinstance(calibrate, Path) else calibrate
        calibration, made = calibration_of(loaded, place, on_scan)
    converted = engine.conversion.convert(loaded, calibration)
    converted.made.update(made)
    stored = engine.stores(precision)
    return add_export(loaded, to, stored, engine.conversion.suffix, converted.made, converted.write)


def check_request(
    to: str | None, precision: str, calibrate: Path | None, measure: Path | None, spread: Spread = HERE
) -> None:
    """Refuse a request that asks for nothing, or gives data that nothing would use.

    Args:
        to: Format of the export, if any.
        precision: Precision of the export.
        calibrate: Calibration data for int8.
        measure: Data to measure engines on.
        spread: How the scoring is distributed.

    Raises:
        ConfigError: If there is neither a format nor data to measure on, calibration data are given without int8, or
            scoring is to be distributed without a dataset.
    """
    if spread.on != "here" and (measure is None or not (measure / INDEX).is_file()):
        raise ConfigError(
            f"expected a preprocessed dataset with --measure when --on is {spread.on}, got none; leave --on off"
        )
    if to is None and measure is None:
        raise ConfigError("expected a format or scans to measure on, got neither; add --to or --measure")
    if calibrate is not None and (to is None or precision != "int8"):
        raise ConfigError(
            f"expected --to and --precision int8 with --calibrate, got {to or 'no --to'} and precision {precision}; "
            "add them, or leave --calibrate off"
        )
