"""What is said of a package that is not installed."""

import re
import sys
import tomllib
from pathlib import Path

import pytest

from tomoseg.errors import ConfigError
from tomoseg.packages import EXTRAS, is_installed, missing, require_installed, require_torch

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def test_a_package_is_found_without_being_imported():
    sys.modules.pop("this", None)
    assert is_installed("this")
    assert "this" not in sys.modules
    assert not is_installed("no_such_package")


def test_the_first_that_is_missing_is_named(monkeypatch):
    require_installed("numpy", "json")
    monkeypatch.setattr("tomoseg.packages.is_installed", lambda module: module == "onnx")
    with pytest.raises(ConfigError, match=r'^expected ONNX Runtime, found none; run: pip install "tomoseg\[export\]"$'):
        require_installed("onnx", "onnxruntime", "onnxscript")


def test_pytorch_is_given_or_refused(monkeypatch):
    import torch

    assert require_torch() is torch
    monkeypatch.setattr("tomoseg.packages.is_installed", lambda module: module != "torch")
    with pytest.raises(ConfigError, match=r'^expected PyTorch, found none; run: pip install "tomoseg\[train\]"$'):
        require_torch()


def test_what_one_is_told_to_install_has_the_package():
    extras = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    called = {"skimage": "scikit-image", "python_multipart": "python-multipart"}
    for module, (name, extra) in EXTRAS.items():
        wanted = called.get(module, module)
        packages = {re.split(r"[\[<>=!~; ]", line)[0].lower() for line in with_others(extras, extra)}
        assert wanted in packages, f"tomoseg[{extra}] lacks {wanted}"
        assert missing(module) == f'expected {name}, found none; run: pip install "tomoseg[{extra}]"'


def with_others(extras, extra):
    """The lines of an extra, and of those that it takes in."""
    for line in extras[extra]:
        inner = re.fullmatch(r"tomoseg\[(.+)\]", line)
        if inner:
            for other in inner[1].split(","):
                yield from with_others(extras, other)
        else:
            yield line
