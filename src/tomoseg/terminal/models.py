"""Models in the terminal: those of the package, and what is known of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tomoseg.checks.in_distribution import Range
from tomoseg.errors import counted
from tomoseg.language.words import later, pointed, say, say_many
from tomoseg.models.calibrated import Calibration
from tomoseg.models.folder import ModelRecord
from tomoseg.models.tuned import Tuned, Tuning
from tomoseg.network_kinds import NetworkConfig
from tomoseg.nnunet import NnunetPlan
from tomoseg.terminal.console import out, table
from tomoseg.workflows.models import KnownModel, PackagedModel


def show_models(found: Sequence[PackagedModel], fetched: Mapping[str, ModelRecord]) -> None:
    """All of the package, with their size and score, and what was fetched."""
    rows = [
        (m.name, len(m.record.labels), pointed(f"{m.megabytes:.1f}"), m.record.scores.get("validation_dice"))
        for m in found
    ]
    columns = (say("model"), say("structures"), say("MB"), say("validation Dice"))
    table(say("Models in the package"), columns, rows)
    if fetched:
        rows_fetched = [(name, len(record.labels)) for name, record in fetched.items()]
        table(say("Fetched models"), (say("model"), say("structures")), rows_fetched)
    out.print(say("tomoseg fetch lists others that can be had."))
    out.print(say("tomoseg models NAME prints what it was made from, how good it is and where it must not be used."))


def show_model(model: KnownModel) -> None:
    """Its card if it has one, else its structures with their scores, and what it was made from; exports and tuning."""
    if model.card is None:
        _show_record(model)
    else:
        out.print(model.card)
    exports = ", ".join(model.exports) or say("none; tomoseg export makes them")
    out.print(say("exports: {exports}", exports=exports))
    show_tuning(model.tuning)
    show_calibration(model.calibration)


def _show_record(model: KnownModel) -> None:
    record = model.record
    dice = record.scores.get("dice", {})
    rows = [(one.name, one.id, dice.get(one.name)) for one in record.labels]
    title = say("Model in {folder}", folder=model.folder)
    table(title, (say("structure"), say("id"), say("validation Dice")), rows)
    for name, value in _facts(record).items():
        out.print(f"{name}: {value}")


def _facts(record: ModelRecord) -> dict[str, str]:
    mean, grid, made = record.scores.get("validation_dice"), record.grid, record.provenance
    facts = {"mean validation Dice": "none" if mean is None else f"{mean:.4f}"}
    facts["network"] = f"{record.network.kind}, channels {', '.join(map(str, record.network.channels))}"
    if isinstance(record.network, NetworkConfig) and record.network.position:
        facts["network"] += ", told how far each slice lies from the body's middle"
    if record.plan is None:
        facts["grid"] = f"{grid.spacing_mm:g} mm in plane" if grid.mode == "spacing" else f"voxels: {grid.mode}"
        facts["windows in HU"] = ", ".join(f"{low:g} to {high:g}" for low, high in record.windows_hu)
    else:
        facts |= _facts_of_plan(record.plan)
    facts |= {name.replace("_", " "): _in_words(value) for name, value in made.items()}
    if record.trained_on is not None:
        facts["trained on voxels of"] = f"{', '.join(map(_range, record.trained_on.spacing_mm))} mm along x, y and z"
    return facts


def _facts_of_plan(plan: NnunetPlan) -> dict[str, str]:
    """How an imported network is given a scan; its axes are those of arrays (z, y, x)."""
    edges = " x ".join(f"{edge:.4g}" for edge in plan.spacing_mm)
    patch = " x ".join(map(str, plan.patch))
    decided = {"exclusive": "the most probable at each voxel, or none", "regions": "each for itself; they may overlap"}
    axes = {"file": "as the scan's file has it", "ras": "every scan is turned to RAS"}
    return {
        "grid": f"{edges} mm, patches of {patch} voxels",
        "orientation": axes[plan.axes],
        "structures": decided[plan.decision],
    }


def _in_words(value: Any) -> str:
    """What is known of where a model comes from, in a line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {of}" for name, of in value.items())
    lines = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(lines.split())


def _range(ends: Range) -> str:
    return " to ".join(dict.fromkeys(f"{end:.3g}" for end in ends))


_NAMED = 8
"""More structures that are decided alike are counted."""


def show_tuning(tuning: Tuning) -> None:
    """Whether a model is tuned, on what, and what that does."""
    tuned = tuning.found
    if tuned is None:
        out.print(say("tuned: no; predict decides every structure at {threshold}", threshold=pointed("0.5")))
    elif not tuning.is_current:
        text = later("tuned: no; what is there{cases} was found for other weights and is not used: tune it anew")
        out.print(say(text, cases=_chosen_on(tuned)))
    else:
        words = {"cases": _chosen_on(tuned) or say(" yes"), "gain": _gain(tuned)}
        out.print(say("tuned:{cases}{gain}; predict uses it unless --no-tuned is given", **words))
        for line in _what_it_does(tuned):
            out.print(f"  {line}")


def _chosen_on(tuned: Tuned) -> str:
    """Cases and split, as far as they were written down."""
    where = tuned.chosen_on
    cases = "" if tuned.cases is None else say_many(tuned.cases, " on 1 case", " on {count} cases")
    if not {"split", "dataset"} <= where.keys():
        return cases
    return cases + say(", split {split} of {dataset}", split=where["split"], dataset=where["dataset"])


def _gain(tuned: Tuned) -> str:
    where = tuned.chosen_on
    if not {"dice_before", "dice_after"} <= where.keys():
        return ""
    means = {name: pointed(f"{where[f'dice_{name}']:.4f}") for name in ("before", "after")}
    return say(" (mean Dice on those cases {before} before, {after} after)", **means)


def _what_it_does(tuned: Tuned) -> Iterator[str]:
    yield say("smoothing over slices: {amount}", amount=pointed(f"{tuned.smoothing:g}"))
    changed = sorted(tuned.thresholds.keys() | tuned.steps.keys())
    alike: dict[str, list[str]] = {}
    for name in changed:
        steps = ", ".join(tuned.steps.get(name, [])) or say("none")
        threshold = pointed(f"{tuned.thresholds.get(name, 0.5):g}")
        what = say("threshold {threshold}, steps {steps}", threshold=threshold, steps=steps)
        alike.setdefault(what, []).append(name)
    for what, names in alike.items():
        whose = ", ".join(names) if len(names) <= _NAMED else say_many(len(names), "1 structure", "{count} structures")
        yield say("{name}: {text}", name=whose, text=what)
    if not (tuned.smoothing or changed):
        yield say("nothing helped: every structure is decided as without tuning")


def show_calibration(calibration: Calibration | None) -> None:
    """Whether a model's probabilities have temperatures, and what these were fitted on."""
    if calibration is None:
        out.print(say("calibrated: no; --confidence shows what the network says, which is mostly too sure"))
        return
    where = calibration.fitted_on
    cases = f" on {counted(where['cases'], 'case')}" if "cases" in where else ""
    together = where.get("together", {})
    few = f"; together for {', '.join(together)}, which too few patients show" if together else ""
    out.print(f"calibrated:{cases or ' yes'}{few}; --confidence and the expected Dice of --triage use it")
