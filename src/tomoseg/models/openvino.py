"""A network as an OpenVINO model: its input `(1, w, x, y[, z])`, its output `(1, x, y[, z], C)`, structures last.

OpenVINO is optional: `pip install "tomoseg[openvino]"`. Nothing here imports it before it is needed.
"""

from __future__ import annotations

import copy
import importlib.util
import sys
import threading
import warnings
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch

from tomoseg.errors import ConfigError
from tomoseg.networks.images import NetworkInput
from tomoseg.networks.network import Network


def has_openvino() -> bool:
    """Whether OpenVINO is installed."""
    return importlib.util.find_spec("openvino") is not None


def import_openvino() -> Any:
    """The module, which reports its use to its makers unless its telemetry package is missing: here it is.

    Raises:
        ConfigError: If it is not installed.
    """
    if not has_openvino():
        raise ConfigError('expected OpenVINO, found none; run: pip install "tomoseg[openvino]", or use engine torch')
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))  # an import of it fails, as if it were not there
    import openvino

    return openvino


_making_the_core = threading.Lock()


def openvino_core() -> Any:
    """The one core of this process, kept until its end.

    A core gives the thread that makes it a stack for signals and takes the memory back when it goes, in whichever
    thread that is. The next signal in the first thread then crashes, so a core must not go before the process.

    Raises:
        ConfigError: If OpenVINO is not installed.
    """
    with _making_the_core:
        return _core()


@cache
def _core() -> Any:
    return import_openvino().Core()


def computes_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this processor."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def convert_network(network: Network, reads: NetworkInput) -> Any:
    """The network as an OpenVINO model of slices or blocks of any size, or of the one size that it takes.

    Structures are last in its output, as decisions read them.

    Args:
        network: Its weights are copied.
        reads: What it reads of a scan.

    Raises:
        ConfigError: If OpenVINO is not installed, or the network's layers depend on the input's size.
    """
    openvino = import_openvino()
    from openvino.preprocess import PrePostProcessor

    example = torch.zeros(reads.example_shape())
    exported = torch.export.export(copy.deepcopy(network).eval().cpu(), (example,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # OpenVINO asks PyTorch in a way that is going out of use
        model = openvino.convert_model(exported)
    if not reads.fixed:  # convolutions and pooling take any size
        model.reshape([1, reads.channels, *[-1] * network.dims])
    steps, axes = PrePostProcessor(model), "DHW"[-network.dims :]
    steps.output().model().set_layout(openvino.Layout(f"NC{axes}"))
    steps.output().tensor().set_layout(openvino.Layout(f"N{axes}C"))
    return steps.build()


def write_openvino(model: Any, path: Path) -> None:
    """Write `path` (.xml) and the weights beside it (.bin), in the precision that they have."""
    import_openvino().save_model(model, path, compress_to_fp16=False)


def read_openvino(path: Path) -> Any:
    """What `write_openvino` wrote."""
    return openvino_core().read_model(path)


def keep_channels(model: Any, channels: tuple[int, ...]) -> Any:
    """The model with some of its output channels only, in that order.

    Args:
        model: Changed in place.
        channels: Which.
    """
    openvino = import_openvino()
    from openvino import opset13

    result = model.get_results()[0]
    kept = opset13.gather(result.input_value(0), opset13.constant(list(channels)), opset13.constant(-1))
    model.remove_result(result)
    model.add_results([opset13.result(kept)])
    model.validate_nodes_and_infer_types()
    return openvino.Model(model.get_results(), model.get_parameters())
