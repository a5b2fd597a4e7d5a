"""Gain of a warm start with few labelled scans.

    .venv/bin/python benchmarks/few_scans.py OPENKBP --work DIR [--patients 1 3 5 10 20] [--seeds 0 1 2]
        [--minutes 3 | --steps N] [--start body-117] [--threads N]

For each number of training patients (drawn by the seed) and each seed, the same network is trained for the same
minutes, or steps where other programs run, from scratch and from a model, on that model's grid, and scored on the
same validation patients. The mean Dice is printed as it is known, and a table at the end. What is done already is not
done again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from common import PRESET, machine

from tomoseg import EvaluateOptions, PreprocessConfig, evaluate, preprocess, train_run
from tomoseg.config import SamplingConfig, TrainConfig
from tomoseg.models.folder import ModelRecord
from tomoseg.models.views import load_for_view
from tomoseg.preprocessed.format import CASES, INDEX, DatasetIndex


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--patients", type=int, nargs="+", default=[1, 3, 5, 10, 20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--steps", type=int, help="of eight slices, in the place of minutes")
    parser.add_argument("--start", default="body-117")
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    print(machine())
    record = load_for_view(Path(given.start), "axial").record
    whole = given.work / "preprocessed"
    preprocess(given.openkbp, whole, PreprocessConfig(grid=record.grid.model_copy(update={"view": "axial"})))
    found: dict[tuple[int, str], list[float]] = {}
    for patients in given.patients:
        for seed in given.seeds:
            data = subset(whole, given.work / f"patients-{patients}-{seed}", patients, seed)
            for way, start in (("scratch", None), (given.start, Path(given.start))):
                run = given.work / f"run-{patients}-{seed}-{way}"
                budget = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
                dice = score(data, run, settings(record, seed, patients, start).model_copy(update=budget))
                found.setdefault((patients, way), []).append(dice)
                print(f"{patients} patients, seed {seed}, {way}: {dice:.4f}", flush=True)
    print(f"\n| patients | from scratch | from {given.start} | gain |\n|---|---|---|---|")
    for patients in given.patients:
        cold, warm = (np.array(found[patients, way]) for way in ("scratch", given.start))
        print(f"| {patients} | {spread(cold)} | {spread(warm)} | {(warm - cold).mean():+.3f} |")


def spread(values: np.ndarray) -> str:
    return f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})" if len(values) > 1 else f"{values[0]:.3f}"


def subset(whole: Path, folder: Path, patients: int, seed: int) -> Path:
    """Link a dataset of some training patients and all validation patients."""
    index = DatasetIndex.load(whole)
    training = sorted(name for name, split in index.splits.items() if split == "train")
    chosen = set(np.random.default_rng(seed).permutation(training)[:patients].tolist())
    splits = {name: split for name, split in index.splits.items() if split != "train" or name in chosen}
    (folder / CASES).mkdir(parents=True, exist_ok=True)
    for name in splits:
        if not (folder / CASES / name).exists():
            Path(folder / CASES / name).symlink_to((whole / CASES / name).resolve())
    (folder / INDEX).write_text(DatasetIndex(index.labels, index.grid, splits).to_json(), encoding="utf-8")
    return folder


def settings(record: ModelRecord, seed: int, patients: int, start: Path | None) -> TrainConfig:
    """Return the default recipe with the model's network, validated at the end only, to save time for training."""
    return PRESET.model_copy(
        update={
            "network": record.network,
            "windows_hu": record.windows_hu,
            "seed": seed,
            "warm_start": start,
            "sampling": SamplingConfig(slices_per_case=max(10, 200 // patients)),
            "validate_every": 100_000,
            "workers": 0,
            "export": False,
        }
    )


def score(data: Path, run: Path, config: TrainConfig) -> float:
    """Return the mean Dice over structures on the validation patients."""
    done = run / "dice.json"
    if not done.is_file():
        train_run(data, run, config)
        summary = evaluate(run, data, EvaluateOptions(surfaces=False)).summary
        done.write_text(json.dumps(summary.dice), encoding="utf-8")
    return float(json.loads(done.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
