"""Converted networks in the user's cache: the same to the last bit, of that very model, and no PyTorch."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.inference.test_predictor import GRIDS, make_model
from tomoseg.models import converted
from tomoseg.models.converted import CONVERTED, converted_to_openvino
from tomoseg.models.folder import Model, load_model, restrict_structures, save_model
from tomoseg.models.openvino import openvino_core

SIZE = 24, 20


@pytest.fixture(autouse=True)
def kept(tmp_path, monkeypatch):
    """The folder of converted networks."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return CONVERTED.folder


@pytest.fixture
def saved(tmp_path):
    save_model(make_model(GRIDS["native"]), tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def conversions(monkeypatch):
    """The networks that are converted from now on."""
    from tomoseg.models import conversion

    done = []
    convert = conversion.convert_to_openvino
    monkeypatch.setattr(
        conversion, "convert_to_openvino", lambda network, reads: done.append(network) or convert(network, reads)
    )
    return done


def logits(network, channels):
    image = np.random.default_rng(0).random((1, channels, *SIZE), np.float32)
    return openvino_core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})([image])[0]


def test_it_is_converted_once_and_is_the_same(saved, conversions, kept):
    found = [converted_to_openvino(load_model(saved)) for _ in range(3)]
    assert len(conversions) == 1
    assert [key for _, key in found] == [next(kept.iterdir()).name] * 3
    channels = load_model(saved).record.input_spec.channels
    first, second, third = (logits(network, channels) for network, _ in found)
    assert first.std() > 0
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)


def test_the_next_process_needs_no_pytorch(saved):
    program = f"""
import sys
from tomoseg.models.converted import converted_to_openvino
from tomoseg.models.folder import load_model
converted_to_openvino(load_model({str(saved)!r}))
print("torch" in sys.modules)
"""
    said = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout for _ in range(2)]
    assert said == ["True\n", "False\n"]


def test_other_weights_structures_and_windows_are_other_networks(saved, tmp_path, conversions):
    model = load_model(saved)
    some = restrict_structures(model, model.record.labels.names[1:])
    other = make_model(GRIDS["native"])
    with torch.no_grad():
        next(other.network.parameters()).mul_(0.5)
    save_model(other, tmp_path / "other")
    wider = replace(model.record, windows_hu=(*model.record.windows_hu, (-1000.0, 400.0)))
    save_model(Model(wider, wider.build()), tmp_path / "wider")
    models = model, some, load_model(tmp_path / "other"), load_model(tmp_path / "wider")
    keys = [converted_to_openvino(each)[1] for each in models]
    assert len(set(keys)) == 4 == len(conversions)
    assert (
        logits(converted_to_openvino(some)[0], model.record.input_spec.channels).shape[-1]
        == len(model.record.labels) - 1
    )
    assert len(conversions) == 4


def test_what_cannot_be_read_is_converted_again(saved, conversions):
    _, key = converted_to_openvino(load_model(saved))
    CONVERTED.put(key, b"\x04" + bytes(7) + b"<xml" + bytes(64))  # its digest is right
    converted_to_openvino(load_model(saved))
    assert len(conversions) == 2
    converted_to_openvino(load_model(saved))
    assert len(conversions) == 2


def test_a_model_of_no_file_is_not_kept(kept):
    model = make_model(GRIDS["native"])
    network, key = converted_to_openvino(model)
    assert key is None
    assert not kept.exists()
    assert logits(network, model.record.input_spec.channels).shape[-1] == len(model.record.labels)


def test_without_room_for_it_nothing_is_kept_and_all_works(saved, kept, monkeypatch):
    def full(*given, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(converted.tempfile, "TemporaryDirectory", full)
    network, _ = converted_to_openvino(load_model(saved))
    assert logits(network, load_model(saved).record.input_spec.channels).std() > 0
    assert not kept.exists()
