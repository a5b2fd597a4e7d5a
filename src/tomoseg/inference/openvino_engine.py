"""Engine of OpenVINO, the fastest on a CPU."""

from __future__ import annotations

import threading
from functools import cache, partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from tomoseg.errors import ConfigError
from tomoseg.inference.buffers import Buffers
from tomoseg.inference.engine import Engine
from tomoseg.inference.exported import exported_file
from tomoseg.inference.fastest import half_pays
from tomoseg.inference.kinds import Calibration, Conversion, Converted, EngineKind
from tomoseg.inference.sensitive import quantised
from tomoseg.inference.threads import thread_count
from tomoseg.models.converted import converted_to_openvino
from tomoseg.models.exports import find_export
from tomoseg.models.folder import Model
from tomoseg.models.leaner import made_leaner
from tomoseg.models.openvino import (
    compile_openvino,
    computes_bf16,
    has_openvino,
    import_openvino,
    keep_channels,
    openvino_core,
    read_openvino,
    write_openvino,
)
from tomoseg.networks.images import EngineInput
from tomoseg.packages import is_installed

MOST_STREAMS = 4
"""Most slices that are computed beside each other, since each needs memory of its own."""

KEPT_SHAPES = 4
"""Input shapes whose compiled networks stay in memory, 16 MB each and more: nearly every scan of a folder has another,
and to load one again from the cache takes 0.03 s. Threads that share an engine may have as many at once."""

HINTS = {"fp32": "f32", "bf16": "bf16"}
"""OpenVINO's names of precisions."""


class OpenVinoEngine(Engine):
    """A network compiled by OpenVINO for this processor, once per input shape. Thread-safe.

    Args:
        model: An OpenVINO model, as `models/openvino.py` makes it.
        input_spec: The input that the network expects: windows, neighbouring slices, channels, tile size.
        precision: `fp32`, `bf16`, or `int8` for a model that is quantised.
        identity: Unique identity of the model, under which it is cached for later processes; if omitted, it is not.
        floats: Precision of a quantised model's layers in floating point; if omitted, bf16 where that is faster.

    Raises:
        ConfigError: If OpenVINO is not installed, or the processor does not compute in that precision.
    """

    name = "openvino"
    device = "cpu"

    def __init__(
        self,
        model: Any,
        input_spec: EngineInput,
        precision: str,
        identity: str | None = None,
        floats: str | None = None,
    ) -> None:
        super().__init__(input_spec)
        if precision == "bf16" and not computes_bf16():
            raise ConfigError("expected a processor that computes in bf16, got one that does not; use precision fp32")
        self.precision = precision
        self._hint = HINTS[(floats or fastest_float()) if precision == "int8" else precision]
        self.at_once = min(thread_count(), MOST_STREAMS)
        self._model, self._identity = model, identity
        self._compiled: dict[tuple[int, ...], _Compiled] = {}
        self._lock = threading.Lock()
        self._buffers = Buffers()

    def prepare(self, shape: tuple[int, ...], images: int = 1) -> None:
        """Compile the network for so many slices or blocks of a shape at once."""
        self._compiled_for((self.input_spec.channels, *self.input_spec.padded(shape)), images)

    def release(self) -> None:
        """Free the memory that idle compiled networks hold for feature maps."""
        with self._lock:
            compiled = list(self._compiled.values())
        for each in compiled:
            each.release()

    def run(self, images: Float32[np.ndarray, "n w *xyz"]) -> Float32[np.ndarray, "n c *xyz"]:
        """Compute the logits of windowed slices or blocks; structures are last in memory.

        Several are computed beside each other, each by its share of the threads, since threads that work on one small
        slice wait for each other after every layer. They are as many as the network was prepared for.
        """
        compiled = self._compiled.get(images.shape[1:]) or self._compiled_for(images.shape[1:], 1)
        logits = self._buffers.take((len(images), *images.shape[2:], compiled.channels))
        compiled.run(images, logits)
        return np.moveaxis(logits, -1, 1)

    def _compiled_for(self, shape: tuple[int, ...], images: int) -> _Compiled:
        streams = min(images, thread_count())
        with self._lock:
            there = self._compiled.get(shape)
            if there is None or there.streams != streams:
                settings = {"INFERENCE_PRECISION_HINT": self._hint, "INFERENCE_NUM_THREADS": thread_count()}
                if streams > 1:
                    settings["NUM_STREAMS"] = streams
                network = compile_openvino(self._model, shape, settings, self._identity)
                there = _Compiled(network, streams)
            self._compiled.pop(shape, None)
            self._compiled[shape] = there  # as the last used
            while len(self._compiled) > KEPT_SHAPES:
                del self._compiled[next(iter(self._compiled))]  # a thread that still computes with it holds it
            return there


class _Compiled:
    """A network compiled for one input shape, and requests to it, each of which serves one thread at a time.

    Attributes:
        streams: Number of inputs that it computes beside each other.
        channels: Number of channels of its output.
    """

    def __init__(self, network: Any, streams: int) -> None:
        self._network, self.streams = network, streams
        self.channels: int = network.outputs[0].get_partial_shape()[-1].get_length()
        self._free: list[Any] = []

    def release(self) -> None:
        """Free the memory of idle requests."""
        self._free.clear()
        self._network.release_memory()

    def run(self, images: Float32[np.ndarray, "n w *xyz"], logits: Float32[np.ndarray, "n *xyz c"]) -> None:
        """Compute logits into an array."""
        requests = [self._request() for _ in range(min(self.streams, len(images)))]
        tensor = import_openvino().Tensor
        try:
            for number, (image, out) in enumerate(zip(images, logits, strict=True)):
                request = requests[number % len(requests)]
                request.wait()
                request.set_input_tensor(tensor(image[None], shared_memory=True))  # no copies
                request.set_output_tensor(tensor(out[None], shared_memory=True))
                request.start_async()
        finally:
            for request in requests:  # none may write after this
                request.wait()
        self._free += requests

    def _request(self) -> Any:
        try:
            return self._free.pop()
        except IndexError:
            return self._network.create_infer_request()


def fastest_float() -> str:
    """Return the faster floating-point precision on this processor, `bf16` or `fp32`."""
    return "bf16" if computes_bf16() and _bf16_pays() else "fp32"


def _bf16_pays() -> bool:
    runs = {hint: cache(partial(_convolutions, hint)) for hint in HINTS.values()}
    way = f"openvino {import_openvino().__version__}"
    return half_pays(way, lambda: runs["f32"]().infer(), lambda: runs["bf16"]().infer())


def int8_pays(dims: int) -> bool:
    """Return True if convolutions are faster in int8 than in fp32 on this processor.

    Args:
        dims: Dimensions of the convolutions, 2 or 3.
    """
    runs = {low: cache(partial(_convolutions, "f32", dims, low=low)) for low in (False, True)}
    way = f"openvino {import_openvino().__version__} int8 of {dims} dimensions"
    return half_pays(way, lambda: runs[False]().infer(), lambda: runs[True]().infer())


def _convolutions(hint: str, dims: int = 2, *, low: bool = False) -> Any:
    """Return an inference request of some convolutions of common size on one thread, in int8 if `low`."""
    openvino = import_openvino()
    ops = openvino.opset13
    edges, one = {2: (96, 96), 3: (24, 24, 24)}[dims], [1] * dims
    shape = (1, 32, *edges)
    images = found = ops.parameter(shape, np.float32)
    kernel = ops.constant(np.full((32, 32, *[3] * dims), 1 / 3**dims / 32, np.float32))
    if low:
        kernel = ops.fake_quantize(kernel, *_limits(ops, -1, 127 / 128), 256)
    for _ in range(4):
        read = ops.fake_quantize(found, *_limits(ops, 0, 2), 256) if low else found
        found = ops.relu(ops.convolution(read, kernel, one, one, one, one))
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
    model = openvino.Model([found], [images])
    request = openvino_core().compile_model(model, "CPU", settings).create_infer_request()
    request.set_input_tensor(openvino.Tensor(np.ones(shape, np.float32)))
    return request


def _limits(ops: Any, low: float, high: float) -> list[Any]:
    """Return the input and output range of a fake quantisation."""
    return [ops.constant(np.float32(value)) for value in (low, high, low, high)]


def open_openvino(model: Model, device: str, precision: str) -> OpenVinoEngine:
    """Open a model's export in fp32 or int8 if it has one, or else convert its weights.

    Args:
        model: The model.
        device: `cpu`.
        precision: `auto` is int8 if the model has such an export, its Dice was measured to be close enough, and int8 is
            faster on this machine; else bf16 where that was measured to be faster; else fp32. For an imported model
            without such an export it is fp32.

    Raises:
        ConfigError: If OpenVINO is not installed, the model has no int8 export, or neither export nor PyTorch.
        ModelError: If an export is damaged, or of another version.
    """
    if precision == "auto":
        precision = _automatic(model)
    network, identity = _network_of(model, precision)
    floats = None if model.record.plan is None else "fp32"  # the same results on every machine
    engine = OpenVinoEngine(network, model.record.input_spec, precision, identity, floats)
    engine.headless = model.headless
    return engine


def _automatic(model: Model) -> str:
    """Return the fastest precision for a model; an imported one is kept close to its original by fp32."""
    quantised = find_export(model, "openvino", "int8")
    if quantised is not None and quantised.trusted and int8_pays(len(model.record.input_spec.example_shape()) - 2):
        return "int8"
    return fastest_float() if model.record.plan is None else "fp32"


def _network_of(model: Model, precision: str) -> tuple[Any, str | None]:
    """Return a model's network, and its cache identity; None if it was converted from a model of no file."""
    stored = OPENVINO.stores(precision)
    found = find_export(model, "openvino", stored)
    converted = found is None and precision != "int8" and is_installed("torch")
    if converted:
        network, identity = converted_to_openvino(model)
    else:
        identity = None if found is None else f"{sorted(found.files.values())} {model.channels}"
        network = read_openvino(exported_file(model, "openvino", stored))
        if model.channels is not None and not model.headless:
            network = keep_channels(network, model.channels)
    if model.record.plan is not None:
        network = made_leaner(network, headless=model.headless and not converted)
        identity = None if identity is None else f"{identity} leaner {model.headless}"
    return network, identity


def _convert(model: Model, calibration: Calibration | None) -> Converted:
    from tomoseg.models.conversion import convert_to_openvino

    network = convert_to_openvino(model.network, model.record.input_spec)
    made: dict[str, Any] = {}
    if calibration is not None:
        network, made = quantised(model, network, calibration)
    return Converted(lambda path: write_openvino(network, path), made)


def _can_hold(model: Model) -> bool:
    """Return True if the network is exported or can be; without PyTorch the later error says what to do."""
    exported = any(find_export(model, "openvino", stored) is not None for stored in ("fp32", "int8"))
    return exported or not is_installed("torch") or model.record.input_spec.is_traceable


def _compared(model: Model) -> tuple[str, ...]:
    if not has_openvino() or not _can_hold(model):
        return ()
    floats = ("fp32", "bf16") if computes_bf16() else ("fp32",)
    return floats if find_export(model, "openvino", "int8") is None else (*floats, "int8")


OPENVINO = EngineKind(
    name="openvino",
    package="openvino",
    precisions=("fp32", "bf16", "int8"),
    on=lambda device: device == "cpu",
    open=open_openvino,
    automatic=_can_hold,
    compared=_compared,
    stores=lambda precision: "int8" if precision == "int8" else "fp32",
    conversion=Conversion(".xml", ("fp32", "int8"), _convert),
)
