"""Gain from other views: single views, their fusions and a 3D network, on the same patients.

    .venv/bin/python benchmarks/views.py OPENKBP --work DIR [--sets openkbp phantoms] [--rows axial "axial coronal" ...]
        [--steps N] [--seed 0] [--optimizer muon]

Each view's network takes the same steps; `axial coronal` is the fusion of the two networks of those rows, so that with
half the steps it costs what a single view costs. `3D` takes as much processor time as the axial row. How much each view
counts is chosen on cases that train nothing, and all is scored on others: of OpenKBP the last 30 patients of `train`
choose and the 33 of `validation` score, of the phantoms of 117 structures six choose and twelve score. What is done
already is not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from common import PRESET, machine

from tomoseg import EvaluateOptions, PreprocessConfig, evaluate, preprocess, train_run
from tomoseg.config import GridConfig, TrainConfig
from tomoseg.labels import LabelSet
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.preprocessed.turn import turn
from tomoseg.settings import merged, validate_config
from tomoseg.workflows import demo
from tomoseg.workflows.fuse import fuse
from tomoseg.workflows.phantom import make_dataset

SINGLE = ("axial", "coronal", "sagittal")
TOGETHER = ("axial coronal", "axial sagittal", "coronal sagittal", "axial coronal sagittal")
AFTER = {"coronal after axial": ("coronal", "axial"), "sagittal after coronal": ("sagittal", "coronal after axial")}
"""Networks that start from another one: their view, and the row that they start from. So does `train --views`."""

TOGETHER_AFTER = {
    "axial, coronal after it": ("axial", "coronal after axial"),
    "axial, coronal, sagittal, each after the one before": ("axial", *AFTER),
}
ROWS = (*SINGLE, *TOGETHER, *AFTER, *TOGETHER_AFTER, "3D")
PHANTOMS = {"train": 24, "validation": 6, "test": 12}
CHOOSING = 30
"""Number of choosing patients of OpenKBP."""

STEPS = {"openkbp": 1500, "phantoms": 2850}
"""Training steps: those of the ablation's rows, and half of the demo's."""

OPENKBP: dict[str, Any] = {
    "network": {"channels": [12, 24, 48, 96], "slices": 5, "residual": True},
    "loss": {"deep_supervision": 2},
    "batch_size": 16,
    "sampling": {"slices_per_case": 20},
}
BLOCKS = {
    "openkbp": {"network": {"dims": 3, "tile": [48, 64, 16]}, "batch_size": 2, "sampling": {"slices_per_case": 2}},
    "phantoms": {"network": {"dims": 3, "tile": [64, 64, 16]}, "batch_size": 2, "sampling": {"slices_per_case": 4}},
}
TIMED_STEPS = (10, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["openkbp", "phantoms"], choices=list(STEPS))
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--optimizer", default="adamw", choices=("adamw", "muon"))
    given = parser.parse_args()
    print(machine())
    chosen = {"seed": given.seed, "optimizer": {"kind": given.optimizer}}
    suffix = "" if given.optimizer == "adamw" else f", {given.optimizer}"
    for name in given.sets:
        work = given.work / name
        data = data_of(name, given.openkbp, work)
        steps = given.steps or STEPS[name]
        for row in given.rows:
            done = work / f"{row}, {steps} steps, seed {given.seed}{suffix}"
            if not (done / "row.json").is_file():
                measured = measure(name, row, data, done, steps, chosen)
                (done / "row.json").write_text(
                    json.dumps({"set": name, "row": row, "optimizer": given.optimizer, "steps": steps, **measured}),
                    encoding="utf-8",
                )
                print(f"{name}, {row}: {measured['dice']:.4f}", flush=True)
    table(given.work)


def data_of(name: str, openkbp: Path, work: Path) -> Path:
    """The preprocessed dataset: training cases, validation cases that choose, test cases that score."""
    raw, data = work / "raw", work / "axial"
    if name == "phantoms":
        make_dataset(raw, PHANTOMS, 0, demo.SPACING_MM)
        preprocess(raw, data, PreprocessConfig(grid=demo.GRID))
        return data
    patients, scoring = (sorted((openkbp / split).iterdir()) for split in ("train", "validation"))
    splits = {"train": patients[:-CHOOSING], "validation": patients[-CHOOSING:], "test": scoring}
    for split, cases in splits.items():
        (raw / split).mkdir(parents=True, exist_ok=True)
        for case in cases:
            if not (raw / split / case.name).exists():
                (raw / split / case.name).symlink_to(case.resolve(), target_is_directory=True)
    preprocess(raw, data, PreprocessConfig(grid=GridConfig(mode="native")))
    return data


def settings(name: str, chosen: dict[str, Any], changes: dict[str, Any]) -> TrainConfig:
    """Return the settings of the ablation's best row or of the demo, validated at the end only."""
    base = demo.TRAINING.model_dump() if name == "phantoms" else merged(PRESET.model_dump(), OPENKBP)
    own = {
        "minutes": None,
        "validate_every": 100_000,
        "workers": 0,
        "export": False,
        "views": (),
        "side_by_side": False,
    }
    return validate_config(TrainConfig, merged(merged(base, own | chosen), changes), "benchmarks")


def measure(name: str, row: str, data: Path, done: Path, steps: int, chosen: dict[str, Any]) -> dict[str, Any]:
    """Train a row, or fuse networks of other rows, and score it."""
    began = time.process_time()
    model = done / "run"
    if row == "3D":
        train_blocks(name, data, done, chosen)
    elif row in SINGLE:
        finish(seen(data, row), model, settings(name, chosen, {"steps": steps}))
    elif row in AFTER:
        view, other = AFTER[row]
        start = {"steps": steps, "warm_start": row_folder(done, row, other) / "run"}
        finish(seen(data, view), model, settings(name, chosen, start))
    else:
        shutil.rmtree(model, ignore_errors=True)
        parts = TOGETHER_AFTER.get(row) or row.split()
        fuse([row_folder(done, row, part) / "run" for part in parts], data, model)
    taken = time.process_time() - began
    summary = evaluate(model, data, EvaluateOptions(split="test", surfaces=False)).summary
    return {"dice": summary.dice, "structures": {one.structure: one.dice for one in summary.structures}, "cpu_s": taken}


def row_folder(done: Path, row: str, other: str) -> Path:
    """Return the folder of another row of the same steps and seed."""
    return done.parent / done.name.replace(row, other)


def seen(data: Path, view: str) -> Path:
    """Return the dataset in a view's axis order."""
    if view != "axial":
        turn(Preprocessed(data), view, data.parent / view)  # type: ignore[arg-type]
    return data.parent / view


def train_blocks(name: str, data: Path, done: Path, chosen: dict[str, Any]) -> None:
    """Train a 3D network, for as many steps as take the axial row's processor time."""
    axial = json.loads((row_folder(done, "3D", "axial") / "row.json").read_text(encoding="utf-8"))
    short, long = TIMED_STEPS
    taken = {}
    for steps in TIMED_STEPS:  # the difference is that of steps alone, without start and validation
        began = time.process_time()
        finish(data, done / f"timed {steps}", settings(name, chosen, {**BLOCKS[name], "steps": steps}))
        taken[steps] = time.process_time() - began
    a_step = (taken[long] - taken[short]) / (long - short)
    steps = max(long, short + round((axial["cpu_s"] - taken[short]) / a_step))
    finish(data, done / "run", settings(name, chosen, {**BLOCKS[name], "steps": steps}))


def finish(data: Path, run: Path, config: TrainConfig) -> None:
    """Train, or continue training.

    Raises:
        SystemExit: If it was stopped.
    """
    if not train_run(data, run, config).finished:
        raise SystemExit("stopped; the same command goes on")


def table(work: Path) -> None:
    """Print a Markdown table: the mean of all structures and of each group, with processor time."""
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("*/*/row.json"))]
    known = {structure.name: structure.group for structure in LabelSet.total()}
    for name in dict.fromkeys(row["set"] for row in rows):
        of_set = [row for row in rows if row["set"] == name]
        first = of_set[0]["structures"]
        heads = list(first) if name == "openkbp" else list(dict.fromkeys(known[one] for one in first))
        print(f"\n| {name} | steps | all | {' | '.join(heads)} | minutes of one core |")
        print("|---" * (len(heads) + 4) + "|")
        for row in sorted(of_set, key=lambda row: (row["steps"], ROWS.index(row["row"]))):
            values = [group_mean(row["structures"], head, known) for head in heads]
            cells = [
                row["row"] + (f", {row['optimizer']}" if row.get("optimizer", "adamw") != "adamw" else ""),
                row["steps"],
                f"{row['dice']:.3f}",
                *(f"{value:.3f}" for value in values),
                f"{row['cpu_s'] / 60:.1f}",
            ]
            print("| " + " | ".join(map(str, cells)) + " |")


def group_mean(structures: dict[str, float | None], head: str, known: dict[str, str]) -> float:
    """Return the Dice of a structure, or the mean of a group."""
    return statistics.mean(
        dice for one, dice in structures.items() if dice is not None and head in (one, known.get(one))
    )


if __name__ == "__main__":
    main()
