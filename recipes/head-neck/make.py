"""Make the packaged model `head-neck` from the OpenKBP patients, all of it or what is not done yet.

    .venv/bin/python recipes/head-neck/make.py OPENKBP [--work build/head-neck]

OPENKBP is the folder with `train` (170 patients) and `validation` (33, which choose the epoch). Preprocessing and
training go on where they were stopped. Then the best epoch's weights are stored in 16 bits, exported to int8 with
its cost measured, scored, and described in `src/tomoseg/data/models/head-neck`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tomoseg.config import PREPROCESS_PRESETS, TRAIN_PRESETS
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.statistics import Estimate
from tomoseg.evaluation.summary import Summary, summarise
from tomoseg.models.folder import Model, count_parameters, load_model, save_model
from tomoseg.models.packaged import CARD
from tomoseg.options import AS_IN_TRAINING, Compute, EvaluateOptions
from tomoseg.preprocessed.read import Preprocessed, range_of
from tomoseg.settings import load_config
from tomoseg.terminal.stopping import stop_on_signal
from tomoseg.terminal.training import watch
from tomoseg.workflows.calibrate import calibrate
from tomoseg.workflows.check import check
from tomoseg.workflows.evaluate import Evaluation, evaluate
from tomoseg.workflows.export import export
from tomoseg.workflows.measure_engines import EngineBenchmark, measure_engines
from tomoseg.workflows.preprocess import preprocess
from tomoseg.workflows.train import train_run

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent.parent / "src" / "tomoseg" / "data" / "models" / "head-neck"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/head-neck"))
    given = parser.parse_args()
    data, run = given.work / "preprocessed", given.work / "run"
    grid = load_config(PREPROCESS_PRESETS["default"], HERE / "preprocess.yaml")
    preprocess(given.openkbp, data, grid)  # type: ignore[arg-type]
    settings = load_config(TRAIN_PRESETS["default"], HERE / "train.yaml")
    with stop_on_signal() as stop, watch(stop) as listener:
        outcome = train_run(data, run, settings, listener)  # type: ignore[arg-type]
    if not outcome.finished:
        raise SystemExit("stopped; the same command goes on")
    made = given.work / "head-neck"
    pack(load_model(run), made, data, given)
    calibrate(made, data, Compute())
    shutil.rmtree(PACKAGE, ignore_errors=True)
    shutil.copytree(made, PACKAGE)
    print(f"{PACKAGE}: {size_mb(PACKAGE):.1f} MB")


def pack(trained: Model, folder: Path, data: Path, given: argparse.Namespace) -> None:
    """Make the packaged folder: weights in 16 bits, int8 with its measured loss, and the card."""
    shutil.rmtree(folder, ignore_errors=True)
    save_model(trained, folder, half=True)
    full, half = (
        evaluate(model, data, compute=AS_IN_TRAINING) for model in (trained.folder, folder) if model is not None
    )
    packed = load_model(folder)
    record = replace(packed.record, trained_on=packed.record.trained_on or range_of(Preprocessed(data).split("train")))
    reached = {
        "validation_dice": half.summary.dice,
        "validation_iou": half.summary.iou,
        "dice": {row.structure: row.dice for row in half.summary.structures},
    }
    save_model(Model(replace(record, scores=reached), packed.network), folder, half=True)
    export(folder, "openvino")  # so that any precision works where PyTorch is not installed
    export(folder, "openvino", "int8", data)
    ways = measure_engines(folder, data)
    shipped = evaluate(
        folder,
        data,
        EvaluateOptions(panels=6),
        output=given.work / "scores",
        compute=Compute(engine="openvino", device="cpu", precision="int8"),
    )
    print(f"Dice in 32 bits {full.summary.dice:.4f}, in 16 {half.summary.dice:.4f}, in int8 {shipped.summary.dice:.4f}")
    odd = {(f.case, f.structure) for f in check(given.openkbp).findings if f.kind in ODD}
    (folder / CARD).write_text(card(load_model(folder), half, shipped.summary, ways, odd), encoding="utf-8")


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


ODD = ("volume", "position", "HU", "scan mirrored under its masks")
"""Findings of `tomoseg check` that mean that a contour or a whole case is wrong."""


def without(scores: Sequence[CaseScore], odd: set[tuple[str, str | None]]) -> list[CaseScore]:
    """Return scores without those of odd contours."""
    return [
        replace(s, structures=tuple(t for t in s.structures if not {(s.case, t.structure), (s.case, None)} & odd))
        for s in scores
    ]


def card(
    model: Model, evaluation: Evaluation, int8: Summary, ways: list[EngineBenchmark], odd: set[tuple[str, str | None]]
) -> str:
    """Return the model card."""
    record, summary = model.record, evaluation.summary
    rows = [
        f"| {row.structure} | {row.n} | {cell(row.metrics['dice'], 3)} | {cell(row.metrics['surface_dice'], 3)} | "
        f"{cell(row.metrics['hd95_mm'], 1)} | {row.outcomes['missed']} | "
        f"{next(i.dice or 0 for i in int8.structures if i.structure == row.structure):.3f} |"
        for row in summary.structures
    ]
    overall = " | ".join(cell(summary.overall[metric], digits) for metric, digits in SHOWN)
    fastest = min(ways, key=lambda way: way.ms_per_slice)
    spacing = record.trained_on.spacing_mm if record.trained_on is not None else ()
    network, believed = record.network, without(evaluation.scores, odd)
    scored, kept = (sum(len(s.structures) for s in scores) for scores in (evaluation.scores, believed))
    return (
        (HERE / "card.md")
        .read_text(encoding="utf-8")
        .format(
            parameters=count_parameters(model.network) / 1e6,
            dims=network.dims,
            sees=f"{network.slices} neighbouring slices"
            if network.dims == 2
            else f"blocks of {' x '.join(map(str, network.tile))} voxels",
            odd=scored - kept,
            without_odd=summarise(believed, record.labels).dice or 0,
            minutes=record.provenance.get("minutes", 0),
            epoch=record.provenance.get("epoch"),
            cases=record.provenance.get("training_cases"),
            rows="\n".join(rows),
            overall=overall,
            n=summary.cases,
            int8=int8.dice or 0,
            half=summary.dice or 0,
            ms=fastest.ms_per_slice,
            engine=f"{fastest.engine} {fastest.precision}",
            spacing=", ".join(f"{low:g} to {high:g}" for low, high in spacing),
        )
    )


SHOWN: tuple[tuple[str, int], ...] = (("dice", 3), ("surface_dice", 3), ("hd95_mm", 1))


def cell(estimate: Estimate, digits: int) -> str:
    if estimate.mean is None:
        return "-"
    interval = "" if estimate.low is None else f" ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"
    return f"{estimate.mean:.{digits}f}{interval}"


if __name__ == "__main__":
    main()
