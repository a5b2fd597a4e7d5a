"""Post-training static int8 quantisation of OpenVINO and ONNX models by NNCF.

Weights and activations of convolutions become 8-bit integers, with scales from real slices. NNCF is optional:
`pip install "tomoseg[export]"`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tomoseg.packages import require_installed


def convolutions(model: Any) -> list[str]:
    """Return the names of a model's convolutions, from input to output.

    Args:
        model: An OpenVINO or an ONNX model.
    """
    if hasattr(model, "get_ordered_ops"):
        return [op.get_friendly_name() for op in convolving(model)]
    return [node.name for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]


def convolving(model: Any) -> list[Any]:
    """Return an OpenVINO model's convolutions, transposed ones included, from input to output."""
    kinds = ("Convolution", "ConvolutionBackpropData")
    return [op for op in model.get_ordered_ops() if op.get_type_name() in kinds]


def multiplications(op: Any) -> float:
    """Count the multiplications of a convolution in an OpenVINO model of fixed input size.

    Args:
        op: One of `convolving`'s operations.
    """
    turned = op.get_type_name() == "ConvolutionBackpropData"
    voxels = op.input_value(0) if turned else op.output(0)
    weights = op.input_value(1).get_partial_shape().to_shape()
    return float(np.prod(weights)) * float(np.prod(voxels.get_partial_shape().to_shape()[2:]))


def quantise(
    model: Any,
    inputs: Sequence[Float32[np.ndarray, "1 w ..."] | dict[str, Any]],
    kept: Sequence[str],
    *,
    alone: bool = False,
) -> Any:
    """Quantise a model's convolutions to int8.

    Args:
        model: An OpenVINO or an ONNX model.
        inputs: Calibration inputs, as the model takes them.
        kept: Names of layers that stay in floating point.
        alone: Quantise the inputs of convolutions only, so that instance normalisation between them reads unrounded
            values (OpenVINO models). Biases are not corrected then, since the normalisation cancels them.

    Raises:
        ConfigError: If NNCF is not installed.
    """
    require_installed("nncf")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        import nncf

        nncf.set_log_level(logging.ERROR)
        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=list(kept), types=_between(model) if alone else []),
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=alone),
        )


def _between(model: Any) -> list[str]:
    """Return the operation types of an OpenVINO model, other than convolutions, that NNCF would quantise."""
    return sorted({op.get_type_name() for op in model.get_ordered_ops()} & {"Add", "AvgPool", "Multiply", "MVN"})
