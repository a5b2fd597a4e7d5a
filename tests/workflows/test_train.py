"""Datasets with different structures annotated, from their files to one network that knows all of them."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.training.tiny import NATIVE, make_config, make_dataset, make_scan
from tests.workflows.predicting import make_model
from tomoseg.config import (
    AugmentationConfig,
    LossConfig,
    OptimizerConfig,
    PreprocessConfig,
    SamplingConfig,
    TrainConfig,
)
from tomoseg.errors import ModelError
from tomoseg.files.nifti import read_label_map, write_nifti
from tomoseg.inference.segment import segment
from tomoseg.models.exports import load_exports
from tomoseg.models.folder import load_model
from tomoseg.network_kinds import NetworkConfig
from tomoseg.options import Compute, Request
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.listener import Listener
from tomoseg.volume import SourceGrid
from tomoseg.workflows import course
from tomoseg.workflows.preprocess import preprocess
from tomoseg.workflows.train import train_run

BALL, CUBE = 0, 1


@pytest.fixture
def quick(monkeypatch):
    """One thread, since the arrays are small, and no curves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr(course, "draw_history", lambda history, path, lang: None)
    yield
    torch.set_num_threads(threads)


def write_scan(folder, seed):
    """A scan with a ball and a cube in it; returns their masks and the grid."""
    hu, masks = make_scan(seed)
    grid = SourceGrid(hu.shape, np.eye(4))
    write_nifti(folder / "ct.nii.gz", hu, grid)
    return masks, grid


def dataset_of_balls(folder):
    """A mask file of the ball in each of two cases; the cubes are there, but nobody outlined them."""
    for seed, split in enumerate(("train", "val")):
        masks, grid = write_scan(folder / split / f"ball{seed}", seed)
        write_nifti(folder / split / f"ball{seed}" / "segmentations" / "ball.nii.gz", masks[BALL], grid)


def dataset_of_cubes(folder):
    """A label map of the cube in each of five cases, with its name beside it; nobody outlined the balls."""
    for seed, split in enumerate(("train", "train", "train", "train", "val"), start=2):
        case = folder / split / f"cube{seed}"
        masks, grid = write_scan(case, seed)
        write_nifti(case / "labels.nii.gz", masks[CUBE].astype(np.uint8), grid)
        (case / "labels.json").write_text(json.dumps({"1": "cube"}))


def test_datasets_of_different_structures_train_together(tmp_path, quick):
    dataset_of_balls(tmp_path / "balls")
    dataset_of_cubes(tmp_path / "cubes")
    for split in ("train", "val"):
        (tmp_path / "both" / split).mkdir(parents=True)
        for case in tmp_path.glob(f"*s/{split}/*"):
            (tmp_path / "both" / split / case.name).symlink_to(case)
    report = preprocess(tmp_path / "both", tmp_path / "preprocessed", PreprocessConfig(grid=NATIVE, workers=1))
    assert report.labels.names == ("ball", "cube")
    data = Preprocessed(tmp_path / "preprocessed")
    assert {case.name[:4]: case.record.annotated for case in data.cases} == {"ball": (BALL,), "cube": (CUBE,)}
    config = make_config(
        epochs=8,
        validate_every=8,
        optimizer=OptimizerConfig(learning_rate=3e-2),
        sampling=SamplingConfig(slices_per_case=8),
        augmentation=AugmentationConfig(enabled=False),
        loss=LossConfig(kind="bce", emphasis_power=0),
    )
    outcome = train_run(data.folder, tmp_path / "run", config)
    # Taken for absent in four of five training cases, the ball would not be found.
    assert outcome.history[-1]["dice"]["ball"] > 0.85
    assert outcome.history[-1]["dice"]["cube"] > 0.85


def a_run(folder, told=None, **changes):
    """A short run, and where it is."""
    data = make_dataset(folder / "data")
    warnings = [] if told is None else told
    train_run(data.folder, folder / "run", make_config(epochs=1, **changes), Listener(on_warning=warnings.append))
    return folder / "run"


def test_a_run_ends_with_an_export_that_predicts_without_pytorch(tmp_path, quick):
    (tmp_path / "data").mkdir()
    run = a_run(tmp_path, export=True)
    model = load_model(run)
    assert list(load_exports(run / "best")) == ["openvino/fp32"]
    hu, _ = make_scan(9)
    write_nifti(tmp_path / "ct.nii.gz", hu, SourceGrid(hu.shape, np.eye(4)))
    code = f"""if True:
        import sys
        from pathlib import Path
        sys.modules["torch"] = None  # an import of it fails
        import tomoseg
        done = tomoseg.predict(*map(Path, {[str(tmp_path / "ct.nii.gz"), str(tmp_path / "out.nii.gz"), str(run)]}),
                               tomoseg.PredictOptions(ml=True))
        sys.exit(done[0].error)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = segment(tmp_path / "ct.nii.gz", model, Request(ml=True), compute=Compute(engine="torch", precision="fp32"))
    written = read_label_map(tmp_path / "out.nii.gz")
    assert (written != found.result.values).mean() < 1e-3  # two engines, and bf16 where the processor has it


def test_going_on_with_a_finished_run_exports_what_it_lacks(tmp_path, quick):
    (tmp_path / "data").mkdir()
    run = a_run(tmp_path)
    assert load_exports(run / "best") == {}
    train_run(tmp_path / "data", run, make_config(epochs=1, export=True))
    assert list(load_exports(run / "best")) == ["openvino/fp32"]


def test_what_cannot_be_exported_is_said_and_the_run_is_kept(tmp_path, quick):
    (tmp_path / "data").mkdir()
    told = []
    network = NetworkConfig(kind="swin_unetr", channels=(12, 12))  # without a tile no trace of it serves every size
    run = a_run(tmp_path, told, network=network, export=True)
    assert told[-1].startswith("no OpenVINO export was written: expected network.tile for an export of swin_unetr")
    assert load_model(run).network is not None


def test_a_warm_start_from_a_model_of_other_structures_says_so(tmp_path, quick):
    data, told = make_dataset(tmp_path / "data"), []
    small = make_config().model_dump(include={"batch_size", "workers", "export"})
    settings = TrainConfig().model_copy(update={**small, "steps": 1, "warm_start": make_model(tmp_path / "other")})
    train_run(data.folder, tmp_path / "run", settings, Listener(on_warning=told.append))
    assert [line for line in told if "to start from" in line] == [
        "the model to start from has none of the dataset's structures: it has spleen, liver, aorta, the dataset ball, "
        "cube, both; only the layers below the last start from its weights; if they are the same structures, rename "
        "them in the dataset"
    ]
    told.clear()
    settings = settings.model_copy(update={"warm_start": tmp_path / "run"})
    train_run(data.folder, tmp_path / "again", settings, Listener(on_warning=told.append))
    assert [line for line in told if "to start from" in line] == []


def test_a_warm_start_brings_its_network_and_goes_on_without_its_model(tmp_path, quick):
    data = make_dataset(tmp_path / "data")
    small = make_config(epochs=1)
    train_run(data.folder, tmp_path / "first", small)
    usual = TrainConfig().model_copy(
        update={**small.model_dump(include={"batch_size", "workers", "export"}), "warm_start": tmp_path / "first"}
    )
    outcome = train_run(data.folder, tmp_path / "run", usual.model_copy(update={"steps": 1}))
    assert outcome.finished
    record = load_model(tmp_path / "run").record
    assert (record.network.channels, record.windows_hu) == (small.network.channels, small.windows_hu)
    assert record.network.channels != usual.network.channels
    shutil.rmtree(tmp_path / "first")
    assert train_run(data.folder, tmp_path / "run", usual.model_copy(update={"steps": 2})).finished
    own = usual.model_copy(update={"network": NetworkConfig(channels=(8, 24)), "steps": 1})
    with pytest.raises(ModelError, match="first"):
        train_run(data.folder, tmp_path / "other", own)
