"""`make quick`: which tests a change touches, nearest first."""

import subprocess

import pytest

from tests.quick import ALWAYS, OF_PAGES, changed_files, files_near

FILES = {
    "src/tomoseg/__init__.py": "",
    "src/tomoseg/labels.py": "",
    "src/tomoseg/data/__init__.py": "",
    "src/tomoseg/data/names.csv": "",
    "src/tomoseg/masks.py": "from tomoseg.labels import LabelSet",
    "src/tomoseg/names.py": "import tomoseg.data",
    "src/tomoseg/grid.py": "",
    "tests/__init__.py": "",
    "tests/conftest.py": "",
    "tests/made.py": "import tomoseg.labels",
    "tests/test_labels.py": "import tomoseg.labels",
    "tests/test_masks.py": "import tomoseg.masks",
    "tests/test_names.py": "from tomoseg import names",
    "tests/test_grid.py": "import tomoseg.grid\nfrom tests.made import x",
}


@pytest.fixture
def project(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (["src/tomoseg/grid.py"], ["src/tomoseg/grid.py", "tests/test_grid.py"]),
        (["src/tomoseg/masks.py"], ["src/tomoseg/masks.py", "tests/test_masks.py"]),
        (
            ["src/tomoseg/labels.py"],  # test_masks uses masks, test_grid uses made, and these use labels
            ["src/tomoseg/labels.py", "tests/test_labels.py", "tests/test_grid.py", "tests/test_masks.py"],
        ),
        (["src/tomoseg/data/names.csv"], ["src/tomoseg/data/__init__.py", "tests/test_names.py"]),
        (["tests/test_masks.py"], ["tests/test_masks.py"]),
        (["tests/conftest.py"], [f"tests/test_{name}.py" for name in ("grid", "labels", "masks", "names")]),
        (["constraints.txt"], []),
    ],
)
def test_files_are_ranked_by_the_imports_between(project, changed, expected):
    assert files_near(project, changed) == expected


def test_pages_and_the_structure_have_their_tests(project):
    for name in (*OF_PAGES, *ALWAYS):
        (project / name).write_text("", encoding="utf-8")
    assert files_near(project, ["README.md"]) == [*OF_PAGES, *ALWAYS]
    assert files_near(project, ["src/tomoseg/grid.py"])[-2:] == list(ALWAYS)


def test_changes_are_those_since_main_and_new_files(project):
    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *who, *words], cwd=project, check=True, capture_output=True)

    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "all")
    assert changed_files(project) == []
    git("checkout", "-b", "work")
    (project / "src/tomoseg/grid.py").write_text("a = 1")
    git("commit", "-am", "grid")
    (project / "src/tomoseg/masks.py").write_text("b = 1")
    (project / "tests/test_new.py").write_text("")
    (project / "src/tomoseg/names.py").unlink()
    names = ["src/tomoseg/grid.py", "src/tomoseg/masks.py", "src/tomoseg/names.py", "tests/test_new.py"]
    assert changed_files(project) == names
