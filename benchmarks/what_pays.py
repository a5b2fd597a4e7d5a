"""Ablation of synthetic bodies: a small network, trained on bodies made in several ways, scored on held-out anatomy.

    .venv/bin/python benchmarks/what_pays.py ANATOMY [--rows both "no illness" ...] [--steps 1000] [--bodies 96]
        [--seed 0] [--work build/what-pays] [--real NAME=SCAN=REFERENCE ...]

Every row trains the demo's small network (0.3 million parameters, voxels of 5 mm) for the same steps on as many
bodies, and is scored on the same bodies of another anatomy; real scans are scored beside, and choose nothing. Rows that
are there are read, not made again. `ANATOMY` is the folder of label maps that recipes/body-117/make.py takes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import PRESET, machine
from real_ct import scored

from tomoseg.bodies import BodyConfig
from tomoseg.config import GridConfig, TrainConfig
from tomoseg.inference.segment import open_predictor
from tomoseg.options import EvaluateOptions
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.made_bodies import BodyPlan, BodySource, preprocess_bodies
from tomoseg.workflows.train import train_run

REAL = ("s0327", "s0004", "s0328", "s0001", "s0002", "s0000")
HELD_OUT = "s0006"
CHOOSING = 10
GRID = GridConfig(mode="spacing", spacing_mm=5.0, slice_spacing_mm=5.0, crop="body")
SPACINGS_MM = ((3.0, 3.0, 5.0), (4.0, 4.0, 4.0))
PHASES = ("native", "arterial", "portal", "late")


@dataclass(frozen=True)
class Row:
    """A way to make bodies, or to train on them.

    Attributes:
        real: Real anatomies that bodies are made from.
        procedural: Share of the bodies with procedural anatomy.
        bodies: Number of bodies relative to other rows.
        changes: Changes of the settings of bodies.
        steps: Number of steps relative to other rows.
        views: Views of the networks, which share the steps.
    """

    real: tuple[str, ...] = REAL
    procedural: float = 0.2
    bodies: float = 1.0
    changes: dict[str, Any] = field(default_factory=dict)
    steps: float = 1.0
    views: tuple[str, ...] = ()


ROWS = {
    "both": Row(),
    "procedural alone": Row(real=(), procedural=1.0),
    "real anatomy alone": Row(procedural=0.0),
    "two real anatomies": Row(real=REAL[:2], procedural=0.0),
    "no deformation": Row(
        changes={"shape": {"stretch": (1, 1), "size": (1, 1), "bend_mm": (0, 0), "sway_mm": (0, 0), "moved": (0, 0)}}
    ),
    "no contrast medium": Row(changes={"contrast": {f"{p}_share": float(p == "native") for p in PHASES}}),
    "whole bodies only": Row(changes={"view": {"whole_share": 1.0, "narrow_share": 0.0, "head_share": 0.0}}),
    "no fat in muscles": Row(changes={"flesh": {"infiltration": (0.0, 0.0), "bundles": (0.0, 0.0)}}),
    "no illness": Row(
        changes={
            "disease": {
                **dict.fromkeys(("calcified_share", "effusion_share", "airless_share", "patches_share"), 0.0),
                **dict.fromkeys(("ascites_share", "metal_share", "stones_share"), 0.0),
                "cysts": (0, 0),
                "masses": (0, 0),
            }
        }
    ),
    "no noise, blur, artefacts": Row(
        changes={
            "scanner": {
                "noise_hu": (0, 0),
                "kernel_fwhm_mm": (0.6, 0.6),
                "hardening_hu": (0, 0),
                "cupping_hu": (0, 0),
                "streaks": (0, 0),
                "motion_share": 0.0,
            }
        }
    ),
    "a quarter of the bodies": Row(bodies=0.25),
    "twice the steps": Row(steps=2.0),
    "axial and coronal": Row(views=("axial", "coronal")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomy", type=Path)
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--bodies", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("build/what-pays"))
    parser.add_argument("--real", nargs="*", default=[], metavar="NAME=SCAN=REFERENCE")
    given = parser.parse_args()
    print(machine())
    pairs = [pair.split("=") for pair in given.real]
    print("| row | held-out anatomy |" + "".join(f" {name} |" for name, *_ in pairs))
    for name in given.rows:
        folder = given.work / f"{given.steps} steps, {given.bodies} bodies, seed {given.seed}" / name
        if not (folder / "row.json").is_file():
            row = replace(ROWS[name], bodies=given.bodies * ROWS[name].bodies, steps=given.steps * ROWS[name].steps)
            measured = measure(row, folder, given.anatomy, given.seed, pairs)
            (folder / "row.json").write_text(json.dumps(measured, indent=1), encoding="utf-8")
        kept = json.loads((folder / "row.json").read_text(encoding="utf-8"))
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in kept.values()) + " |", flush=True)


def measure(row: Row, folder: Path, anatomy: Path, seed: int, pairs: list[list[str]]) -> dict[str, float]:
    """Return the mean Dice over structures on bodies of held-out anatomy with default settings, and on real scans."""
    config = BodyConfig.model_validate(row.changes)
    learn, judge = folder / "bodies", folder.parent / "held-out"
    preprocess_bodies(BodyPlan(sources(row, anatomy), GRID, SPACINGS_MM, seed + 1, config=config), {"axial": learn})
    held_out = (BodySource(path_of(HELD_OUT, anatomy), validation=CHOOSING),)
    preprocess_bodies(BodyPlan(held_out, GRID, SPACINGS_MM, seed), {"axial": judge})
    train_run(learn, folder / "run", settings(round(row.steps / max(1, len(row.views))), seed, row.views))
    options = EvaluateOptions(split="validation", surfaces=False)
    found = evaluate(folder / "run", judge, options).summary
    values = {"made": float(np.mean([one.dice for one in found.structures if one.dice is not None]))}
    predictor = open_predictor(folder / "run")
    for name, scan, reference in pairs:
        values[name] = float(np.mean([dice for dice, _ in scored(predictor, Path(scan), Path(reference), 50).values()]))
    return values


def path_of(name: str, anatomy: Path) -> str:
    """Return the path of the label map of an anatomy."""
    return str(anatomy / f"{name}_labels_total_v2.nii.gz")


def sources(row: Row, anatomy: Path) -> tuple[BodySource, ...]:
    """Return the sources of the bodies, with two of each for choosing an epoch and the weights of views."""
    made_up = round(row.bodies * row.procedural)
    each = round(row.bodies - made_up) // max(1, len(row.real))
    real = tuple(BodySource(path_of(name, anatomy), each, 1) for name in row.real)
    return (*real, BodySource("procedural", made_up, 2))


def settings(steps: int, seed: int, views: tuple[str, ...]) -> TrainConfig:
    """Return the demo's recipe."""
    preset = PRESET
    return TrainConfig.model_validate(
        preset.model_dump()
        | {
            "network": preset.network.model_dump() | {"channels": (16, 32, 64, 128)},
            "windows_hu": ((-160.0, 240.0), (-1000.0, 1000.0)),
            "loss": preset.loss.model_dump() | {"emphasis_power": 0.25},
            "sampling": preset.sampling.model_dump() | {"slices_per_case": 6},
            "steps": steps,
            "batch_size": 8,
            "validate_every": 1000,
            "ema_decay": 0.99,
            "workers": 0,
            "seed": seed,
            "views": views,
            "export": False,
        }
    )


if __name__ == "__main__":
    main()
