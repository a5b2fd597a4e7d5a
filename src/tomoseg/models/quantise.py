"""Post-training static int8 by NNCF, of OpenVINO and of ONNX models.

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
    """Names of a model's convolutions, from input to output.

    Args:
        model: An OpenVINO or an ONNX model.
    """
    if hasattr(model, "get_ordered_ops"):
        kinds = ("Convolution", "ConvolutionBackpropData")
        return [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in kinds]
    return [node.name for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose")]


def quantise(
    model: Any, inputs: Sequence[Float32[np.ndarray, "1 w *xyz"] | dict[str, Any]], kept: Sequence[str]
) -> Any:
    """A model whose convolutions compute in int8.

    Args:
        model: An OpenVINO or an ONNX model.
        inputs: What it is calibrated with, as it takes them.
        kept: Names of layers that stay in floating point.

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
            ignored_scope=nncf.IgnoredScope(names=list(kept)),
        )
