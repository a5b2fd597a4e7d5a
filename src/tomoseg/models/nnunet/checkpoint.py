"""Reading nnU-Net's checkpoints without executing anything in them.

A checkpoint is a pickle, which can call any function. PyTorch's `weights_only` reader allows its own classes alone;
nnU-Net's checkpoints also hold NumPy scalars, in the training's log. Their classes and functions are passed to the
reader under the names that pickles of NumPy 1 and 2 use, as stand-ins that do nothing.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tomoseg.errors import ModelError
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.networks.nnunet import NnunetUNet
from tomoseg.nnunet import NnunetNetwork

MOST_PICKLE_BYTES = 64 * 2**20
"""Largest part of a checkpoint that is no tensor: room for the log of some thousand epochs."""

_PREFIXES = ("module.", "_orig_mod.")
"""Prefixes of parameter names after training on several GPUs or with a compiled network."""

_COPIES = re.compile(r"^decoder\.encoder\.|\.all_modules\.")
"""Names under which parameters are stored a second time."""


class _Nothing:
    """Stand-in for NumPy's objects in a pickle; takes any arguments and state, and drops them."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _stand_in(module: str, name: str) -> type[_Nothing]:
    """Make a stand-in class that pickles find under one of NumPy's names."""
    return type(name, (_Nothing,), {"__module__": module})


_NAMES = (
    *("numpy.dtype", "numpy.ndarray"),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(
        f"numpy.dtypes.{name}DType"
        for name in ("Bool", "Int32", "Int64", "Float16", "Float32", "Float64", "UInt8", "UInt16", "UInt32")
    ),
)


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint.

    Attributes:
        path: Its file.
        weights: Tensors by nnU-Net's names.
        configuration: The configuration of the plans that was trained, such as `3d_fullres`.
        trainer: Name of the trainer class.
        mirrored: Axes of the network along which training mirrored.
    """

    path: Path
    weights: Mapping[str, Tensor]
    configuration: str
    trainer: str
    mirrored: tuple[int, ...]


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint; its tensors are memory-mapped.

    Args:
        path: A file written by `torch.save`.

    Raises:
        ModelError: If it is no checkpoint of nnU-Net v2, is damaged, or holds anything but tensors, numbers and text.
    """
    _check_archive(path)
    allowed: list[Any] = [_stand_in(*name.rsplit(".", 1)) for name in _NAMES]
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(allowed):
            warnings.simplefilter("ignore")  # about pickles that it then refuses
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # unpickling may raise anything
        raise ModelError(f"{path}: {_reason(error)}") from None
    if not isinstance(found, Mapping):
        raise ModelError(
            f"{path}: expected a checkpoint of nnU-Net v2, got a {type(found).__name__}; give one that its training "
            "wrote"
        )
    try:
        made = _made_of(path, found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        got = f"one without {error}" if isinstance(error, KeyError) else f"one with other parts: {error}"
        raise ModelError(
            f"{path}: expected a checkpoint of nnU-Net v2, got {got[:150]}; give one that its training wrote"
        ) from None
    if not all(isinstance(tensor, Tensor) for tensor in made.weights.values()):
        raise ModelError(f"{path}: expected tensors as weights, got something else; give a checkpoint of nnU-Net v2")
    return made


def _made_of(path: Path, found: Mapping[str, Any]) -> Checkpoint:
    weights = {_named(name): tensor for name, tensor in found["network_weights"].items()}
    mirrored = found.get("inference_allowed_mirroring_axes")
    return Checkpoint(
        path,
        {name: tensor for name, tensor in weights.items() if not _COPIES.search(name)},
        str(found["init_args"]["configuration"]),
        str(found.get("trainer_name", ""))[:200],
        () if mirrored is None else tuple(int(axis) for axis in mirrored),
    )


def _check_archive(path: Path) -> None:
    """Check that the file is a ZIP archive of uncompressed parts, so that it cannot expand.

    Raises:
        ModelError: If it is not, or its pickles are too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except OSError as error:
        raise ModelError(f"{path}: expected a checkpoint, got: {error.strerror}; copy the training folder") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ModelError(
            f"{path}: expected a checkpoint that PyTorch 1.6 or later wrote, got: {str(error)[:100]}; copy it again"
        ) from None
    size = path.stat().st_size
    folded = any(part.compress_type != zipfile.ZIP_STORED for part in parts)
    pickled = sum(part.file_size for part in parts if part.filename.endswith(".pkl"))
    if folded or sum(part.file_size for part in parts) > size or pickled > MOST_PICKLE_BYTES:
        raise ModelError(
            f"{path}: expected uncompressed parts, with at most {MOST_PICKLE_BYTES} bytes that are not "
            "tensors, got others; give a checkpoint that nnU-Net wrote"
        )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    named = re.search(r"[Uu]nsupported (?:global|class|GLOBAL):? (?:GLOBAL )?([\w.]+)", text)
    if named is not None:
        what = named[1]
        return (
            f"expected tensors, numbers and words, got a checkpoint that asks for {what}, which is not executed; "
            "do not trust this file"
        )
    told = text.partition("WeightsUnpickler error: ")[2] or text  # before it is advice to turn the protection off
    told = told.partition(" Check the documentation")[0]
    return f"expected a checkpoint of nnU-Net v2, got: {type(error).__name__}: {told[:150]}; copy the file again"


def _named(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.partition(".")[2]
    return name


def network_of(checkpoint: Checkpoint, config: NnunetNetwork, heads: int, *, exclusive: bool) -> NnunetUNet:
    """Build a network with a checkpoint's weights.

    Where structures are exclusive, the background's logit is subtracted from each of the others: the argmax over all
    logits is then the highest one above 0, and background if there is none.

    Args:
        checkpoint: The checkpoint of that network.
        config: The architecture.
        heads: Number of logits in training.
        exclusive: Whether the first of them is the background's.

    Raises:
        ModelError: If a tensor is missing, unexpected, or of another shape; the message names it.
    """
    with torch.device("meta"):  # shapes without memory
        expected = NnunetUNet(heads, config).state_dict()
    last = f"decoder.seg_layers.{len(config.decoder_convs) - 1}"
    shapes = {name.replace("head", last): tensor.shape for name, tensor in expected.items()}
    _check_shapes(checkpoint, shapes)
    _check_size(checkpoint.path, sum(checkpoint.weights[name].nbytes for name in shapes))
    weights = {name: checkpoint.weights[name].detach().float().clone() for name in shapes}
    head = {part: weights.pop(f"{last}.{part}") for part in ("weight", "bias")}
    if exclusive:
        head = {part: values[1:] - values[:1] for part, values in head.items()}
    network = NnunetUNet(heads - 1 if exclusive else heads, config)
    network.load_state_dict(weights | {f"head.{part}": values.contiguous() for part, values in head.items()})
    return network.eval()


def _check_shapes(checkpoint: Checkpoint, shapes: Mapping[str, torch.Size]) -> None:
    for name, shape in shapes.items():
        tensor = checkpoint.weights.get(name)
        if tensor is None or tensor.shape != shape or not tensor.is_floating_point():
            got = "none" if tensor is None else f"one of {tuple(tensor.shape)} ({tensor.dtype})"
            raise ModelError(
                f"{checkpoint.path}: expected a tensor {name} of {tuple(shape)}, as the plans say, got {got}; "
                "the checkpoint belongs to another network than the plans"
            )
    others = [n for n in checkpoint.weights if n not in shapes and not n.startswith("decoder.seg_layers.")]
    if others:
        raise ModelError(
            f"{checkpoint.path}: expected the tensors of the plans' network, got others, such as "
            f"{others[0][:100]}; the checkpoint belongs to another network than the plans"
        )


def _check_size(path: Path, taken: int) -> None:
    """Check that the tensors are no larger than the file: strides of 0 can expand one number to any shape.

    Raises:
        ModelError: If they are.
    """
    size = path.stat().st_size
    if taken > size:
        raise ModelError(
            f"{path}: expected tensors that fit in the file, got {taken} bytes of them in a file of {size}; do "
            "not trust this file"
        )


def model_of(record: ModelRecord, network: NnunetUNet, path: Path) -> Model:
    """Make a model of a network after checking that its weights are finite.

    Args:
        record: The model's description.
        network: The network with its weights.
        path: The checkpoint, for messages.

    Raises:
        ModelError: If a weight is NaN or infinite.
    """
    wrong = [name for name, tensor in network.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if wrong:
        raise ModelError(f"{path}: expected finite weights, got NaN or infinity in {wrong[0]}; take another checkpoint")
    return Model(record, network)
