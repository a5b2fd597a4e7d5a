"""Loss of a model on scans of other voxel sizes than it was trained on.

    .venv/bin/python benchmarks/voxels.py OPENKBP [--edges 0.6 1 2] [--every 1] [--model head-neck]

The validation patients are interpolated linearly to in-plane voxels of each edge. Their masks are scored there, against
contours interpolated likewise, and averaged back to the voxels on which the contours were drawn. Printed is the mean
Dice over the structures on their own voxels and on the others, as the model is used; and of a model of native voxels as
it would be without bringing them to voxels of its training.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
from common import machine
from scipy.ndimage import zoom

from tomoseg import Predictor, Volume, open_predictor, read_scan, segment
from tomoseg.files.nifti import read_mask
from tomoseg.grid import axis_weights
from tomoseg.inference import predictor as inside

Scores = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--edges", type=float, nargs="+", default=[0.6, 1.0, 2.0], help="mm")
    parser.add_argument("--every", type=int, default=1, help="of the patients")
    parser.add_argument("--model", default="head-neck")
    given = parser.parse_args()
    print(machine())
    predictor = open_predictor(given.model)
    patients = sorted((given.openkbp / "validation").iterdir())[:: given.every]
    found: dict[str, Scores] = {}
    for patient in patients:
        for way, scores in scored(predictor, patient, given.edges):
            for name, dice in scores.items():
                found.setdefault(way, {}).setdefault(name, []).append(dice)
    own = means(found["own voxels"])
    print(f"{len(patients)} patients, mean Dice over {len(own)} structures")
    for way in found:
        values = means(found[way])
        print(f"{way:22} {np.mean(list(values.values())):.4f}  " + ", ".join(f"{n} {v:.3f}" for n, v in values.items()))


def means(scores: Scores) -> dict[str, float]:
    return {name: float(np.mean(values)) for name, values in sorted(scores.items())}


def scored(predictor: Predictor, patient: Path, edges: list[float]) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the Dice of each structure of a patient, by way."""
    volume = read_scan(patient / "ct.nii.gz")
    references = {
        path.name.removesuffix(".nii.gz"): read_mask(path) for path in (patient / "segmentations").glob("*.nii.gz")
    }
    yield "own voxels", dices(predictor, volume, references)
    for edge in edges:
        factors = (volume.spacing_mm[0] / edge, volume.spacing_mm[1] / edge, 1.0)
        finer = on_voxels(volume, factors)
        masks = {name: linear(mask.astype(np.float32), factors) > 0.5 for name, mask in references.items()}
        found = segment(finer, predictor, notices=())
        yield f"{edge:g} mm", {name: dice(found.mask(name), mask) for name, mask in masks.items()}
        back = {name: averaged(found.mask(name), mask.shape) for name, mask in references.items()}
        yield f"{edge:g} mm, averaged back", {name: dice(back[name], mask) for name, mask in references.items()}
        if predictor.models[0].record.grid.mode != "native":
            continue
        with mock.patch.object(inside, "grid_for", lambda record, spacing_mm: record.grid):
            yield f"{edge:g} mm, as they are", dices(predictor, finer, masks)


def on_voxels(volume: Volume, factors: tuple[float, ...]) -> Volume:
    hu = np.asfortranarray(linear(volume.hu, factors))
    edges = [n * s / m for n, s, m in zip(volume.shape, volume.spacing_mm, hu.shape, strict=True)]
    return Volume.from_array(hu, np.diag([*edges, 1.0]))


def linear(values: np.ndarray, factors: tuple[float, ...]) -> np.ndarray:
    return zoom(values, factors, order=1, grid_mode=True, mode="nearest")


def averaged(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a mask on fewer pixels: those more than half inside."""
    x, y = (axis_weights(old, new) for old, new in zip(mask.shape[:2], shape[:2], strict=True))
    return np.einsum("ax,xyz,by->abz", x, mask.astype(np.float32), y, optimize=True) > 0.5


def dices(predictor: Predictor, volume: Volume, references: dict[str, np.ndarray]) -> dict[str, float]:
    found = segment(volume, predictor, notices=())
    return {name: dice(found.mask(name), reference) for name, reference in references.items()}


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


if __name__ == "__main__":
    main()
