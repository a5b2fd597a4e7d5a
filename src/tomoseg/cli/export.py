"""`tomoseg export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.language.words import say
from tomoseg.options import HERE, EngineName, Precision, Spread
from tomoseg.terminal import console
from tomoseg.terminal.rows import CASES_OF, SCANS_OF, progress

if TYPE_CHECKING:  # slow to import
    from tomoseg.workflows.calibration import CalibrationData, EvaluationData


def export(
    model: Positional[Path],
    to: Literal["openvino", "onnx"] | None = None,
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    calibrate: Path | None = None,
    measure: Path | None = None,
    spread: Annotated[Spread, arg(name="")] = HERE,
) -> int:
    """Export a model to OpenVINO or ONNX, and measure speed, size and Dice of each engine and precision.

    Args:
        model: A model folder or a run folder, into which the export is written; with several networks, into
            each network's folder.
        to: Format: openvino or onnx. If omitted, openvino with --precision int8; otherwise nothing is exported.
        precision: Precision of the export: fp32, bf16 (openvino only: the fp32 file, computed in bf16) or int8.
        calibrate: Data to calibrate int8 with: CT scans without masks (a file, a folder, a quoted pattern or a
            list), some of which are used to compare int8 with fp32; or a preprocessed dataset, whose training
            cases are used.
        measure: Data to measure every available engine and precision on (megabytes, milliseconds and Dice): a
            preprocessed dataset, whose validation cases are used, or CT scans without masks, for which the Dice
            compares with the masks of torch in fp32.
        spread: Where the cases of the dataset that --measure names are scored.
    """
    from tomoseg.models.views import networks_in
    from tomoseg.terminal.predictions import show_found
    from tomoseg.workflows.calibration import CalibrationData
    from tomoseg.workflows.export import check_request

    to = "openvino" if to is None and precision == "int8" else to
    check_request(to, precision, calibrate, measure, spread)
    networks = networks_in(model)
    given = CalibrationData.at(calibrate, measure)
    for scans in given.unlabelled:
        show_found(scans.found)
    for network in networks:
        if to is not None:
            _export(network, to, precision, given)
        if given.compared_on is not None:
            _measure(network, given.compared_on, to if measure is None else None, spread)
    console.fail(given.failed)
    return SOME_FAILED if given.left_something_out else DONE


def _export(network: Path, to: EngineName, precision: Precision, given: CalibrationData) -> None:
    from tomoseg.terminal.engines import show_export
    from tomoseg.workflows.export import export as run

    with progress(say("calibrate"), count=SCANS_OF) as show:
        made = run(network, to, precision, given.calibrate, show)
    show_export(made, network)


def _measure(network: Path, place: EvaluationData, int8_of: EngineName | None, spread: Spread) -> None:
    """Measure all engines, or the loss of Dice by an int8 export."""
    from tomoseg.terminal.engines import show_benchmarks
    from tomoseg.workflows.measure_engines import measure_engines, ways_of_int8

    ways = None if int8_of is None else ways_of_int8(network, int8_of)
    with progress(say("measure"), count=CASES_OF) as show:
        found = measure_engines(
            network, place, on_case=lambda way, done, total: show(done, total, way), ways=ways, spread=spread
        )
    show_benchmarks(found)
