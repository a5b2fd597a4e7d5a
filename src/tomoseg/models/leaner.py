"""Graph rewrites by which OpenVINO runs an imported network in less memory and time.

At most three feature maps of the input's resolution are held at once (205 MB each in a network of the size of
TotalSegmentator's 3 mm one), and the output is written directly to its destination.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tomoseg.models.openvino import import_openvino

_LOWEST = np.float32(-3e38)
"""Lower than any value of a network, also in bf16."""


def made_leaner(model: Any, *, headless: bool = False) -> Any:
    """Rewrite a model to need less memory; its output is the same up to rounding.

    Args:
        model: An OpenVINO model; modified.
        headless: Return the input of its last convolution as output, features last, in place of logits.
    """
    _split_concatenations(model)
    join_normalisations(model)
    return _written_directly(model, headless=headless)


def _split_concatenations(model: Any) -> None:
    """Convolve both inputs of a concatenation separately and add the results, so that it is never held whole.

    Convolutions without constant weights, such as those in int8, are left as they are.
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
    """Fuse each instance normalisation, which PyTorch's export decomposes into means, into one operation.

    Only the pattern `(x - mean) * reshape(scale / sqrt(variance + eps))` is matched.

    Args:
        model: An OpenVINO model; modified.
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
    """Match the normalisation around a square root: its input, eps and scale, and the reshape and multiply nodes."""
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
    """Return the model with an identity operation at its end.

    OpenVINO copies an output that is only a reordering, and writes one that is computed directly.
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
    """Return the operations that follow, if each is the only user of the one before and of its kind; else None."""
    steps = []
    for kind in kinds:
        op = _only_user(op)
        if op is None or op.get_type_name() != kind:
            return None
        steps.append(op)
    return steps


def _only_user(op: Any) -> Any:
    """Return the only operation that reads an output; None if several do."""
    users = [user.get_node() for user in op.output(0).get_target_inputs()]
    return users[0] if len(users) == 1 else None


def _replace(op: Any, by: Any) -> None:
    for user in op.output(0).get_target_inputs():
        user.replace_source_output(by.output(0))
