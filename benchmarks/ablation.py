"""Ablation: one row for each network, loss and strategy, trained alike on the same patients (`ablation_rows.py`).

    .venv/bin/python benchmarks/ablation.py OPENKBP [--rows "2D U-Net" 3D ...]   train what is not done
    .venv/bin/python benchmarks/ablation.py OPENKBP --speed [--rows ...]         then time them, undisturbed
    .venv/bin/python benchmarks/ablation.py OPENKBP --after                      post-processing of one row's model
    .venv/bin/python benchmarks/ablation.py OPENKBP --table                      print the notebook's tables

OPENKBP is the folder with `train` and `validation`. Screening uses `train` alone: 30 of its 170 patients are held out,
the 33 of `validation` never seen. Every row gets the same number of slices; `@time` behind a row's name gives it the
minutes that the plain row takes instead, by the speeds that `--speed` measured. What was found is kept in
`docs/ablation.jsonl`, one line a row, and a run that was stopped goes on where it was. Several processes may have some
rows each; with OMP_NUM_THREADS=1 two of them get more done on two cores than one.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from ablation_rows import DATA, FEW, PHANTOMS, PLAIN, SEEDS, TABLES, Table, settings_of
from common import machine
from torch.utils.flop_counter import FlopCounterMode

from tomoseg.inference.memory import peak_memory_bytes
from tomoseg.inference.predictor import Predictor
from tomoseg.labels import LabelSet
from tomoseg.models.folder import Model, count_parameters
from tomoseg.options import AUTO, Compute, EvaluateOptions, PredictOptions
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.build import build_run
from tomoseg.training.listener import Listener
from tomoseg.training.recipe import epoch_draws, take_step
from tomoseg.training.run import Run
from tomoseg.training.slices import DrawnSlices
from tomoseg.workflows.calibration import network_image
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.phantom import make_dataset
from tomoseg.workflows.predict import predict
from tomoseg.workflows.preprocess import preprocess
from tomoseg.workflows.train import train_run

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "ablation.jsonl"
AT_TIME = "@time"
NAMES = list(dict.fromkeys(row for table in TABLES for row in table.rows))

PROCESSED = "the same, slices not moved"
"""The row whose model is post-processed."""

AFTER: dict[str, PredictOptions] = {
    "no post-processing": PredictOptions(tuned=False),
    "smoothing over 0.5 slices": PredictOptions(tuned=False, smoothing=0.5),
    "smoothing over 1 slice": PredictOptions(tuned=False, smoothing=1.0),
    "largest piece": PredictOptions(tuned=False, postprocess=("largest",)),
    "pieces below 0.5 ml removed": PredictOptions(tuned=False, postprocess=("remove_small:0.5",)),
    "holes filled": PredictOptions(tuned=False, postprocess=("fill_holes",)),
    "opening by 4 mm": PredictOptions(tuned=False, postprocess=("opening:4",)),
    "closing by 4 mm": PredictOptions(tuned=False, postprocess=("closing:4",)),
    "random field": PredictOptions(tuned=False, postprocess=("crf",)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--rows", nargs="+", default=NAMES)
    parser.add_argument("--work", type=Path, default=Path("build/ablation"))
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--after", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if unknown := [row for row in given.rows if row.removesuffix(AT_TIME) not in NAMES]:
        parser.error(f"expected rows of {NAMES}, got {unknown}")
    if given.table:
        print("\n\n".join(text for text in map(table_text, TABLES) if text) + after_text())
    elif given.peak_of:
        print(peak_of(given.peak_of, given.openkbp, given.work))
    elif given.speed:
        print(machine())
        measure_speed(given.rows, given.openkbp, given.work, given.rounds)
    elif given.after:
        measure_after(given.openkbp, given.work)
    else:
        print(machine())
        for row in given.rows:
            if "dice" not in found().get(row, {}):
                train_row(row, given.openkbp, given.work)


def data_of(name: str, openkbp: Path, work: Path) -> Path:
    """The preprocessed dataset of a row, made if it is not there yet."""
    source, folder = openkbp / "train", work / name.replace(" ", "_")
    if DATA[name].source == "whole":
        source = openkbp
    if DATA[name].source == "phantoms":
        source = work / "phantoms_raw"
        make_dataset(source, PHANTOMS)
    if DATA[name].source == "few":
        source = work / "few_raw"
        link_few(Preprocessed(data_of("native", openkbp, work)), openkbp / "train", source)
    preprocess(source, folder, DATA[name].settings())
    return folder


def link_few(whole: Preprocessed, openkbp: Path, folder: Path) -> None:
    """Link a dataset of the first training patients and of all held-out ones."""
    folder.mkdir(parents=True, exist_ok=True)
    train = [case for case in whole.cases if case.split == "train"][:FEW]
    chosen = [*train, *(case for case in whole.cases if case.split == "validation")]
    for case in chosen:
        if not (folder / case.name).exists():
            (folder / case.name).symlink_to((openkbp / case.name).resolve(), target_is_directory=True)
    lines = ["image_id;split", *(f"{case.name};{case.split}" for case in chosen)]
    (folder / "meta.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def budget_of(row: str) -> int | None:
    """Return the training slices of a row: its table's number, or as many as take the plain row's time."""
    name = row.removesuffix(AT_TIME)
    if name == row:
        return None
    speeds, plain = found(), next(iter(next(t for t in TABLES if name in t.rows).rows))
    slices = next(t for t in TABLES if name in t.rows).slices
    return round(slices * speeds[name]["train_slices_s"] / speeds[plain]["train_slices_s"])


def train_row(row: str, openkbp: Path, work: Path) -> None:
    """Train or continue one row, and record its last and best validation.

    Raises:
        SystemExit: If it was stopped.
    """
    config, _, name = settings_of(row.removesuffix(AT_TIME), budget_of(row))
    data, folder = data_of(name, openkbp, work), run_folder(work, row)
    budget = f"{config.minutes:g} minutes" if config.minutes else f"{config.steps} steps"
    print(f"{row}: {budget} of batches of {config.batch_size}", flush=True)
    outcome = train_run(data, folder, config, Listener(on_epoch=lambda r: print(f"  epoch {r['epoch']}", flush=True)))
    if not outcome.finished:
        raise SystemExit("stopped; the same command goes on")
    last = outcome.history[-1]
    run = build_run(Preprocessed(data), config)
    sample = torch.zeros(1, run.record.input_spec.channels, *run.size)
    with FlopCounterMode(display=False) as flops, torch.inference_mode():
        run.state.network.eval().cpu()(sample)
    depth = run.size[2] if len(run.size) == 3 else 1
    keep(
        row,
        {
            "dice": last["validation_dice"],
            "best_dice": outcome.best_dice,
            "groups": group_dice(last["dice"], run.data.labels),
            "structures": last["dice"],
            "train_loss": last["train_loss"],
            "validation_loss": last["validation_loss"],
            "steps": config.steps,
            "epochs": last["epoch"],
            "parameters": count_parameters(run.state.network),
            "gflop": flops.get_total_flops() / depth / 1e9,
        },
    )


def run_folder(work: Path, row: str) -> Path:
    return work / "runs" / row.replace(" ", "_").replace(",", "")


def group_dice(dice: dict[str, float | None], labels: LabelSet) -> dict[str, float]:
    """Return the mean Dice of each group."""
    groups: dict[str, list[float]] = {}
    for structure in labels:
        value = dice.get(structure.name)
        if value is not None:
            groups.setdefault(structure.group, []).append(value)
    return {name: statistics.mean(values) for name, values in groups.items()}


def measure_speed(rows: Sequence[str], openkbp: Path, work: Path, rounds: int, steps: int = 6) -> None:
    """Measure training slices per second, prediction ms per slice, and peak memory of a step, the rows in turns."""
    taken: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
    for _ in range(rounds):
        for row in rows:
            step, use, slices = timed_steps(row, openkbp, work, steps)
            taken[row].append((slices / step, use))
    for row, pairs in taken.items():
        training, use = (statistics.median(values) for values in zip(*pairs, strict=True))
        command = [sys.executable, __file__, str(openkbp), "--work", str(work), "--peak-of", row]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        peak = int(told.stdout.split()[-1])
        keep(row, {"train_slices_s": training, "ms_slice": use, "peak_bytes": peak, "machine": machine()})
        print(f"{row:40} {training:8.1f} slices/s {use:8.2f} ms {peak / 2**30:6.2f} GiB", flush=True)


def timed_steps(row: str, openkbp: Path, work: Path, steps: int) -> tuple[float, float, int]:
    """Return seconds per training step, prediction ms per slice, and slices per step."""
    run, batch = run_with_batch(row, openkbp, work)
    depth = run.size[2] if len(run.size) == 3 else 1
    step = timed(lambda: take_step(run, [batch]), steps)
    case = run.validation[0]
    image = network_image(run.record.input_spec, case, case.slices // 2)
    engine = Predictor(Model(run.record, run.state.network.eval()), Compute(device="cpu")).engines()[0]
    return step, 1000 * timed(lambda: engine.run(image), steps) / depth, len(batch.hu) * depth


def run_with_batch(row: str, openkbp: Path, work: Path) -> tuple[Run, Any]:
    config, _, name = settings_of(row)
    opened = Preprocessed(data_of(name, openkbp, work))
    run = build_run(opened, config)
    read = DrawnSlices(run.cases, len(opened.labels), run.size, run.reach, placed=config.network.position)
    run.shared.train()
    return run, read.collate([read[draw] for draw in epoch_draws(run)[: config.batch_size]])


def peak_of(row: str, openkbp: Path, work: Path) -> int:
    """Return the peak resident bytes of a process that takes three training steps."""
    run, batch = run_with_batch(row, openkbp, work)
    for _ in range(3):
        take_step(run, [batch])
    return peak_memory_bytes()


def measure_after(openkbp: Path, work: Path) -> None:
    """Measure the Dice of the held-out patients after each postprocessing step, by `predict` and `evaluate`."""
    held_out = Preprocessed(data_of("native", openkbp, work)).split("validation")
    scans = work / "held_out.txt"
    lines = [str((openkbp / "train" / case.name / "ct.nii.gz").resolve()) for case in held_out]
    scans.write_text("\n".join(lines) + "\n", encoding="utf-8")
    references = work / "held_out"
    references.mkdir(exist_ok=True)
    for case in held_out:
        if not (references / case.name).exists():
            (references / case.name).symlink_to((openkbp / "train" / case.name).resolve(), target_is_directory=True)
    for name, options in AFTER.items():
        masks = work / "after" / name.replace(" ", "_")
        began = time.perf_counter()
        predict(scans, masks, run_folder(work, PROCESSED), options, AUTO)
        seconds = time.perf_counter() - began
        summary = evaluate(masks, references, EvaluateOptions(surfaces=False)).summary
        structures = {row.structure: row.dice for row in summary.structures}
        keep(name, {"after": PROCESSED, "dice": summary.dice, "structures": structures, "seconds": seconds})
        print(f"{name:30} {summary.dice:.4f}", flush=True)


def timed(work: Callable[[], object], times: int) -> float:
    """Return the median seconds without the first two calls."""
    seconds = []
    for number in range(times + 2):
        began = time.perf_counter()
        work()
        if number > 1:
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def found() -> dict[str, dict[str, Any]]:
    """Return the results of each row so far."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return {entry["row"]: entry for entry in map(json.loads, lines)}


def keep(row: str, values: dict[str, Any]) -> None:
    """Add results of a row; safe with several processes."""
    with RESULTS.open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = found()
        known[row] = {"row": row, **known.get(row, {}), **values}
        RESULTS.write_text("".join(json.dumps(entry) + "\n" for entry in known.values()), encoding="utf-8")


FICKLE = "esophagus"
"""Structure not always found in so few steps, which then dominates the mean."""


def mean_without_fickle(dice: dict[str, float | None]) -> float:
    return statistics.mean(value for name, value in dice.items() if name != FICKLE and value is not None)


LARGEST_COLUMNS = 10
"""Maximum number of structures shown individually; of more, the groups are shown."""


def table_text(table: Table) -> str:
    """Return a table as Markdown; empty without results. The spread is over the plain row's seeds."""
    known = found()
    rows = [row + end for row in table.rows for end in ("", AT_TIME) if "dice" in known.get(row + end, {})]
    if not rows:
        return ""
    of_each = [each_of(known[row]) for row in rows]
    names = list(of_each[0])
    head = [
        "",
        "Dice",
        *([f"without {FICKLE}"] if FICKLE in names else []),
        *(["best"] if table.data == "few" else []),
        *(name.replace("_", " ") for name in names),
    ]
    head += ["M parameters", "GFLOP per slice", "ms per slice", "slices/s in training", "GiB in training"]
    lines = [f"### {table.title}", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row, each in zip(rows, of_each, strict=True):
        entry = known[row]
        cells = [row, f"{entry['dice']:.3f}"]
        cells += [f"{mean_without_fickle(entry['structures']):.3f}"] if FICKLE in names else []
        cells += [f"{entry['best_dice']:.3f}"] if table.data == "few" else []
        cells += ["" if each.get(name) is None else f"{each[name]:.2f}" for name in names]
        cells += [f"{entry['parameters'] / 1e6:.2f}", f"{entry['gflop']:.2f}"]
        cells += [f"{entry[key] / unit:.{digits}f}" if key in entry else "" for key, unit, digits in SPEED_COLUMNS]
        lines.append(f"| {' | '.join(cells)} |")
    if PLAIN in table.rows:
        plain = [known[row] for row in SEEDS if "dice" in known.get(row, {})]
        spread = spread_text([entry["dice"] for entry in plain])
        fickle = spread_text([mean_without_fickle(entry["structures"]) for entry in plain])
        lines += ["", f"{len(plain)} plain rows: {spread}; without {FICKLE} {fickle}."]
    return "\n".join(lines)


def spread_text(values: Sequence[float]) -> str:
    low, high, mean, deviation = min(values), max(values), statistics.mean(values), statistics.stdev(values)
    return f"from {low:.3f} to {high:.3f}, mean {mean:.3f}, standard deviation {deviation:.3f}"


def each_of(entry: dict[str, Any]) -> dict[str, float | None]:
    few = len(entry["structures"]) <= LARGEST_COLUMNS
    return dict(entry["structures"] if few else entry["groups"])


def after_text() -> str:
    """Return the gains of postprocessing as Markdown."""
    known = {row: entry for row, entry in found().items() if "after" in entry}
    if not known:
        return ""
    names = list(next(iter(known.values()))["structures"])
    lines = [f"\n\n### Post-processing of '{PROCESSED}'", ""]
    lines += [f"| | Dice | {' | '.join(n.replace('_', ' ') for n in names)} |", "|---" * (len(names) + 2) + "|"]
    for row, entry in known.items():
        each = " | ".join(f"{entry['structures'][name]:.3f}" for name in names)
        lines.append(f"| {row} | {entry['dice']:.4f} | {each} |")
    return "\n".join(lines)


SPEED_COLUMNS = (("ms_slice", 1, 2), ("train_slices_s", 1, 0), ("peak_bytes", 2**30, 2))


if __name__ == "__main__":
    main()
