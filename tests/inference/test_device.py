"""Devices by name, and what they compute in."""

import pytest
import torch

from tomoseg.errors import ConfigError
from tomoseg.inference.device import autocast_dtype, choose_device


def test_cpu_and_auto():
    assert choose_device("cpu") == torch.device("cpu")
    auto = choose_device("auto").type
    assert auto == ("cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu")


@pytest.mark.parametrize(("name", "meant"), [("gpu", "cuda"), ("gpu:1", "cuda:1")])
def test_gpu_is_cuda(name, meant, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "empty", lambda size, device: asked.append(device))
    assert choose_device(name) == torch.device(meant)
    assert asked == [torch.device(meant)]


def test_a_device_that_nobody_knows_lists_those_that_people_mean():
    with pytest.raises(ConfigError, match=r"got 'abacus' \(known are auto, cpu, cuda, gpu, mps, xpu, cuda:1\)"):
        choose_device("abacus")


@pytest.mark.parametrize("name", ["gpux", "", "cuda:97", "cpu:x"])
def test_unknown_device_is_refused(name):
    with pytest.raises(ConfigError, match=rf"expected a device of this machine, got '{name}' \(.+\); use auto or cpu"):
        choose_device(name)


def test_precision_as_named(monkeypatch):
    cpu = torch.device("cpu")
    named = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    assert {name: autocast_dtype(name, cpu) for name in named} == named
    for supported, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda answer=supported: answer)
        assert autocast_dtype("auto", cpu) == expected


@pytest.mark.parametrize(("capability", "expected"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16)])
def test_auto_precision_on_a_gpu(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert autocast_dtype("auto", torch.device("cuda")) == expected
