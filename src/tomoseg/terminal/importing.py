"""What was imported, in the terminal."""

from __future__ import annotations

from tomoseg.errors import counted
from tomoseg.terminal.console import out
from tomoseg.workflows.import_model import NOT_STATED, Imported


def show_imported(made: Imported) -> None:
    """What it is, whose it is, and how it is used."""
    network, plan = made.training.network, made.training.plan
    kind = network.kind.replace("_", " ")
    edges = " x ".join(f"{edge:.3g}" for edge in plan.spacing_mm)
    out.print(
        f"{made.folder}: {counted(len(made.training.labels), 'structure')}, {kind} of {network.dims} dimensions, "
        f"voxels of {edges} mm, fold {', '.join(made.folds)}"
    )
    if made.left_out:
        out.print(f"left out: fold {', '.join(made.left_out)}: without such a checkpoint, or not numbered (--folds)")
    image = str(made.provenance.get("image", "CT"))
    if "ct" not in image.casefold():
        out.print(f"image: {image}, as dataset.json calls it; scans are read as CT here, in whole HU")
    licence = str(made.provenance["licence"])
    if licence == NOT_STATED:
        out.print("licence: not stated; ask the makers of these weights what they may be used for (--licence keeps it)")
    else:
        out.print(f"licence: {licence.splitlines()[0]}")
    for citation in made.provenance["citations"]:
        out.print(f"cite: {citation}")
    if not made.exported:
        out.print("exports: none, since OpenVINO is not installed; predict needs PyTorch")
    out.print(f"next: tomoseg predict -i CT -o MASKS -m {made.folder}")
