"""An imported network's graph, rewritten so that OpenVINO computes the same in less memory and time.

Of feature maps of the input's resolution, of 205 MB each in the 3 mm network of TotalSegmentator's size, three are held
at once at most, and the output is written where it is wanted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tomoseg.models.openvino import import_openvino

_LOWEST = np.float32(-3e38)
"""Below every value of a network, also in bf16."""


def made_leaner(model: Any, *, headless: bool = False) -> Any:
    """The model in less memory; what it computes is the same up to rounding.

    Args:
        model: Changed.
        headless: Up to what its last convolution reads, which is then its output; features last.
    """
    _split_concatenations(model)
    join_normalisations(model)
    return _written_directly(model, headless=headless)


def _split_concatenations(model: Any) -> None:
    """Convolve the two halves of what is concatenated apart and add that up, so that it is never in memory as one.

    Halves whose convolution is not of constant weights, as one in int8, stay as they are.
    """
    import_openvino()
    from openvino import opset13

    for both in [op for op in _ops(model, "Concat") if op.get_input_size() == 2]:
        user = _only_user(both)
        if user is None or user.get_type_name() != "Convolution":
            continue
        weights = user.input_value(1).get_node()
        if weights.get_type_name() != "Constant":
            continue
        place, data = user.get_attributes(), weights.data
        how = [place[name] for name in ("strides", "pads_begin", "pads_end", "dilations")]
        first = both.input_value(0).get_partial_shape()[1].get_length()
        low, high = (
            opset13.convolution(both.input_value(n), opset13.constant(half.copy()), *how)
            for n, half in enumerate((data[:, :first], data[:, first:]))
        )
        _replace(user, opset13.add(low, high))
    model.validate_nodes_and_infer_types()


def join_normalisations(model: Any) -> None:
    """Make one operation of each normalisation of instances, which PyTorch's export takes apart into means.

    `(x - mean) * reshape(scale / sqrt(variance + eps))` is looked for; what is written otherwise stays as it is.

    Args:
        model: Changed.
    """
    import_openvino()
    from openvino import opset6, opset13

    for root in _ops(model, "Sqrt"):
        found = _normalisation(root)
        if found is None:
            continue
        values, eps, scale, shaped, scaled = found
        axes = opset13.constant(list(range(2, values.get_partial_shape().rank.get_length())))
        normalised = opset6.mvn(values, axes, True, eps, "inside_sqrt")
        _replace(scaled, opset13.multiply(normalised, opset13.reshape(scale, shaped.input_value(1), False)))
    model.validate_nodes_and_infer_types()


def _normalisation(root: Any) -> tuple[Any, float, Any, Any, Any] | None:
    """What a root belongs to: the values, eps, scale, and where that is brought to its shape and multiplied with."""
    steps = _steps_after(root, ["Divide", "Reshape", "Multiply"])
    if steps is None:
        return None
    divided, shaped, scaled = steps
    variance, scale = root.input_value(0).get_node(), divided.input_value(0)
    centred = [v.get_node() for v in scaled.input_values() if v.get_node().get_type_name() == "Add"]
    if len(centred) != 1 or variance.get_type_name() != "Add":
        return None
    eps = variance.input_value(1).get_node()
    if {eps.get_type_name(), scale.get_node().get_type_name()} != {"Constant"}:
        return None
    return centred[0].input_value(0), float(eps.data.item()), scale, shaped, scaled


def _written_directly(model: Any, *, headless: bool) -> Any:
    """The model with an operation at its end that changes nothing.

    What is only reordered at the end is held by OpenVINO, and copied to where it is wanted; what is computed is not.
    """
    openvino = import_openvino()
    from openvino import opset13

    result = model.get_results()[0]
    made = result.input_value(0)
    if headless:
        features = _ops(model, "Convolution")[-1].input_value(0)
        axes = [0, *range(2, features.get_partial_shape().rank.get_length()), 1]
        made = opset13.transpose(features, opset13.constant(axes)).output(0)
    written = opset13.result(opset13.maximum(made, opset13.constant(_LOWEST)))
    return openvino.Model([written], model.get_parameters())


def _ops(model: Any, kind: str) -> list[Any]:
    return [op for op in model.get_ordered_ops() if op.get_type_name() == kind]


def _steps_after(op: Any, kinds: list[str]) -> list[Any] | None:
    """The operations that follow, each alone, if they are of these kinds."""
    steps = []
    for kind in kinds:
        op = _only_user(op)
        if op is None or op.get_type_name() != kind:
            return None
        steps.append(op)
    return steps


def _only_user(op: Any) -> Any:
    """What alone reads an operation's output; None where several do."""
    users = [user.get_node() for user in op.output(0).get_target_inputs()]
    return users[0] if len(users) == 1 else None


def _replace(op: Any, by: Any) -> None:
    for user in op.output(0).get_target_inputs():
        user.replace_source_output(by.output(0))
