"""What the examples in docstrings read: a made CT, a small labelled dataset, and that dataset preprocessed."""

from pathlib import Path

import numpy as np

from tomoseg.config import GridConfig, PreprocessConfig
from tomoseg.files.nifti import write_nifti
from tomoseg.files.results import write_label_map, write_masks
from tomoseg.labels import LabelSet
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import SourceGrid
from tomoseg.workflows.preprocess import preprocess

GRID = SourceGrid((48, 40, 12), np.diag([8.0, 8.0, 10.0, 1.0]))
STRUCTURES = LabelSet.total().subset(["liver", "spleen"])


def write_example_files(folder: Path) -> None:
    """`ct.nii.gz`, `DATASET` with its splits, `PREPROCESSED`, and of the CT `masks` and `map.nii.gz`."""
    hu, masks = body(0)
    write_nifti(folder / "ct.nii.gz", hu, GRID)
    channels = {name: STRUCTURES.channel(name) for name in masks}
    packed = sum(mask.astype(np.uint8) << channels[name] for name, mask in masks.items())[None]
    write_masks(Segmentation.from_packed(packed, STRUCTURES, GRID), folder / "masks")
    values = sum(mask.astype(np.uint8) * STRUCTURES[name].id for name, mask in masks.items())
    write_label_map(LabelMap(values, STRUCTURES, GRID), folder / "map.nii.gz")
    for seed, split in enumerate(("train", "train", "validation", "test")):
        case = folder / "DATASET" / split / f"case{seed}"
        hu, masks = body(seed)
        write_nifti(case / "ct.nii.gz", hu, GRID)
        for name, mask in masks.items():
            write_nifti(case / "segmentations" / f"{name}.nii.gz", mask, GRID)
    grid = GridConfig(spacing_mm=8.0)
    preprocess(folder / "DATASET", folder / "PREPROCESSED", PreprocessConfig(grid=grid, workers=1))


def body(seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """An ellipse of soft tissue in air, with a liver on the right and a spleen on the left."""
    x, y, z = np.indices(GRID.shape)
    inside = ((x - 23.5) / 20) ** 2 + ((y - 19.5) / 15) ** 2 < 1
    middle = (z > 2) & (z < 9) & (abs(y - 20) < 6)
    masks = {"liver": middle & (abs(x - 34) < 5), "spleen": middle & (abs(x - 12) < 3)}
    noise = np.random.default_rng(seed).normal(0, 10, GRID.shape)
    hu = np.where(inside, 40 + 60 * masks["liver"] + 30 * masks["spleen"], -1000) + noise
    return hu.round().astype(np.int16), masks
