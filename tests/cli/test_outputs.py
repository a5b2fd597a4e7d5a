"""Outputs that cannot be made are refused by every command before anything is read."""

import inspect
import os

import pytest

from tests.workflows.predicting import make_model
from tomoseg.cli import COMMANDS, main
from tomoseg.cli.running import command_of
from tomoseg.errors import OutputError
from tomoseg.options import Compute
from tomoseg.workflows.export import export
from tomoseg.workflows.measure_engines import measure_engines
from tomoseg.workflows.tune import tune

READS = {
    "predict": ["-i", "{}", "-m", "{}"],
    "plan": ["{}"],
    "preprocess": ["{}"],
    "train": ["{}"],
    "evaluate": ["{}", "{}"],
    "check": ["{}"],
    "inspect": ["{}"],
    "preview": ["{}"],
    "fuse": ["{}", "{}", "--on", "{}"],
    "phantom": [],
    "demo": [],
    "download": ["totalsegmentator"],
    "import": ["{}"],
}
"""What each command that takes an output reads: here a folder that none gets to read."""

FILES = {
    "inspect": [],
    "plan": [],
    "preview": [],
    "predict": ["predictions.json", "triage.csv", "statistics.csv"],
    "preprocess": ["preprocessed.json"],
    "train": ["config.yaml", "last.pt", "metrics.jsonl"],
    "evaluate": ["scores.csv", "ranking.csv", "summary.json", "report.html"],
    "check": ["check.json", "check.html"],
    "download": ["download.json"],
}
"""Of the commands that write into a folder, what must not be a folder there; of others nothing."""

WITH_OUTPUT = [name for name in COMMANDS if "output" in inspect.signature(command_of(name)).parameters]


def refused(name, output, empty, capsys):
    """The sentence that a command ends with."""
    if name == "predict":  # many scans, so that there is a table of them, and none that can be read
        for scan in ("a.nii", "b.nii"):
            (empty / scan).write_bytes(bytes(400))
    words = [word.format(empty) for word in READS[name]]
    assert main([name, *words, "-o", str(output)]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told.splitlines()[-1]


@pytest.fixture
def empty(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_a_place_that_cannot_be(name, tmp_path, empty, capsys):
    (tmp_path / "file").write_text("mine")
    told = refused(name, tmp_path / "file" / "new", empty, capsys)
    assert f"file/new: expected a folder to write into, got the file {tmp_path / 'file'}; choose another output" in told
    assert "expected names of up to 255 bytes, got one of 300" in refused(name, tmp_path / ("l" * 300), empty, capsys)
    kept = "file" if name in {"inspect", "plan", "preview"} else "folder"
    there = tmp_path / "file" if kept == "folder" else empty
    assert f"expected a {kept} " in refused(name, there, empty, capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in FILES.items() for file in files])
def test_a_folder_in_the_place_of_a_file(name, file, tmp_path, empty, capsys):
    (tmp_path / "out" / file).mkdir(parents=True)
    told = refused(name, tmp_path / "out", empty, capsys)
    assert f"{file}: expected a file to write, got a folder; choose another name" in told


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("name", ["inspect", "preview"])
def test_a_pipe_keeps_its_place(name, tmp_path, empty, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert "expected a file to write, got a device or a pipe" in refused(name, tmp_path / "pipe", empty, capsys)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("file", "call"),
    [
        ("tuned.json", lambda model, nowhere: tune(model, nowhere, compute=Compute())),
        ("measured.json", measure_engines),
        ("onnx/fp32", lambda model, nowhere: export(model, "onnx")),
    ],
)
def test_what_goes_into_a_model_folder(file, call, tmp_path):
    model = make_model(tmp_path / "model")
    if file == "onnx/fp32":
        (model / "onnx").write_text("mine")
    else:
        (model / file).mkdir()
    with pytest.raises(OutputError, match="expected a f"):
        call(model, tmp_path / "nowhere")
