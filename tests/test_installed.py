"""A fresh environment with `pip install tomoseg` alone, without PyTorch: it predicts, and says what training needs.

`make test-installed` runs these; they install some 800 MB.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from tomoseg.files.nifti import read_ct, read_mask
from tomoseg.inference.segment import segment
from tomoseg.models.packaged import packaged_models

PROJECT = Path(__file__).resolve().parent.parent

pytestmark = [pytest.mark.installed, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The `bin` folder of an environment with the base installation."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    places = folder / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [places / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "--constraint", PROJECT / "constraints.txt", PROJECT], check=True)
    return places


@pytest.fixture(scope="module")
def scan(environment, tmp_path_factory):
    """A phantom's CT, made by the environment itself."""
    folder = tmp_path_factory.mktemp("phantom")
    run(environment, "phantom", "-o", folder, "--train", "1", "--validation", "0", "--test", "0", "--spacing-mm", "6")
    return next(folder.rglob("ct.nii.gz"))


def alone(command):
    """Run a program that sees nothing of this project but what is installed."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=own, cwd=Path(command[0]).parent
    )


def run(environment, *words, status=0):
    done = alone([environment / "tomoseg", *map(str, words)])
    assert done.returncode == status, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def python(environment, code):
    done = alone([environment / "python", "-c", code])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_wheel_has_the_page_and_the_licences_of_what_is_in_it(tmp_path):
    """As it is given to others: what the page is made of is named, with the licence of each package."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", tmp_path, PROJECT], check=True, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        page = {path.name for path in (PROJECT / "src" / "tomoseg" / "server" / "page").iterdir()}
        assert {f"tomoseg/server/page/{name}" for name in page} <= set(archive.namelist())
        licences = {name.split("/licenses/")[1] for name in archive.namelist() if "/licenses/" in name}
        assert licences == {"LICENSE", "src/tomoseg/server/page/licences.md"}
        assert b"Copyright (c) 2021, Niivue" in archive.read("tomoseg/server/page/licences.md")
        assert not [name for name in archive.namelist() if name.startswith(("web/", "tests/"))]


def test_pytorch_is_not_there(environment):
    asked = ("torch", "onnx", "nncf", "monai", "skimage")
    code = f"from importlib.util import find_spec; print([m for m in {asked} if find_spec(m)])"
    assert python(environment, code) == "[]"


def test_it_segments_and_writes_dicom(environment, scan, tmp_path):
    run(environment, "predict", "-i", scan, "-o", tmp_path, "-m", "head-neck", "--format", "nifti", "dicom-seg")
    written = pydicom.dcmread(tmp_path / "segmentation.seg.dcm")
    assert written.Modality == "SEG"
    expected = segment(read_ct(scan), "head-neck")  # with PyTorch installed
    assert sorted(path.name for path in tmp_path.glob("*.nii.gz")) == [f"{n}.nii.gz" for n in expected.labels.names]
    for name in expected.labels.names:
        assert np.array_equal(read_mask(tmp_path / f"{name}.nii.gz"), expected.mask(name))


def test_python_has_the_same_call(environment, scan):
    code = f"import tomoseg; print(tomoseg.segment({str(scan)!r}, 'head-neck').labels.names[0])"
    assert python(environment, code) == "brainstem"


def test_what_needs_pytorch_says_what_to_install(environment, scan, tmp_path):
    dataset = scan.parent.parent
    run(environment, "preprocess", dataset, "-o", tmp_path / "data", "--validation-share", "0")
    wanted = 'error: expected PyTorch, found none; run: pip install "tomoseg[train]"'
    assert run(environment, "train", tmp_path / "data", "-o", tmp_path / "run", status=2) == wanted
    assert run(environment, "demo", "-o", tmp_path / "demo", status=2) == wanted
    assert (
        run(environment, "predict", "-i", scan, "-o", tmp_path / "p", "-m", "head-neck", "--engine", "torch", status=2)
        == wanted
    )


def test_a_model_without_an_export_says_where_to_make_one(environment, scan, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(packaged_models()["head-neck"], folder, ignore=shutil.ignore_patterns("openvino", "exports.json"))
    told = run(environment, "predict", "-i", scan, "-o", tmp_path / "p", "-m", folder, status=2)
    assert "expected a model with an openvino export in fp32, got one without; run: tomoseg export" in told
    assert told.endswith('--to openvino --precision fp32 where PyTorch is, or here: pip install "tomoseg[train]"')
