"""What is planned where nothing is said, and what wins over it, from the command line."""

import re
import shutil

import pytest

from tests.workflows.test_plan import dataset, short  # noqa: F401
from tomoseg.cli import main
from tomoseg.config import TRAIN_PRESETS, GridConfig
from tomoseg.preprocessed.format import DatasetIndex
from tomoseg.settings import load_config
from tomoseg.terminal import console


def run(*argv):
    return main([str(argument) for argument in argv])


def grid_of(output):
    return DatasetIndex.load(output).grid


def settings_of(folder):
    return load_config(TRAIN_PRESETS["default"], folder / "config.yaml")


@pytest.fixture
def narrow(monkeypatch):
    """A terminal of 80 columns."""
    monkeypatch.setattr(console.out, "_width", 80)


class TestPlan:
    def test_what_is_printed(self, dataset, tmp_path, capsys, narrow):  # noqa: F811
        assert run("plan", dataset, "--minutes", 20, "--memory", "4GB", "-o", tmp_path / "plan.yaml") == 0
        told = capsys.readouterr().out
        assert max(map(len, told.splitlines()[:-1])) <= 80
        assert "3 training cases; 2 structures" in told
        assert re.search(
            r"  grid\.spacing_mm +8: the scans have 8 mm; finer pixels\s+would\s+add\s+no\s+detail\n", told
        )
        assert "20 min (measured here): " in told

    def test_one_file_serves_both_commands(self, dataset, tmp_path, capsys):  # noqa: F811
        plan = tmp_path / "plan.yaml"
        assert run("plan", dataset, "-o", plan) == 0
        assert run("preprocess", dataset, "-o", tmp_path / "p", "--config", plan, "--workers", 1) == 0
        assert grid_of(tmp_path / "p") == GridConfig(spacing_mm=8.0)
        capsys.readouterr()
        assert run("train", tmp_path / "p", "-o", tmp_path / "r", "--config", plan, "--steps", 1, "--no-export") == 0
        assert "Planned for" not in capsys.readouterr().out
        assert settings_of(tmp_path / "r").network.channels == (16, 32, 64)
        assert settings_of(tmp_path / "r").network.slices == 3

    def test_what_is_wrong_in_the_other_commands_part_is_told(self, dataset, tmp_path, capsys):  # noqa: F811
        (tmp_path / "plan.yaml").write_text("network:\n  chanels: [8, 16]\n", encoding="utf-8")
        assert run("preprocess", dataset, "-o", tmp_path / "p", "--config", tmp_path / "plan.yaml") == 2
        assert "network.chanels: expected one of" in capsys.readouterr().err

    def test_a_case_that_cannot_be_read(self, dataset, tmp_path, capsys):  # noqa: F811
        shutil.copytree(dataset, tmp_path / "data")
        (tmp_path / "data" / "train" / "case0" / "ct.nii.gz").write_bytes(b"no scan")
        assert run("plan", tmp_path / "data") == 1
        assert "failed: case0: " in capsys.readouterr().err

    def test_a_dataset_that_is_not_there(self, tmp_path, capsys):
        assert run("plan", tmp_path / "nothing") == 2
        assert "expected a dataset folder, got no such folder; check the path" in capsys.readouterr().err
        (tmp_path / "notes.txt").touch()
        assert run("plan", tmp_path / "notes.txt") == 2
        assert "notes.txt: expected a dataset folder, got a file; check the path" in capsys.readouterr().err


class TestPreprocess:
    def test_the_grid_is_planned_and_shown(self, dataset, tmp_path, capsys):  # noqa: F811
        assert run("preprocess", dataset, "-o", tmp_path / "p", "--workers", 1) == 0
        told = capsys.readouterr().out
        assert "Planned for this dataset (--preset default uses fixed settings instead):\n  grid.mode" in told
        assert grid_of(tmp_path / "p") == GridConfig(spacing_mm=8.0)

    @pytest.mark.parametrize("flags", [("--preset", "default"), ("--grid.spacing-mm", 1.5), ("--grid.mode", "spacing")])
    def test_what_is_said_wins_to_the_letter(self, dataset, tmp_path, capsys, flags):  # noqa: F811
        assert run("preprocess", dataset, "-o", tmp_path / "p", "--structures", "liver", "--workers", 1, *flags) == 0
        assert "Planned for" not in capsys.readouterr().out
        assert grid_of(tmp_path / "p") == GridConfig()

    def test_a_file_wins_and_planned_fills_what_it_does_not_say(self, dataset, tmp_path):  # noqa: F811
        (tmp_path / "a.yaml").write_text("grid: {crop: none}\nstructures: [liver]\n", encoding="utf-8")
        words = ("preprocess", dataset, "--config", tmp_path / "a.yaml", "--workers", 1)
        assert run(*words, "-o", tmp_path / "p", "--grid.spacing-mm", 8) == 0
        assert run(*words, "-o", tmp_path / "q", "--preset", "planned") == 0
        assert grid_of(tmp_path / "p") == grid_of(tmp_path / "q") == GridConfig(spacing_mm=8.0, crop="none")

    def test_minutes_are_for_a_plan(self, dataset, tmp_path, capsys):  # noqa: F811
        assert run("preprocess", dataset, "-o", tmp_path / "p", "--preset", "default", "--minutes", 3) == 2
        assert "expected --minutes where a grid is planned" in capsys.readouterr().err


class TestTrain:
    @pytest.fixture
    def preprocessed(self, dataset, tmp_path):  # noqa: F811
        assert run("preprocess", dataset, "-o", tmp_path / "p", "--workers", 1) == 0
        return tmp_path / "p"

    def test_planned_shown_and_gone_on_with(self, preprocessed, tmp_path, capsys):
        words = ("train", preprocessed, "-o", tmp_path / "r", "--no-export")
        assert run(*words, "--steps", 1, "--network.slices", 1) == 0
        told = capsys.readouterr()
        assert "  network.channels" in told.out
        assert "warning: 1 step sees 8 slices; 6300 are wanted for 2 structures. Expect next to nothing." in told.err
        first = settings_of(tmp_path / "r")
        assert (first.network.channels, first.network.slices) == ((16, 32, 64), 1)
        assert run(*words, "--steps", 2) == 0
        assert "Planned for" not in capsys.readouterr().out
        assert settings_of(tmp_path / "r") == first.model_copy(update={"steps": 2})

    def test_a_preset_is_as_it_was(self, preprocessed, tmp_path, capsys):
        assert run("train", preprocessed, "-o", tmp_path / "r", "--preset", "default", "--steps", 1, "--no-export") == 0
        assert "Planned for" not in capsys.readouterr().out
        assert settings_of(tmp_path / "r") == TRAIN_PRESETS["default"].model_copy(update={"steps": 1, "export": False})
