"""`import tomoseg`: every public name is there, is documented, and is loaded when it is first used."""

import ast
import inspect
import json
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from pydantic import BaseModel

import tomoseg
from tests.example_files import write_example_files

PROJECT = Path(__file__).resolve().parent.parent
NAMES = [name for name in tomoseg.__all__ if name != "__version__"]


def test_a_fresh_import_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.process_time(); import tomoseg; took = time.process_time() - start\n"
        "import json; print(json.dumps([took, tomoseg.__version__, sorted({m.split('.')[0] for m in sys.modules})]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    seconds, version, loaded = json.loads(done.stdout)
    assert not {"torch", "matplotlib", "numpy", "pydantic", "scipy", "openvino"} & set(loaded)
    assert seconds < 0.05
    assert version == tomoseg.__version__


def test_dir_lists_the_names():
    assert set(tomoseg.__all__) <= set(dir(tomoseg))
    assert len(set(tomoseg.__all__)) == len(tomoseg.__all__)


def test_type_checkers_see_the_same_names_at_the_same_places():
    tree = ast.parse(Path(tomoseg.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {alias.asname: node.module for node in block.body for alias in node.names if alias.asname == alias.name}
    assert seen == tomoseg._PLACES


def test_a_name_that_does_not_exist():
    with pytest.raises(AttributeError, match="module 'tomoseg' has no attribute 'read_scn'"):
        _ = tomoseg.read_scn


def test_a_name_whose_package_is_missing_says_what_to_install():
    code = "import sys; sys.modules['torch'] = None; import tomoseg; tomoseg.SliceDataset"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    expected = 'tomoseg.SliceDataset: expected PyTorch, found none; run: pip install "tomoseg[train]"'
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: {expected}"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_defined_where_it_is_said_to_be(name):
    value = getattr(tomoseg, name)
    assert (value.__module__, value.__name__) == (tomoseg._PLACES[name], name)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_documented(name):
    assert lacking(getattr(tomoseg, name)) == []


def lacking(value: object) -> list[str]:
    """The sections that its docstring should have and has not."""
    text = inspect.getdoc(value) or ""
    if inspect.isclass(value):
        own_fields = is_dataclass(value) or hasattr(value, "_fields")
        wanted = ["Example:"] + ["Attributes:"] * (own_fields and "Attributes:" not in text and not _fields_say(value))
        wanted += ["Args:"] * (not own_fields and not issubclass(value, BaseModel | Exception))
    else:
        signature = inspect.signature(value)
        wanted = ["Example:"] + ["Args:"] * bool(signature.parameters)
        wanted += ["Returns:"] * (signature.return_annotation not in {"None", None})
    return [section for section in wanted if section not in text]


def _fields_say(value: type) -> bool:
    """Whether each field of a class of settings has a docstring under it, which is its help."""
    source = ast.parse(inspect.getsource(value)).body[0]
    fields = [node for node in source.body if isinstance(node, ast.AnnAssign)]
    texts = [after for before, after in zip(source.body, source.body[1:], strict=False) if before in fields]
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in texts)


def test_what_is_lacking_is_found():
    def undocumented(path: Path) -> int:
        """Only this."""

    def documented(path: Path) -> None:
        """This.

        Args:
            path: A path.

        Example:
            >>> 1
            1
        """

    assert lacking(undocumented) == ["Example:", "Args:", "Returns:"]
    assert lacking(documented) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_function_that_takes_a_path_takes_its_text(name):
    value = getattr(tomoseg, name)
    if inspect.isfunction(value):
        taken = {one.name: str(one.annotation) for one in inspect.signature(value).parameters.values()}
        assert {one: kind for one, kind in taken.items() if "Path" in kind and "str" not in kind} == {}


def test_paths_as_text(tmp_path, monkeypatch):
    write_example_files(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert tomoseg.evaluate("masks", "masks", output="scores").summary.dice == 1
    assert Path("scores/report.html").is_file()
    label_map = tomoseg.read_labelled("map.nii.gz")
    tomoseg.write_label_map(label_map, "again/map.nii.gz")
    tomoseg.draw_preview(tomoseg.read_scan("ct.nii.gz"), label_map, "preview.png", "A scan")
    settings = tomoseg.PreprocessConfig(grid=tomoseg.GridConfig(spacing_mm=16.0), workers=1)
    assert tomoseg.preprocess("DATASET", "coarse", settings).failed == {}
    assert tomoseg.SliceDataset("coarse", split="test")[0].hu.shape[0] == 1
    training = tomoseg.TrainConfig(network=tomoseg.NetworkConfig(channels=(8, 16)), steps=1, workers=0, export=False)
    assert tomoseg.train_run("coarse", "run", training).finished
    (done,) = tomoseg.predict("ct.nii.gz", "predicted", "run")
    assert done.error is None
    assert Path("predicted/liver.nii.gz").is_file()
    mask = tomoseg.segment("ct.nii.gz", "run").result
    tomoseg.write_masks(mask, "written")
    assert {path.name for path in Path("written").iterdir()} == {"liver.nii.gz", "spleen.nii.gz"}
