"""Make the packaged model `body-117` from label maps of real anatomies, all of it or what is not done yet.

    .venv/bin/python recipes/body-117/make.py ANATOMY [--work build/body-117] [--faster 1] [--share 1]

ANATOMY is the folder of the label maps (`s0000_labels_total_v2.nii.gz`, ...). Training takes four rounds. Each makes
new bodies and trains on them, from where the round before ended; the last one on those of the third as well. One
anatomy, and phantoms of other seeds, only choose how much each view counts, what is left out, and the probability that
decides. Everything goes on where it was stopped.

`--share 0.01` tries the whole chain on a hundredth of the bodies and minutes, in some minutes of one core: what comes
out is of no use, says so in its card, and lies in the work folder; the packaged model stays as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from tomoseg.bodies import BodyConfig
from tomoseg.config import TRAIN_PRESETS, GridConfig
from tomoseg.inference.score_cases import ScoredCase
from tomoseg.inference.sinks import ConfidenceSink, collect
from tomoseg.masks import structure_mask
from tomoseg.models.exports import set_trusted
from tomoseg.models.folder import load_model, load_record, save_model
from tomoseg.models.packaged import CARD
from tomoseg.models.tuned import TUNED, Tuned, save_tuned
from tomoseg.models.views import load_fusion
from tomoseg.options import AUTO, Request
from tomoseg.preprocessed.format import CASE_RECORD, CASES, INDEX, DatasetIndex
from tomoseg.settings import load_config
from tomoseg.terminal.fusing import show_fused
from tomoseg.terminal.rows import progress
from tomoseg.terminal.stopping import stop_on_signal
from tomoseg.terminal.training import watch
from tomoseg.workflows.export import export
from tomoseg.workflows.fuse import fuse
from tomoseg.workflows.held_out import held_out
from tomoseg.workflows.made_bodies import BodyPlan, BodySource, preprocess_bodies
from tomoseg.workflows.measure_engines import MEAN_LOSS, measure_engines
from tomoseg.workflows.train import train_run

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent.parent / "src" / "tomoseg" / "data" / "models" / "body-117"

GRID = GridConfig(mode="spacing", spacing_mm=4.0, slice_spacing_mm=4.0, crop="body")
SPACINGS_MM = ((4.0, 4.0, 4.0), (3.0, 3.0, 3.0), (3.0, 3.0, 5.0), (3.5, 3.5, 5.0), (4.0, 4.0, 2.5), (3.0, 3.0, 4.0))
VIEWS = ("axial", "coronal")
BODIES = (
    {"s0327": 75, "s0004": 75, "s0328": 50, "s0001": 40, "s0002": 70, "s0000": 30, "procedural": 90},
    {"s0327": 64, "s0004": 64, "s0328": 36, "s0001": 28, "s0002": 48, "s0000": 20, "procedural": 24},
    {"s0327": 110, "s0004": 110, "s0328": 70, "s0001": 60, "s0002": 100, "s0000": 40, "procedural": 60},
    {"s0327": 55, "s0004": 55, "s0328": 30, "s0001": 22, "s0002": 50, "s0000": 14, "procedural": 25},
)
"""Number of training bodies, by round and anatomy."""

CHOOSING = {"s0006": 14, "procedural": 8}
"""Number of validation bodies, by anatomy."""

MINUTES = (
    {"axial": 36.0, "coronal": 22.0},
    {"axial": 22.5, "coronal": 27.0},
    {"axial": 82.0, "coronal": 32.0},
    {"axial": 40.0},
)
"""Training minutes on one core, by round and view; a view without minutes stays as it is."""

THRESHOLDS = (0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.1)
"""Candidate thresholds for all structures."""
LEAST_VOXELS = 20
"""Minimum voxels of a structure in a body for choosing the threshold."""
LEAST_DICE = 0.5
"""Dice on the validation bodies below which structures are predicted only on request."""


def share(text: str) -> float:
    """Parse a share from the command line.

    Raises:
        ArgumentTypeError: If it does not lie above 0 and up to 1.
    """
    value = float(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share above 0 and up to 1, got {text}")
    return value


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomy", type=Path)
    parser.add_argument("--work", type=Path, help="default build/body-117, or build/body-117-trial with a share")
    parser.add_argument("--faster", type=float, default=1.0, help="divides the minutes of training")
    parser.add_argument("--share", type=share, default=1.0, help="of bodies and minutes, above 0 and up to 1")
    given = parser.parse_args(arguments)
    is_trial = given.share < 1
    work: Path = given.work or Path("build/body-117-trial" if is_trial else "build/body-117")
    runs: dict[str, Path] = {}
    for number, (bodies, minutes) in enumerate(zip(BODIES, MINUTES, strict=True), start=1):
        folder = work / f"round-{number}"
        data = {view: folder / "preprocessed" / view for view in VIEWS}
        made(some(bodies, given.share), some(CHOOSING, given.share), given.anatomy, data, seed=number)
        if number == len(BODIES):
            earlier = work / f"round-{number - 1}" / "preprocessed"
            data = {view: together(earlier / view, data[view], folder / "together" / view) for view in VIEWS}
        for view, time in minutes.items():
            trained(data[view], folder / "run" / view, time * given.share / given.faster, runs.get(view))
            runs[view] = folder / "run" / view
    model = work / "body-117"
    if not model.exists():
        with progress("fuse") as show:
            show_fused(fuse(list(runs.values()), data["axial"], model, least_dice=LEAST_DICE, on_case=show))
    pack(model, data)
    if not (model / TUNED).exists():
        decide(model, data["axial"])
    package = work / "packaged" if is_trial else PACKAGE
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(model, package)
    (package / CARD).write_text(card(model, None if is_trial else REAL), encoding="utf-8")
    print(f"{package}: {sum(path.stat().st_size for path in package.rglob('*') if path.is_file()) / 1e6:.1f} MB")


def some(bodies: dict[str, int], share: float) -> dict[str, int]:
    """Return a share of the bodies of each anatomy, at least one."""
    return {name: max(1, round(count * share)) for name, count in bodies.items()}


def made(bodies: dict[str, int], choosing: dict[str, int], anatomy: Path, data: dict[str, Path], seed: int) -> None:
    """Make a round's bodies, in every view."""

    def path(name: str) -> str:
        return name if name == "procedural" else str(anatomy / f"{name}_labels_total_v2.nii.gz")

    names = dict.fromkeys([*bodies, *choosing])
    sources = tuple(BodySource(path(name), bodies.get(name, 0), choosing.get(name, 0)) for name in names)
    config = load_config(BodyConfig(), HERE / "bodies.yaml")
    with progress(f"bodies of round {seed}") as show:
        preprocess_bodies(BodyPlan(sources, GRID, SPACINGS_MM, seed, config=config), data, on_done=show)


def together(earlier: Path, later: Path, folder: Path) -> Path:
    """Link a dataset of two rounds' bodies, with the validation bodies of the later round."""
    index = DatasetIndex.load(later)
    splits = dict(index.splits)
    for name in (name for name, split in DatasetIndex.load(earlier).splits.items() if split == "train"):
        splits[f"earlier_{name}"] = "train"
    for name in splits:
        source = (earlier if name.startswith("earlier_") else later) / CASES / name.removeprefix("earlier_")
        place = folder / CASES / name
        place.mkdir(parents=True, exist_ok=True)
        for file in source.iterdir():
            if file.name != CASE_RECORD and not (place / file.name).exists():
                (place / file.name).symlink_to(file.resolve())
        record = json.loads((source / CASE_RECORD).read_text(encoding="utf-8"))
        (place / CASE_RECORD).write_text(json.dumps(record | {"name": name, "patient": name}), encoding="utf-8")
    (folder / INDEX).write_text(DatasetIndex(index.labels, index.grid, splits).to_json(), encoding="utf-8")
    return folder


def trained(data: Path, run: Path, minutes: float, start: Path | None) -> None:
    """Train a view's network, starting from the last round.

    Raises:
        SystemExit: If it was stopped.
    """
    settings = load_config(TRAIN_PRESETS["default"], HERE / "train.yaml")
    if start is not None:
        settings = load_config(settings, HERE / "later.yaml")
    settings = settings.model_copy(update={"minutes": minutes, "warm_start": start})
    with stop_on_signal() as stop, watch(stop) as listener:
        outcome = train_run(data, run, settings, listener)
    if not outcome.finished:
        raise SystemExit("stopped; the same command goes on")


def pack(model: Path, data: dict[str, Path]) -> None:
    """Store weights in 16 bits, and each network in int8 beside them.

    It is accepted by its mean loss alone: on a few bodies single ribs and vessels vary by up to a tenth by chance.
    """
    for view in load_fusion(model).folders:
        folder = model / view
        if not (folder / "openvino" / "int8").is_dir():
            save_model(load_model(folder), folder, half=True)
            export(folder, "openvino", "int8", data[view])
            ways = measure_engines(folder, data[view], every=4)
            losses = ways[[way.precision for way in ways].index("int8")].losses(ways[0])
            set_trusted(folder, "openvino/int8", sum(losses.values()) / len(losses) <= MEAN_LOSS)


def decide(model: Path, preprocessed: Path) -> None:
    """Set the threshold of highest mean Dice on the validation bodies for all structures.

    One for all: a network that is not sure of a thin structure has less than a half in most of its voxels, and a few
    bodies of one anatomy do not tell structures apart.
    """
    found = held_out(model, preprocessed, "validation", AUTO)
    choices = found.model.choices(Request(tuned=False, all=True))
    rows = []
    for case in found.cases:
        scored = ScoredCase(case)
        confidence = ConfidenceSink(choices.labels, scored.source)
        collect(found.judge(case).slices(scored.scan, choices), confidence)
        packed = np.stack([scored.masks_slice(k) for k in range(scored.source.canonical_shape[2])], axis=-1)
        for channel, name in enumerate(choices.labels.names):
            reference = structure_mask(packed, channel)
            if np.count_nonzero(reference) >= LEAST_VOXELS:
                rows.append([dice_at(confidence.result.map(name), reference, threshold) for threshold in THRESHOLDS])
    means = np.mean(rows, axis=0)
    best = int(means.argmax())
    print(", ".join(f"at {threshold:g} {mean:.4f}" for threshold, mean in zip(THRESHOLDS, means, strict=True)))
    where = {"dataset": "synthetic bodies", "split": "validation", "cases": len(found.cases)}
    gain = {"dice_before": float(means[0]), "dice_after": float(means[best])}
    thresholds = dict.fromkeys(choices.labels.names, THRESHOLDS[best])
    save_tuned(Tuned(str(found.model.sha256), thresholds=thresholds, chosen_on=where | gain), model)


def dice_at(probability: np.ndarray, reference: np.ndarray, threshold: float) -> float:
    """Return the Dice of a structure at a threshold."""
    mask = probability >= round(255 * threshold)
    return 2 * np.count_nonzero(mask & reference) / (np.count_nonzero(mask) + np.count_nonzero(reference))


REAL = HERE / "real_ct.json"
"""Results of `benchmarks/real_ct.py --json`, measured after the model was made; they only change the card."""


def card(model: Path, measured: Path | None) -> str:
    """Return the model card: results on real CT by structure, and on the validation bodies.

    Args:
        model: The model folder.
        measured: Results on real CT; None for a trial.
    """
    fusion = load_fusion(model)
    names = load_record(model / fusion.folders[0]).labels.names
    real: dict[str, dict[str, float]] = json.loads(measured.read_text(encoding="utf-8")) if measured else {}
    made = fusion.provenance["dice"]
    rows = [f"| structure | {' | '.join(real)} | synthetic bodies |", "|---" * (2 + len(real)) + "|"]
    for name in names:
        found = [f"{real[scan][name]:.2f}" if name in real[scan] else "" for scan in real]
        rows.append(f"| {name} | {' | '.join(found)} | {f'{made[name]:.2f}' if name in made else ''} |")
    groups = [f"| | {' | '.join(real)} |", "|---" * (1 + len(real)) + "|"]
    for group, belongs in GROUPS.items():
        means = []
        for dice in real.values():
            some = [value for name, value in dice.items() if belongs(name)]
            means.append(f"{sum(some) / len(some):.2f} ({len(some)})" if some else "")
        groups.append(f"| {group} | {' | '.join(means)} |")
    pairs = [(made[name], dice) for scores in real.values() for name, dice in scores.items() if name in made]
    return (TRIAL if measured is None else "") + (
        (HERE / "card.md")
        .read_text(encoding="utf-8")
        .format(
            table="\n".join(groups),
            structures="\n".join(rows),
            left_out=", ".join(fusion.left_out) or "Nothing.",
            agreement=f"{spearmanr(*zip(*pairs, strict=True)).statistic:.2f}" if pairs else "not known",
        )
    )


TRIAL = "**A trial of the recipe, of no use: nothing below holds of it but how it was made.**\n\n"

GROUPS: dict[str, Callable[[str], bool]] = {
    "all, mean Dice (structures)": lambda name: True,
    "ribs": lambda name: name.startswith("rib_"),
    "vertebrae": lambda name: name.startswith("vertebrae"),
    "all others": lambda name: not name.startswith(("rib_", "vertebrae")),
}


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("stopped; the same command goes on") from None
