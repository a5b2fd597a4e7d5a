import pytest

from tests.workflows.datasets import GRID, scan
from tests.workflows.predicting import make_model, run, told
from tomoseg.files.nifti import write_nifti


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def as_here(scans, model, tmp_path):
    """What one process writes of the scans of a module."""
    run(scans, tmp_path / "here", model, statistics=True, triage=True)
    return told(tmp_path / "here")


@pytest.fixture
def ct(tmp_path):
    """A scan of 18 x 15 x 20 mm."""
    write_nifti(tmp_path / "s0.nii.gz", scan(), GRID)
    return tmp_path / "s0.nii.gz"
