"""A network without its last convolution, and that convolution alone, are the network."""

import numpy as np
import pytest

from tests.nnunet_files import Made, write_training
from tomoseg.inference.choose import choose_engine
from tomoseg.models.folder import load_model, restrict_structures, without_head
from tomoseg.models.heads import Head, head_of, mean_head
from tomoseg.workflows.import_model import import_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("model")
    import_model(write_training(place / "nn", Made(patch=(8, 16, 16))), place / "model")
    return place / "model"


@pytest.mark.parametrize("engine", ["torch", "openvino"])
@pytest.mark.parametrize("names", [(), ("spleen", "liver")], ids=["all", "some"])
def test_the_head_of_the_features_is_the_logits(folder, engine, names, rng):
    model = restrict_structures(load_model(folder), names)
    patch = rng.normal(size=(1, 1, 8, 16, 16)).astype(np.float32)
    whole, cut = (choose_engine(one, engine, "cpu", "fp32") for one in (model, without_head(model)))
    logits, features = whole.run(patch)[0], cut.run(patch)[0]
    assert (whole.headless, cut.headless) == (False, True)
    assert features.shape == (6, 8, 16, 16)
    made = np.stack([head_of(model)(features[:, k]) for k in range(8)], axis=1)
    np.testing.assert_allclose(made, logits, atol=1e-5 * np.abs(logits).max())


def test_of_a_network_in_memory_it_is_read_there(folder):
    model = load_model(folder)
    stored, model.folder = head_of(model), None
    np.testing.assert_array_equal(head_of(model).weights, stored.weights)
    np.testing.assert_array_equal(head_of(model).bias, stored.bias)


def test_the_mean_of_two_heads():
    heads = [Head(np.full((1, 1), value, np.float32), np.full(1, value, np.float32)) for value in (2, 4)]
    features = np.array([10, 100], np.float32).reshape(2, 1, 1)
    assert mean_head(heads)(features).item() == (20 + 400) / 2 + 3
