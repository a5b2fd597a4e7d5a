"""Ids of a user's labels.json on their whole way."""

import json

import numpy as np
import torch

from tests.workflows.datasets import GRID, SHAPE, scan
from tomoseg.config import GridConfig, NetworkConfig, PreprocessConfig
from tomoseg.files.nifti import read_label_map, write_nifti
from tomoseg.models.folder import Model, ModelRecord, load_model, save_model
from tomoseg.options import Compute, PredictOptions
from tomoseg.preprocessed.format import INDEX
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.workflows.labels import structures_of
from tomoseg.workflows.predict import predict
from tomoseg.workflows.preprocess import preprocess

NAMES = {1: "jaw", 2: "cord", 300: "tooth"}
CONFIG = PreprocessConfig(grid=GridConfig(mode="native", crop="none"), workers=1, validation_share=0.5)


def write_dataset(folder):
    for number in range(2):
        write_nifti(folder / f"s{number}" / "ct.nii.gz", scan(number), GRID)
        values = np.zeros(SHAPE, np.uint16)
        values[0], values[1:3], values[3] = 1, 2, 300
        write_nifti(folder / f"s{number}" / "labels.nii.gz", values, GRID)
    (folder / "labels.json").write_text(json.dumps({str(value): name for value, name in NAMES.items()}))


def by_name(labels):
    return dict(zip(labels.ids, labels.names, strict=True))


def test_they_are_kept_from_the_dataset_to_the_label_map(tmp_path):
    write_dataset(tmp_path / "data")
    preprocess(tmp_path / "data", tmp_path / "pre", CONFIG)
    data = Preprocessed(tmp_path / "pre")
    assert by_name(data.labels) == by_name(structures_of(tmp_path / "pre").labels) == NAMES
    voxels = data.cases[0].record.voxels
    assert {name: voxels[data.labels.channel(name)] for name in data.labels.names} == {
        "jaw": 20,
        "cord": 40,
        "tooth": 20,
    }

    torch.manual_seed(5)
    record = ModelRecord(data.labels, NetworkConfig(channels=(8, 8)), data.grid, ((-1000.0, 1000.0),))
    network = record.build().eval()
    with torch.no_grad():  # each structure is in the voxels of its channel alone: none, all, none
        network.head.weight *= 0
        network.head.bias.copy_(torch.tensor([5.0 if name == "cord" else -5.0 for name in data.labels.names]))
    save_model(Model(record, network), tmp_path / "model")
    assert by_name(load_model(tmp_path / "model").record.labels) == NAMES

    scans = tmp_path / "data" / "s0" / "ct.nii.gz"
    predict(scans, tmp_path / "out" / "a.nii.gz", tmp_path / "model", PredictOptions(ml=True), Compute(device="cpu"))
    assert set(np.unique(read_label_map(tmp_path / "out" / "a.nii.gz"))) == {2}
    sidecar = json.loads((tmp_path / "out" / "a.labels.json").read_text())
    assert list(sidecar.items()) == [(str(value), name) for value, name in NAMES.items()]
    assert "  300 " in (tmp_path / "out" / "a.label").read_text()
    assert (tmp_path / "out" / "a.ctbl").read_text().splitlines()[-1].startswith("300 tooth ")


def test_a_preprocessed_dataset_of_other_ids_goes_on_and_says_so(tmp_path):
    write_dataset(tmp_path / "data")
    first = preprocess(tmp_path / "data", tmp_path / "pre", CONFIG)
    index = json.loads((tmp_path / "pre" / INDEX).read_text())
    for number, structure in enumerate(index["labels"], start=1):  # as they were numbered once: by name
        structure["id"] = number
    (tmp_path / "pre" / INDEX).write_text(json.dumps(index))
    assert by_name(Preprocessed(tmp_path / "pre").labels) == {1: "cord", 2: "jaw", 3: "tooth"}
    told = []
    again = preprocess(tmp_path / "data", tmp_path / "pre", CONFIG, on_case=told.append)
    assert all(done.reused for done in told)
    assert again.records == first.records
    assert "the ids of 3 structures were changed to those of the dataset (cord 1 to 2, jaw 2 to 1" in again.warnings[0]
    assert by_name(Preprocessed(tmp_path / "pre").labels) == NAMES
