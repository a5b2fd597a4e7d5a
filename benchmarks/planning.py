"""Planned settings beside the former default and settings chosen by hand, on three datasets at equal minutes.

    .venv/bin/python benchmarks/planning.py OPENKBP --work DIR [--sets two openkbp phantoms]
        [--ways planned default hand planned-16] [--minutes 3] [--seeds 0] [--reckoned]

`two` is 12 of OpenKBP's training patients with two structures, scored on 20 of its validation patients, `openkbp` all
of it, scored on its validation patients, and `phantoms` 24 phantoms of 117 structures, scored on six others. By hand
are the recipe of `head-neck` and the demo's, and `planned-16` is what is planned but for its batches. With `--reckoned`
each way takes the steps that the minutes buy on two usual, quiet cores, whatever else the machine does, and validates
once; without, each has the minutes on the clock. What is done already is not done again, so that it can be run in
parts; the table is of all that is done.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from common import machine

from tomoseg import EvaluateOptions, PreprocessConfig, evaluate, preprocess, train_run
from tomoseg.config import PREPROCESS_PRESETS, TRAIN_PRESETS, GridConfig, TrainConfig
from tomoseg.planning.cost import usual_cost, work_of
from tomoseg.planning.rules import BATCHES
from tomoseg.preprocessed.format import INDEX
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.settings import load_config, naming, put_over
from tomoseg.training.sampling import sample_size
from tomoseg.workflows import demo
from tomoseg.workflows.phantom import make_dataset
from tomoseg.workflows.plan import PlanRequest, plan_preprocessing, plan_training

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
TWO = ("mandible", "spinal_cord")
PATIENTS = {"train": 10, "validation": 2, "test": 20}
COST = usual_cost(on_gpu=False, cores=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--ways", nargs="+", default=["planned", "default", "hand"], choices=WAYS)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--reckoned", action="store_true")
    given = parser.parse_args()
    print(machine())
    for name in given.sets:
        raw = given.work / name / "raw"
        SETS[name](given.openkbp, raw)
        for seed in given.seeds:
            for way in given.ways:
                row = given.work / name / f"{way}-{given.minutes:g}-{seed}{'-reckoned' * given.reckoned}"
                run_row(name, way, raw, row, given.minutes, seed, reckoned=given.reckoned)
    table(given.work)


def make_two(openkbp: Path, raw: Path) -> None:
    """Link scans and masks of patients that have both structures."""
    for split, count in PATIENTS.items():
        source = openkbp / ("validation" if split == "test" else "train")
        whole = [case for case in sorted(source.iterdir()) if all(mask(case, one).exists() for one in TWO)]
        start = PATIENTS["train"] if split == "validation" else 0
        for case in whole[start : start + count]:
            target = raw / split / case.name
            for file in (case / "ct.nii.gz", *(mask(case, one) for one in TWO)):
                link(file, target / file.relative_to(case))


def mask(case: Path, structure: str) -> Path:
    return case / "segmentations" / f"{structure}.nii.gz"


def link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        target.symlink_to(file.resolve())


def make_openkbp(openkbp: Path, raw: Path) -> None:
    raw.parent.mkdir(parents=True, exist_ok=True)
    if not raw.exists():
        raw.symlink_to(openkbp.resolve())


def make_phantoms(_openkbp: Path, raw: Path) -> None:
    if not raw.exists():
        make_dataset(raw, demo.COUNTS, 0, demo.SPACING_MM)


SETS: dict[str, Callable[[Path, Path], None]] = {
    "two": make_two,
    "openkbp": make_openkbp,
    "phantoms": make_phantoms,
}
SCORED = {"two": "test", "openkbp": "validation", "phantoms": "test"}
Settings = tuple[PreprocessConfig, Callable[[Preprocessed], TrainConfig]]


def planned(_name: str, raw: Path, minutes: float, measures: bool) -> Settings:
    asked = PlanRequest(minutes, measures=measures)
    made = plan_preprocessing(raw, PreprocessConfig(), asked)

    def training(data: Preprocessed) -> TrainConfig:
        base = naming(TRAIN_PRESETS["default"], ())
        return put_over(base, plan_training(data, base, asked).values(of_grid=False))

    return put_over(PreprocessConfig(), made.values(of_grid=True)), training


def planned_in(batch: int, name: str, raw: Path, minutes: float, measures: bool) -> Settings:
    made, training = planned(name, raw, minutes, measures)
    return made, lambda data: training(data).model_copy(update={"batch_size": batch})


def default(_name: str, _raw: Path, _minutes: float, _measures: bool) -> Settings:
    return PREPROCESS_PRESETS["default"], lambda data: TRAIN_PRESETS["default"]


def by_hand(name: str, _raw: Path, _minutes: float, _measures: bool) -> Settings:
    if name == "phantoms":
        return PreprocessConfig(grid=demo.GRID), lambda data: demo.TRAINING.model_copy(
            update={"views": (), "side_by_side": False}
        )
    recipe = load_config(TRAIN_PRESETS["default"], RECIPES / "head-neck" / "train.yaml")
    return PreprocessConfig(grid=GridConfig(mode="native")), lambda data: recipe


WAYS: dict[str, Callable[[str, Path, float, bool], Settings]] = {
    "planned": planned,
    "default": default,
    "hand": by_hand,
    **{f"planned-{batch}": partial(planned_in, batch) for batch in BATCHES},
}


def run_row(name: str, way: str, raw: Path, row: Path, minutes: float, seed: int, *, reckoned: bool) -> None:
    """Preprocess, train and score, and save the results."""
    kept = row / "row.json"
    if kept.is_file():
        return
    made, training = WAYS[way](name, raw, minutes, not reckoned)
    data = row / "data"
    if not (data / INDEX).is_file():
        preprocess(raw, data, made)
    opened = Preprocessed(data)
    config = training(opened).model_copy(update={"minutes": minutes, "seed": seed, "export": False})
    if reckoned:
        steps = steps_of(opened, config, minutes)
        config = config.model_copy(update={"minutes": None, "steps": steps, "validate_every": 100_000})
    outcome = train_run(data, row / "run", config)
    options = EvaluateOptions(split=SCORED[name], surfaces=False)
    summary = evaluate(row / "run", data, options).summary
    history = outcome.history
    found = {
        "set": name,
        "way": way,
        "minutes": minutes,
        "seed": seed,
        "reckoned": reckoned,
        "dice": summary.dice,
        "steps": sum(record["steps"] for record in history),
        "batch": config.batch_size,
        "spacing_mm": float(np.median([max(case.grid_spacing_mm[:2]) for case in opened.cases])),
        "channels": config.network.channels,
        "taken": round(history[-1]["minutes"], 1),
    }
    kept.write_text(json.dumps(found), encoding="utf-8")
    shutil.rmtree(data / "cases", ignore_errors=True)
    print(found, flush=True)


def steps_of(data: Preprocessed, config: TrainConfig, minutes: float) -> int:
    """Return the number of steps that two typical cores do in the minutes."""
    size = sample_size([case.record for case in data.split("train")], config)
    work = work_of(math.prod(size), config.network.channels, len(data.labels))
    return max(1, COST.slices_in(minutes, config.batch_size, work) // config.batch_size)


def table(work: Path) -> None:
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(work.glob("*/*/row.json"))]
    print("\n| set | minutes | settings | seed | grid, mm | channels | batch | steps | Dice |")
    print("|---|---|---|---|---|---|---|---|---|")
    for row in sorted(rows, key=lambda row: (row["set"], row["reckoned"], row["minutes"], row["seed"], row["way"])):
        minutes = f"{row['minutes']:g}{', reckoned' if row['reckoned'] else ''}"
        cells = (row["set"], minutes, row["way"], row["seed"], f"{row['spacing_mm']:.2f}")
        cells += (" ".join(map(str, row["channels"])), row["batch"], row["steps"], f"{row['dice']:.3f}")
        print("| " + " | ".join(map(str, cells)) + " |")


if __name__ == "__main__":
    main()
