"""Models in the terminal: those of the package, and what is known of one."""

from __future__ import annotations

from collections.abc import Sequence

from tomoseg.checks.familiar import Range
from tomoseg.models.folder import ModelRecord
from tomoseg.terminal.console import out, table
from tomoseg.workflows.models import KnownModel, PackagedModel


def show_models(found: Sequence[PackagedModel]) -> None:
    """All of the package, with their size and score."""
    rows = [(m.name, len(m.record.labels), f"{m.megabytes:.1f}", m.record.scores.get("validation_dice")) for m in found]
    table("Models in the package", ("model", "structures", "MB", "validation Dice"), rows)
    out.print("tomoseg models NAME prints what it was made from, how good it is and where it must not be used.")


def show_model(model: KnownModel) -> None:
    """Its card if it has one; else its structures with their scores, and what it was made from."""
    if model.card is not None:
        out.print(model.card)
        return
    record = model.record
    dice = record.scores.get("dice", {})
    rows = [(one.name, one.id, dice.get(one.name)) for one in record.labels]
    table(f"Model in {model.folder}", ("structure", "id", "validation Dice"), rows)
    for name, value in _facts(record).items():
        out.print(f"{name}: {value}")
    out.print(f"exports: {', '.join(model.exports) or 'none; tomoseg export makes them'}")
    out.print(f"tuned: {'yes, predict uses it unless --no-tuned is given' if model.tuned else 'no'}")


def _facts(record: ModelRecord) -> dict[str, str]:
    mean, grid, made = record.scores.get("validation_dice"), record.grid, record.provenance
    facts = {"mean validation Dice": "none" if mean is None else f"{mean:.4f}"}
    facts["network"] = f"{record.network.kind}, channels {', '.join(map(str, record.network.channels))}"
    facts["grid"] = f"{grid.spacing_mm:g} mm in plane" if grid.mode == "spacing" else f"voxels: {grid.mode}"
    facts["windows in HU"] = ", ".join(f"{low:g} to {high:g}" for low, high in record.windows_hu)
    facts |= {name.replace("_", " "): str(value) for name, value in made.items()}
    if record.trained_on is not None:
        facts["trained on voxels of"] = f"{', '.join(map(_range, record.trained_on.spacing_mm))} mm along x, y and z"
    return facts


def _range(ends: Range) -> str:
    return " to ".join(dict.fromkeys(f"{end:.3g}" for end in ends))
