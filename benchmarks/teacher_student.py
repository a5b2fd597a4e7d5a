"""A small student trained on a teacher's masks, and the teacher, both scored against manual masks.

    .venv/bin/python benchmarks/teacher_student.py OPENKBP --work DIR [--teacher head-neck] [--patients 20]
        [--validation 33] [--steps 1500] [--shares 0.8 1.0] [--threads 1]

The teacher predicts some training patients, whose own masks nobody opens. For each share of its masks that is trusted a
student is trained on them, a 2.5D network on voxels of 4 mm, and one more on the people's masks of the same patients.
All are scored on the same validation patients against people's masks. The packaged `head-neck` has itself learned from
people's masks of the training patients, so its masks of these are better than they would be of new ones. What is done
already is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from common import PRESET, machine

from tomoseg import EvaluateOptions, PredictOptions, PreprocessConfig, evaluate, predict, preprocess, train_run
from tomoseg.config import GridConfig, NetworkConfig, SamplingConfig, TrainConfig
from tomoseg.models.folder import count_parameters, load_model

GRID = GridConfig(mode="spacing", spacing_mm=4.0, slice_spacing_mm=4.0)
STUDENT = NetworkConfig(channels=(12, 24, 48, 96), slices=5, residual=True)
"""Network of about a sixth of the parameters of the packaged models' networks."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--teacher", default="head-neck")
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--validation", type=int, default=33)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.8, 1.0])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    print(machine())
    work, teacher = given.work, Path(given.teacher)
    scans = linked(given.openkbp / "train", work / "scans", given.patients, "ct.nii.gz")
    labelled = linked(given.openkbp / "train", work / "labelled", given.patients)
    judged = linked(given.openkbp / "validation", work / "judged", given.validation)
    rows = {"teacher, " + given.teacher: score(teacher, judged, work / "by-teacher")}
    print(f"teacher: {rows['teacher, ' + given.teacher]:.4f}", flush=True)
    taught = work / "taught"
    predict(scans, taught, teacher, PredictOptions(triage=True))
    sources = {f"student, {share:.0%} of its masks": (taught, share) for share in given.shares}
    sources["student, people's masks of the same patients"] = (labelled, 1.0)
    for name, (source, share) in sources.items():
        folder = work / name.replace(" ", "-").replace(",", "").replace("'", "").replace("%", "")
        config = PreprocessConfig(grid=GRID, trusted_share=share, validation_share=0.1)
        report = preprocess(source, folder / "preprocessed", config)
        print("\n".join(str(line) for line in report.warnings if "unknown" in str(line)))
        began = time.perf_counter()
        train_run(folder / "preprocessed", folder / "run", settings(given.steps))
        minutes = (time.perf_counter() - began) / 60
        rows[name] = score(folder / "run", judged, folder / "by-student")
        print(f"{name}: {rows[name]:.4f} after {minutes:.1f} minutes", flush=True)
    size = count_parameters(load_model(folder / "run").network)
    print(f"\n{given.patients} patients, {given.steps} steps; a student has {size:,} parameters")
    print(f"\n| | mean Dice, {given.validation} validation patients |\n|---|---|")
    for name, dice in rows.items():
        print(f"| {name} | {dice:.3f} |")


def linked(source: Path, folder: Path, count: int, only: str | None = None) -> Path:
    """Link some cases of a split, or one file of each."""
    for case in sorted(source.iterdir())[:count]:
        (folder / case.name).mkdir(parents=True, exist_ok=True)
        for inner in case.iterdir():
            link = folder / case.name / inner.name
            if only in (None, inner.name) and not link.exists():
                link.symlink_to(inner.resolve())
    return folder


def settings(steps: int) -> TrainConfig:
    """Return the default recipe with a narrow network, validated at the end only."""
    return PRESET.model_copy(
        update={
            "network": STUDENT,
            "steps": steps,
            "sampling": SamplingConfig(slices_per_case=20),
            "validate_every": 100_000,
            "workers": 0,
            "precision": "fp32",
            "export": False,
        }
    )


def score(model: Path, judged: Path, masks: Path) -> float:
    """Return the mean Dice over structures against manual masks, by the usual commands."""
    done = masks / "dice.json"
    if not done.is_file():
        predict(judged, masks, model)
        summary = evaluate(masks, judged, EvaluateOptions(surfaces=False)).summary
        done.write_text(json.dumps(summary.dice), encoding="utf-8")
    return float(json.loads(done.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
