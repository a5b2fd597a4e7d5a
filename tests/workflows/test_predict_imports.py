"""What `tomoseg predict` loads: what computes a prediction, and nothing that only training, pictures or DICOM need."""

import json
import subprocess
import sys

import pytest

from tests.files.dicom.scans import series
from tests.workflows.datasets import GRID, scan
from tomoseg.files.nifti import write_nifti

NEVER = (
    *("torch", "torchvision", "tensorboard", "wandb", "mlflow", "monai", "einops", "safetensors.torch"),
    *("onnx", "onnxruntime", "onnxscript", "nncf"),
    *("matplotlib", "skimage", "pandas", "IPython"),
    *("scipy.stats", "scipy.optimize"),
    *("nibabel", "highdicom", "nrrd", "SimpleITK"),
    *("tomoseg.training", "tomoseg.pictures", "tomoseg.datasets", "tomoseg.preprocessed.write"),
    *(
        "tomoseg.evaluation.surface",
        "tomoseg.evaluation.masks",
        "tomoseg.workflows.evaluate",
        "tomoseg.workflows.train",
    ),
    *("tomoseg.networks.network", "tomoseg.networks.build", "tomoseg.models.conversion", "tomoseg.models.weights"),
    "tomoseg.inference.torch_engine",
)
"""Slow to load, or not installed beside a plain `tomoseg`; whatever is below them counts too."""

CODE = """if True:
    import sys
    from tomoseg.cli import main
    status = main(sys.argv[1:])
    import json
    print(json.dumps([status, sorted(sys.modules)]))
"""


def loaded_by(scan_, tmp_path, *more):
    command = ["predict", "-i", scan_, "-o", tmp_path / "out", "-m", "head-neck", "--device", "cpu", *more]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, command)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 7
    return modules


def among(modules, names):
    return [module for module in modules if module.startswith(tuple(f"{name}." for name in names)) or module in names]


@pytest.mark.parametrize("flags", [(), ("--statistics", "--triage", "--confidence")], ids=["masks", "more"])
def test_of_a_nifti_file(tmp_path, flags):
    write_nifti(tmp_path / "ct.nii.gz", scan(), GRID)
    modules = loaded_by(tmp_path / "ct.nii.gz", tmp_path, *flags)
    assert among(modules, (*NEVER, "pydicom", "PIL")) == []
    assert {"numpy", "openvino", "numba", "tomoseg.inference.segment"} <= set(modules)


def test_of_dicom_pydicom_is_loaded_and_what_that_loads(tmp_path):
    series(tmp_path / "dicom")
    modules = loaded_by(tmp_path / "dicom", tmp_path)
    assert "pydicom" in modules
    assert among(modules, NEVER) == []
