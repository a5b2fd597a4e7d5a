import subprocess
import sys

import pytest

from tests.workflows.datasets import GRID, scan
from tomoseg.cli import COMMANDS, main
from tomoseg.cli.running import command_of
from tomoseg.files.nifti import write_nifti
from tomoseg.limits import OF_MEMORY
from tomoseg.version import __version__


def run(*argv):
    return main([str(argument) for argument in argv])


HEAVY = ("torch", "matplotlib", "scipy", "numba", "blosc2", "nibabel", "pydicom", "openvino")


class TestStart:
    def loaded(self, *argv):
        code = (
            "import sys\nfrom tomoseg.cli import main\n"
            "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
            "print(*sys.modules, file=sys.stderr)"
        )
        words = [sys.executable, "-c", code, *map(str, argv)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
        return done.stdout, set(done.stderr.split())

    @pytest.mark.parametrize("flag", ["--help", "--version"])
    def test_help_loads_nothing_that_takes_time(self, flag):
        told, modules = self.loaded(flag)
        assert modules & {*HEAVY, "numpy", "pydantic", "tyro", "rich", "yaml"} == set()
        if flag == "--help":
            assert [name for name in COMMANDS if name not in told] == []
        else:
            assert told == f"tomoseg {__version__}\n"

    @pytest.mark.parametrize("command", ["predict", "evaluate", "train", "inspect"])
    def test_help_of_a_command_loads_nothing_that_computes(self, command):
        told, modules = self.loaded(command, "--help")
        assert modules & {*HEAVY, "numpy"} == set()
        assert f"usage: tomoseg {command}" in told

    def test_inspect_loads_what_it_uses(self, tmp_path):
        write_nifti(tmp_path / "s0.nii.gz", scan(), GRID)
        told, modules = self.loaded("inspect", tmp_path / "s0.nii.gz")
        assert modules & {*HEAVY, "jinja2", "safetensors"} == set()
        assert "numpy" in modules
        assert "voxels" in told


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_flag_has_its_help(self, command, capsys):
        with pytest.raises(SystemExit, match="0"):
            run(command, "--help")
        text = capsys.readouterr().out
        assert " ".join(text.split("\n\n")[1].split()) == COMMANDS[command]
        assert "(required)" in text or command in {"labels", "demo", "models", "fetch", "serve"}

    @pytest.mark.parametrize("command", COMMANDS)
    def test_its_first_sentence_is_that_of_the_function(self, command):
        assert command_of(command).__doc__.splitlines()[0] == COMMANDS[command]

    def test_a_misspelt_command(self, capsys):
        assert run("perdict", "-i", "ct.nii.gz") == 2
        assert (
            f"expected one of {len(COMMANDS)} known names, got 'perdict'; did you mean 'predict'?"
            in capsys.readouterr().err
        )

    @pytest.mark.parametrize(
        "argv",
        [
            [],
            ["nonsense"],
            ["--nonsense"],
            ["preprocess"],
            ["preprocess", "data"],
            ["preprocess", "data", "-o", "out", "--preset", "nope"],
            ["preprocess", "data", "-o", "out", "--preset"],
            ["predict", "-i", "ct.nii", "-o", "out", "-m", "model", "--precision", "fp8"],
        ],
        ids=" ".join,
    )
    def test_wrong_arguments_are_status_2(self, argv, capsys):
        assert run(*argv) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert told.count("\n") == 1

    def test_python_m(self):
        done = subprocess.run(
            [sys.executable, "-m", "tomoseg", "labels", "none"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr == "error: none: expected a dataset folder, got no such folder; check the path\n"

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["preprocess", "data", "-o", "out", "--grid.modus", "native"], "did you mean --grid.mode?"),
            (
                ["preprocess", "data", "-o", "out", "--grid.spacing-mm", -1],
                "spacing_mm: expected a value greater than 0",
            ),
            (
                ["train", "data", "-o", "out", "--batch-size", 0],
                "batch_size: expected a value greater than or equal to",
            ),
            (
                ["predict", "-i", "a", "-o", "b", "-m", "c", "--max-memory", "2x"],
                "error: --max-memory: expected an amount of memory such as 2GB or 1500MB, got '2x'; `tomoseg predict",
            ),
            (["serve", "-o", "out", "--quota", "0"], "memory such as 2GB or 1500MB, got '0'; "),
            (
                ["train", "data", "-o", "out", "--max-memory", "2GB"],
                "expected --plan with --max-memory, got --max-memory alone",
            ),
        ],
    )
    def test_a_wrong_value_is_one_line(self, argv, message, capsys):
        assert run(*argv) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert message in told
        assert told.count("\n") == 1


class Import:
    """Lets the import of what runs commands fail."""

    def __init__(self, error):
        self.error = error

    def find_spec(self, name, *_):
        if name == "tomoseg.cli.running":
            raise self.error


class TestWhileItIsImported:
    @pytest.fixture
    def fails_by(self, monkeypatch):
        def fail(error):
            monkeypatch.delitem(sys.modules, "tomoseg.cli.running")
            monkeypatch.setattr(sys, "meta_path", [Import(error), *sys.meta_path])

        return fail

    @pytest.mark.parametrize("error", [MemoryError(), SystemError("error return without exception set")])
    def test_too_little_memory_is_told(self, error, fails_by, capsys):
        fails_by(error)
        assert run("labels") == 2
        assert capsys.readouterr().err == f"error: {OF_MEMORY}\n"

    def test_other_errors_are_raised(self, fails_by):
        fails_by(KeyError("of ours"))
        with pytest.raises(KeyError, match="of ours"):
            run("labels")


def test_an_interruption_is_status_130(monkeypatch, capsys):
    def stop(place, on_case):
        raise KeyboardInterrupt

    monkeypatch.setattr("tomoseg.workflows.labels.structures_of", stop)
    assert run("labels") == 130
    assert capsys.readouterr().err == "error: stopped\n"
