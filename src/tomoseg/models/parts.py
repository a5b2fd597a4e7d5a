"""Models of several networks, each with structures of its own.

    MODEL/
      parts.json            the networks' folders; where two claim a voxel, the later one wins
      organs/, ribs/, ...   one model folder each

In a model of views (`views.py`) every network finds all structures, and their logits are averaged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tomoseg.errors import LabelError, ModelError
from tomoseg.files.atomic import write_whole_text
from tomoseg.labels import LabelSet
from tomoseg.models.folder import PARTS, Model, ModelRecord, load_model, load_record
from tomoseg.models.packaged import model_folder

FORMAT_VERSION = 1

_OF_A_PART = {"imported_from", "source_sha256", "fetched_from", "archive_sha256", "dataset", "description"}
"""Entries of a part's provenance that do not hold for the whole model."""


def is_of_parts(folder: Path) -> bool:
    """Return True if a folder, or the packaged or fetched model of that name, is a model of parts.

    Raises:
        ModelError: If there is neither such a folder nor such a model.
    """
    return (model_folder(folder) / PARTS).is_file()


def parts_in(folder: Path) -> tuple[str, ...]:
    """Read the names of the parts' folders, in their order.

    Args:
        folder: The model's folder.

    Raises:
        ModelError: If the record is missing or cannot be read.
    """
    path = folder / PARTS
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT_VERSION:
            raise ModelError(
                f"{path}: expected format {FORMAT_VERSION}, got {data['format']!r}; use a matching version of tomoseg"
            )
        names = tuple(map(str, data["folders"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: expected a record of parts, got: {error!r}; copy the model folder again") from None
    if not names or any(Path(name).name != name for name in names):
        raise ModelError(f"{path}: expected names of folders beside it, got others; copy the model folder again")
    return names


def save_parts(names: Sequence[str], folder: Path) -> None:
    """Write the record into a model folder, beside the parts' folders.

    Args:
        names: Names of the folders; where two parts claim a voxel, the later one wins.
        folder: The model's folder.

    Raises:
        ModelError: If two parts have a structure of the same name.
        OutputError: If it cannot be written.
    """
    joined_record([load_record(folder / name) for name in names], names, folder)
    write_whole_text(folder / PARTS, json.dumps({"format": FORMAT_VERSION, "folders": list(names)}, indent=1) + "\n")


def load_parts(folder: Path) -> tuple[Model, ...]:
    """Read the networks of a model; their weights are read when they are first used.

    Args:
        folder: The folder of a model of parts, or its name.

    Raises:
        ModelError: If a file is missing, altered or of another version, or the parts do not belong together.
    """
    folder = model_folder(folder)
    models = tuple(load_model(folder / name) for name in parts_in(folder))
    record_of_parts(folder)
    return models


def record_of_parts(folder: Path) -> ModelRecord:
    """Read the record of a model of parts: that of the first, with the structures of all.

    Args:
        folder: The model's folder.

    Raises:
        ModelError: If a record is missing or cannot be read, or two parts have a structure of the same name.
    """
    names = parts_in(folder)
    return joined_record([load_record(folder / name) for name in names], names, folder)


def joined_record(records: Sequence[ModelRecord], names: Sequence[str], folder: Path) -> ModelRecord:
    """Join the records of several parts: the first, with the structures of all.

    Args:
        records: The record of each part.
        names: Names of the parts.
        folder: The model's folder, for messages.

    Raises:
        ModelError: If two parts have a structure of the same name, or one is not an imported model of exclusive ones.
    """
    labels = _joined_labels(records, folder)
    if any(record.plan is None or record.plan.decision != "exclusive" for record in records):
        raise ModelError(f"{folder}: expected imported parts whose structures exclude one another, got others")
    of_all = {name: value for name, value in records[0].provenance.items() if name not in _OF_A_PART}
    return replace(records[0], labels=labels, provenance=of_all | {"networks": ", ".join(names)})


def _joined_labels(records: Sequence[ModelRecord], folder: Path) -> LabelSet:
    """Return the structures of all parts, renumbered if their ids clash.

    Raises:
        ModelError: If two parts have a structure of the same name.
    """
    structures = [one for record in records for one in record.labels]
    if len({one.id for one in structures}) < len(structures):
        structures = [replace(one, id=number) for number, one in enumerate(structures, start=1)]
    try:
        return LabelSet(tuple(structures))
    except LabelError as error:
        raise ModelError(f"{folder}: expected parts with different structures, got: {error}") from None
