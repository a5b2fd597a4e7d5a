"""Scans of a few voxels with a bright ball and a less bright cube, as a preprocessed dataset, and settings to match."""

from pathlib import Path

import numpy as np

from tomoseg.config import GridConfig, NetworkConfig, OptimizerConfig, SamplingConfig, TrainConfig
from tomoseg.labels import LabelSet, Structure
from tomoseg.preprocessed.format import INDEX, DatasetIndex
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.preprocessed.write import CaseInput, write_case
from tomoseg.volume import Volume

LABELS = LabelSet((Structure(1, "ball", "solid"), Structure(5, "cube", "solid"), Structure(9, "both", "union")))
"""`both` is the union of the others: masks overlap."""

NATIVE = GridConfig(mode="native", crop="none")
SPLITS = {"a": "train", "b": "train", "c": "train", "v": "validation", "w": "validation"}
SHAPE = (24, 22, 8)


def make_scan(seed, shape=SHAPE):
    """HU and `(3, x, y, z)` masks: soft tissue around a ball of 250 and a cube of 120 HU, in a little air."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    middle = np.array([8, 8, 4]) + rng.integers(-1, 2, 3)
    ball = ((place - middle[:, None, None, None]) ** 2).sum(0) <= 3.5**2
    cube = np.zeros(shape, bool)
    x, y = rng.integers(13, 16, 2)
    cube[x : x + 5, y : y + 5, 1:6] = True
    hu = np.full(shape, -1000.0)
    hu[2:-2, 2:-2] = 0
    hu[ball], hu[cube] = 250, 120
    return np.rint(hu + rng.normal(0, 10, shape)).astype(np.int16), np.stack([ball, cube, ball | cube])


def add_case(folder: Path, name, hu, masks, grid=NATIVE, annotated=None, spacing_mm=(1.0, 1.0, 1.0), native=True):
    """Write one case."""
    target = folder / "cases" / name
    target.mkdir(parents=True)
    volume = Volume.from_array(np.asfortranarray(hu), np.diag([*spacing_mm, 1.0]))
    annotated = tuple(range(len(masks))) if annotated is None else annotated
    given = CaseInput(name, name, volume, lambda channel: masks[channel], annotated, len(masks), "made here")
    return write_case(given, target, grid, keep_native=native, threads=1)


def finish(folder: Path, splits, labels=LABELS, grid=NATIVE) -> Preprocessed:
    """Write the index and open the dataset."""
    (folder / INDEX).write_text(DatasetIndex(labels, grid, splits).to_json(), encoding="utf-8")
    return Preprocessed(folder)


def make_dataset(folder: Path, grid=NATIVE, splits=SPLITS, annotated=None) -> Preprocessed:
    """A dataset of made scans; case `b` has no reference of `both`."""
    known = {"b": (0, 1)} if annotated is None else annotated
    for seed, (name, split) in enumerate(splits.items()):
        hu, masks = make_scan(seed)
        add_case(folder, name, hu, masks, grid, known.get(name), native=split != "train")
    return finish(folder, splits, grid=grid)


def make_shuffled(folder: Path, order, grid=NATIVE, splits=SPLITS, annotated=None) -> Preprocessed:
    """The same with its structures in another order: for each channel which of `LABELS` takes its place."""
    known = {"b": (0, 1)} if annotated is None else annotated
    for seed, (name, split) in enumerate(splits.items()):
        hu, masks = make_scan(seed)
        there = [order.index(channel) for channel in known.get(name, range(len(order)))]
        add_case(folder, name, hu, masks[list(order)], grid, tuple(there), native=split != "train")
    return finish(folder, splits, LabelSet(tuple(LABELS.structures[channel] for channel in order)), grid)


def make_config(**changes) -> TrainConfig:
    """A network of two levels on the CPU, in float32, without worker processes and without an export at the end."""
    settings = {
        "network": NetworkConfig(channels=(8, 16)),
        "sampling": SamplingConfig(slices_per_case=4),
        "optimizer": OptimizerConfig(learning_rate=1e-2),
        "batch_size": 4,
        "epochs": 2,
        "validate_every": 1,
        "precision": "fp32",
        "workers": 0,
        "device": "cpu",
        "export": False,
    }
    return TrainConfig(**{**settings, **changes})
