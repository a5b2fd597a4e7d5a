"""OpenVINO: reading, writing, compiling and narrowing models, with one core per process.

A model's input is `(1, w, x, y[, z])`, its output `(1, x, y[, z], C)`, structures last, as decisions read them.
OpenVINO is imported only when needed, and PyTorch not at all: `conversion.py` converts networks.
"""

from __future__ import annotations

import hashlib
import io
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any, cast

from tomoseg.cache import Cache
from tomoseg.errors import ConfigError, ModelError, OutputError
from tomoseg.limits import refusal
from tomoseg.packages import is_installed

COMPILED = Cache("openvino")
"""Cache of compiled networks, shared by processes."""


def has_openvino() -> bool:
    """Return True if OpenVINO is installed."""
    return is_installed("openvino")


def import_openvino() -> Any:
    """Import OpenVINO with its telemetry package hidden, so that it does not report its use.

    Raises:
        ConfigError: If it is not installed.
    """
    if not has_openvino():
        raise ConfigError("expected OpenVINO, found none; run: pip install openvino, or use engine torch")
    sys.modules.setdefault("openvino_telemetry", cast(Any, None))  # its import fails, as if not installed
    import openvino

    return openvino


_making_the_core = threading.Lock()


def openvino_core() -> Any:
    """Return the only core of this process, which is kept until its end.

    A core gives its creating thread a signal stack, and frees that memory when it is destroyed, in whichever thread.
    The next signal in the creating thread would then crash, so a core must live as long as the process.

    Raises:
        ConfigError: If OpenVINO is not installed.
    """
    with _making_the_core:
        return _core()


@cache
def _core() -> Any:
    return import_openvino().Core()


def computes_bf16() -> bool:
    """Return True if OpenVINO computes in bf16 on this processor."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def write_openvino(model: Any, path: Path) -> None:
    """Write `path` (.xml) and the weights beside it (.bin), in the precision that they have.

    Raises:
        OutputError: If they cannot be written; OpenVINO does not say why.
        RuntimeError: If there is too little memory.
    """
    try:
        import_openvino().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        if refusal(error) is not None:  # of memory
            raise
        reason = str(error).strip().splitlines()[-1]
        raise OutputError(
            f"{path}: expected a writable file, got: {reason}; free some space on that disk, or choose another one"
        ) from None


def read_openvino(path: Path) -> Any:
    """Read a model that `write_openvino` wrote.

    Raises:
        ModelError: If this version of OpenVINO cannot read it.
    """
    try:
        _check_format(path)
        return openvino_core().read_model(path)
    except RuntimeError as error:
        version = import_openvino().__version__
        reason = str(error).strip().splitlines()[-1][:200]
        raise ModelError(
            f"{path}: expected a model that OpenVINO {version} reads, got: {reason}; export the model again"
        ) from None


def _check_format(path: Path) -> None:
    """Check that a file is in OpenVINO's own format: its readers of other formats write to standard error.

    Raises:
        RuntimeError: If it is not, or of an unknown version.
    """
    import_openvino()
    from openvino.frontend import FrontEndManager

    own = FrontEndManager().load_by_framework("ir")
    if not own.supported(str(path)):
        raise RuntimeError("another version of its format")


def compile_openvino(model: Any, shape: tuple[int, ...], settings: dict[str, Any], identity: str | None) -> Any:
    """Compile a model for this processor, or load it from the cache.

    Args:
        model: A model for inputs of any size; it is not modified.
        shape: Shape of one input, `(w, x, y[, z])`.
        settings: OpenVINO's compile settings.
        identity: Unique identity of the model, such as the SHA-256 of its files; None to bypass the cache.
    """
    core = openvino_core()
    key = None if identity is None else _key(identity, shape, settings)
    kept = None if key is None else COMPILED.get(key)
    if kept is not None and key is not None:
        try:
            return core.import_model(io.BytesIO(kept), "CPU", settings)
        except RuntimeError:  # cached by another build of the same version
            COMPILED.remove(key)
    fixed = model.clone()
    fixed.reshape([1, *shape])
    compiled = core.compile_model(fixed, "CPU", settings)
    if key is not None:
        COMPILED.put(key, compiled.export_model().getvalue())
    return compiled


def _key(identity: str, shape: tuple[int, ...], settings: dict[str, Any]) -> str:
    """Return a digest of everything that a compiled network depends on."""
    core = openvino_core()
    processor = core.get_property("CPU", "FULL_DEVICE_NAME"), core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    parts = identity, shape, sorted(settings.items()), import_openvino().__version__, processor
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def keep_channels(model: Any, channels: tuple[int, ...]) -> Any:
    """Return a model with some of its output channels only, in the given order.

    Args:
        model: Modified.
        channels: Indices of the channels.
    """
    openvino = import_openvino()
    from openvino import opset13

    result = model.get_results()[0]
    kept = opset13.gather(result.input_value(0), opset13.constant(list(channels)), opset13.constant(-1))
    model.remove_result(result)
    model.add_results([opset13.result(kept)])
    model.validate_nodes_and_infer_types()
    return openvino.Model(model.get_results(), model.get_parameters())
