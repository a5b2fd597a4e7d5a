import functools
import inspect
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import tyro
from pydantic import ByteSize
from tyro.conf import Positional

from tomoseg.cli import COMMANDS, main
from tomoseg.cli.reading import VALUES
from tomoseg.cli.running import command_of
from tomoseg.errors import ConfigError
from tomoseg.options import Compute, EvaluateOptions, PredictOptions, Spread
from tomoseg.settings import Config, group_of, roles


def run(*argv):
    return main([str(argument) for argument in argv])


WORDS = {int: ["8"], float: ["0.25"], str: ["word"], Path: ["file"], ByteSize: ["2GB"], bool: []}
"""Words from which a value of each type is read."""
MADE_TO_FIT = {
    "on": ["slurm:2"],
    "gpus": ["1"],
    "network.channels": ["8", "16"],
    "network.tile": [],
    "windows_hu": ["-1", "1"],
}


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
        assert self.called_with("labels", ["word"]) == {"place": Path("word")}
        given = ["-i", "a", "-o", "b", "-m", "c", "--max_memory=2GB", "--roi_subset", "liver", "aorta"]
        found = self.called_with("predict", given)
        assert (found["compute"].max_memory, found["options"].roi_subset) == (2_000_000_000, ("liver", "aorta"))

    def test_values_keep_their_underscores(self):
        assert self.called_with("train", ["a_b", "-o", "c_d", "--loss.kind", "bce_dice"])["output"] == Path("c_d")
        assert self.called_with("predict", ["-i", "a", "-o", "b", "-m", "c", "--roi-subset", "lung_left"])[
            "options"
        ].roi_subset == ("lung_left",)


@pytest.mark.parametrize("command", COMMANDS)
def test_all_that_a_command_takes_from_a_file_says_what_it_decides(command):
    defaults = [one.default for one in inspect.signature(command_of(command)).parameters.values()]
    settings = [default for default in defaults if isinstance(default, Config)]
    names = [name for one in settings for name in roles(type(one))]
    assert len(names) == len(set(names))  # no two of one name, since they share a file
    takes_file = "config" in inspect.signature(command_of(command)).parameters
    if settings == [Spread()]:
        return  # of who does the cases alone there may be a file or none
    assert takes_file == (bool(settings) or command == "phantom")  # whose file has ranges that are no flags


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
                "predict.yaml: roi_subest: expected one of 33 known names, got 'roi_subest'; did you",
            ),
            ("max_memory: none", "predict.yaml: max_memory: expected an amount of memory such as 2GB or 1500MB"),
            ("ml: [", "predict.yaml: expected a YAML file of settings, got a mistake in line 1, column 6"),
        ],
    )
    def test_a_wrong_file(self, tmp_path, capsys, text, message):
        (tmp_path / "predict.yaml").write_text(text)
        assert run("predict", "-i", "a", "-o", "b", "-m", "c", "--config", tmp_path / "predict.yaml") == 2
        assert message in capsys.readouterr().err
