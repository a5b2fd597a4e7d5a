"""Gain from giving the network the distance of sagittal slices from the body's middle.

    .venv/bin/python benchmarks/position.py PREPROCESSED --work DIR [--view sagittal] [--steps 3000] [--split test]
        [--ways "not told" told] [--channels 12 24 48 96] [--batch 8] [--seeds 0] [--threads 1]
        [--every 1] [--structures kidney_left kidney_right ...]

PREPROCESSED is an axial dataset, of phantoms as `tomoseg demo` keeps them, or of anything else; of some structures
(`--structures`) and of every voxel or every second one (`--every 2`) a dataset of the view is made once. The same
network is trained alike with and without, and one that is told without jitter of the middle. Mean Dice of the split is
printed for structures on a side (`..._left`, `..._right`) and for the others. What is done already is not done again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from common import PRESET, machine

from tomoseg import EvaluateOptions, evaluate, train_run
from tomoseg.config import AugmentationConfig, GridConfig, NetworkConfig, SamplingConfig, TrainConfig
from tomoseg.labels import counterpart
from tomoseg.masks import structure_mask
from tomoseg.preprocessed.format import CASES, INDEX, DatasetIndex
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.preprocessed.write import CaseInput, write_case
from tomoseg.volume import Volume, seen

WAYS = {
    "not told": {"position": False},
    "told": {"position": True},
    "told, no jitter": {"position": True, "position_mm": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preprocessed", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--view", choices=("coronal", "sagittal"), default="sagittal")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--split", default="test")
    parser.add_argument("--channels", type=int, nargs="+", default=[12, 24, 48, 96])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--structures", nargs="+", default=[])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(machine())
    turned = given.work / given.view
    if not (turned / INDEX).is_file():
        make(Preprocessed(given.preprocessed), given, turned)
    print(f"{given.view}, {given.steps} steps of {given.batch} slices, {len(given.seeds)} seeds, split {given.split}")
    print("| | all | on a side | others |\n|---|---|---|---|")
    for way in given.ways:
        found = [scores(turned, given, way, seed) for seed in given.seeds]
        cells = " | ".join(f"{value:.3f}" for value in np.mean(found, axis=0))
        print(f"| {way} | {cells} |", flush=True)


def make(data: Preprocessed, given: argparse.Namespace, folder: Path) -> None:
    """Write a dataset of some structures and voxels, in the view's axis order."""
    labels = data.labels.subset(given.structures) if given.structures else data.labels
    channels = [data.labels.channel(name) for name in labels.names]
    grid = GridConfig(mode="native", crop="none", view=given.view)
    part = (slice(None, None, given.every),) * 3
    for case in data.cases:
        packed = case.masks()[(slice(None), *part)]
        affine = np.diag([*(edge * given.every for edge in case.grid_spacing_mm), 1.0])
        volume = Volume.from_array(np.asfortranarray(case.ct()[part]), affine).seen(given.view)
        known = tuple(c for c, channel in enumerate(channels) if channel in case.record.annotated)

        def mask(c: int, packed: np.ndarray = packed) -> np.ndarray:
            return seen(structure_mask(packed, channels[c]), given.view)

        patient = case.record.patient
        one = CaseInput(case.name, patient, volume, mask, known, len(channels), "made here")
        (folder / CASES / case.name).mkdir(parents=True, exist_ok=True)
        write_case(one, folder / CASES / case.name, grid, keep_native=False, threads=1)
    splits = {case.name: case.split for case in data.cases}
    (folder / INDEX).write_text(DatasetIndex(labels, grid, splits).to_json(), encoding="utf-8")


def scores(data: Path, given: argparse.Namespace, way: str, seed: int) -> tuple[float, float, float]:
    """Return the mean Dice of all structures, of those on a side, and of the others."""
    run = given.work / f"{given.view}-{way.replace(',', '').replace(' ', '-')}-{seed}"
    done = run / f"{given.split}.json"
    if not done.is_file():
        train_run(data, run, settings(given, WAYS[way], seed))
        summary = evaluate(run, data, EvaluateOptions(split=given.split, surfaces=False)).summary
        dice = {row.structure: row.dice for row in summary.structures if row.dice is not None}
        done.write_text(json.dumps(dice), encoding="utf-8")
    dice = json.loads(done.read_text(encoding="utf-8"))
    sided = [value for name, value in dice.items() if counterpart(name) != name]
    others = [value for name, value in dice.items() if counterpart(name) == name]
    return float(np.mean(list(dice.values()))), float(np.mean(sided)), float(np.mean(others))


def settings(given: argparse.Namespace, way: dict[str, float | bool], seed: int) -> TrainConfig:
    """Return the default recipe with a small network, validated at the end only."""
    network = NetworkConfig(channels=tuple(given.channels), slices=3, residual=True, position=bool(way["position"]))
    jitter = float(way.get("position_mm", AugmentationConfig().position_mm))
    return PRESET.model_copy(
        update={
            "network": network,
            "augmentation": AugmentationConfig(position_mm=jitter),
            "steps": given.steps,
            "batch_size": given.batch,
            "seed": seed,
            "sampling": SamplingConfig(slices_per_case=40),
            "validate_every": 100_000,
            "workers": 0,
            "precision": "fp32",
            "export": False,
        }
    )


if __name__ == "__main__":
    main()
