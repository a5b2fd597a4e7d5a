"""tomoseg beside nnU-Net 2D: the same patients, the same minutes of training, scored alike by `tomoseg evaluate`.

nnU-Net is its own package in an environment of its own, made once, with torch of the build that this one has:

    python3.11 -m venv build/nnunet-venv
    build/nnunet-venv/bin/pip install torch==2.13.0 nnunetv2==2.8.1

    .venv/bin/python benchmarks/nnunet.py OPENKBP --minutes 75 [--rows "nnU-Net 2D, 30 patients" ...]
    .venv/bin/python benchmarks/nnunet.py OPENKBP --minutes 75 --table      print the tables of benchmarks/notebook.md

OPENKBP is the folder with `train` and `validation`. nnU-Net knows no structure that is unknown in some patients, so it
gets the training patients that have all seven; tomoseg gets the same, and in another row all of them. Minutes are
those of training alone: not of planning and preprocessing, and not of predicting. No row sees the validation patients
before it is scored on them, and each keeps its last weights. What is done is kept in `--work` and what was found in
`docs/comparison.jsonl`; a run that was stopped goes on where it was. Several processes may have some rows each, on
cores of their own (`taskset -c 0`), if each row gets as many.

nnU-Net has its defaults (patch, network, augmentation, losses, optimiser, polynomial decay, mirrored prediction), but
for these: all patients are trained on (fold `all`); epochs have 25 steps and 5 of pseudo-validation instead of 250 and
50, as many as fit into the minutes by a measured step, so that the decay ends with them; its planner plans the batch
for 1 GB instead of 8; nothing is compiled; the validation after training is left out. It wants one label map: where
contours overlap, the structure with fewer voxels in that patient keeps the voxel.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, usable_cores

from tomoseg.config import PREPROCESS_PRESETS, TRAIN_PRESETS
from tomoseg.datasets.cases import Case, mask_loader
from tomoseg.datasets.layouts import find_dataset
from tomoseg.evaluation.statistics import Estimate
from tomoseg.files.nifti import read_geometry, write_nifti
from tomoseg.options import AUTO, EvaluateOptions, PredictOptions
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.settings import load_config
from tomoseg.training.build import build_run
from tomoseg.training.listener import Listener
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.predict import predict
from tomoseg.workflows.preprocess import preprocess
from tomoseg.workflows.train import train_run

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "comparison.jsonl"
RECIPE = ROOT / "recipes" / "head-neck"

NNUNET, SAME, ALL = "nnU-Net 2D, 30 patients", "tomoseg, the same 30", "tomoseg, all 170"
ROWS = (NNUNET, SAME, ALL)

DATASET = "Dataset501_HeadNeck"
TRAINER = "BudgetTrainer"
STEPS, CHECKS = 25, 5
"""Steps of training and of pseudo-validation per epoch; a tenth of the defaults."""

MEMORY_TARGET = 1
"""GB that nnU-Net's planner may count on, instead of 8: 24 slices a step instead of 192, which take a core 70 s."""

TRIAL = {"epochs": 2, "steps": 5, "checks": 1}

TRAINER_CODE = f'''"""Written by benchmarks/nnunet.py: nnU-Net's own trainer with the epochs that budget.json says."""

import json
from pathlib import Path

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class {TRAINER}(nnUNetTrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device):
        super().__init__(plans, configuration, fold, dataset_json, device)
        budget = json.loads((Path(__file__).parent / "budget.json").read_text())
        self.num_epochs, self.save_every = budget["epochs"], 1
        self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = budget["steps"], budget["checks"]

    def perform_actual_validation(self, *args, **kwargs):
        pass
'''


CORES_CODE = '''"""Written by benchmarks/nnunet.py: processors are those that the process may use."""

import os

os.cpu_count = lambda: len(os.sched_getaffinity(0))
'''
"""nnU-Net takes as many threads as the machine has cores, and stands still where it was given fewer."""

STAND_IN_CODE = """
import torch

torchvision_library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    torchvision_library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
"""nnU-Net imports torchvision for networks that are not used here. Beside a torch without CUDA, the torchvision of a
package index may lack the library that its compiled part is linked with; this is what it needs then."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "nnunet")
    parser.add_argument("--venv", type=Path, default=ROOT / "build" / "nnunet-venv")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if given.table:
        print(tables(given.minutes))
        return
    print(machine(), flush=True)
    complete = patients_with_all(given.openkbp / "train")
    print(f"{len(complete)} training patients have all structures", flush=True)
    for row in given.rows:
        if any(entry["row"] == row and entry["minutes"] == given.minutes for entry in found()):
            continue
        folder = given.work / f"{given.minutes:g}_minutes" / folder_name(row)
        if row == NNUNET:
            facts, masks = by_nnunet(NnUnet(given.work, given.venv, folder), given.openkbp, complete, given.minutes)
        else:
            facts, masks = by_tomoseg(folder, given.openkbp, complete if row == SAME else None, given.minutes)
        keep(row, given.minutes, {**facts, **score(masks, given.openkbp / "validation", folder)})
    for entry in found():  # rows that were done before nnU-Net's
        if entry["minutes"] == given.minutes and entry["row"] != NNUNET and entry["less_nnunet"] is None:
            folder = given.work / f"{given.minutes:g}_minutes" / folder_name(entry["row"])
            again = score(folder / "predicted", given.openkbp / "validation", folder)
            keep(entry["row"], given.minutes, {"less_nnunet": again["less_nnunet"]})
    print(tables(given.minutes))


def patients_with_all(folder: Path) -> list[Case]:
    """Return the cases with all structures annotated."""
    dataset = find_dataset(folder)
    return [case for case in dataset.cases if len(case.annotated) == len(dataset.labels)]


class NnUnet:
    """nnU-Net's commands, its folders, and the budget of one run."""

    def __init__(self, work: Path, venv: Path, folder: Path) -> None:
        self.raw, self.preprocessed, self.folder = work / "raw", work / "preprocessed", folder
        self.venv, self.trainer = venv, folder / "trainer"
        if not (venv / "bin" / "nnUNetv2_train").exists():
            raise SystemExit(f"expected nnU-Net in {venv}, got none; make it as `{Path(__file__).name} --help` says")

    @property
    def run_folder(self) -> Path:
        return self.folder / "results" / DATASET / f"{TRAINER}__nnUNetPlans__2d" / "fold_all"

    def call(self, command: str, *arguments: object, log: str) -> None:
        """Run a command of nnU-Net, its output in a file.

        Raises:
            SystemExit: If it fails.
        """
        folders = {
            "nnUNet_raw": self.raw,
            "nnUNet_preprocessed": self.preprocessed,
            "nnUNet_results": self.folder / "results",
        }
        environment = {name: str(path.absolute()) for name, path in folders.items()}
        environment |= {"nnUNet_compile": "f", "nnUNet_extTrainer": str(self.trainer.absolute())}
        environment |= self._stand_in()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / log
        with path.open("a") as stream:
            done = subprocess.run(
                [self.venv / "bin" / command, *map(str, arguments)],
                env={**os.environ, **environment},
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise SystemExit(f"{command} failed; its last words are in {path}")

    def _stand_in(self) -> dict[str, str]:
        """Return environment variables for `CORES_CODE`, and for `STAND_IN_CODE` if torchvision cannot be imported."""
        python, code = self.venv / "bin" / "python", CORES_CODE
        if subprocess.run([python, "-c", "import torchvision"], capture_output=True, check=False).returncode:
            code += STAND_IN_CODE
        folder = self.folder / "stand-in"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "sitecustomize.py").write_text(code, encoding="utf-8")
        return {"PYTHONPATH": str(folder.absolute())}

    def train(self, *arguments: str) -> None:
        self.call("nnUNetv2_train", "501", "2d", "all", "-tr", TRAINER, "-device", "cpu", *arguments, log="train.log")

    def budget(self) -> dict[str, int] | None:
        path = self.trainer / "budget.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None  # type: ignore[no-any-return]

    def set_budget(self, budget: dict[str, int]) -> None:
        self.trainer.mkdir(parents=True, exist_ok=True)
        (self.trainer / "budget_trainer.py").write_text(TRAINER_CODE, encoding="utf-8")
        (self.trainer / "budget.json").write_text(json.dumps(budget), encoding="utf-8")


def by_nnunet(tool: NnUnet, openkbp: Path, complete: list[Case], minutes: float) -> tuple[dict[str, Any], Path]:
    """Train nnU-Net and predict the validation patients; return results of the run, and the folder of label maps."""
    overlaps = write_raw(tool.raw / DATASET, openkbp, complete)
    planned = tool.preprocessed / DATASET / "planned"
    if not planned.exists():
        tool.call(
            "nnUNetv2_plan_and_preprocess",
            "-d",
            501,
            "-c",
            "2d",
            "-np",
            usable_cores(),
            "--verify_dataset_integrity",
            "-gpu_memory_target",
            MEMORY_TARGET,
            log="plan.log",
        )
        planned.touch()
    if tool.budget() == TRIAL or not (tool.run_folder / "checkpoint_final.pth").exists():
        resumed = tool.budget() not in (None, TRIAL) and (tool.run_folder / "checkpoint_latest.pth").exists()
        if not resumed:
            budget = fitting(tool, minutes)
            shutil.rmtree(tool.folder / "results", ignore_errors=True)
            tool.set_budget(budget)
        tool.train(*(["--c"] if resumed else []))
    masks = tool.folder / "predicted"
    began = time.perf_counter()
    tool.call(
        "nnUNetv2_predict", "-i", tool.raw / DATASET / "imagesTs", "-o", masks, "-d", 501, "-c", "2d", "-f", "all",
        "-tr", TRAINER, "-device", "cpu", "-npp", 0, "-nps", 0, "--continue_prediction", log="predict.log",
    )  # fmt: skip
    epochs = read_log(tool.run_folder)
    plans = json.loads((tool.preprocessed / DATASET / "nnUNetPlans.json").read_text(encoding="utf-8"))
    return {
        "patients": len(complete),
        "overlapping_voxels": overlaps,
        "trained_minutes": sum(seconds for _, seconds in epochs) / 60,
        "steps": len(epochs) * STEPS,
        "batch": plans["configurations"]["2d"]["batch_size"],
        "patch": plans["configurations"]["2d"]["patch_size"],
        "curve": [loss for loss, _ in epochs],
        "predict_minutes": (time.perf_counter() - began) / 60,
    }, masks


def fitting(tool: NnUnet, minutes: float) -> dict[str, int]:
    """Return the budget of epochs that fit into the minutes, from the second epoch of a short trial."""
    tool.set_budget(TRIAL)
    tool.train()
    seconds = read_log(tool.run_folder)[-1][1]
    share = (STEPS + CHECKS) / (TRIAL["steps"] + TRIAL["checks"])
    epochs = max(1, round(minutes * 60 / (seconds * share)))
    print(
        f"nnU-Net: {seconds / TRIAL['steps']:.1f} s a step with its checks, so {epochs} epochs of {STEPS}", flush=True
    )
    return {"epochs": epochs, "steps": STEPS, "checks": CHECKS}


def read_log(run_folder: Path) -> list[tuple[float, float]]:
    """Return training loss and seconds of each epoch; of a repeated epoch those of the last time."""
    epochs: dict[int, tuple[float, float]] = {}
    for path in sorted(run_folder.glob("training_log_*.txt")):
        text = path.read_text(encoding="utf-8")
        for number, loss, seconds in re.findall(
            r": Epoch (\d+)\b.*?train_loss (-?[\d.]+).*?Epoch time: ([\d.]+) s", text, re.DOTALL
        ):
            epochs[int(number)] = float(loss), float(seconds)
    return [epochs[number] for number in sorted(epochs)]


def write_raw(folder: Path, openkbp: Path, complete: list[Case]) -> int:
    """Write the patients in nnU-Net's format; return the number of voxels where contours overlap."""
    note = folder / "dataset.json"
    if note.exists():
        return int(json.loads(note.read_text(encoding="utf-8"))["overlapping_voxels"])
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    labels = find_dataset(openkbp / "train").labels
    overlapping = 0
    for case in complete:
        link(folder / "imagesTr" / f"{case.name}_0000.nii.gz", case.ct)
        grid = read_geometry(case.ct)
        load = mask_loader(case, labels, grid)
        masks = [load(channel) for channel in range(len(labels))]
        overlapping += int(np.count_nonzero(np.sum(masks, axis=0) > 1))
        values = np.zeros(masks[0].shape, np.uint8)
        for channel in sorted(range(len(masks)), key=lambda channel: -np.count_nonzero(masks[channel])):
            values[masks[channel]] = channel + 1
        write_nifti(folder / "labelsTr" / f"{case.name}.nii.gz", values, grid)
    for case in find_dataset(openkbp / "validation").cases:
        link(folder / "imagesTs" / f"{case.name}_0000.nii.gz", case.ct)
    content = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **{name: channel + 1 for channel, name in enumerate(labels.names)}},
        "numTraining": len(complete),
        "file_ending": ".nii.gz",
        "overlapping_voxels": overlapping,
    }
    note.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return overlapping


def by_tomoseg(folder: Path, openkbp: Path, only: list[Case] | None, minutes: float) -> tuple[dict[str, Any], Path]:
    """Train tomoseg by the recipe of its packaged model and predict the validation patients.

    Raises:
        SystemExit: If it was stopped.
    """
    cases = find_dataset(openkbp / "train").cases if only is None else only
    for case in cases:
        link(folder / "patients" / case.name, case.ct.parent)
    grid = load_config(PREPROCESS_PRESETS["default"], RECIPE / "preprocess.yaml")
    data = folder / "preprocessed"
    preprocess(folder / "patients", data, grid.model_copy(update={"validation_share": 0.0}))  # type: ignore[arg-type]
    settings = load_config(TRAIN_PRESETS["default"], RECIPE / "train.yaml")
    config = settings.model_copy(update={"minutes": minutes})
    outcome = train_run(
        data,
        folder / "run",
        config,  # type: ignore[arg-type]
        Listener(on_epoch=lambda r: print(f"  epoch {r['epoch']}, {r['minutes']:.1f} minutes", flush=True)),
    )
    if not outcome.finished:
        raise SystemExit("stopped; the same command goes on")
    masks = folder / "predicted"
    began = time.perf_counter()
    predict(openkbp / "validation", masks, [folder / "run"], PredictOptions(ml=True), AUTO)
    run = build_run(Preprocessed(data), config)  # type: ignore[arg-type]
    return {
        "patients": len(cases),
        "trained_minutes": outcome.history[-1]["minutes"],
        "steps": len(outcome.history) * run.budget.steps_per_epoch,
        "batch": run.config.batch_size,
        "patch": list(run.size),
        "curve": [record["train_loss"] for record in outcome.history],
        "predict_minutes": (time.perf_counter() - began) / 60,
    }, masks


def link(path: Path, target: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.symlink_to(target.absolute())


def folder_name(row: str) -> str:
    return re.sub(r"\W+", "_", row)


def score(masks: Path, references: Path, folder: Path) -> dict[str, Any]:
    """Score the label maps, and compare them with those of nnU-Net, if they are not its own.

    Raises:
        SystemExit: If one cannot be scored.
    """
    other = folder.parent / folder_name(NNUNET) / "scores"
    against = other if other.is_dir() and folder.name != folder_name(NNUNET) else None
    found = evaluate(masks, references, EvaluateOptions(against=against), output=folder / "scores")
    if found.failed:
        raise SystemExit(f"not all could be scored: {found.failed}")
    return {
        "n": found.summary.cases,
        "overall": {metric: each(found.summary.overall[metric]) for metric, _, _ in SHOWN},
        "structures": {row.structure: [row.dice, row.n] for row in found.summary.structures},
        "less_nnunet": None if found.comparison is None else asdict(found.comparison.overall["dice"]),
        "machine": machine(),
    }


SHOWN = (("dice", "Dice", 3), ("surface_dice", "surface Dice at 3 mm", 3), ("hd95_mm", "HD95, mm", 1))


def each(estimate: Estimate) -> list[float | None]:
    return [estimate.mean, estimate.low, estimate.high]


def is_flat(curve: list[float]) -> bool:
    """Return whether the last fifth of the epochs made less than 2 % of the loss reduction; False below ten."""
    fifth = len(curve) // 5
    if fifth < 2:
        return False
    before, last = np.mean(curve[-2 * fifth : -fifth]), np.mean(curve[-fifth:])
    return bool(before - last < 0.02 * (curve[0] - last))


def found() -> list[dict[str, Any]]:
    """Return the results so far."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return [json.loads(line) for line in lines]


def keep(row: str, minutes: float, values: dict[str, Any]) -> None:
    """Add results of a row; safe with several processes."""
    with RESULTS.open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = {(entry["row"], entry["minutes"]): entry for entry in found()}
        known[row, minutes] = {"row": row, "minutes": minutes, **known.get((row, minutes), {}), **values}
        RESULTS.write_text("".join(json.dumps(entry) + "\n" for entry in known.values()), encoding="utf-8")


def tables(minutes: float) -> str:
    """Return Markdown tables: each row, each structure, and the paired difference of tomoseg and nnU-Net."""
    entries = {entry["row"]: entry for entry in found() if entry["minutes"] == minutes}
    rows = [row for row in ROWS if row in entries]
    if not rows:
        return f"nothing is known of {minutes:g} minutes"
    lines = [
        "| | patients | minutes | steps | slices a step | slices seen | " + " | ".join(n for _, n, _ in SHOWN) + " | |",
        "|---|---|---|---|---|---|" + "---|" * (len(SHOWN) + 1),
    ]
    for row in rows:
        entry = entries[row]
        cells = [interval(entry["overall"][metric], digits) for metric, _, digits in SHOWN]
        converged = "" if is_flat(entry["curve"]) else "not converged"
        lines.append(
            f"| {row} | {entry['patients']} | {entry['trained_minutes']:.0f} | {entry['steps']} | {entry['batch']} | "
            f"{entry['steps'] * entry['batch']} | {' | '.join(cells)} | {converged} |"
        )
    names = list(entries[rows[0]]["structures"])
    lines += ["", "| Dice (n) | " + " | ".join(rows) + " |", "|---|" + "---|" * len(rows)]
    for name in names:
        values = [entries[row]["structures"][name] for row in rows]
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(f"{dice:.3f} ({n})" for dice, n in values) + " |")
    lines.append("")
    if NNUNET in entries and not is_flat(entries[NNUNET]["curve"]):
        lines.append(f"{NNUNET} has not converged, so nothing is said of its difference to the others.")
    else:
        lines += [difference(entry) for entry in entries.values() if entry["less_nnunet"] is not None]
    return "\n".join(lines)


def interval(values: list[float | None], digits: int) -> str:
    mean, low, high = values
    if mean is None:
        return "-"
    return f"{mean:.{digits}f}" + ("" if low is None else f" ({low:.{digits}f} to {high:.{digits}f})")


def difference(entry: dict[str, Any]) -> str:
    """Return a sentence on the paired difference of a row from nnU-Net."""
    dice = entry["less_nnunet"]
    if None in dice.values():
        return f"{entry['row']}, less {NNUNET}: too few patients differ"
    return (
        f"{entry['row']}, less {NNUNET}: Dice {dice['difference']:+.3f} ({dice['low']:+.3f} to {dice['high']:+.3f}), "
        f"Wilcoxon over patients p = {dice['p']:.2g}, {dice['n']} pairs."
    )


if __name__ == "__main__":
    main()
