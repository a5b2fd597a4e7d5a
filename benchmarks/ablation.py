"""What pays: one row for each network, loss and strategy, trained alike on the same patients.

    .venv/bin/python benchmarks/ablation.py OPENKBP [--rows "2D U-Net" 3D ...]   train what is not done
    .venv/bin/python benchmarks/ablation.py OPENKBP --speed [--rows ...]         then time them, undisturbed
    .venv/bin/python benchmarks/ablation.py OPENKBP --table                      print the table of docs/results.md

OPENKBP is the folder with `train` and `validation`. Screening uses `train` alone: 30 of its 170 patients are held out,
the 33 of `validation` never seen. Every row gets the same number of slices; `@time` behind a row's name gives it the
minutes that the plain row takes instead, by the speeds that `--speed` measured. What was found is kept in
`docs/ablation.jsonl`, one line a row, and a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine
from torch.utils.flop_counter import FlopCounterMode

from tomoseg.config import (
    PREPROCESS_PRESETS,
    TRAIN_PRESETS,
    PreprocessConfig,
    TrainConfig,
    merged,
    validate_config,
)
from tomoseg.inference.predictor import Predictor
from tomoseg.models.folder import Model, count_parameters
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.recipe import epoch_draws, take_step
from tomoseg.training.run import Listener, Run
from tomoseg.training.slices import DrawnSlices
from tomoseg.workflows.export import network_image
from tomoseg.workflows.preprocess import preprocess
from tomoseg.workflows.train import train_run

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "ablation.jsonl"

HELD_OUT = 30 / 170
SLICES = 24_000
"""What every row sees; the plain row's curve is flat by then."""

PLAIN = "2D U-Net"
BASE: dict[str, Any] = {
    "network": {"channels": [12, 24, 48, 96]},
    "batch_size": 16,
    "sampling": {"slices_per_case": 20},
    "validate_every": 1000,
    "workers": 0,
}
"""Over the `default` preset."""

GRID = {"grid": {"mode": "native"}}
"""The patients' own voxels, 4 mm in plane, the body only."""

ROWS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "2D U-Net, seed 1": {"seed": 1},
    "2D U-Net, seed 2": {"seed": 2},
    "2.5D, 3 slices": {"network": {"slices": 3}},
    "2.5D, 5 slices": {"network": {"slices": 5}},
    "2.5D, 7 slices": {"network": {"slices": 7}},
    "3D": {"network": {"dims": 3, "tile": [48, 64, 16]}, "batch_size": 2, "sampling": {"slices_per_case": 2}},
    "2.5D, residual, deep supervision": {
        "network": {"slices": 5, "residual": True},
        "loss": {"deep_supervision": 2},
    },
    "the same, slices not moved": {
        "network": {"slices": 5, "residual": True},
        "loss": {"deep_supervision": 2},
        "augmentation": {"move_probability": 0.0},
    },
    "attention": {"network": {"attention": True}},
    "residual": {"network": {"residual": True}},
    "deep supervision": {"loss": {"deep_supervision": 2}},
    "Swin UNETR": {"network": {"kind": "swin_unetr", "channels": [12, 12]}},
    "loss bce": {"loss": {"kind": "bce"}},
    "loss dice": {"loss": {"kind": "dice"}},
    "loss focal": {"loss": {"kind": "focal"}},
    "loss tversky": {"loss": {"kind": "tversky"}},
    "no emphasis": {"loss": {"emphasis_power": 0.0}},
    "stacked windows": {"windows_hu": [[-1000, 0], [-200, 300], [200, 1500]]},
    "wide window": {"windows_hu": [[-1000, 1500]]},
    "three levels": {"network": {"channels": [12, 24, 48]}},
    "five levels": {"network": {"channels": [12, 24, 48, 96, 192]}},
    "half as wide": {"network": {"channels": [6, 12, 24, 48]}},
    "twice as wide": {"network": {"channels": [24, 48, 96, 192]}},
    "batch 2": {"batch_size": 2},
    "batch 8": {"batch_size": 8},
    "batch 32": {"batch_size": 32},
    "group normalisation": {"network": {"channels": [16, 24, 48, 96], "normalisation": "group"}},
    "adam": {"optimizer": {"kind": "adam", "weight_decay": 1e-5}},
    "sgd": {"optimizer": {"kind": "sgd", "learning_rate": 0.05, "weight_decay": 1e-4}},
    "plateau": {"schedule": {"kind": "plateau"}, "validate_every": 1},
    "running mean of weights": {"ema_decay": 0.995},
    "uniform sampling": {"sampling": {"structure_share": 0.0}},
    "rare sampling": {"sampling": {"rare_power": 0.5}},
    "curriculum": {"curriculum": {"enabled": True}},
    "adversarial fgsm": {"adversarial": {"kind": "fgsm"}},
    "adversarial vat": {"adversarial": {"kind": "vat"}},
    "discriminator": {"adversarial": {"kind": "discriminator"}},
    "elastic": {"augmentation": {"elastic_pixels": 1.0}},
    "gamma": {"augmentation": {"gamma": 0.3}},
    "blur": {"augmentation": {"blur_pixels": 1.0}},
    "low resolution": {"augmentation": {"low_resolution": 0.5}},
    "cut field of view": {"augmentation": {"cut": 0.3}},
    "a third of slices moved": {"augmentation": {"move_probability": 0.33}},
    "no spatial augmentation": {"augmentation": {"rotation_degrees": 0, "scale": 0, "shift": 0}},
    "no HU augmentation": {"augmentation": {"hu_scale": 0, "hu_shift": 0, "noise_hu": 0}},
    "no augmentation": {"augmentation": {"enabled": False}},
}
"""Settings of each row over `BASE`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--rows", nargs="+", default=list(ROWS))
    parser.add_argument("--work", type=Path, default=Path("build/ablation"))
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    if unknown := [row for row in given.rows if row.removesuffix("@time") not in ROWS]:
        parser.error(f"expected rows of {list(ROWS)}, got {unknown}")
    if given.table:
        print(table())
        return
    data = given.work / "screening"
    settings = validate_config(PreprocessConfig, merged(PREPROCESS_PRESETS["default"].model_dump(), GRID), "GRID")
    preprocess(given.openkbp / "train", data, settings.model_copy(update={"validation_share": HELD_OUT}))
    print(machine())
    if given.speed:
        measure_speed(data, given.rows, given.rounds)
        return
    for row in given.rows:
        if "dice" not in found().get(row, {}):
            train_row(data, given.work / "runs" / row.replace(" ", "_").replace(",", ""), row)


def settings_of(row: str) -> TrainConfig:
    """The row's settings, with a budget of `SLICES`, or of the plain row's time."""
    name = row.removesuffix("@time")
    values = merged(merged(TRAIN_PRESETS["default"].model_dump(), BASE), ROWS[name])
    config = validate_config(TrainConfig, values, row)
    depth = config.network.tile[2] if config.network.dims == 3 else 1
    slices = SLICES
    if row != name:
        speeds = found()
        slices = round(SLICES * speeds[name]["train_slices_s"] / speeds[PLAIN]["train_slices_s"])
    return config.model_copy(update={"steps": max(1, slices // (config.batch_size * depth))})


def train_row(data: Path, folder: Path, row: str) -> None:
    """Train one row, or go on with it, and write down its last validation.

    Raises:
        SystemExit: If it was stopped.
    """
    config = settings_of(row)
    print(f"{row}: {config.steps} steps of {config.batch_size}", flush=True)
    outcome = train_run(data, folder, config, Listener(on_epoch=lambda r: print(f"  epoch {r['epoch']}", flush=True)))
    if not outcome.finished:
        raise SystemExit("stopped; the same command goes on")
    last = outcome.history[-1]
    run = Run(Preprocessed(data), config)
    sample = torch.zeros(1, run.record.reads.channels, *run.size)
    with FlopCounterMode(display=False) as flops, torch.inference_mode():
        run.network.eval().cpu()(sample)
    depth = run.size[2] if len(run.size) == 3 else 1
    keep(
        row,
        {
            "dice": last["validation_dice"],
            "structures": last["dice"],
            "train_loss": last["train_loss"],
            "validation_loss": last["validation_loss"],
            "steps": config.steps,
            "parameters": count_parameters(run.network),
            "gflop": flops.get_total_flops() / depth / 1e9,
        },
    )


def measure_speed(data: Path, rows: list[str], rounds: int, steps: int = 6) -> None:
    """Slices a second in training and milliseconds a slice in use, the rows in turns."""
    opened = Preprocessed(data)
    taken: dict[str, list[tuple[float, float]]] = {row: [] for row in rows}
    for _ in range(rounds):
        for row in rows:
            run = Run(opened, settings_of(row))
            read = DrawnSlices(run.cases, len(opened.labels), run.size, run.reach)
            batch = read.collate([read[draw] for draw in epoch_draws(run)[: run.config.batch_size]])
            depth = run.size[2] if len(run.size) == 3 else 1
            run.shared.train()
            step = timed(lambda r=run, b=batch: take_step(r, [b]), steps)  # type: ignore[misc]
            case = run.validation[0]
            image = network_image(run.record.reads, case, case.slices // 2)
            engine = Predictor(Model(run.record, run.network.eval()), device="cpu").engine
            use = timed(lambda e=engine, i=image: e.run(i), steps)  # type: ignore[misc]
            taken[row].append((len(batch.hu) * depth / step, 1000 * use / depth))
    for row, pairs in taken.items():
        training, use = (statistics.median(values) for values in zip(*pairs, strict=True))
        keep(row, {"train_slices_s": training, "ms_slice": use, "machine": machine()})
        print(f"{row:28} {training:8.1f} slices/s {use:8.2f} ms")


def timed(work: Any, times: int) -> float:
    """Median seconds, the first two calls left out."""
    seconds = []
    for number in range(times + 2):
        began = time.perf_counter()
        work()
        if number > 1:
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def found() -> dict[str, dict[str, Any]]:
    """What is known of each row."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return {entry["row"]: entry for entry in map(json.loads, lines)}


def keep(row: str, values: dict[str, Any]) -> None:
    """Add to what is known of a row; two processes may share the rows among them."""
    with RESULTS.open("a+", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = found()
        known[row] = {"row": row, **known.get(row, {}), **values}
        RESULTS.write_text("".join(json.dumps(entry) + "\n" for entry in known.values()), encoding="utf-8")


def table() -> str:
    """Markdown, in the order of `ROWS`; the spread is that of the plain row's seeds."""
    known = found()
    seeds = [known[row]["dice"] for row in list(ROWS)[:3] if "dice" in known.get(row, {})]
    names = list(next(entry["structures"] for entry in known.values() if "structures" in entry))
    lines = [
        f"Plain rows: mean {np.mean(seeds):.3f}, from {min(seeds):.3f} to {max(seeds):.3f} ({len(seeds)} seeds).",
        "",
        "| | Dice | " + " | ".join(name.replace("_", " ") for name in names) + " | M parameters | GFLOP a slice "
        "| ms a slice | slices/s in training |",
        "|---|---|" + "---|" * (len(names) + 4),
    ]
    for row in [r + end for r in ROWS for end in ("", "@time")]:
        entry = known.get(row, {})
        if "dice" not in entry:
            continue
        each = " | ".join("" if entry["structures"][n] is None else f"{entry['structures'][n]:.2f}" for n in names)
        speed = [f"{entry[key]:.{digits}f}" if key in entry else "" for key, digits in SPEED_COLUMNS]
        lines.append(
            f"| {row} | {entry['dice']:.3f} | {each} | {entry['parameters'] / 1e6:.2f} | {entry['gflop']:.2f} | "
            + " | ".join(speed)
            + " |"
        )
    return "\n".join(lines)


SPEED_COLUMNS = (("ms_slice", 2), ("train_slices_s", 0))


if __name__ == "__main__":
    main()
