"""Models in the terminal: those of the package, and what is known of one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tomoseg.checks.in_distribution import Range
from tomoseg.language.words import all_later, later, number, pointed, say, say_many, short
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
    out.print(say("`tomoseg fetch` lists models that can be downloaded."))
    out.print(
        say("`tomoseg models NAME` says what a model was made from, how good it is and where it must not be used.")
    )


def show_model(model: KnownModel) -> None:
    """Its card if it has one, else its structures with their scores, and what it was made from; exports and tuning."""
    if model.card is None:
        _show_record(model)
    else:
        out.print(model.card)
    exports = ", ".join(model.exports) or say("none; `tomoseg export` makes them")
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
        out.print(say("{name}: {text}", name=name, text=value))


def _facts(record: ModelRecord) -> dict[str, str]:
    mean, grid, made = record.scores.get("validation_dice"), record.grid, record.provenance
    facts = {say("mean validation Dice"): say("not known") if mean is None else number(mean, 4)}
    facts[say("network")] = _network(record)
    if record.plan is None:
        edge = say("{edge} mm in plane", edge=pointed(f"{grid.spacing_mm:g}"))
        facts[say("grid")] = edge if grid.mode == "spacing" else say("voxels: {mode}", mode=grid.mode)
        ends = (say("{low} to {high}", low=f"{low:g}", high=f"{high:g}") for low, high in record.windows_hu)
        facts[say("windows in HU")] = ", ".join(ends)
    else:
        facts |= _facts_of_plan(record.plan)
    facts |= {_called(name.replace("_", " ")): _in_words(value) for name, value in made.items()}
    if record.trained_on is not None:
        edges = ", ".join(map(_range, record.trained_on.spacing_mm))
        facts[say("trained on voxels of")] = say("{edges} mm along x, y and z", edges=edges)
    return facts


def _network(record: ModelRecord) -> str:
    channels = ", ".join(map(str, record.network.channels))
    words = say("{kind}, channels {channels}", kind=record.network.kind, channels=channels)
    if isinstance(record.network, NetworkConfig) and record.network.position:
        words += say(", given the distance of each slice from the middle of the body")
    return words


def _facts_of_plan(plan: NnunetPlan) -> dict[str, str]:
    """How an imported network is given a scan; its axes are those of arrays (z, y, x)."""
    edges = " x ".join(pointed(f"{edge:.4g}") for edge in plan.spacing_mm)
    patch = " x ".join(map(str, plan.patch))
    decided = {
        "exclusive": later("each voxel has the most probable one, or none"),
        "regions": later("each is decided by itself; they may overlap"),
    }
    axes = {"file": later("as in the scan's file"), "ras": later("every scan is reoriented to RAS")}
    return {
        say("grid"): say("{edges} mm, patches of {patch} voxels", edges=edges, patch=patch),
        say("orientation"): say(axes[plan.axes]),
        say("structures"): say(decided[plan.decision]),
    }


def _called(name: str) -> str:
    return say(name) if name in _PROVENANCE else name


def _in_words(value: Any) -> str:
    """What is known of where a model comes from, in a line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {of}" for name, of in value.items())
    if isinstance(value, float):
        return pointed(str(value))
    lines = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    return " ".join(lines.split())


def _range(ends: Range) -> str:
    low, high = map(short, ends)
    return low if low == high else say("{low} to {high}", low=low, high=high)


_PROVENANCE = all_later(
    *("training cases", "epoch", "minutes", "seed", "licence", "citations", "description", "dataset", "image"),
    *("imported by", "imported from", "configuration", "trainer", "plans", "fold", "folds", "networks"),
    *("source sha256", "archive sha256", "found only when asked for"),
)
"""What is known of where models come from."""

_NAMED = 8
"""More structures that are decided alike are counted."""


def show_tuning(tuning: Tuning) -> None:
    """Whether a model is tuned, on what, and what that does."""
    tuned = tuning.found
    if tuned is None:
        out.print(
            say("tuned: no; predict uses a threshold of {threshold} for every structure", threshold=pointed("0.5"))
        )
    elif not tuning.is_current:
        text = later("tuned: no; its tuning{cases} belongs to other weights and is not used; tune the model again")
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
        out.print(say("calibrated: no; --confidence shows the network's own probabilities, which are usually too high"))
        return
    where = calibration.fitted_on
    cases = say_many(where["cases"], " on 1 case", " on {count} cases") if "cases" in where else say(" yes")
    few = ", ".join(where.get("together", {}))
    together = say("; with one temperature for {structures}, of which there are too few patients", structures=few)
    uses = say("; --confidence and the expected Dice of --triage use it")
    out.print(say("calibrated:{cases}{more}", cases=cases, more=(together if few else "") + uses))
