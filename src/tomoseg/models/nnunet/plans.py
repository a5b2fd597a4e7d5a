"""Reading nnU-Net's `plans.json` and `dataset.json`, old and new formats.

Plans name classes and functions, which nnU-Net imports. Here they are compared with a list; those not in it are
refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomoseg.errors import ConfigError, LabelError, ModelError, counted
from tomoseg.files.label_names import check_told_apart, structure_name
from tomoseg.labels import LabelSet, Structure
from tomoseg.models.nnunet.architecture import described_network, known_name, refuse_other_than
from tomoseg.nnunet import MOST_STRUCTURES, NnunetNetwork, NnunetPlan
from tomoseg.settings import validate_config

MOST_JSON_BYTES = 64 * 2**20
"""Size limit: plans have some kilobytes, and a dataset.json at most lists its cases."""

READERS = {
    "SimpleITKIO": "file",
    "NibabelIO": "file",
    "SimpleITKIOWithReorient": "ras",
    "NibabelIOWithReorient": "ras",
}
SCHEMES = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "RescaleTo01Normalization": "rescale",
    "NoNormalization": "none",
}
RESAMPLING = "resample_data_or_seg_to_shape"
PREPROCESSORS = ("DefaultPreprocessor",)


@dataclass(frozen=True)
class Training:
    """A training as its plans and dataset describe it.

    Attributes:
        network: The architecture.
        plan: Preprocessing and decision, without the mirrored axes, which only the checkpoint states.
        labels: Its structures.
        heads: Number of logits: structures plus background, or the regions alone.
        described: The dataset's name, description, reference and licence, where stated.
    """

    network: NnunetNetwork
    plan: NnunetPlan
    labels: LabelSet
    heads: int
    described: dict[str, str]


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file with an object in it.

    Raises:
        ModelError: If it is missing, too large, or no JSON object.
    """
    try:
        size = path.stat().st_size
        if size > MOST_JSON_BYTES:
            raise ModelError(f"{path}: expected at most {MOST_JSON_BYTES} bytes, got {size}; give a folder of nnU-Net")
        data = json.loads(path.read_bytes())
    except OSError:
        raise ModelError(f"{path}: expected a file of nnU-Net, found none; copy the whole training folder") from None
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: expected JSON, got: {str(error)[:100]}; copy the file again") from None
    if not isinstance(data, dict):
        raise ModelError(f"{path}: expected a JSON object, got a {type(data).__name__}; copy the file again")
    return data


def training_of(plans: Mapping[str, Any], dataset: Mapping[str, Any], configuration: str, name: str) -> Training:
    """Read one configuration of a training's plans.

    Args:
        plans: Content of `plans.json`.
        dataset: Content of `dataset.json`.
        configuration: Name of the configuration, such as `3d_fullres`, as the checkpoint states it.
        name: Name of the training in messages.

    Raises:
        ModelError: If an entry is missing, of the wrong type, or unsupported.
    """
    try:
        found = _configuration(plans, configuration, (), name)
        if found.get("previous_stage"):
            raise ModelError(
                f"{name}: expected a network that reads only the scan, got the second stage of a cascade after "
                f"{found['previous_stage']}; import a 3d_fullres, 3d_lowres or 2d training"
            )
        refuse_other_than(found.get("preprocessor_name"), (None, *PREPROCESSORS), "preprocessor_name", name)
        refuse_other_than(plans.get("label_manager"), (None, "LabelManager"), "label_manager", name)
        labels, heads, decision = _labels_of(dataset, name)
        _check_channels(dataset, name)
        network = described_network(found, name)
        plan = validate_config(NnunetPlan, _plan_of(plans, found, name) | {"decision": decision}, name)
        if network.dims != len(plan.patch):
            raise ModelError(f"{name}: expected a patch of {network.dims} edges, got {plan.patch}; copy it again")
        _check_patch(network, plan, name)
        return Training(network, plan, labels, heads, _described(dataset, plans))
    except (ConfigError, LabelError) as error:
        raise ModelError(str(error) if str(error).startswith(name) else f"{name}: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{name}: expected plans of nnU-Net v2, got: {type(error).__name__} {str(error)[:100]}; copy the whole "
            "training folder"
        ) from None


def _configuration(plans: Mapping[str, Any], configuration: str, seen: tuple[str, ...], name: str) -> dict[str, Any]:
    """Return a configuration merged with those that it inherits from.

    Raises:
        ModelError: If there is none of that name, or inheritance is circular.
    """
    known = plans["configurations"]
    if configuration not in known:
        raise ModelError(
            f"{name}: expected one of the plans' configurations ({', '.join(known)}), got {str(configuration)[:100]}; "
            "copy the whole training folder"
        )
    if configuration in seen:
        raise ModelError(
            f"{name}: expected configurations that do not inherit from themselves, got {' -> '.join(seen)}; copy the "
            "plans again"
        )
    own = dict(known[configuration])
    parent = own.pop("inherits_from", None)
    return own if parent is None else _configuration(plans, parent, (*seen, configuration), name) | own


def _labels_of(dataset: Mapping[str, Any], name: str) -> tuple[LabelSet, int, str]:
    """Return the structures in the order of the logits, the number of logits, and the decision.

    Raises:
        ModelError: If background is not 0, or the labels are not numbered consecutively.
    """
    given = {str(key): value for key, value in dataset["labels"].items() if key != "ignore"}
    stated = {structure_name(key, name): value for key, value in given.items()}
    check_told_apart(stated, name)
    if len(stated) > MOST_STRUCTURES:
        raise ModelError(
            f"{name}: expected at most {MOST_STRUCTURES} labels, got {len(stated)}; such a model cannot be imported"
        )
    if stated.get("background") not in (0, "0"):
        raise ModelError(f"{name}: expected a label background of 0 in dataset.json, got none; copy the file again")
    if any(isinstance(value, list) and len(value) > 1 for value in stated.values()):
        return _regions_of(dataset, stated, name)
    return _exclusive_of(stated, name)


def _exclusive_of(stated: Mapping[str, Any], name: str) -> tuple[LabelSet, int, str]:
    values = {key: _whole(value[0] if isinstance(value, list) else value) for key, value in stated.items()}
    if sorted(values.values()) != list(range(len(values))) or len(values) < 2:
        raise ModelError(
            f"{name}: expected labels 0, 1, 2, ... in dataset.json, got {sorted(values.values())[:20]}; "
            "such a model cannot be imported"
        )
    del values["background"]
    named = {structure: value for value, structure in sorted((value, key) for key, value in values.items())}
    return _structures(list(named), list(named.values())), len(values) + 1, "exclusive"


def _regions_of(dataset: Mapping[str, Any], stated: dict[str, Any], name: str) -> tuple[LabelSet, int, str]:
    regions = [key for key, value in stated.items() if value != 0 and set(_list(value)) != {0}]
    order = [_whole(value) for value in dataset.get("regions_class_order") or ()]
    if len(order) != len(regions) or len(set(order)) != len(order):
        raise ModelError(
            f"{name}: expected one value in regions_class_order for each of {counted(len(regions), 'region')}, got "
            f"{order[:20]}; copy dataset.json again"
        )
    return _structures(regions, order), len(regions), "regions"


def _structures(names: Sequence[str], ids: Sequence[int]) -> LabelSet:
    """Make structures with nnU-Net's label values; codes and colours where the names are known."""
    return LabelSet(
        tuple(
            Structure(value, one.name, one.group, one.snomed, one.snomed_meaning, one.laterality, one.colour)
            for one, value in zip(LabelSet.from_names(names), ids, strict=True)
        )
    )


def _channels_of(dataset: Mapping[str, Any]) -> list[str]:
    """Return the names of the image channels, from a dict or a list; older datasets call them `modality`."""
    stated = dataset.get("channel_names") or dataset.get("modality") or []
    if not isinstance(stated, dict | list):
        return [str(stated)]
    return [str(value) for value in (stated.values() if isinstance(stated, dict) else stated)]


def _check_channels(dataset: Mapping[str, Any], name: str) -> None:
    channels = _channels_of(dataset)
    if len(channels) != 1:
        stated = ", ".join(channels)[:100] or "none"
        raise ModelError(f"{name}: expected a model with one input image, a CT, got: {stated}; it cannot be imported")


def _plan_of(plans: Mapping[str, Any], found: Mapping[str, Any], name: str) -> dict[str, Any]:
    schemes, masked = found["normalization_schemes"], found["use_mask_for_norm"]
    if len(schemes) != 1 or len(masked) != 1:
        raise ModelError(f"{name}: expected a model with one input image, got {len(schemes)}; it cannot be imported")
    scheme = known_name(schemes[0], SCHEMES, "normalisation", name)
    intensity = {"scheme": scheme, "masked": bool(masked[0]) and scheme == "zscore"}
    if scheme == "ct":
        properties = plans.get("foreground_intensity_properties_per_channel") or plans.get(
            "foreground_intensity_properties_by_modality"
        )
        of = properties["0"]  # type: ignore[index]  # a TypeError is told as what plans lack
        intensity |= {"mean": of["mean"], "sd": of["std"], "low": of["percentile_00_5"], "high": of["percentile_99_5"]}
    scan = _resampling(found, "data", (0, 1, 3), name)
    logits = _resampling(found, "probabilities", (1,), name)
    return {
        "axes": known_name(plans["image_reader_writer"], READERS, "image_reader_writer", name),
        "transpose": plans["transpose_forward"],
        "spacing_mm": found["spacing"],
        "patch": found["patch_size"],
        "intensity": intensity,
        "scan_order": scan["order"],
        "separate_scan": scan["force_separate_z"],
        "separate_logits": logits["force_separate_z"],
    }


def _resampling(found: Mapping[str, Any], what: str, orders: tuple[int, ...], name: str) -> dict[str, Any]:
    """Read the resampling settings of images or logits.

    Raises:
        ModelError: If a function or setting is unsupported.
    """
    key = f"resampling_fn_{what}"
    refuse_other_than(found[key], (RESAMPLING,), key, name)
    given = {"order": 3, "order_z": 0, "force_separate_z": False, "is_seg": False} | dict(found[f"{key}_kwargs"])
    known = {
        "order": orders,
        "order_z": (0,),
        "force_separate_z": (None, True, False),
        "is_seg": (False,),
        "separate_z_anisotropy_threshold": (3,),  # nnU-Net's default
    }
    for setting, value in given.items():
        if setting not in known:
            raise ModelError(
                f"{name}: expected {key} with {', '.join(known)} only, got {setting[:50]}; it is not supported"
            )
        if value not in known[setting]:
            raise ModelError(
                f"{name}: expected {setting} of {key} to be one of {known[setting]}, got {str(value)[:50]}; it "
                "is not supported"
            )
    return given


def _check_patch(network: NnunetNetwork, plan: NnunetPlan, name: str) -> None:
    """Check that the patch is a multiple of the stride, with more than one voxel in the last stage to normalise over.

    Raises:
        ModelError: If it is not.
    """
    if tuple(plan.patch) == network.stride:
        raise ModelError(
            f"{name}: expected a patch of more than {network.stride}, which is one voxel in the last stage, got "
            f"{plan.patch}; copy it again"
        )
    if any(edge % step for edge, step in zip(plan.patch, network.stride, strict=True)):
        raise ModelError(f"{name}: expected a patch in multiples of {network.stride}, got {plan.patch}; copy it again")


def _described(dataset: Mapping[str, Any], plans: Mapping[str, Any]) -> dict[str, str]:
    stated = {
        "dataset": plans.get("dataset_name") or dataset.get("name"),
        "description": dataset.get("description"),
        "reference": dataset.get("reference"),
        "image": _channels_of(dataset)[0],
        "licence": dataset.get("licence") or dataset.get("license"),
        "plans": plans.get("plans_name"),
    }
    return {key: " ".join(str(value).split())[:1000] for key, value in stated.items() if value}


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else [value]


def _whole(value: Any) -> int:
    """Return a label's value as an integer.

    Raises:
        ValueError: If it is not an integer.
    """
    whole = int(value)
    if isinstance(value, float) and whole != value:
        raise ValueError(f"a label of {value}")
    return whole
