"""What was imported, in the terminal."""

from __future__ import annotations

from tomoseg.language.words import later, say, say_many, short
from tomoseg.terminal.console import out
from tomoseg.workflows.import_model import NOT_STATED, Imported


def show_imported(made: Imported) -> None:
    """What it is, whose it is, and how it is used."""
    network, plan, structures = made.training.network, made.training.plan, len(made.training.labels)
    words = {
        "structures": say_many(structures, "1 structure", "{count} structures"),
        "kind": network.kind.replace("_", " "),
        "dimensions": network.dims,
        "edges": " x ".join(map(short, plan.spacing_mm)),
        "folds": ", ".join(made.folds),
    }
    text = later("{structures}, {kind} in {dimensions} dimensions, voxels of {edges} mm, fold {folds}")
    out.print(say("{name}: {text}", name=made.folder, text=say(text, **words)))
    if made.left_out:
        text = later("left out: fold {folds}, which has no such checkpoint or no number (name it with --folds)")
        out.print(say(text, folds=", ".join(made.left_out)))
    image = str(made.provenance.get("image", "CT"))
    if "ct" not in image.casefold():
        out.print(say("image: {image} according to dataset.json; scans are read as CT, in whole HU", image=image))
    _show_terms(made)
    if not made.exported:
        out.print(say("exports: none, since OpenVINO is not installed; predict needs PyTorch"))
    out.print(say("next: {command}", command=f"tomoseg predict -i CT -o MASKS -m {made.folder}"))


def _show_terms(made: Imported) -> None:
    """Under which licence the weights may be used, and what to cite."""
    licence = str(made.provenance["licence"])
    if licence == NOT_STATED:
        out.print(say("licence: not stated; ask the authors what the weights may be used for (--licence records it)"))
    else:
        out.print(say("licence: {licence}", licence=licence.splitlines()[0]))
    for citation in made.provenance["citations"]:
        out.print(say("cite: {citation}", citation=citation))
