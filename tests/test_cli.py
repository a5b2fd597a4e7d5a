import functools
import hashlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import tyro
from pydantic import ByteSize
from tyro.conf import Positional

from tests.datasets.download.server import FileServer, dataset_files, serving, zip_of
from tests.workflows.datasets import GRID, SHAPE, scan, write_masks_case
from tests.workflows.predicting import make_model
from tomoseg.cli import COMMANDS, main
from tomoseg.cli.running import VALUES, command_of
from tomoseg.errors import ConfigError
from tomoseg.files.nifti import read_label_map, write_nifti
from tomoseg.labels import LabelSet
from tomoseg.options import Compute, EvaluateOptions, PredictOptions
from tomoseg.preprocessed.format import INDEX, DatasetIndex
from tomoseg.settings import Config, group_of
from tomoseg.terminal import console
from tomoseg.version import __version__

CPU = ("--device", "cpu", "--precision", "fp32")


@pytest.fixture
def dataset(tmp_path):
    for seed in range(2):
        write_masks_case(tmp_path / "data" / f"s{seed}", ("liver", "spleen"), seed)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def ct(tmp_path):
    write_nifti(tmp_path / "s0.nii.gz", scan(), GRID)
    return tmp_path / "s0.nii.gz"


def run(*argv):
    return main([str(argument) for argument in argv])


def preprocess(dataset, output, *flags):
    return run("preprocess", dataset, "-o", output, "--workers", 1, *flags)


def grid_of(output):
    return DatasetIndex.load(output).grid


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

    def test_inspect_loads_what_it_uses(self, ct):
        told, modules = self.loaded("inspect", ct)
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
        assert "(required)" in text or command in {"labels", "demo", "models"}

    @pytest.mark.parametrize("command", COMMANDS)
    def test_its_first_sentence_is_that_of_the_function(self, command):
        assert command_of(command).__doc__.splitlines()[0] == COMMANDS[command]

    def test_a_misspelt_command(self, capsys):
        with pytest.raises(SystemExit, match="2"):
            run("perdict", "-i", "ct.nii.gz")
        assert "expected one of 14 known names, got 'perdict'; did you mean 'predict'?" in capsys.readouterr().err

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
            ["preprocess", "data", "-o", "out", "--grid.modus", "native"],
            ["predict", "-i", "ct.nii", "-o", "out", "-m", "model", "--precision", "fp8"],
        ],
        ids=" ".join,
    )
    def test_wrong_arguments_are_status_2(self, argv, capsys):
        with pytest.raises(SystemExit, match="2"):
            run(*argv)
        told = capsys.readouterr().err
        assert told
        assert "Traceback" not in told

    def test_python_m(self):
        done = subprocess.run(
            [sys.executable, "-m", "tomoseg", "labels", "none"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        assert done.stderr == "error: none: expected a dataset's folder, got no such folder; check the path\n"

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
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
                "memory such as 2GB or 1500MB, got '2x'",
            ),
            (
                ["train", "data", "-o", "out", "--max-memory", "2GB"],
                "expected --plan beside --max-memory, got it alone",
            ),
        ],
    )
    def test_a_wrong_value_is_one_line(self, argv, message, capsys):
        assert run(*argv) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ")
        assert message in told
        assert told.count("\n") == 1


WORDS = {int: ["8"], float: ["0.25"], str: ["word"], Path: ["file"], ByteSize: ["2GB"], bool: []}
"""Words from which a value of each type is read."""
MADE_TO_FIT = {"network.channels": ["8", "16"], "network.tile": [], "windows_hu": ["-1", "1"]}


def words_of(kind):
    """Words from which a value is read; of several types the last."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return [str(inner[0])]
    if origin is Annotated:
        return words_of(inner[0])
    if origin in {Union, UnionType}:
        return words_of(next(one for one in inner if one is not NoneType))
    if origin in {tuple, dict}:
        return [word for one in inner if one is not Ellipsis for word in words_of(one)]
    return WORDS[kind]


def flags_of(kind, prefix):
    """Every setting with words for it."""
    for name, field in kind.model_fields.items():
        group = group_of(field)
        if group is None:
            fits = MADE_TO_FIT.get(prefix + name)
            yield prefix + name, words_of(field.annotation) if fits is None else fits
        else:
            yield from flags_of(group, f"{prefix}{name}.")


def command_line(command):
    """Positional words, and every flag with its words."""
    positional, flags = [], []
    for name, kind in get_type_hints(command_of(command), include_extras=True).items():
        bare = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        if name == "return":
            continue
        if isinstance(bare, type) and issubclass(bare, Config):
            flags += flags_of(bare, "")
        elif get_args(Positional[int])[1] in get_args(kind)[1:]:
            positional += words_of(bare)
        else:
            flags.append((name, words_of(bare)))
    return positional, flags


class TestSpellings:
    def called_with(self, command, argv):
        function = command_of(command)

        @functools.wraps(function)
        def record(**values):
            return values

        return tyro.cli(record, args=argv, registry=VALUES)

    @pytest.mark.parametrize("command", COMMANDS)
    def test_a_flag_is_taken_with_hyphens_and_with_underscores(self, command):
        positional, flags = command_line(command)
        spelt = [
            [*positional, *(word for name, words in flags for word in ("--" + name.replace("_", sign), *words))]
            for sign in ("-", "_")
        ]
        assert spelt[0] != spelt[1] or not any("_" in name for name, _ in flags)
        first, second = (self.called_with(command, argv) for argv in spelt)
        assert first == second
        assert set(first) == set(inspect.signature(command_of(command)).parameters)

    def test_of_one_value_and_of_an_equals_sign(self):
        assert self.called_with("labels", ["word"]) == {"dataset": Path("word")}
        given = ["-i", "a", "-o", "b", "-m", "c", "--max_memory=2GB", "--roi_subset", "liver", "aorta"]
        found = self.called_with("predict", given)
        assert (found["compute"].max_memory, found["options"].roi_subset) == (2_000_000_000, ("liver", "aorta"))

    def test_values_keep_their_underscores(self):
        assert self.called_with("train", ["a_b", "-o", "c_d", "--loss.kind", "bce_dice"])["output"] == Path("c_d")
        assert self.called_with("predict", ["-i", "a", "-o", "b", "-m", "c", "--roi-subset", "lung_left"])[
            "options"
        ].roi_subset == ("lung_left",)


class TestConfigFile:
    @pytest.fixture
    def called(self, monkeypatch):
        """What a workflow function is called with; it does nothing."""
        found = {}

        def replace(workflow, **also):
            def record(*args, **keywords):
                found.update({"args": args, **keywords})
                raise ConfigError("enough")

            monkeypatch.setattr(f"tomoseg.workflows.{workflow}", record)
            return found

        return replace

    def test_flags_go_over_the_file_which_goes_over_the_defaults(self, tmp_path, called):
        file = tmp_path / "predict.yaml"
        file.write_text("engine: torch\nmax_memory: 2GB\nml: true\nformat: [nrrd]\nsmoothing: 1\n")
        found = called("predict.predict")
        assert run("predict", "-i", "a", "-o", "b", "-m", "c", "--config", file, "--smoothing", 0.5, "--no-ml") == 2
        assert found["args"][3] == PredictOptions(format=("nrrd",), smoothing=0.5)
        assert found["args"][4] == Compute(engine="torch", max_memory=2_000_000_000)

    def test_of_evaluate_and_tune(self, tmp_path, called):
        file = tmp_path / "evaluate.yaml"
        file.write_text("device: cpu\n")
        found = called("tune.tune")
        assert run("tune", "model", "data", f"--config={file}") == 2
        assert found["args"][3] == Compute(device="cpu")
        file.write_text("device: cpu\nstructures: [liver]\nsurfaces: false\n")
        found = called("evaluate.evaluate")
        assert run("evaluate", "model", "data", "--config", file) == 2
        assert found["args"][2] == EvaluateOptions(structures=("liver",), surfaces=False)
        assert found["compute"] == Compute(engine="torch", device="cpu")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                "roi_subest: [liver]",
                "predict.yaml: roi_subest: expected one of 22 known names, got 'roi_subest'; did you",
            ),
            ("max_memory: none", "predict.yaml: max_memory: expected an amount of memory such as 2GB or 1500MB"),
            ("ml: [", "predict.yaml: expected a YAML file of settings, got: "),
        ],
    )
    def test_a_wrong_file(self, tmp_path, capsys, text, message):
        (tmp_path / "predict.yaml").write_text(text)
        assert run("predict", "-i", "a", "-o", "b", "-m", "c", "--config", tmp_path / "predict.yaml") == 2
        assert message in capsys.readouterr().err


class TestDownload:
    def test_all_then_some_of_it(self, tmp_path, capsys):
        data = zip_of(dataset_files("s0", "s1"))
        with serving(FileServer(data)) as server:
            md5 = hashlib.md5(data).hexdigest()
            assert run("download", "--url", server.url, "--md5", md5, "--size", len(data), "-o", tmp_path / "a") == 0
            told = capsys.readouterr()
            assert told.out == f"2 cases in {tmp_path / 'a'}, 2 new\n"
            assert told.err == ""
            assert run("download", "--url", server.url, "-o", tmp_path / "b", "--cases", "s1", "--keep-archive") == 0
        told = capsys.readouterr()
        assert told.out == f"1 case in {tmp_path / 'b'}, 1 new\n"
        assert told.err.startswith(
            f"warning: {server.url} was not verified, since its MD5 sum is not known; pass --md5"
        )
        assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["meta.csv", "s1"]

    def test_a_named_dataset_from_a_mirror_that_has_another_one(self, tmp_path, capsys):
        with serving(FileServer(zip_of(dataset_files("s0011")))) as server:
            flags = ("--url", server.url, "--cases", "s0011")
            assert run("download", "totalsegmentator-small", "-o", tmp_path / "a", *flags) == 2
        assert "expected the same archive throughout, 3244617817 bytes, got another of" in capsys.readouterr().err
        assert not (tmp_path / "a").exists()

    def test_nothing_to_fetch(self, tmp_path, capsys):
        assert run("download", "-o", tmp_path) == 2
        assert capsys.readouterr().err.startswith("error: expected a dataset or --url, got neither; name totalsegm")
        assert run("download", "--url", "http://example.org/x.zip", "-o", tmp_path) == 2
        assert "expected https, got http; take https, or pass --allow-http" in capsys.readouterr().err


class TestLabels:
    def test_the_117(self, capsys):
        assert run("labels") == 0
        text = capsys.readouterr().out
        assert "117 structures" in text
        assert [name for name in LabelSet.total().names if name not in text] == []
        spleen = next(line for line in text.splitlines() if "spleen" in line)
        colour = "#{:02x}{:02x}{:02x}".format(*LabelSet.total()["spleen"].colour)
        assert [cell.strip() for cell in spleen.strip("│").split("│")] == ["spleen", "1", "organs", "78961009", colour]

    def test_of_a_dataset_and_of_a_preprocessed_one(self, dataset, tmp_path, capsys):
        assert preprocess(dataset, tmp_path / "out") == 0
        for folder in (dataset, tmp_path / "out"):
            capsys.readouterr()
            assert run("labels", folder) == 0
            text = capsys.readouterr().out
            assert "2 structures" in text
            assert "liver" in text

    def test_of_nothing(self, tmp_path, capsys):
        assert run("labels", tmp_path) == 2
        assert capsys.readouterr().err.startswith(f"error: {tmp_path}: expected a dataset, got none; looked for")


class TestPreprocess:
    def test_all_done(self, dataset, tmp_path, capsys):
        assert preprocess(dataset, tmp_path / "out", "--validation-share", 0.5) == 0
        shown = capsys.readouterr()
        assert "2 cases (case folders)" in shown.out
        assert "1 train, 1 validation, 0 test" in shown.out
        assert (tmp_path / "out" / INDEX).exists()

    def test_some_failed(self, dataset, tmp_path, capsys):
        (dataset / "s1" / "ct.nii.gz").write_bytes(b"broken")
        assert preprocess(dataset, tmp_path / "out") == 1
        assert "failed: s1: " in capsys.readouterr().err
        assert list(DatasetIndex.load(tmp_path / "out").splits) == ["s0"]

    def test_nothing_to_do(self, tmp_path, capsys):
        (tmp_path / "data").mkdir()
        assert preprocess(tmp_path / "data", tmp_path / "out") == 2
        assert "expected a dataset, got none" in capsys.readouterr().err

    def test_a_coarse_grid_is_warned_of(self, dataset, tmp_path, capsys):
        assert preprocess(dataset, tmp_path / "out", "--grid.spacing-mm", 9) == 0
        assert "warning: the grid is too coarse for" in capsys.readouterr().err

    def test_flags_override_the_file_which_overrides_the_preset(self, dataset, tmp_path):
        file = tmp_path / "settings.yaml"
        file.write_text("grid:\n  size: [4, 3]\n  body_margin_mm: 5\n")
        out = tmp_path / "out"
        assert preprocess(dataset, out, "--preset", "guide", "--config", file, "--grid.body-margin-mm", 7) == 0
        grid = grid_of(out)
        assert (grid.mode, grid.crop) == ("size", "none")  # the preset's
        assert grid.size == (4, 3)  # the file's, not the preset's 256
        assert grid.body_margin_mm == 7  # the flag's, not the file's 5

    @pytest.mark.parametrize(
        "form", [("--preset=guide", "--grid.size", 4, 4), ("--grid.size", 4, 4, "--preset", "guide")]
    )
    def test_the_preset_in_any_place(self, dataset, tmp_path, form):
        assert preprocess(dataset, tmp_path / "out", *form) == 0
        assert (grid_of(tmp_path / "out").mode, grid_of(tmp_path / "out").crop) == ("size", "none")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("grid:\n  moed: size\n", "grid.moed: expected one of 6 known names, got 'moed'; did you mean 'mode'?"),
            ("structure: [liver]\n", "got 'structure'; did you mean 'structures'?"),
            (
                "grid:\n  spacing_mm: -1\n",
                "grid.spacing_mm: expected a value greater than 0, got -1; correct the value",
            ),
            ("- 1\n", "expected `key: value` lines, got a list"),
            (": [", "expected a YAML file of settings"),
        ],
    )
    def test_a_wrong_file(self, dataset, tmp_path, capsys, text, message):
        (tmp_path / "settings.yaml").write_text(text)
        assert preprocess(dataset, tmp_path / "out", "--config", tmp_path / "settings.yaml") == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()

    def test_an_unknown_structure(self, dataset, tmp_path, capsys):
        assert preprocess(dataset, tmp_path / "out", "--structures", "livr") == 2
        assert "got 'livr'; did you mean 'liver'?" in capsys.readouterr().err


class TestPreview:
    def test_a_picture_of_training_slices(self, dataset, tmp_path, capsys):
        assert preprocess(dataset, tmp_path / "out") == 0
        capsys.readouterr()
        pictures = []
        for flags in ((), ("--preset", "guide"), ("--augmentation.noise-hu", 200)):
            assert run("preview", tmp_path / "out", "-o", tmp_path / "a.png", *flags) == 0
            assert capsys.readouterr().out == f"16 training slices in {tmp_path / 'a.png'}\n"
            pictures.append((tmp_path / "a.png").read_bytes())
        assert len(set(pictures)) == 3

    @pytest.mark.parametrize("command", ["preview", "train"])
    def test_settings_of_former_versions(self, tmp_path, capsys, command):
        (tmp_path / "settings.yaml").write_text("augmentation:\n  brightness: 0.05\n")
        assert run(command, tmp_path, "-o", tmp_path / "out", "--config", tmp_path / "settings.yaml") == 2
        assert "augmentation.brightness: expected one of 19 known names, got" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


class TestPredict:
    def test_masks(self, ct, model, tmp_path, capsys):
        assert run("predict", "-i", ct, "-o", tmp_path / "out", "-m", model, *CPU) == 0
        names = ["aorta.nii.gz", "liver.nii.gz", "prediction.json", "spleen.nii.gz"]
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
        first, second = capsys.readouterr().out.splitlines()
        assert re.fullmatch(rf"s0: {re.escape(str(tmp_path / 'out'))} \(\d+\.\d s\)", first)
        assert re.fullmatch(r"openvino fp32 on cpu, peak memory \d\.\d\d GiB", second)
        assert run("predict", "-i", ct, "-o", tmp_path / "out", "-m", model, *CPU) == 0
        assert capsys.readouterr().out == f"s0: {tmp_path / 'out'} (done before)\n"

    def test_everything_asked_for(self, ct, model, tmp_path):
        flags = ("--ml", "--roi-subset", "liver", "aorta", "--preview", "--statistics", "--batch-size", 2)
        assert run("predict", "-i", ct, "-o", tmp_path / "out" / "map.nii.gz", "-m", model, *CPU, *flags) == 0
        kinds = ["ctbl", "label", "labels.json", "nii.gz", "prediction.json", "statistics.json"]
        names = [*(f"map.{kind}" for kind in kinds), "map_preview.png"]
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
        assert json.loads((tmp_path / "out" / "map.labels.json").read_text()) == {"5": "liver", "52": "aorta"}
        assert set(np.unique(read_label_map(tmp_path / "out" / "map.nii.gz", GRID))) <= {0, 5, 52}

    def test_a_broken_scan_among_good_ones(self, model, tmp_path, capsys):
        for name in ("a", "c"):
            write_nifti(tmp_path / "scans" / f"{name}.nii.gz", scan(), GRID)
        (tmp_path / "scans" / "b.nii.gz").write_bytes(b"broken")
        assert run("predict", "-i", tmp_path / "scans", "-o", tmp_path / "out", "-m", model, "--ml", *CPU) == 1
        shown = capsys.readouterr()
        assert sorted(p.name for p in (tmp_path / "out").glob("*.nii.gz")) == ["a.nii.gz", "c.nii.gz"]
        assert [line.split(":")[0] for line in shown.out.splitlines()[:-1]] == ["a", "c"]
        assert shown.err.startswith("failed: b: ")
        assert shown.err.count("\n") == 1

    def test_a_scan_of_nan_has_one_line(self, model, tmp_path, capsys):
        write_nifti(tmp_path / "nan.nii.gz", np.full(SHAPE, np.nan, np.float32), GRID)
        assert run("predict", "-i", tmp_path / "nan.nii.gz", "-o", tmp_path / "out", "-m", model, *CPU) == 1
        told = capsys.readouterr().err
        assert told.startswith("failed: nan: ")
        assert "expected finite HU, got NaN or infinity" in told
        assert told.count("\n") == 1

    @pytest.mark.parametrize(
        ("flags", "message"),
        [
            (("-m", "none"), "expected a model folder with model.json"),
            (("--roi-subset", "livr"), "got 'livr'; did you mean 'liver'?"),
            (("--device", "abacus"), "expected a device of this machine, got 'abacus'"),
            (("--batch-size", 0), "batch_size: expected a value greater than or equal to 1, got 0"),
            (("-i", "none.nii"), "none.nii: expected a scan or a folder of scans, found nothing there"),
        ],
    )
    def test_what_cannot_start(self, ct, model, tmp_path, capsys, flags, message):
        given = {"-i": ct, "-o": tmp_path / "out", "-m": model} | {flags[0]: flags[1]}
        assert run("predict", *(part for pair in given.items() for part in pair)) == 2
        told = capsys.readouterr().err
        assert message in told
        assert told.startswith("error: ")
        assert not (tmp_path / "out").exists()


class TestPhantom:
    def test_none(self, tmp_path, capsys):
        counts = ("--train", 0, "--validation", 0, "--test", -1)
        assert run("phantom", "-o", tmp_path / "out", *counts) == 2
        assert "cases in 'test', got -1" in capsys.readouterr().err


class TestConsole:
    def test_names_are_no_markup(self, capsys):
        console.fail({"[red]a[/x]:smile:": r"C:\[b] was [i]not[/i] read"})
        console.error("[/]")
        console.warn_all([str(number) for number in range(5)], at_most=3)
        console.out.print("[bold]x[/y] :cat:")
        shown = capsys.readouterr()
        assert shown.out == "[bold]x[/y] :cat:\n"
        assert shown.err.splitlines() == [
            r"failed: [red]a[/x]:smile:: C:\[b] was [i]not[/i] read",
            "error: [/]",
            *(f"warning: {number}" for number in range(3)),
            "warning: and 2 more",
        ]

    def test_a_table(self, capsys):
        console.table("Title", ("a", "b", "c"), [("[x]", None, 0.12345), ("y" * 90, 7, "z")])
        text = capsys.readouterr().out
        rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
        assert rows == [["[x]", "-", "0.123"], ["y" * 90, "7", "z"]]

    def test_progress_draws_nothing_without_a_terminal(self, capsys):
        with console.progress_bar() as bar:
            bar.advance(bar.add_task("a", total=2, info="[/x]"))
        assert capsys.readouterr() == ("", "")


def test_an_interruption_is_status_130(monkeypatch, capsys):
    def stop(dataset):
        raise KeyboardInterrupt

    monkeypatch.setattr("tomoseg.workflows.labels.labels_of", stop)
    assert run("labels") == 130
    assert capsys.readouterr().err == "error: stopped\n"


@pytest.mark.parametrize("flags", [("--to", "openvino"), ("--precision", "int8", "--measure", "p")])
def test_a_calibration_that_nothing_would_use_is_refused(flags, capsys):
    assert main(["export", "run", "--calibrate", "p", *flags]) != 0
    assert "expected --to and --precision int8 beside --calibrate" in " ".join(capsys.readouterr().err.split())
