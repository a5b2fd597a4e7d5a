"""A server with its workers, shared by the tests that only ask of it."""

import io
import zipfile

import numpy as np
import pytest

from tests.files.dicom.series import image, save
from tests.server.running import started
from tests.training.tiny import make_scan
from tests.workflows.hu_models import make_model
from tomoseg.files.nifti import write_nifti
from tomoseg.volume import SourceGrid


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A model that hands on the HU, called `hu`."""
    return make_model(tmp_path_factory.mktemp("models") / "hu")


@pytest.fixture(scope="session")
def scan(tmp_path_factory):
    """A scan with a ball and a cube, as NIfTI."""
    return write_scan(tmp_path_factory.mktemp("scan") / "ct.nii.gz", 0)


def write_scan(path, seed):
    hu, _ = make_scan(seed)
    write_nifti(path, hu, SourceGrid(hu.shape, np.eye(4)))
    return path


@pytest.fixture(scope="session")
def slices(tmp_path_factory):
    """Folders of DICOM slices."""
    return write_series(tmp_path_factory.mktemp("dicom"))


def write_series(root):
    """A scan of the same content in `one`, and a second series of the same study in `two`."""
    for number, name in enumerate(("one", "two"), start=1):
        hu = make_scan(1)[0] + np.int16(number)
        written = [
            image(np.ascontiguousarray(hu[::-1, ::-1, z].T), position=(0, 0, 3.0 * z), number=z + 1)
            for z in range(hu.shape[2])
        ]
        for one in written:
            one.StudyInstanceUID, one.FrameOfReferenceUID = "1.2.3.4", "1.2.3.5"
            one.SeriesInstanceUID, one.SeriesNumber = f"1.2.3.{10 + number}", number
        save(written, root / name)
    return root


def zipped(folder):
    """A zip of all that lies below a folder."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return packed.getvalue()


@pytest.fixture(scope="session")
def server(tmp_path_factory, model):
    """A client of a server with one worker."""
    with started(tmp_path_factory.mktemp("server"), [model]) as client:
        yield client
