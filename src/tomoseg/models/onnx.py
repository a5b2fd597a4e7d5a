"""ONNX models: input `image` `(1, w, x, y[, z])`, output `logits` `(1, C, x, y[, z])`, of any size.

ONNX is optional: `pip install "tomoseg[export]"`. It is imported only when needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tomoseg.packages import require_installed

INPUT, OUTPUT = "image", "logits"


def write_onnx(model: Any, path: Path) -> None:
    """Write an `.onnx` file."""
    import onnx

    onnx.save(model, path)


def onnx_session(model: Path, threads: int) -> Any:
    """Load a model in ONNX Runtime on the CPU.

    Args:
        model: An `.onnx` file.
        threads: Number of threads.
    """
    require_installed("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def run_onnx(session: Any, image: Float32[np.ndarray, "1 w *xyz"]) -> Float32[np.ndarray, "1 c *xyz"]:
    """Compute the logits of one slice or block."""
    return np.asarray(session.run([OUTPUT], {INPUT: image})[0])
