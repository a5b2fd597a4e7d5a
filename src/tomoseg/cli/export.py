"""`tomoseg export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from tomoseg.cli.exits import DONE
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
        to: openvino or onnx.
        precision: fp32, bf16 (openvino: the fp32 file, computed in bf16) or int8.
        calibrate: A preprocessed dataset whose training slices give int8 its scales; needed for int8.
        measure: A preprocessed dataset; megabytes, milliseconds a slice and Dice on its validation split are measured
            for every engine and precision that this machine and the model have.
    """
    from tomoseg.models.views import networks_in
    from tomoseg.terminal.engines import show_export, show_ways
    from tomoseg.workflows.export import check_request
    from tomoseg.workflows.export import export as run
    from tomoseg.workflows.measure_engines import measure_engines

    check_request(to, precision, calibrate, measure)
    for network in networks_in(model):
        if to is not None:
            show_export(run(network, to, precision, calibrate), network)
        if measure is not None:
            with console.progress("measure") as show:
                ways = measure_engines(network, measure, on_case=lambda way, done, total: show(done, total, way))
            show_ways(ways)
    return DONE
