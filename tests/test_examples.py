"""The Python of the documents runs as it stands, but for the minutes of training."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.example_files import write_example_files

PROJECT = Path(__file__).resolve().parent.parent


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (PROJECT / page).read_text(encoding="utf-8"), re.M | re.S)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`ct.nii.gz`, and a dataset where the tutorial has its phantoms."""
    folder = tmp_path_factory.mktemp("examples")
    write_example_files(folder)
    (folder / "DATASET").rename(folder / "phantoms")
    return folder


def run(text: str, folder: Path) -> str:
    """As a script, since some start other processes."""
    (folder / "script.py").write_text(text.replace("minutes=1.0", "steps=1"), encoding="utf-8")
    command = [sys.executable, "-W", "error::DeprecationWarning:__main__", "script.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_readme(folder):
    (example,) = blocks("README.md")
    assert run(f"{example}\nprint(mandible.shape, mandible.dtype)", folder) == "(48, 40, 12) bool\n"


def test_the_tutorial(folder):
    whole_way, batches, own_loss = blocks("docs/tutorial.md")
    assert "\nTrue " in run(whole_way, folder)
    assert (folder / "organ-masks" / "case3" / "liver.nii.gz").is_file()
    assert (folder / "organ-maps" / "case3.nii.gz").is_file()
    assert run(batches, folder).startswith("torch.Size([8, 5, 128, 128]) torch.Size([8, 2, 128, 128])")
    run(own_loss, folder)
    assert (folder / "focal-run" / "best" / "model.json").is_file()


def test_post_processing(folder):
    (example,) = blocks("docs/how-to/postprocessing.md")
    run(example, folder)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/how-to/postprocessing.md"])
def test_examples_import_the_public_face_alone(page):
    deep = {match for block in blocks(page) for match in re.findall(r"(?:from|import) (tomoseg\.\S+)", block)}
    assert deep == set()
