"""Make the packaged model `head-neck` from the OpenKBP patients, all of it or what is not done yet.

    .venv/bin/python recipes/head-neck/make.py OPENKBP [--work build/head-neck]

OPENKBP is the folder with `train` (170 patients) and `validation` (33, which choose epochs and how much each view
counts). First an axial network learns on the patients' own voxels; a network for each view starts from it, on voxels in
mm, so that scans of any voxels are brought to the same. Preprocessing and training go on where they were stopped. Then
weights are stored in 16 bits, exported to int8 with its cost measured, scored, and described in
`src/tomoseg/data/models/head-neck`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tomoseg.config import PREPROCESS_PRESETS, TRAIN_PRESETS, TrainConfig
from tomoseg.evaluation.scores import CaseScore
from tomoseg.evaluation.statistics import Estimate
from tomoseg.evaluation.summary import Summary, summarise
from tomoseg.models.exports import set_trusted
from tomoseg.models.folder import count_parameters, model_in, save_model
from tomoseg.models.packaged import CARD
from tomoseg.models.views import load_fusion, load_views, save_fusion
from tomoseg.options import AS_IN_TRAINING, Compute, EvaluateOptions
from tomoseg.settings import load_config
from tomoseg.terminal.stopping import stop_on_signal
from tomoseg.terminal.training import watch
from tomoseg.workflows.calibrate import calibrate
from tomoseg.workflows.check import check
from tomoseg.workflows.evaluate import Evaluation, evaluate
from tomoseg.workflows.export import export
from tomoseg.workflows.measure_engines import MEAN_LOSS, measure_engines
from tomoseg.workflows.preprocess import preprocess
from tomoseg.workflows.train import train_run

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent.parent / "src" / "tomoseg" / "data" / "models" / "head-neck"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("openkbp", type=Path)
    parser.add_argument("--work", type=Path, default=Path("build/head-neck"))
    given = parser.parse_args()
    work: Path = given.work
    data, run, made = work / "preprocessed", work / "run", work / "head-neck"
    settings = load_config(TRAIN_PRESETS["default"], HERE / "train.yaml")
    preprocessed(given.openkbp, work / "native" / "preprocessed", "preprocess.yaml")
    trained(work / "native" / "preprocessed", work / "native" / "run", settings)
    preprocessed(given.openkbp, data, "preprocess-mm.yaml")
    start = {"warm_start": work / "native" / "run"}
    trained(data, run, load_config(settings, HERE / "views.yaml").model_copy(update=start))
    pack(run, made, data)
    describe(run, made, data, given)
    calibrate(made, data, Compute())
    shutil.rmtree(PACKAGE, ignore_errors=True)
    shutil.copytree(made, PACKAGE)
    print(f"{PACKAGE}: {size_mb(PACKAGE):.1f} MB")


def preprocessed(openkbp: Path, data: Path, settings: str) -> None:
    preprocess(openkbp, data, load_config(PREPROCESS_PRESETS["default"], HERE / settings))


def trained(data: Path, run: Path, settings: TrainConfig) -> None:
    """Train, or continue training.

    Raises:
        SystemExit: If it was stopped.
    """
    with stop_on_signal() as stop, watch(stop) as listener:
        outcome = train_run(data, run, settings, listener)
    if not outcome.finished:
        raise SystemExit("stopped; the same command goes on")


def pack(run: Path, folder: Path, data: Path) -> None:
    """Make the packaged folder: of each view weights in 16 bits, and int8 with its measured loss."""
    shutil.rmtree(folder, ignore_errors=True)
    models, fusion = load_views(model_in(run))
    for model in models:
        view = folder / model.record.grid.view
        save_model(model, view, half=True)
        export(view, "openvino", "int8", data)
        measure_engines(view, data, ways=[("torch", "fp32"), ("openvino", "int8")])
    save_fusion(replace(fusion, folders=tuple(model.record.grid.view for model in models)), folder)


def describe(run: Path, folder: Path, data: Path, given: argparse.Namespace) -> None:
    """Score the packaged folder on the validation patients, keep the scores in its record, and write its card."""
    full, half = (evaluate(model, data, compute=AS_IN_TRAINING) for model in (run, folder))
    shipped = evaluate(
        folder,
        data,
        EvaluateOptions(panels=6),
        output=given.work / "scores",
        compute=Compute(engine="openvino", device="cpu", precision="int8"),
    )
    fusion = load_fusion(folder)
    reached = {"validation_dice": half.summary.dice, "dice": {s.structure: s.dice for s in half.summary.structures}}
    save_fusion(replace(fusion, provenance=fusion.provenance | reached), folder)
    for view in fusion.folders:  # together; one view may lose a little more
        set_trusted(folder / view, "openvino/int8", (full.summary.dice or 0) - (shipped.summary.dice or 0) <= MEAN_LOSS)
    alone = {view: evaluate(folder / view, data).summary.dice or 0 for view in fusion.folders}
    print(f"Dice in 32 bits {full.summary.dice:.4f}, in 16 {half.summary.dice:.4f}, in int8 {shipped.summary.dice:.4f}")
    print(", ".join(f"{view} alone {dice:.4f}" for view, dice in alone.items()))
    odd = {(f.case, f.structure) for f in check(given.openkbp).findings if f.kind in ODD}
    (folder / CARD).write_text(card(folder, half, shipped.summary, alone, odd), encoding="utf-8")


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
    folder: Path, evaluation: Evaluation, int8: Summary, alone: dict[str, float], odd: set[tuple[str, str | None]]
) -> str:
    """Return the model card.

    Args:
        folder: The packaged folder.
        evaluation: Its scores, computed in 16 bits.
        int8: Its scores in int8.
        alone: Mean Dice of each view's network.
        odd: Contours that are wrong.
    """
    models, summary = load_views(folder)[0], evaluation.summary
    settings = load_config(TRAIN_PRESETS["default"], HERE / "train.yaml")
    record, believed = models[0].record, without(evaluation.scores, odd)
    rows = [
        f"| {row.structure} | {row.n} | {cell(row.metrics['dice'], 3)} | {cell(row.metrics['surface_dice'], 3)} | "
        f"{cell(row.metrics['hd95_mm'], 1)} | {row.metrics['volume_error_percent'].mean or 0:+.0f} "
        f"({median_volume_error(evaluation.scores, row.structure):+.0f}) | "
        f"{row.outcomes['missed']} | "
        f"{next(i.dice or 0 for i in int8.structures if i.structure == row.structure):.3f} |"
        for row in summary.structures
    ]
    overall = " | ".join(cell(summary.overall[metric], digits) for metric, digits in SHOWN)
    spacing = record.trained_on.spacing_mm if record.trained_on is not None else ()
    scored, kept = (sum(len(s.structures) for s in scores) for scores in (evaluation.scores, believed))
    return (
        (HERE / "card.md")
        .read_text(encoding="utf-8")
        .format(
            parameters=count_parameters(models[0].network) / 1e6,
            slices=settings.network.slices,
            grid=" x ".join(f"{edge:g}" for edge in (record.grid.spacing_mm,) * 2 + (record.grid.slice_spacing_mm,)),
            odd=scored - kept,
            without_odd=summarise(believed, record.labels).dice or 0,
            cases=record.provenance.get("training_cases"),
            rows="\n".join(rows),
            overall=overall,
            volume=summary.overall["volume_error_percent"].mean or 0,
            n=summary.cases,
            int8=int8.dice or 0,
            alone=", ".join(f"{view} {dice:.3f}" for view, dice in alone.items()),
            spacing=", ".join(f"{low:g} to {high:g}" for low, high in spacing),
        )
    )


def median_volume_error(scores: Sequence[CaseScore], structure: str) -> float:
    """Return it in percent; the mean of few contours is that of one that is cut short."""
    of = [t.value("volume_error_percent") for s in scores for t in s.structures if t.structure == structure]
    return round(float(np.median([value for value in of if value is not None]))) + 0.0  # no -0


SHOWN: tuple[tuple[str, int], ...] = (("dice", 3), ("surface_dice", 3), ("hd95_mm", 1))


def cell(estimate: Estimate, digits: int) -> str:
    if estimate.mean is None:
        return "-"
    interval = "" if estimate.low is None else f" ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"
    return f"{estimate.mean:.{digits}f}{interval}"


if __name__ == "__main__":
    main()
