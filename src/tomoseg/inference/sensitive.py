"""Mixed-precision int8: finding the layers that lose much accuracy in int8, by measuring one group after the other.

A group, such as a stage of the decoder, computes in floating point while all others are in int8. The gain relative to
the group's multiplications, which stay slow, decides which groups are kept in floating point.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from tomoseg.inference.kinds import Calibration, Images
from tomoseg.inference.threads import thread_count
from tomoseg.models.folder import Model
from tomoseg.models.leaner import join_normalisations
from tomoseg.models.openvino import compile_openvino, import_openvino
from tomoseg.models.quantise import convolutions, convolving, multiplications, quantise

ENOUGH = 0.005
"""Fraction of labelled voxels that may differ from fp32: a Dice of about 0.995."""

MOST_KEPT = 0.5
"""Largest fraction of multiplications kept in floating point; with more, int8 gains little."""

HEAD = "head"

Decided = np.ndarray
"""Decision at each voxel: a number or bits, along the last axis."""


@dataclass(frozen=True)
class Group:
    """Layers that are kept in floating point together.

    Attributes:
        name: Common prefix of their names.
        layers: Their names in the network.
        ops: Their names in the OpenVINO model.
        share: Their fraction of all multiplications.
    """

    name: str
    layers: tuple[str, ...]
    ops: tuple[str, ...]
    share: float


def quantised(model: Model, network: Any, calibration: Calibration) -> tuple[Any, dict[str, Any]]:
    """Quantise a network to int8; return it, and a record of how it was made.

    Args:
        model: The model of the network.
        network: The network as an OpenVINO model in fp32; modified.
        calibration: Images for the scales, and for finding sensitive layers.
    """
    plan = model.record.plan
    alone = plan is not None
    if alone:
        join_normalisations(network)
    kept = [convolutions(network)[-1]]
    found = quantise(network, calibration.images, kept, alone=alone)
    if not calibration.checked:
        return found, {"kept_in_floating_point": kept}
    decide = decide_each if plan is None or plan.decision == "regions" else decide_exclusive
    groups = groups_of(network, model.network.state_dict(), calibration.checked[0].shape)
    together, told = chosen(groups, _Differing(network, found, calibration.checked, decide))
    made = {
        "kept_in_floating_point": [HEAD, *_joined(group.layers for group in together)],
        "share_in_floating_point": round(sum(group.share for group in together), 4),
        "differing_by_group_kept": told,
    }
    ops = _joined(group.ops for group in together)
    return quantise(network, calibration.images, [*kept, *ops], alone=alone) if ops else found, made


class _Differing:
    """Measures the fraction of labelled voxels that differ from fp32 if some groups are kept in floating point."""

    def __init__(self, plain: Any, low: Any, images: Images, decide: Callable[[np.ndarray], Decided]) -> None:
        self._plain, self._low, self._images, self._decide = plain, low, images, decide
        self._expected = decisions(plain, images, decide)

    def __call__(self, some: Sequence[Group]) -> float:
        changed = in_floating_point(self._low, self._plain, set(_joined(group.ops for group in some)))
        return share_differing(decisions(changed, self._images, self._decide), self._expected)


def _joined(names: Iterable[Sequence[str]]) -> list[str]:
    return [name for some in names for name in some]


def groups_of(network: Any, weights: dict[str, Any], shape: tuple[int, ...]) -> list[Group]:
    """Group a network's convolutions by their names up to the first number, without the last convolution.

    Args:
        network: The network as an OpenVINO model.
        weights: Weights of the PyTorch network, by which layers are identified.
        shape: Shape of an input.
    """
    fixed = network.clone()
    fixed.reshape(list(shape))
    known = {name.removesuffix(".weight").removesuffix(".conv"): value.cpu().numpy() for name, value in weights.items()}
    found: dict[str, list[tuple[str, str, float]]] = {}
    for op in convolving(fixed):
        name = _name_of(op, known)
        match = re.match(r".*?\.\d+(?=\.|$)", name)
        group = match.group() if match else name
        found.setdefault(group, []).append((name, op.get_friendly_name(), multiplications(op)))
    last = convolutions(network)[-1]
    total = sum(count for members in found.values() for _, _, count in members)
    groups = []
    for group, members in found.items():
        own = [one for one in members if one[1] != last]
        if own:
            layers, ops, counts = zip(*own, strict=True)
            groups.append(Group(group, layers, ops, sum(counts) / total))
    return groups


def _name_of(op: Any, known: dict[str, np.ndarray]) -> str:
    """Return the name of the layer that has an operation's weights; the operation's own name if none has."""
    node = op.input_value(1).get_node()
    if node.get_type_name() == "Constant":
        values = node.data
        for name, mine in known.items():
            if mine.shape == values.shape and np.array_equal(mine, values):
                return name
    return str(op.get_friendly_name())


def chosen(
    groups: Sequence[Group], differing: Callable[[Sequence[Group]], float]
) -> tuple[list[Group], dict[str, float]]:
    """Choose the groups kept in floating point; also return the fraction of labelled voxels that differ with each.

    Each is tried alone; then they are added in order of their gain per multiplication, until few enough voxels differ.

    Args:
        groups: Groups that may be kept.
        differing: Measures the fraction that differs if some groups are kept.

    Example:
        >>> groups = [Group("a", ("a.0",), ("op0",), 0.1), Group("b", ("b.0",), ("op1",), 0.1)]
        >>> kept, told = chosen(groups, lambda some: 0.02 - 0.016 * any(group.name == "b" for group in some))
        >>> [group.name for group in kept], told
        (['b'], {'none': 0.02, 'a': 0.02, 'b': 0.004, 'together': 0.004})
    """
    told = {"none": differing([])}
    if told["none"] <= ENOUGH:
        return [], told
    told |= {group.name: differing([group]) for group in groups}
    gaining = [group for group in groups if told[group.name] < told["none"]]
    by_gain = sorted(gaining, key=lambda group: (told[group.name] - told["none"]) / group.share)
    kept, told["together"] = _together(by_gain, differing, told)
    return kept, {name: round(value, 5) for name, value in told.items()}


def _together(
    by_gain: Sequence[Group], differing: Callable[[Sequence[Group]], float], alone: dict[str, float]
) -> tuple[list[Group], float]:
    """Keep as many groups as are needed, in their order; also return the fraction that differs with them."""
    kept: list[Group] = []
    before = alone["none"]
    for group in by_gain:
        if before <= ENOUGH:
            break
        if sum(one.share for one in kept) + group.share > MOST_KEPT:
            continue
        with_it = differing([*kept, group]) if kept else alone[group.name]
        if with_it < before:
            kept.append(group)
            before = with_it
    return kept, before


def decide_exclusive(logits: Float32[np.ndarray, "1 *xyzc"]) -> Decided:
    """Return the number, from 1, of the structure with the highest logit above 0; 0 for none.

    Example:
        >>> decide_exclusive(np.array([[[-1, -2], [-1, 3]]], np.float32)).ravel().tolist()
        [0, 2]
    """
    best = logits.argmax(axis=-1)
    above = np.take_along_axis(logits, best[..., None], -1) > 0
    return np.where(above, best[..., None] + 1, 0).astype(np.uint16)


def decide_each(logits: Float32[np.ndarray, "1 *xyzc"]) -> Decided:
    """Return the packed bits of the logits above 0."""
    return np.packbits(logits > 0, axis=-1)


def share_differing(found: Sequence[Decided], expected: Sequence[Decided]) -> float:
    """Return the fraction of voxels decided differently, among those that either labels.

    Example:
        >>> share_differing([np.array([[1], [0], [0]])], [np.array([[1], [2], [0]])])
        0.5
    """
    differing = sum(int((mine != theirs).any(axis=-1).sum()) for mine, theirs in zip(found, expected, strict=True))
    labelled = sum(int((mine | theirs).any(axis=-1).sum()) for mine, theirs in zip(found, expected, strict=True))
    return differing / max(1, labelled)


def decisions(model: Any, images: Images, decide: Callable[[np.ndarray], Decided]) -> list[Decided]:
    """Return a network's decisions of images, computed in fp32 where it is not in int8.

    Args:
        model: An OpenVINO model; it is not modified.
        images: Inputs of the network.
        decide: Decides logits, structures last.
    """
    requests: dict[tuple[int, ...], Any] = {}
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": thread_count()}
    found = []
    for image in images:
        shape = image.shape[1:]
        if shape not in requests:
            requests[shape] = compile_openvino(model, shape, settings, None).create_infer_request()
        found.append(decide(requests[shape].infer([image], share_inputs=True, share_outputs=True)[0]))
    return found


def in_floating_point(low: Any, plain: Any, ops: set[str]) -> Any:
    """Return a network in int8 with some of its convolutions in floating point.

    Args:
        low: The network in int8.
        plain: The same network in fp32.
        ops: Names of the convolutions to restore.
    """
    import_openvino()
    from openvino import opset13

    weights = {op.get_friendly_name(): op.input_value(1).get_node() for op in convolving(plain)}
    changed = low.clone()
    for op in convolving(changed):
        name = op.get_friendly_name()
        if name in ops:
            op.input(0).replace_source_output(_unquantised(op.input_value(0), opset13))
            op.input(1).replace_source_output(opset13.constant(weights[name].data.copy()).output(0))
    changed.validate_nodes_and_infer_types()
    return changed


def _unquantised(read: Any, ops: Any) -> Any:
    """Return a convolution's input before its quantisation; each input of a concatenation separately."""
    node = read.get_node()
    if node.get_type_name() == "FakeQuantize":
        return node.input_value(0)
    if node.get_type_name() == "Concat":
        return ops.concat(
            [_unquantised(half, ops) for half in node.input_values()], node.get_attributes()["axis"]
        ).output(0)
    return read
