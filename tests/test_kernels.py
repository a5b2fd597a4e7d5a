"""Kernels compile wherever they are: with a place to be kept, and with none."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tomoseg.kernels import kernel

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "tomoseg"


@kernel()
def halves(values):
    """Divides as NumPy does: by zero too."""
    return values / np.float32(2), np.float32(1) / np.float32(values[0] - values[0])


def test_it_computes_what_python_would():
    half, infinite = halves(np.array([3, 5], np.float32))
    assert half.tolist() == [1.5, 2.5]
    assert infinite == np.inf
    assert halves.targetoptions["nogil"]


@pytest.mark.parametrize("kept", [True, False])
def test_it_compiles_where_nothing_can_be_kept(tmp_path, kept):
    """numba looks for a place beside the source, then in the user's cache folder: files are in the way of both."""
    for name in ("__pycache__", "file"):
        (tmp_path / name).write_text("")
    (tmp_path / "made.py").write_text("def twice(x):\n    return 2 * x\n", encoding="utf-8")
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        import made
        from tomoseg.kernels import kernel
        twice = kernel()(made.twice)
        print(twice(21), type(twice._cache).__name__)
    """
    below = str(tmp_path / "file" / "below")
    environment = os.environ | dict.fromkeys(("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "IPYTHONDIR"), below)
    environment.pop("NUMBA_CACHE_DIR", None)
    if kept:
        environment["NUMBA_CACHE_DIR"] = str(tmp_path / "kept")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=300)
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"42 {'FunctionCache' if kept else 'NullCache'}\n"
    assert (tmp_path / "file").read_text() == (tmp_path / "__pycache__").read_text() == ""
    assert (tmp_path / "kept").is_dir() == kept


def test_what_was_kept_goes_when_a_constant_or_kernel_that_it_imports_changes(tmp_path):
    """Both are compiled in, and numba does not look at their files."""
    (tmp_path / "twice.py").write_text(
        "from tomoseg.kernels import kernel\n\n\n@kernel()\ndef twice(x):\n    return 2 * x\n", encoding="utf-8"
    )
    (tmp_path / "times.py").write_text(
        "from constants import FACTOR\nfrom tomoseg.kernels import kernel\nfrom twice import twice\n\n\n"
        "@kernel()\ndef times(x):\n    return twice(FACTOR * x)\n\n\n"
        "print(times(7), sum(times.stats.cache_hits.values()))\n",
        encoding="utf-8",
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONDONTWRITEBYTECODE": "1"}
    run = [sys.executable, str(tmp_path / "times.py")]

    def said(factor):
        (tmp_path / "constants.py").write_text(f"FACTOR = {factor}\n", encoding="utf-8")
        return subprocess.run(run, capture_output=True, text=True, env=environment, timeout=300).stdout

    assert [said(1), said(1), said(3)] == ["14 0\n", "14 1\n", "42 0\n"]
    source = (tmp_path / "twice.py").read_text().replace("2 * x", "20 * x")
    (tmp_path / "twice.py").write_text(source, encoding="utf-8")
    assert said(3) == "420 0\n"


def test_what_was_kept_goes_when_a_type_that_it_names_has_another_name(tmp_path):
    """As after an update: numba unpickles its index before it looks whether the source is the same."""
    text = (
        "from typing import NamedTuple\n\nfrom tomoseg.kernels import kernel\n\n\n"
        "class Old(NamedTuple):\n    x: int\n\n\n@kernel()\ndef twice(pair):\n    return 2 * pair.x\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(name):
        (tmp_path / "kept_kernel.py").write_text(text.replace("Old", name), encoding="utf-8")
        code = f"import kept_kernel as k; print(k.twice(k.{name}(21)), sum(k.twice.stats.cache_hits.values()))"
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300
        )
        return found.stdout, found.stderr

    assert [run("Old"), run("Old"), run("New"), run("New")] == [("42 0\n", ""), ("42 1\n", "")] * 2


def test_all_kernels_are_made_by_it():
    """Or else they would refuse to start where nothing can be kept."""
    importing = [p.name for p in PACKAGE.rglob("*.py") if "from numba import" in p.read_text(encoding="utf-8")]
    assert importing == ["kernels.py"]
