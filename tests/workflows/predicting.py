"""A small model, and what the tests of prediction do with it."""

import json

import torch

from tests.workflows.datasets import GRID, scan
from tomoseg.config import GridConfig, NetworkConfig
from tomoseg.files.nifti import read_ct, write_nifti
from tomoseg.inference.segment import segment
from tomoseg.labels import LabelSet
from tomoseg.models.folder import Model, ModelRecord, load_model, save_model
from tomoseg.options import Compute, PredictOptions
from tomoseg.workflows.predict import predict

LABELS = LabelSet.total().subset(["spleen", "liver", "aorta"])
ON_CPU = Compute(device="cpu", precision="fp32")


def make_model(folder, **grid):
    """A network of random weights whose masks are neither empty nor full."""
    torch.manual_seed(5)
    grid = GridConfig(**{"mode": "spacing", "spacing_mm": 4.0, "slice_spacing_mm": 7.0, "crop": "none"} | grid)
    record = ModelRecord(LABELS, NetworkConfig(channels=(8, 8)), grid, ((-1000.0, 1000.0),))
    network = record.build().eval()
    with torch.no_grad():
        network.head.weight *= 30
        network.head.bias -= network(torch.rand(4, 1, 12, 12)).mean(dim=(0, 2, 3))
    save_model(Model(record, network), folder)
    return folder


def write_scans(folder, count):
    """So many scans, and a file that is none, numbered after them."""
    folder.mkdir()
    for number in range(count):
        write_nifti(folder / f"s{number}.nii.gz", scan(number), GRID)
    (folder / f"s{count}.nii.gz").write_bytes(b"no scan")
    return folder


def expected_masks(ct, model):
    found = segment(read_ct(ct), load_model(model), compute=ON_CPU)
    return {name: found.mask(name) for name in LABELS.names}


def run(scans, output, model, **options):
    return predict(scans, output, model, PredictOptions(**options), ON_CPU)


def names_in(folder):
    """Results, without what is told of them."""
    files = (
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(("prediction.json", "predictions.json"))
    )
    return sorted(str(path.relative_to(folder)) for path in files)


def told(folder):
    """All that is written: files as bytes, records without what differs from one time to the next."""
    files = {name: (folder / name).read_bytes() for name in names_in(folder) if not name.startswith(".work")}
    records = {}
    for path in sorted(folder.rglob("*prediction*.json")):
        text = path.read_text().replace(str(folder), "OUT")
        records[str(path.relative_to(folder))] = _without_times(json.loads(text))
    return files, records


def _without_times(record):
    if isinstance(record, dict):
        left_out = {"seconds", "peak_memory_bytes", "state"}
        return {key: _without_times(value) for key, value in record.items() if key not in left_out}
    return [_without_times(one) for one in record] if isinstance(record, list) else record
