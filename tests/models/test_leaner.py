"""What is rewritten computes what it did, and is written as it should be."""

import numpy as np
import pytest

from tests.nnunet_files import FLAT, Made, logits_of, weights_of, write_training
from tomoseg.inference.choose import choose_engine
from tomoseg.models.conversion import convert_to_openvino
from tomoseg.models.folder import load_model
from tomoseg.models.leaner import made_leaner
from tomoseg.workflows.import_model import import_model

KINDS = {"plain": Made(), "residual": Made(kind="ResidualEncoderUNet"), "slices": Made(**FLAT)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_is_computed_by_fewer_operations(tmp_path, monkeypatch, kind, rng):
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)
    made = KINDS[kind]
    import_model(write_training(tmp_path / "nn", made), tmp_path / "model")
    model = load_model(tmp_path / "model")
    graph = made_leaner(convert_to_openvino(model.network, model.record.input_spec))
    kinds = [op.get_type_name() for op in graph.get_ordered_ops()]
    normalised = sum(".norm.weight" in name for name in weights_of(made))
    assert (kinds.count("MVN"), kinds.count("Sqrt"), kinds.count("Concat")) == (normalised, 0, 0)
    image = rng.normal(size=made.patch).astype(np.float32)
    found = choose_engine(model, "openvino", "cpu", "fp32").run(image[None, None])[0]
    expected = logits_of(made, weights_of(made), image)
    np.testing.assert_allclose(found, expected[1:] - expected[:1], atol=1e-4 * np.abs(expected).max())
