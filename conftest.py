"""Files for the examples in docstrings: those that name one of them run in a folder where it lies."""

from pathlib import Path

import pytest

EXAMPLE_FILES = ("ct.nii.gz", "map.nii.gz", "DATASET", "PREPROCESSED", "RUN", "masks")
"""What examples may name. What they write goes into the same folder, which is new in every session."""


@pytest.fixture(scope="session")
def example_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of what is listed above."""
    from tests.example_files import write_example_files

    folder = tmp_path_factory.mktemp("examples")
    write_example_files(folder)
    return folder


@pytest.fixture(autouse=True)
def _among_example_files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not isinstance(request.node, pytest.DoctestItem):
        return
    text = "".join(example.source for example in request.node.dtest.examples)
    if any(name in text for name in EXAMPLE_FILES):
        monkeypatch.chdir(request.getfixturevalue("example_files"))
