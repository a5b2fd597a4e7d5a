"""Modules import from their own room or from rooms above it, never from below and never in a circle.

The rooms and their order are those of CONTRIBUTING.md. Imports inside functions and under `TYPE_CHECKING` count.
"""

import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.imports import imported, modules_in

SRC = Path(__file__).resolve().parent.parent / "src"

ROOMS: tuple[tuple[str, ...], ...] = (
    # The words that everyone uses. `data` holds no code.
    (
        *("data", "version", "errors", "notices", "slices", "volume", "labels", "masks", "segmentation", "grid"),
        *(
            "limits",
            "packages",
            "cache",
            "hosts",
            "interrupts",
            "kernels",
            "settings",
            "language",
            "network_kinds",
            "nnunet",
            "loss_kinds",
            "formats",
            "views",
            "config",
            "options",
        ),
    ),
    ("files",),
    ("phantom",),
    ("datasets",),
    ("bodies",),
    ("checks",),
    ("preprocessed",),
    ("planning",),
    ("postprocess",),
    ("evaluation",),
    ("networks",),
    ("models",),
    ("inference",),
    ("cases",),
    ("training",),
    ("pictures",),
    ("workflows",),
    ("terminal",),
    ("server",),
    ("cli", "__main__", "__init__"),  # two faces: for a terminal, and for Python
)
LEVEL = {name: level for level, room in enumerate(ROOMS) for name in room}
# `packages` asks for it on behalf of others.
WITHOUT_TORCH = {name for name, level in LEVEL.items() if level <= LEVEL["evaluation"]} - {"packages"}


def violations(src: Path) -> list[str]:
    """Every breach of the rules in `src/tomoseg`, one sentence each."""
    modules = modules_in(src, "tomoseg")
    imports = {name: set(imported(name, path, set(modules))) for name, path in modules.items()}
    found = [f"{name}: not in the list of rooms" for name in sorted(modules) if _room(name) not in LEVEL]
    for name, targets in sorted(imports.items()):
        if _room(name) not in LEVEL:
            continue
        level = LEVEL[_room(name)]
        found += [f"{name}: imports {t} from below" for t in sorted(targets) if LEVEL.get(_room(t), -1) > level]
        if _room(name) in WITHOUT_TORCH and any(t.split(".")[0] == "torch" for t in targets):
            found.append(f"{name}: imports torch")
    try:
        TopologicalSorter({name: targets & set(modules) for name, targets in imports.items()}).prepare()
    except CycleError as error:
        found.append(f"circle: {' -> '.join(reversed(error.args[1]))}")
    return found


def _room(module: str) -> str | None:
    """The part after `tomoseg.`; nothing for modules of other packages."""
    package, _, rest = module.partition(".")
    return (rest.split(".")[0] or "__init__") if package == "tomoseg" else None


def test_every_import_points_up():
    assert len(modules_in(SRC, "tomoseg")) > 6
    assert violations(SRC) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"masks.py": "import tomoseg.files.nifti"}, "tomoseg.masks: imports tomoseg.files.nifti from below"),
        ({"masks.py": "from tomoseg.files import nifti"}, "tomoseg.masks: imports tomoseg.files.nifti from below"),
        ({"masks.py": "from tomoseg import files"}, "tomoseg.masks: imports tomoseg.files from below"),
        ({"masks.py": "from .files import nifti"}, "tomoseg.masks: imports tomoseg.files.nifti from below"),
        ({"files/dicom.py": "from ..training import x"}, "tomoseg.files.dicom: imports tomoseg.training from below"),
        ({"masks.py": "def f():\n    from tomoseg.files import x"}, "tomoseg.masks: imports tomoseg.files from below"),
        (
            {"masks.py": "if TYPE_CHECKING:\n    from tomoseg.files import x"},
            "tomoseg.masks: imports tomoseg.files from below",
        ),
        ({"masks.py": "import_module('tomoseg.files')"}, "tomoseg.masks: imports tomoseg.files from below"),
        ({"masks.py": "from tomoseg import read_scan"}, "tomoseg.masks: imports tomoseg from below"),
        ({"helpers.py": ""}, "tomoseg.helpers: not in the list of rooms"),
        ({"masks.py": "import torch.nn"}, "tomoseg.masks: imports torch"),
        ({"preprocessed/a.py": "def f():\n    from torch import nn"}, "tomoseg.preprocessed.a: imports torch"),
        ({"masks.py": "def f():\n    import tomoseg.masks"}, "circle: tomoseg.masks -> tomoseg.masks"),
    ],
)
def test_a_breach_is_found(tmp_path, files, expected):
    _write(tmp_path, {"__init__.py": "", "errors.py": "", "masks.py": "from tomoseg.errors import InputError"})
    _write(tmp_path, {"files/__init__.py": "", "files/nifti.py": "from tomoseg import errors"})
    _write(tmp_path, {"training/__init__.py": "import torch\nfrom tomoseg.files.nifti import read"})
    assert violations(tmp_path) == []
    _write(tmp_path, files)
    assert violations(tmp_path) == [expected]


def test_a_circle_of_two_is_found(tmp_path):
    _write(tmp_path, {"labels.py": "import tomoseg.masks", "masks.py": "def f():\n    import tomoseg.labels"})
    (found,) = violations(tmp_path)
    assert found in {
        "circle: tomoseg.labels -> tomoseg.masks -> tomoseg.labels",
        "circle: tomoseg.masks -> tomoseg.labels -> tomoseg.masks",
    }


def _write(src: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = src / "tomoseg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


WITH_TORCH = {
    *(
        f"tomoseg.networks.{name}"
        for name in ("blocks", "build", "network", "nnunet", "packed", "transformers", "unet")
    ),
    *("tomoseg.models.conversion", "tomoseg.models.weights", "tomoseg.models.nnunet.checkpoint"),
    "tomoseg.inference.torch_engine",
}
"""Above `training`, the modules that compute with PyTorch; all others can be imported where it is not installed."""


def test_only_what_computes_with_torch_needs_it():
    names = [n for n in modules_in(SRC, "tomoseg") if _room(n) not in {"training", "workflows", "terminal", "__main__"}]
    code = f"""if True:
        import sys
        sys.modules["torch"] = None  # an import of it fails
        for name in {names}:
            try:
                __import__(name)
            except ImportError:
                print(name)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == WITH_TORCH


def test_preprocessing_with_a_plan_needs_no_torch():
    code = """if True:
        import sys
        sys.modules["torch"] = None
        import tomoseg.workflows.planned_grid, tomoseg.workflows.preprocess, tomoseg.terminal.planning
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_line_starts_without_torch():
    code = "import sys, tomoseg.cli; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr or "tomoseg.cli imports torch; import it inside the workflow"
