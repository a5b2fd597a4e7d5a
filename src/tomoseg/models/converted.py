"""Networks of PyTorch converted to OpenVINO and kept in the user's cache: the next run needs no PyTorch."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tomoseg.cache import Cache
from tomoseg.errors import OutputError
from tomoseg.models.folder import Model
from tomoseg.models.openvino import import_openvino, openvino_core, write_openvino
from tomoseg.version import __version__

CONVERTED = Cache("converted")
"""Cache of converted networks, shared by processes."""

_SIZE_BYTES = 8


def converted_to_openvino(model: Model) -> tuple[Any, str | None]:
    """Return a model's network as OpenVINO's, from the cache or converted now, and its identity.

    Args:
        model: The model.

    Returns:
        The network, and the key that compiled networks are cached by; None if the model is of no file.

    Raises:
        ConfigError: If OpenVINO is not installed, or the network's layers depend on the input's size.
        ModelError: If the weights do not fit the architecture.
    """
    key = _key(model)
    kept = None if key is None else CONVERTED.get(key)
    if kept is not None and key is not None:
        try:
            return _unpacked(kept), key
        except RuntimeError:  # cached by another build of the same version
            CONVERTED.remove(key)
    from tomoseg.models.conversion import convert_to_openvino

    network = convert_to_openvino(model.network, model.record.input_spec)
    if key is not None:
        with contextlib.suppress(OSError, OutputError):  # folder of temporary files read-only or full
            CONVERTED.put(key, _packed(network))
    return network, key


def _key(model: Model) -> str | None:
    """Return a digest of everything that a converted network depends on."""
    if model.sha256 is None:
        return None
    record, reads = model.record, model.record.input_spec
    architecture = record.network.model_dump_json(), len(record.labels), reads.example_shape(), reads.fixed
    versions = __version__, *map(version, ("torch", "openvino"))
    parts = model.sha256, model.channels, model.headless, architecture, versions
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _packed(network: Any) -> bytes:
    """Return both of OpenVINO's files in one: the size of the first, the first, the second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.xml")
        write_openvino(network, path)
        graph, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
    return len(graph).to_bytes(_SIZE_BYTES, "little") + graph + weights


def _unpacked(content: bytes) -> Any:
    end = _SIZE_BYTES + int.from_bytes(content[:_SIZE_BYTES], "little")
    weights = import_openvino().Tensor(np.frombuffer(content, np.uint8, offset=end))  # a copy, which the network keeps
    return openvino_core().read_model(content[_SIZE_BYTES:end], weights)
