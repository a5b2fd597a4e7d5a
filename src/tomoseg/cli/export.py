"""`tomoseg export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from tomoseg.cli.exits import DONE, SOME_FAILED
from tomoseg.terminal import console


def export(
    model: Positional[Path],
    to: Literal["openvino", "onnx"] | None = None,
    precision: Literal["fp32", "bf16", "int8"] = "fp32",
    calibrate: Path | None = None,
    measure: Path | None = None,
) -> int:
    """Write a model in the format of another runtime, and measure what each engine and precision costs.

    Args:
        model: A model folder or a run folder; exports go into it, of several networks into each one's.
        to: openvino or onnx; with --precision int8 openvino if omitted.
        precision: fp32, bf16 (openvino: the fp32 file, computed in bf16) or int8.
        calibrate: What gives int8 its scales: CT scans without masks (a file, a folder, a pattern in quotes or a list),
            on some of which int8 is then compared with fp32; or a preprocessed dataset, of which the training cases
            count.
        measure: Where every engine and precision that this machine and the model have is measured, in megabytes,
            milliseconds and Dice: the validation split of a preprocessed dataset, or CT scans without masks, where the
            Dice is that with the masks of torch in fp32.
    """
    from tomoseg.models.views import networks_in
    from tomoseg.terminal.engines import show_export, show_ways
    from tomoseg.terminal.predictions import show_found
    from tomoseg.workflows.calibration import opened
    from tomoseg.workflows.export import check_request
    from tomoseg.workflows.export import export as run
    from tomoseg.workflows.measure_engines import measure_engines, ways_of_int8
    from tomoseg.workflows.unlabelled import Unlabelled

    to = "openvino" if to is None and precision == "int8" else to
    check_request(to, precision, calibrate, measure)
    networks = networks_in(model)
    given, measured_on = (None if place is None else opened(place) for place in (calibrate, measure))
    scans = [place for place in (given, measured_on) if isinstance(place, Unlabelled)]
    for place in scans:
        show_found(place.found)
    compared_on = measured_on or (given if isinstance(given, Unlabelled) else None)
    for network in networks:
        if to is not None:
            with console.progress("calibrate") as show:
                made = run(network, to, precision, given, lambda done, total: show(done, total, "scans"))
            show_export(made, network)
        if compared_on is not None:
            ways = ways_of_int8(network, to) if measured_on is None and to is not None else None
            with console.progress("measure") as show:
                found = measure_engines(
                    network, compared_on, on_case=lambda way, done, total: show(done, total, way), ways=ways
                )
            show_ways(found)
    console.fail({name: reason for place in scans for name, reason in place.failed.items()})
    return SOME_FAILED if any(place.failed or place.found.left_out for place in scans) else DONE
