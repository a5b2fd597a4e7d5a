"""The page on correcting and training on, command by command, with corrections simulated from the reference."""

import csv
import gzip
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.tiny import SHAPE, make_scan
from tomoseg.cli import main
from tomoseg.datasets.corrections import latest
from tomoseg.files.nifti import read_label_map, write_nifti
from tomoseg.options import ViewOptions
from tomoseg.server.viewing import Viewing
from tomoseg.volume import SourceGrid
from tomoseg.workflows.view import find_views

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "correct-and-retrain.md"
GRID = SourceGrid(SHAPE, np.eye(4))
STRUCTURES = ("ball", "cube")

SETTINGS = {
    "preprocess": "--preset default --grid.mode native --grid.crop none --workers 1 --validation-share 0.2",
    "train": "--preset default --epochs 12 --validate-every 12 --batch-size 4 --precision fp32 --workers 0 "
    "--device cpu --sampling.slices-per-case 8 --optimizer.learning-rate 0.01 --no-export",
    "predict": "--device cpu --engine torch",
    "evaluate": "",
}
"""What the commands of the page are given besides, so that seconds are enough."""

CORRECTED = 4
"""Of six scans."""


def write_scan(path, seed, is_new):
    """A scan; those of the new kind have balls of 80 HU in the place of 250. Returns its masks."""
    hu, masks = make_scan(seed)
    if is_new:
        hu[masks[0]] -= 170
    write_nifti(path, hu, GRID)
    return dict(zip(STRUCTURES, masks, strict=False))


def write_cases(folder, seeds, is_new):
    for seed in seeds:
        for name, mask in write_scan(folder / f"s{seed}" / "ct.nii.gz", seed, is_new).items():
            write_nifti(folder / f"s{seed}" / "segmentations" / f"{name}.nii.gz", mask, GRID)


def do(command, *more):
    name, *given = shlex.split(command)
    assert name == "tomoseg"
    return main([*given, *more, *shlex.split(SETTINGS[given[0]])])


def dice(folder):
    with (Path(folder) / "scores.csv").open(newline="", encoding="utf-8") as stream:
        found = [float(row["dice"]) for row in csv.DictReader(stream) if row["dice"]]
    return sum(found) / len(found)


def correct_the_worst(truth):
    """What a person does in `tomoseg view out`, by what the page calls when a mask is saved."""
    views = find_views(Path("out"))
    viewing = Viewing(views, ViewOptions(open=False, reviewer="A. Person"), views.beside)
    for number, case in enumerate(views.cases[:CORRECTED]):
        for name in STRUCTURES:
            packed = gzip.compress(truth[case.name][name].astype(np.uint8).tobytes(order="F"))
            assert viewing.correct(number, name, packed, viewing.reviewer) == STRUCTURES.index(name) + 1
        found = latest(views.beside / case.name)
        assert {one.who for one in found.values()} == {"A. Person"}
        np.testing.assert_array_equal(read_label_map(found["ball"].mask), truth[case.name]["ball"])


@pytest.fixture
def place(tmp_path, monkeypatch):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_corrections_of_the_worst_make_the_model_better_on_scans_that_it_has_not_seen(place, capsys):
    write_cases(place / "old", range(4), is_new=False)
    write_cases(place / "labelled", range(20, 24), is_new=True)
    truth = {f"n{seed}": write_scan(place / "new-scans" / f"n{seed}.nii.gz", seed, is_new=True) for seed in range(6)}
    assert do("tomoseg preprocess old -o preprocessed") == 0
    assert do("tomoseg train preprocessed -o run", "--network.channels", "8", "16") == 0
    blocks = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    commands = "".join(blocks[:3]).splitlines()
    assert commands[1] == "tomoseg view out"
    for command in commands:
        if command == "tomoseg view out":
            correct_the_worst(truth)
        else:
            # A scan that is neither corrected nor believed is left out, named, with exit status 1.
            assert do(command) in ({0, 1} if "preprocess" in command else {0}), (command, capsys.readouterr())
    # The same training without what was corrected: of the new scans nothing is believed, so it is on the old ones.
    assert do("tomoseg preprocess out -o uncorrected") == 2
    assert "expected masks that the model is sure of, got none" in capsys.readouterr().err
    assert do("tomoseg train preprocessed -o run3 --warm-start run") == 0
    assert do("tomoseg predict -i labelled -o by-run3 -m run3") == 0
    assert do("tomoseg evaluate by-run3 labelled -o without") == 0
    before, after, without = dice("before"), dice("after"), dice("without")
    assert max(before, without) < 0.6  # 0.30 and 0.30
    assert after > 0.85  # 0.99
