"""`tomoseg export`: a model in the format of another runtime, int8 included, checked before it counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tomoseg.errors import ConfigError, DatasetError
from tomoseg.files.outputs import check_folder
from tomoseg.inference.engines import ENGINES
from tomoseg.models.exports import EXPORTS, Export, add_export
from tomoseg.models.folder import load_model
from tomoseg.models.packaged import check_is_own
from tomoseg.networks.images import EngineInput, neighbours, own_input
from tomoseg.packages import require_torch
from tomoseg.preprocessed.fits import fitted
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase

CALIBRATION_SLICES = 128


def export(model: Path, to: str, precision: str = "fp32", calibrate: Path | None = None) -> Export:
    """Write a model in another format into its own folder.

    Args:
        model: A model folder or a run folder.
        to: The engine that it is for, `openvino` or `onnx`.
        precision: `fp32`, `bf16` (OpenVINO only: the fp32 file, computed in bf16 when it is run) or `int8`.
        calibrate: A preprocessed dataset whose training slices give int8 its scales.

    Raises:
        ConfigError: If the format has no such precision, int8 has no dataset, or a package is missing.
        DatasetError: If the dataset has other structures or another grid than the model.
        ModelError: If the model cannot be loaded, is a packaged one, or the export does not compute what it does.
        OutputError: If its folder cannot be written to.
    """
    engine = ENGINES[to]
    if engine.conversion is None:
        raise ConfigError(f"expected an engine that has files of its own, got {to}, which computes from the weights")
    if precision not in engine.precisions:
        known = " or ".join(engine.precisions)
        raise ConfigError(f"expected precision {known} for {to}, got {precision}; use one of these")
    if precision == "int8" and calibrate is None:
        raise ConfigError(
            "expected a preprocessed dataset to calibrate int8 with, got none; add --calibrate PREPROCESSED"
        )
    loaded = load_model(model)
    assert loaded.folder is not None  # it was read from one
    check_is_own(loaded.folder)
    check_folder(loaded.folder, (EXPORTS,))
    check_folder(loaded.folder / to / engine.stores(precision))
    images: list[Float32[np.ndarray, "1 w *xyz"]] = []
    made: dict[str, Any] = {}
    if precision == "int8" and calibrate is not None:
        data = fitted(loaded.record.labels.names, loaded.record.grid, Preprocessed(calibrate))
        chosen = calibration_slices(data.split("train"), len(data.labels))
        images = [network_image(loaded.record.reads, case, k) for case, k in chosen]
        made["calibrated_with"] = [f"{case.name}:{k}" for case, k in chosen]
    require_torch()
    converted = engine.conversion.convert(loaded, images)
    converted.made.update(made)
    stored = engine.stores(precision)
    return add_export(loaded, to, stored, engine.conversion.suffix, converted.made, converted.write)


def check_request(to: str | None, precision: str, calibrate: Path | None, measure: Path | None) -> None:
    """Refuse what asks for nothing, or for what nothing would use.

    Args:
        to: A format, if one is to be written.
        precision: Of what is written.
        calibrate: What int8 would be calibrated with.
        measure: What engines would be measured on.

    Raises:
        ConfigError: If neither is to be done, or a calibration would be used by nothing.
    """
    if to is None and measure is None:
        raise ConfigError("expected a format or a dataset to measure on, got neither; add --to or --measure")
    if calibrate is not None and (to is None or precision != "int8"):
        raise ConfigError(
            f"expected --to and --precision int8 beside --calibrate, got {to or 'no --to'} and precision {precision}; "
            "add them, or leave --calibrate off"
        )


def calibration_slices(
    cases: Sequence[PreprocessedCase], structures: int, count: int = CALIBRATION_SLICES, seed: int = 0
) -> list[tuple[PreprocessedCase, int]]:
    """Slices spread over structures and cases: each structure in turn, in the case that was drawn from least so far.

    Args:
        cases: Where they are drawn from.
        structures: How many structures the dataset has.
        count: How many slices.
        seed: Of the draws.

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


def network_image(reads: EngineInput, case: PreprocessedCase, k: int) -> Float32[np.ndarray, "1 w *xyz"]:
    """What the network is given to segment a slice: with its neighbours, or the block around it.

    Args:
        reads: What the network reads of a scan.
        case: Of a preprocessed dataset.
        k: The slice; a tile that is smaller than it is taken from its middle.

    Raises:
        ConfigError: If it is an imported network.
    """
    reads = own_input(reads)
    tile = reads.tile(case.record.placement.shape)
    x, y = (
        slice((edge - part) // 2, (edge - part) // 2 + part)
        for edge, part in zip(case.shape[:2], tile[:2], strict=True)
    )
    if len(tile) == 3:
        first = min(max(k - tile[2] // 2, 0), case.slices - tile[2])
        return reads.of_block(case.ct_block(first, first + tile[2])[x, y])
    near = [case.ct_slice(j) for j in neighbours(k, reads.reach, case.slices)]
    positions_mm = case.positions_mm[k : k + 1] if reads.network.position else None
    return reads.of_slices(np.stack(near, axis=2)[x, y], positions_mm)
