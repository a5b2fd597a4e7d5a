"""The notebooks of the documentation run, but for the minutes of training; both languages have one code."""

import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import tomoseg

DOCS = Path(__file__).resolve().parent.parent / "docs"
ENGLISH = (DOCS / "notebooks" / "training.ipynb", DOCS / "notebooks" / "evaluation.ipynb")
FRENCH = (DOCS / "fr" / "notebooks" / "entrainement.ipynb", DOCS / "fr" / "notebooks" / "evaluation.ipynb")
IN_LITTLE = {
    "--train 8 --validation 2 --test 2 --spacing-mm 6": "--train 2 --validation 1 --test 1 --spacing-mm 12",
    "spacing_mm=6.0": "spacing_mm=12.0",
    "minutes=5.0": "steps=1",
    "channels=(16, 32, 64, 128)": "channels=(8, 16)",
}


def code_of(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", [*ENGLISH, *FRENCH], ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_a_notebook_is_whole_and_holds_no_results(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert [cell for cell in notebook.cells if cell.cell_type == "code" and cell.outputs] == []
    assert {name for text in code_of(path) for name in re.findall(r"\btomoseg\.(\w+)", text)} <= set(tomoseg.__all__)
    links = re.findall(r"\]\(([^):]+)\)", json.dumps(notebook))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize(("english", "french"), list(zip(ENGLISH, FRENCH, strict=True)), ids=["training", "evaluation"])
def test_both_languages_have_the_same_code(english, french):
    def plain(path):
        return [re.sub(r', lang="fr"|"[A-Z][^"]* [^"]*"', "", text) for text in code_of(path)]

    assert plain(english) == plain(french)


@pytest.mark.slow
@pytest.mark.parametrize("paths", [ENGLISH, FRENCH], ids=["en", "fr"])
def test_the_notebooks_run_one_after_the_other(paths, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for path in paths:
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:
            for long, short in IN_LITTLE.items():
                cell.source = cell.source.replace(long, short)
        NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "scores" / "report.html").is_file()
    assert list((tmp_path / "predicted").glob("*/liver.nii.gz"))
