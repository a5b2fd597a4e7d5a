"""Which engine computes a model, and what cannot be had."""

from dataclasses import replace

import numpy as np
import pytest

from tests.inference.test_predictor import GRIDS, make_model
from tomoseg.config import NetworkConfig
from tomoseg.errors import ConfigError
from tomoseg.inference import kinds, openvino_engine
from tomoseg.inference.choose import choose_engine
from tomoseg.models import openvino
from tomoseg.models.folder import Model


@pytest.fixture(scope="module")
def model():
    return make_model(GRIDS["native"])


def test_auto_is_openvino_on_a_cpu_where_it_is_installed(model, monkeypatch):
    assert choose_engine(model, "auto", "cpu", "fp32").name == "openvino"
    assert choose_engine(model, "auto", "cpu", "fp16").name == "torch"
    monkeypatch.setattr(kinds, "is_installed", lambda module: module != "openvino")
    assert choose_engine(model, "auto", "cpu", "fp32").name == "torch"


def test_auto_is_torch_where_there_is_another_device():
    engine = choose_engine(make_model(GRIDS["native"]), "auto", "meta", "fp32")  # stands for a GPU
    assert (engine.name, engine.device) == ("torch", "meta")


@pytest.mark.parametrize(("tile", "engine"), [((), "torch"), ((64, 32), "openvino")])
def test_auto_is_torch_where_no_trace_of_the_network_serves_every_size(tile, engine):
    network = NetworkConfig(kind="swin_unetr", channels=(12, 12), tile=tile)
    record = replace(make_model(GRIDS["native"]).record, network=network)
    assert choose_engine(Model(record, record.build()), "auto", "cpu", "fp32").name == engine


def test_precision_auto_is_bf16_where_the_processor_is_faster_in_it(model, monkeypatch):
    for has, pays, precision in ((True, True, "bf16"), (True, False, "fp32"), (False, True, "fp32")):
        monkeypatch.setattr(openvino_engine, "computes_bf16", lambda has=has: has)
        monkeypatch.setattr(openvino_engine, "half_pays", lambda *_, pays=pays: pays)
        if not has or openvino.computes_bf16():
            assert choose_engine(model, "openvino", "cpu", "auto").precision == precision


def test_what_openvino_is_measured_by_computes():
    request = openvino_engine._convolutions("f32")
    request.infer()
    middle = request.get_output_tensor().data[0, :, 48, 48]
    assert np.allclose(middle, 1, atol=1e-3)  # a mean of ones, four times


def test_what_cannot_be_had_is_refused(model, monkeypatch):
    with pytest.raises(ConfigError, match=r"expected device cpu for engine openvino, got meta; use engine torch"):
        choose_engine(model, "openvino", "meta")
    with pytest.raises(ConfigError, match=r"expected precision fp32, bf16, int8 for engine openvino, got fp16"):
        choose_engine(model, "openvino", "cpu", "fp16")
    monkeypatch.setattr(openvino_engine, "computes_bf16", lambda: False)
    with pytest.raises(ConfigError, match=r"expected a processor that computes in bf16, .* use precision fp32"):
        choose_engine(model, "openvino", "cpu", "bf16")
    monkeypatch.setattr(openvino, "has_openvino", lambda: False)
    with pytest.raises(ConfigError, match="expected OpenVINO, found none; run: pip install openvino, or use"):
        choose_engine(model, "openvino", "cpu", "fp32")


@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_an_unknown_engine_is_refused_and_the_nearest_named(model, precision):
    with pytest.raises(ConfigError, match=r"engine: expected one of 4 known names, got 'opnvino'; did you mean 'openv"):
        choose_engine(model, "opnvino", "cpu", precision)


def test_engines_of_the_cpu_alone_do_not_look_for_another_device(model, monkeypatch):
    monkeypatch.setattr("tomoseg.inference.choose.device_name", lambda name: "cuda:0" if name == "auto" else name)
    assert choose_engine(model, "openvino", "auto", "fp32").device == "cpu"
    with pytest.raises(ConfigError, match=r"expected a model with an onnx export in fp32, got one without; run: "):
        choose_engine(model, "onnx")


def test_without_pytorch_a_model_needs_an_export(model, monkeypatch):
    for module in ("kinds", "exported", "openvino_engine"):
        monkeypatch.setattr(f"tomoseg.inference.{module}.is_installed", lambda name: name != "torch")
    wanted = r"expected a model with an openvino export in fp32, got one without; run: .* --to openvino"
    with pytest.raises(ConfigError, match=wanted + r' .* where PyTorch is, or here: pip install "tomoseg\[train\]"'):
        choose_engine(model, "auto", "cpu", "fp32")
    monkeypatch.setattr("tomoseg.packages.is_installed", lambda name: name != "torch")
    with pytest.raises(ConfigError, match=r'expected PyTorch, found none; run: pip install "tomoseg\[train\]"'):
        choose_engine(model, "torch", "cpu", "fp32")
