"""Conversion of PyTorch networks to the formats of other runtimes."""

from __future__ import annotations

import copy
import logging
import warnings
from typing import Any

import torch

from tomoseg.models.onnx import INPUT, OUTPUT
from tomoseg.models.openvino import import_openvino
from tomoseg.networks.images import EngineInput
from tomoseg.networks.network import Network
from tomoseg.packages import require_installed


def convert_to_openvino(network: Network, input_spec: EngineInput) -> Any:
    """Convert a network to an OpenVINO model, of any input size unless the network's is fixed.

    Its output has structures last, as decisions read them.

    Args:
        network: Its weights are copied.
        input_spec: The input that the network expects: windows, neighbouring slices, channels, tile size.

    Raises:
        ConfigError: If OpenVINO is not installed, or the network's layers depend on the input's size.
    """
    openvino = import_openvino()
    from openvino.preprocess import PrePostProcessor

    example = torch.zeros(input_spec.example_shape())
    exported = torch.export.export(copy.deepcopy(network).eval().cpu(), (example,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # OpenVINO calls a deprecated API of PyTorch
        model = openvino.convert_model(exported)
    if not input_spec.fixed:  # convolutions and pooling take any size
        model.reshape([1, input_spec.channels, *[-1] * network.dims])
    steps, axes = PrePostProcessor(model), "DHW"[-network.dims :]
    steps.output().model().set_layout(openvino.Layout(f"NC{axes}"))
    steps.output().tensor().set_layout(openvino.Layout(f"N{axes}C"))
    return steps.build()


def convert_to_onnx(network: Network, input_spec: EngineInput) -> Any:
    """Convert a network to an ONNX model, of any input size unless the network's is fixed.

    Args:
        network: Its weights are copied.
        input_spec: The input that the network expects: windows, neighbouring slices, channels, tile size.

    Raises:
        ConfigError: If onnx, onnxscript or onnxruntime is not installed, or the network's layers depend on the input's
            size.
    """
    require_installed("onnx", "onnxscript", "onnxruntime")
    example = torch.zeros(input_spec.example_shape())
    axes = range(0 if input_spec.fixed else network.dims)
    edges = {2 + axis: network.stride * torch.export.Dim(f"n{axis}", min=1, max=2**12) for axis in axes}
    with warnings.catch_warnings(), _Quiet():
        warnings.simplefilter("ignore")  # between torch and onnxscript
        program = torch.onnx.export(
            copy.deepcopy(network).eval().cpu(),
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(edges,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # None only without dynamo
    return program.model_proto


class _Quiet:
    """Keeps loggers of the exporter from writing to the terminal."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
