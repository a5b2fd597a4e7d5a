"""Network architectures in nnU-Net's plans, old and new formats; anything unknown is refused by its name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tomoseg.errors import ModelError
from tomoseg.nnunet import NnunetNetwork
from tomoseg.settings import validate_config

NETWORKS = {"PlainConvUNet": "plain_conv_unet", "ResidualEncoderUNet": "residual_encoder_unet"}
LAYERS: dict[str, tuple[str | None, ...]] = {
    "conv_op": ("Conv2d", "Conv3d"),
    "norm_op": ("InstanceNorm2d", "InstanceNorm3d"),
    "dropout_op": (None, "Dropout2d", "Dropout3d"),  # no effect at inference
    "nonlin": ("LeakyReLU",),
    "block": (None, "BasicBlockD"),
}
"""Supported classes by setting, without their modules, which differ between versions."""

_AS_THEY_ARE = {"nonlin_first": (False, None), "stem_channels": (None,), "bottleneck_channels": (None,)}
"""Settings of which only these values are supported."""

_SETTINGS = {
    *("n_stages", "features_per_stage", "kernel_sizes", "strides", "n_conv_per_stage", "n_blocks_per_stage"),
    *("n_conv_per_stage_decoder", "conv_bias", "norm_op_kwargs", "nonlin_kwargs"),
    *("dropout_op_kwargs", "deep_supervision"),  # used in training only
    *LAYERS,
    *_AS_THEY_ARE,
}
_OF_NORM = {"eps", "affine", "momentum"}
_OF_RECTIFIER = {"negative_slope", "inplace"}
"""Supported settings of a network, its normalisation and its rectifier, of any value."""


def described_network(found: Mapping[str, Any], name: str) -> NnunetNetwork:
    """Read the network of a configuration.

    Args:
        found: The configuration, inherited settings included.
        name: Name of the training in messages.

    Raises:
        ConfigError: If its numbers are inconsistent or out of range.
        ModelError: If it names an unsupported class or setting.
    """
    made = _new_network(found["architecture"], name) if "architecture" in found else _old_network(found, name)
    return validate_config(NnunetNetwork, made, name)


def _new_network(architecture: Mapping[str, Any], name: str) -> dict[str, Any]:
    kind = known_name(architecture["network_class_name"], NETWORKS, "network", name)
    settings = dict(architecture["arch_kwargs"])
    norm, nonlin = settings.get("norm_op_kwargs") or {}, settings.get("nonlin_kwargs") or {}
    for given, names in ((settings, _SETTINGS), (norm, _OF_NORM), (nonlin, _OF_RECTIFIER)):
        _refuse_more(given, names, name)
    for setting, known in LAYERS.items():
        refuse_other_than(settings.get(setting), known, setting, name)
    for setting, values in _AS_THEY_ARE.items():
        if settings.get(setting) not in values:
            raise ModelError(f"{name}: expected no {setting}, got {str(settings[setting])[:50]}; it is not supported")
    stages = int(settings["n_stages"])
    dims = 3 if str(settings["conv_op"]).endswith("3d") else 2
    channels = _repeated(settings["features_per_stage"], stages)
    if len(channels) != stages:
        raise ModelError(f"{name}: expected as many widths as stages, got {len(channels)} and {stages}; copy it again")
    counts = settings["n_conv_per_stage" if kind == "plain_conv_unet" else "n_blocks_per_stage"]
    return {
        "kind": kind,
        "channels": channels,
        "kernels": _edges(settings["kernel_sizes"], stages, dims),
        "strides": _edges(settings["strides"], stages, dims),
        "blocks": _repeated(counts, stages),
        "decoder_convs": _repeated(settings["n_conv_per_stage_decoder"], stages - 1),
        "bias": bool(settings.get("conv_bias", False)),
        "norm_eps": norm.get("eps", 1e-5),
        "norm_affine": norm.get("affine", False),
        "negative_slope": nonlin.get("negative_slope", 0.01),
    }


def _old_network(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Read the format of nnU-Net 2.0 to 2.4, which has the numbers only."""
    kind = known_name(found["UNet_class_name"], NETWORKS, "network", name)
    stages, dims = len(found["n_conv_per_stage_encoder"]), len(found["patch_size"])
    first, most = int(found["UNet_base_num_features"]), int(found["unet_max_num_features"])
    return {
        "kind": kind,
        "channels": tuple(min(first * 2**stage, most) for stage in range(min(stages, 64))),
        "kernels": _edges(found["conv_kernel_sizes"], stages, dims),
        "strides": _edges(found["pool_op_kernel_sizes"], stages, dims),
        "blocks": tuple(found["n_conv_per_stage_encoder"]),
        "decoder_convs": tuple(found["n_conv_per_stage_decoder"]),
    }


def known_name(given: object, known: Mapping[str, str], what: str, name: str) -> str:
    """Return this package's name for a class of nnU-Net.

    Args:
        given: The class's name, with or without its module.
        known: Names here, by class name.
        what: What the class is for, in messages.
        name: Name of the training in messages.

    Raises:
        ModelError: If the class is unsupported.
    """
    last = str(given).rpartition(".")[2]
    refuse_other_than(given, tuple(known), what, name)
    return known[last]


def refuse_other_than(given: object, known: Sequence[str | None], what: str, name: str) -> None:
    """Refuse a class that is not in a list.

    Args:
        given: The class's name, with or without its module.
        known: Supported class names.
        what: What the class is for, in messages.
        name: Name of the training in messages.

    Raises:
        ModelError: If the class is unsupported.
    """
    last = None if given is None else str(given).rpartition(".")[2]
    if last not in known:
        names = ", ".join(str(one) for one in known if one is not None)
        raise ModelError(f"{name}: expected {what} {names}, got {str(given)[:100]}; such a model cannot be imported")


def _refuse_more(given: Mapping[str, Any], known: Collection[str], name: str) -> None:
    """Refuse unknown settings unless they are None or False.

    Raises:
        ModelError: If there is one; the message names the first.
    """
    others = [setting for setting, value in given.items() if setting not in known and value not in (None, False)]
    if others:
        raise ModelError(
            f"{name}: expected supported settings of the network, got {str(others[0])[:50]}; such a model "
            "cannot be imported"
        )


def _repeated(given: int | Sequence[int], count: int) -> tuple[int, ...]:
    return (given,) * min(count, 64) if isinstance(given, int) else tuple(given)


def _edges(given: int | Sequence[int | Sequence[int]], stages: int, dims: int) -> tuple[tuple[int, ...], ...]:
    """Return the edges for each stage and axis; plans may give one number for all."""
    each: Sequence[int | Sequence[int]] = [given] * min(stages, 64) if isinstance(given, int) else given
    return tuple((one,) * dims if isinstance(one, int) else tuple(one) for one in each)
