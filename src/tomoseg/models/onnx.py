"""A network as an ONNX model: input `image` `(1, w, x, y[, z])`, output `logits` `(1, C, x, y[, z])`, of any size.

ONNX is optional: `pip install "tomoseg[export]"`. Nothing here imports it before it is needed.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from tomoseg.errors import ConfigError
from tomoseg.networks.images import NetworkInput
from tomoseg.networks.network import Network

INPUT, OUTPUT = "image", "logits"
NEEDED = ("onnx", "onnxscript", "onnxruntime")


def convert_to_onnx(network: Network, reads: NetworkInput) -> Any:
    """The network as an ONNX model.

    Args:
        network: Its weights are copied.
        reads: What it reads of a scan.

    Raises:
        ConfigError: If what makes ONNX models is not installed, or the network's layers depend on the input's size.
    """
    require_installed(*NEEDED)
    example = torch.zeros(reads.example_shape())
    axes = range(0 if reads.fixed else network.dims)
    edges = {2 + axis: network.stride * torch.export.Dim(f"n{axis}", min=1, max=2**12) for axis in axes}
    with warnings.catch_warnings(), _Quiet():
        warnings.simplefilter("ignore")  # of torch and onnxscript to each other
        program = torch.onnx.export(
            copy.deepcopy(network).eval().cpu(),
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(edges,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is None for the older way of exporting only
    return program.model_proto


def write_onnx(model: Any, path: Path) -> None:
    """Write an `.onnx` file."""
    import onnx

    onnx.save(model, path)


def onnx_session(model: Path, threads: int) -> Any:
    """The model in ONNX Runtime, on the CPU.

    Args:
        model: An `.onnx` file.
        threads: How many it may use.
    """
    require_installed("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def run_onnx(session: Any, image: Float32[np.ndarray, "1 w *xyz"]) -> Float32[np.ndarray, "1 c *xyz"]:
    """Logits of one slice or block."""
    return np.asarray(session.run([OUTPUT], {INPUT: image})[0])


def require_installed(*packages: str) -> None:
    """Refuse to go on without a package.

    Raises:
        ConfigError: If one is missing.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise ConfigError(f'expected {package}, found none; run: pip install "tomoseg[export]"')


class _Quiet:
    """Keeps loggers of the exporter from writing to the terminal."""

    def __enter__(self) -> None:
        self._before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: object) -> None:
        logging.disable(self._before)
