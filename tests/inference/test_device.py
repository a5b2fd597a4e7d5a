"""Devices by name, and what they compute in."""

import pytest
import torch

from tomoseg.errors import ConfigError
from tomoseg.inference.device import autocast_dtype, choose_device, device_name


def test_cpu_and_auto():
    assert choose_device("cpu") == torch.device("cpu")
    auto = choose_device("auto").type
    assert auto == ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")


@pytest.mark.parametrize(
    ("name", "there", "meant"),
    [
        ("gpu", {"cuda"}, "cuda"),
        ("gpu:1", {"cuda"}, "cuda:1"),
        ("GPU", {"cuda", "mps"}, "cuda"),
        ("gpu", {"mps"}, "mps"),
        ("gpu", set(), "cuda"),
        ("CUDA:0", {"cuda"}, "cuda:0"),
    ],
)
def test_gpu_is_the_one_that_is_there(name, there, meant, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "empty", lambda size, device: asked.append(device))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in there)
    assert choose_device(name) == torch.device(meant)
    assert asked == [torch.device(meant)]


def test_a_device_that_is_not_there_is_told_as_it_was_asked_for(monkeypatch):
    def fail(size, device):
        raise RuntimeError("no driver\nC++ stack")

    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(
        ConfigError, match=r"expected a device of this machine, got 'gpu' \(no driver\); use auto or cpu"
    ):
        choose_device("gpu")


def test_a_pytorch_for_cpus_is_told_in_our_words(monkeypatch):
    def fail(size, device):
        raise AssertionError("Torch not compiled with CUDA enabled")

    monkeypatch.setattr(torch, "empty", fail)
    with pytest.raises(ConfigError, match=r"got 'cuda' \(PyTorch is installed without CUDA\); use auto or cpu"):
        choose_device("cuda")


@pytest.mark.parametrize("name", ["cpu", "CPU"])
def test_the_cpu_needs_no_pytorch(name, monkeypatch):
    monkeypatch.setattr("tomoseg.inference.device.choose_device", lambda name: pytest.fail("PyTorch was asked"))
    assert device_name(name) == "cpu"


def test_a_device_that_nobody_knows_lists_those_that_people_mean():
    with pytest.raises(ConfigError, match=r"got 'abacus' \(choose from auto, cpu, cuda, gpu, mps, xpu, cuda:1\)"):
        choose_device("abacus")


@pytest.mark.parametrize("name", ["gpux", "", "cuda:97", "cpu:x"])
def test_unknown_device_is_refused(name):
    with pytest.raises(ConfigError, match=rf"expected a device of this machine, got '{name}' \(.+\); use auto or cpu"):
        choose_device(name)


def test_precision_as_named(monkeypatch):
    cpu = torch.device("cpu")
    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    assert {name: autocast_dtype(name, cpu) for name in named} == named
    told = []
    for supported, pays, expected in (
        (True, True, torch.bfloat16),
        (True, False, torch.float32),
        (False, True, torch.float32),
    ):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda answer=supported: answer)
        monkeypatch.setattr("tomoseg.inference.device.half_pays", lambda way, *_, pays=pays: told.append(way) or pays)
        assert autocast_dtype("auto", cpu) == expected
        assert autocast_dtype("auto", cpu, training=True) == expected
    assert [way.split(", ")[-1] for way in told] == ["prediction", "training"] * 2


@pytest.mark.parametrize("training", [False, True])
def test_what_is_measured_convolves_in_both_and_leaves_random_numbers_alone(monkeypatch, training):
    def half_pays(way, plain, half):
        plain()
        half()
        return True

    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    monkeypatch.setattr("tomoseg.inference.device.half_pays", half_pays)
    before = torch.random.get_rng_state()
    with torch.inference_mode(not training):
        assert autocast_dtype("auto", torch.device("cpu"), training=training) == torch.bfloat16
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)])
def test_auto_precision_on_a_gpu(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert autocast_dtype("auto", torch.device("cuda")) == expected
