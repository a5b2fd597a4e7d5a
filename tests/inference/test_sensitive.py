"""Sensitive layers: which are chosen by hand, what keeping all of them gives, what they are called."""

import numpy as np
import pytest

from tests.nnunet_files import Made, write_training
from tomoseg.inference.kinds import Calibration
from tomoseg.inference.sensitive import Group, chosen, groups_of, in_floating_point, quantised
from tomoseg.models.conversion import convert_to_openvino
from tomoseg.models.folder import load_model
from tomoseg.models.leaner import join_normalisations
from tomoseg.models.openvino import openvino_core
from tomoseg.models.quantise import convolutions, quantise
from tomoseg.workflows.import_model import import_model

GROUPS = [Group(name, (name,), (name,), share) for name, share in (("a", 0.1), ("b", 0.4), ("c", 0.1), ("d", 0.3))]


def choose_by(gains, start=0.05):
    tried = []

    def differing(kept):
        tried.append("".join(group.name for group in kept))
        return start - sum(gains[group.name] for group in kept)

    kept, told = chosen(GROUPS, differing)
    return [group.name for group in kept], told, tried


def test_what_gains_most_for_its_work_comes_first_until_it_is_enough():
    # A tenth of the work for 0.02, then 0.3 of it for 0.03: what b gains, 0.02 for 0.4, is not needed any more.
    kept, told, tried = choose_by({"a": -0.01, "b": 0.02, "c": 0.02, "d": 0.03})
    assert kept == ["c", "d"]
    assert told["together"] == pytest.approx(0)
    assert tried == ["", "a", "b", "c", "d", "cd"]


def test_what_would_keep_more_than_half_is_left_out():
    kept, told, _ = choose_by({"a": 0.001, "b": 0.03, "c": 0.001, "d": 0.001})
    assert kept == ["b", "a"]  # 0.4 and 0.1; with another there would be 0.6 or more
    assert told["together"] == pytest.approx(0.019)


def test_nothing_is_tried_where_little_differs():
    kept, told, tried = choose_by(dict.fromkeys("abcd", 0.0), start=0.004)
    assert (kept, told, tried) == ([], {"none": 0.004}, [""])


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)
        folder = tmp_path_factory.mktemp("model")
        import_model(write_training(folder / "nn"), folder / "model")
    model = load_model(folder / "model")
    graph = convert_to_openvino(model.network, model.record.input_spec)
    join_normalisations(graph)
    return model, graph


def logits(graph, image):
    return openvino_core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([image])[0]


def images(count):
    return list(np.random.default_rng(0).normal(size=(count, 1, 1, 8, 16, 16)).astype(np.float32))


def test_groups_are_stages_by_the_network_s_own_names(network):
    model, graph = network
    groups = {group.name: group for group in groups_of(graph, model.network.state_dict(), (1, 1, 8, 16, 16))}
    made = Made()
    stages = range(len(made.features))
    decoder = [f"decoder.{kind}.{n}" for n in stages[:-1] for kind in ("transpconvs", "stages")]
    assert groups.keys() == {*(f"encoder.stages.{n}" for n in stages), *decoder}
    assert groups["encoder.stages.0"].layers == ("encoder.stages.0.0.convs.0", "encoder.stages.0.0.convs.1")
    first = 8 * 16 * 16 * 9 * (6 + 6 * 6)  # 6 features of one image, then of 6, by kernels of 1 x 3 x 3
    last = 8 * 16 * 16 * 9 * (6 * 12 + 6 * 6)
    assert groups["decoder.stages.1"].share / groups["encoder.stages.0"].share == pytest.approx(last / first)
    assert sum(group.share for group in groups.values()) < 1  # the last layer has the rest


def test_with_all_layers_kept_the_network_is_what_it_was(network):
    model, graph = network
    low = quantise(graph, images(4), [convolutions(graph)[-1]], alone=True)
    kinds = [
        op.input_value(0).get_node().get_type_name() for op in low.get_ordered_ops() if op.get_type_name() == "MVN"
    ]
    assert "FakeQuantize" not in kinds  # normalisations have the convolutions' values as they are
    groups = groups_of(graph, model.network.state_dict(), (1, 1, 8, 16, 16))
    image = images(5)[-1]
    expected = logits(graph, image)
    assert np.abs(logits(low, image) - expected).max() > 1e-3 * np.abs(expected).max()
    whole = in_floating_point(low, graph, {op for group in groups for op in group.ops})
    np.testing.assert_allclose(logits(whole, image), expected, atol=1e-5 * np.abs(expected).max())


def test_layers_that_are_kept_are_named_and_have_no_8_bits(network, monkeypatch):
    model, graph = network
    monkeypatch.setattr("tomoseg.inference.sensitive.ENOUGH", 0.0)
    found, made = quantised(model, graph.clone(), Calibration(images(4), images(6)[4:]))
    kept = made["kept_in_floating_point"]
    assert kept[0] == "head"
    assert len(kept) > 1
    weights = [
        op.input_value(1).get_node().get_type_name() for op in found.get_ordered_ops() if "onvol" in op.get_type_name()
    ]
    assert weights.count("Constant") == len(kept)
    told = made["differing_by_group_kept"]
    assert told["together"] < told["none"]
    assert 0 < made["share_in_floating_point"] <= 0.5
