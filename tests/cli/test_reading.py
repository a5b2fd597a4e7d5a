"""Help in plain words, and what a command line that cannot be read is told."""

import re
from itertools import pairwise

import pytest

from tomoseg.cli import COMMANDS, main
from tomoseg.cli.reading import own_flags
from tomoseg.cli.running import command_of


def run(*argv):
    return main([str(argument) for argument in argv])


def help_of(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        run(command, "--help")
    return capsys.readouterr().out


class TestHelp:
    @pytest.mark.parametrize("command", COMMANDS)
    def test_no_words_of_programmers(self, command, capsys):
        text = help_of(command, capsys)
        for word in ("None", "STR", "INT", "FLOAT", "(default: )", "True", "False"):
            assert re.search(rf"(?<![A-Z]){re.escape(word)}(?![A-Z])", text) is None, word

    @pytest.mark.parametrize("command", COMMANDS)
    def test_sentences_are_wrapped_at_the_border_alone(self, command, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "80")
        lines = [line.rstrip(" │") for line in help_of(command, capsys).replace("│", " ").splitlines()]
        for line, after in pairwise(lines):
            deep = len(after) - len(after.lstrip())
            if deep > 20 and len(line) > deep and line[deep - 2 : deep] == "  ":  # help that goes on
                assert len(line) + 1 + len(after.split()[0]) > 76, (line, after)

    @pytest.mark.parametrize(
        ("command", "names"),
        [
            ("evaluate", ["PREDICTED", "REFERENCE"]),
            ("tune", ["MODEL", "PREPROCESSED"]),
            ("train", ["PREPROCESSED"]),
            ("labels", ["[PLACE]"]),
        ],
    )
    def test_positionals_have_names(self, command, names, capsys):
        text = help_of(command, capsys)
        usage = re.sub(r"\[-[^]]*\]|\.\.\.", "", text.splitlines()[0])
        assert usage.split("[OPTIONS] ")[-1].split(command)[-1].split() == names
        assert [name for name in names if f" {name} " not in text.partition("\n")[2]] == []

    def test_a_switch_that_is_on_says_so(self, capsys):
        text = " ".join(help_of("predict", capsys).replace("│", " ").split())
        assert "chose for this model; options given here override them. (default: on)" in text


class TestFlags:
    def test_all_of_a_command(self):
        flags = own_flags(command_of("predict"))
        assert flags[:6] == ["-i", "--input", "-o", "--output", "-m", "--model"]
        assert {"--config", "--ml", "--roi-subset", "--max-memory"} <= set(flags)
        assert {"--loss.kind", "--workers"} <= set(own_flags(command_of("train")))

    @pytest.mark.parametrize(
        ("argv", "told"),
        [
            (
                ["train", "p", "-o", "r", "--minute", 1],
                "expected options of tomoseg train, got --minute; did you mean --minutes? `tomoseg train --help` lists",
            ),
            (["train", "p", "-o", "r", "--chanels", 8], "got --chanels; did you mean --network.channels?"),
            (["train", "p", "-o", "r", "--kind=unet"], "got --kind=unet; did you mean --"),
            (["predict", "-i", "a", "--statistic", "--previw"], "did you mean --statistics and --preview?"),
            (["predict", "-i", "a", "--minutes", 1], "got --minutes; "),
            (["predict", "-i", "a", "--batch", 1], "got --batch; did you mean --batch-size?"),
            (["export", "m", "--formats", "onnx"], "got --formats; `tomoseg export --help`"),  # half of --hours
            (["labels", "--qqqqq"], "got --qqqqq; `tomoseg labels --help` lists what it takes"),
            (["tune", "a", "b", "c"], "expected nothing more, got c; `tomoseg tune --help` lists what it takes"),
        ],
    )
    def test_what_is_not_known_names_the_own_ones(self, argv, told, capsys):
        assert run(*argv) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
        near = re.findall(r"(--[\w.-]+)(?=\?| and)", error.partition("did you mean")[2])
        assert set(near) <= set(own_flags(command_of(argv[0])))

    def test_none_and_numbers_below_zero_are_values(self, tmp_path, capsys):
        assert run("train", tmp_path, "-o", "r", "--optimizer.clip-norm", "None", "--windows-hu", -160, 240) == 2
        assert "expected a preprocessed dataset" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("argv", "told"),
        [
            (
                ["--batch-size", "x"],
                "--batch-size: expected a whole number, got 'x'; `tomoseg predict --help` lists what it takes",
            ),
            (["--smoothing", "much"], "expected a number, got 'much'"),
            (["--format", "nifti", "dicom"], "got 'dicom'; did you mean 'dicom-seg'?"),
            (["--lang", "de"], "known names, got 'de'"),
        ],
    )
    def test_a_value_that_is_none(self, argv, told, capsys):
        assert run("predict", "-i", "a", "-o", "b", "-m", "c", *argv) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1

    @pytest.mark.parametrize(
        ("argv", "told"),
        [
            (
                ["evaluate"],
                "error: expected PREDICTED, REFERENCE, got none; `tomoseg evaluate --help` lists what it",
            ),
            (["train", "p"], "error: expected -o PATH, got none; `tomoseg train --help` lists what it takes"),
            (["train", "p", "-o"], "error: expected -o PATH, got none; `tomoseg train --help` lists what it takes"),
            (["train", "p", "-o", "r", "--windows-hu", 1], "error: --windows-hu: expected [X X [X X ...]], got 1; "),
            (["train", "p", "--lang", "fr"], "erreur : il manque -o PATH ; `tomoseg train --help` donne"),
            (
                ["train", "p", "-o", "r", "--batch-size", "x", "--lang", "fr"],
                "erreur : --batch-size : il faut un nombre entier, pas 'x' ; `tomoseg train --help` donne",
            ),
            (
                ["train", "p", "-o", "r", "--minute", 1, "--lang", "fr"],
                "erreur : il faut des options de tomoseg train, pas --minute ; vouliez-vous dire --minutes ? `tomoseg",
            ),
            (["--lang", "fr"], "erreur : il faut une commande, pas --lang ; `tomoseg --help` en donne la liste"),
        ],
    )
    def test_what_is_missing_or_wrong_is_told_in_one_line(self, argv, told, capsys):
        assert run(*argv) == 2
        error = capsys.readouterr().err.replace("\xa0", " ")
        assert error.startswith(told)
        assert error.count("\n") == 1
