"""One thing given for another: it is said what it is, and what to do."""

import shutil

import pytest

from tests.nnunet_files import NAME, write_training
from tests.workflows.datasets import GRID, scan, write_masks_case
from tests.workflows.predicting import make_model
from tomoseg.cli import main
from tomoseg.cli.mistaken import ADVICE, EXCHANGED, WANTED, kind_of
from tomoseg.files.nifti import write_nifti


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A scan, a dataset, a preprocessed one, a model and a run, in one folder."""
    folder = tmp_path_factory.mktemp("places")
    write_nifti(folder / "ct.nii.gz", scan(), GRID)
    for seed in range(2):
        write_masks_case(folder / "data" / f"s{seed}", ("liver", "spleen"), seed)
    assert main(["preprocess", str(folder / "data"), "-o", str(folder / "pre"), "--workers", "1"]) == 0
    make_model(folder / "model")
    shutil.copytree(folder / "model", folder / "run" / "best")
    (folder / "empty").mkdir()
    training = write_training(folder / "results" / "Dataset900_Made")
    shutil.make_archive(str(folder / "packed"), "zip", training.parent)
    shutil.copy(training / "fold_0" / "checkpoint_final.pth", folder / "checkpoint.pth")
    return folder


def test_what_lies_at_a_place(places):
    kinds = {
        "ct.nii.gz": "scan",
        "data": "dataset",
        "pre": "preprocessed",
        "model": "model",
        "run": "model",
        "results": "nnunet",
        f"results/Dataset900_Made/{NAME}": "nnunet",
        f"results/Dataset900_Made/{NAME}/fold_0": "nnunet",
        "packed.zip": "nnunet",
        "checkpoint.pth": "nnunet",
        "empty": None,
        "none": "nothing",
    }
    assert {name: kind_of(places / name) for name in kinds} == kinds


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("predict -i out -o ct.nii.gz -m model", "expected a scan for -i, got it for -o (ct.nii.gz); exchange"),
        ("predict -i empty -o ct.nii.gz -m model", "exchange -i and -o"),
        ("predict -i model -o out -m ct.nii.gz", "expected a scan for -i, got it for -m (ct.nii.gz); exchange"),
        ("predict -i run -o out -m model", "run: expected a scan, got a model or a run; -i of predict takes the scan"),
        ("predict -i ct.nii.gz -o out -m ct.nii.gz", "ct.nii.gz: expected a model or a run, got a scan"),
        ("predict -i ct.nii.gz -o out -m pre", "pre: expected a model or a run, got a preprocessed dataset; `tom"),
        ("predict -i pre -o out -m model", "pre: expected a scan, got a preprocessed dataset; name the scans"),
        ("train data -o out", "data: expected a preprocessed dataset, got a dataset; `tomoseg preprocess` makes one"),
        ("train none -o out", "none: expected a preprocessed dataset, got nothing: there is no such file or folder"),
        ("train out -o pre", "expected a preprocessed dataset for PREPROCESSED, got it for -o (pre); exchange"),
        ("preprocess pre -o out", "pre: expected a dataset, got a preprocessed dataset; it is preprocessed already"),
        ("preprocess out -o data", "expected a dataset for DATASET, got it for -o (data)"),
        ("check run", "run: expected a dataset, got a model or a run"),
        ("check ct.nii.gz", "ct.nii.gz: expected a dataset, got a scan"),
        ("evaluate pre run", "expected a model or a run for PREDICTED, got it for REFERENCE (run); exchange"),
        ("evaluate run data", "data: expected a preprocessed dataset, got a dataset"),
        ("tune pre model", "expected a model or a run for MODEL, got it for PREPROCESSED (model)"),
        ("predict -i ct.nii.gz -o out -m results", "results: expected a model or a run, got a training of nnU-Net; `"),
        ("predict -i results -o out -m model", "results: expected a scan, got a training of nnU-Net; `tomoseg import`"),
        ("models packed.zip", "packed.zip: expected a model or a run, got a training of nnU-Net; `tom"),
        ("export checkpoint.pth --to onnx", "checkpoint.pth: expected a model or a run, got a training of nnU-Net; `"),
        ("import run -o out", "run: expected a training of nnU-Net, got a model or a run; it is a model of tomoseg al"),
        ("fuse pre model --on pre -o out", "pre: expected a model or a run, got a preprocessed dataset"),
        ("export pre --to openvino", "pre: expected a model or a run, got a preprocessed dataset"),
    ],
)  # fmt: skip
def test_it_is_said(places, line, told, monkeypatch, capsys):
    monkeypatch.chdir(places)
    assert main(line.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: " + told if not told.startswith("exchange") else "error: ")
    assert told in error
    assert error.count("\n") == 1
    assert not (places / "out").exists()


def test_another_failure_keeps_its_own_words(places, monkeypatch, capsys):
    monkeypatch.chdir(places)
    assert main(["predict", "-i", "ct.nii.gz", "-o", "out", "-m", "model", "--roi-subset", "livr"]) == 2
    assert "got 'livr'; did you mean 'liver'?" in capsys.readouterr().err
    assert main(["evaluate", "data", "empty"]) == 2
    assert "exchange" not in capsys.readouterr().err


def test_arguments_are_those_of_the_commands():
    from inspect import signature

    from tomoseg.cli.running import command_of

    for command, wanted in WANTED.items():
        assert set(wanted) <= set(signature(command_of(command)).parameters)
        for first, _, second, _ in EXCHANGED.get(command, ()):
            assert {first, second} <= set(signature(command_of(command)).parameters)
    assert all(one != other for one, other in ADVICE)
