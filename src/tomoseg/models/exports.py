"""Exports of a model to other runtimes, in its folder beside the weights.

MODEL/
  exports.json          one entry per format and precision: files with their SHA-256, how it was made and checked
  openvino/<precision>/model.xml, model.bin
  onnx/<precision>/model.onnx

An export belongs to the weights that it was made from: with others it is ignored.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tomoseg.errors import ModelError
from tomoseg.files.atomic import whole_file, whole_folder
from tomoseg.models.folder import Model, sha256
from tomoseg.models.packaged import check_is_own

EXPORTS = "exports.json"


@dataclass(frozen=True)
class Export:
    """A model's export in one format and precision.

    Attributes:
        format: Engine, such as `openvino`.
        precision: `fp32` or `int8`.
        weights_sha256: SHA-256 of the weights that it was made from.
        files: Paths relative to the model folder, the main one first, each with its SHA-256.
        made: How it was made, and how it was checked.
        trusted: Whether its Dice was measured and found to be close enough to that of fp32; None if not measured.
    """

    format: str
    precision: str
    weights_sha256: str
    files: dict[str, str]
    made: dict[str, Any] = field(default_factory=dict)
    trusted: bool | None = None

    @property
    def name(self) -> str:
        """`format/precision`, unique in the folder."""
        return f"{self.format}/{self.precision}"


def load_exports(folder: Path) -> dict[str, Export]:
    """Read the exports of a model folder, by name; empty if there are none.

    Raises:
        ModelError: If the record of exports cannot be read.
    """
    path = folder / EXPORTS
    if not path.exists():
        return {}
    try:
        entries = [Export(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
        return {entry.name: entry for entry in entries}
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: expected a record of exports, got: {error}; delete it and export again") from None


def find_export(model: Model, kind: str, precision: str) -> Export | None:
    """Return the export of a model's present weights in a format and precision, or None."""
    if model.folder is None:
        return None
    found = load_exports(model.folder).get(f"{kind}/{precision}")
    return found if found is not None and found.weights_sha256 == model.sha256 else None


def export_file(folder: Path, export: Export) -> Path:
    """Check all files of an export against their SHA-256, and return the path of the main one.

    Raises:
        ModelError: If a file is missing or altered.
    """
    for name, digest in export.files.items():
        path = folder / name
        found = sha256(path) if path.is_file() else "none"
        if found != digest:
            raise ModelError(
                f"{path}: expected SHA-256 {digest} as {EXPORTS} says, got {found}; export the model again"
            )
    return folder / next(iter(export.files))


def add_export(
    model: Model, kind: str, precision: str, suffix: str, made: dict[str, Any], write: Callable[[Path], None]
) -> Export:
    """Add an export to a model's folder; one of that format and precision is replaced.

    Args:
        model: A model that was read from a folder.
        kind: The engine.
        precision: `fp32` or `int8`.
        suffix: Suffix of the main file.
        made: How it was made and checked.
        write: Writes the main file at the path that it is given, and others beside it.

    Raises:
        OutputError: If it cannot be written.
        ModelError: If the model was not read from a folder, or is a packaged one.
    """
    if model.folder is None or model.sha256 is None:
        raise ModelError(
            "expected a model that was read from a folder, got one without a folder; save and load it first"
        )
    check_is_own(model.folder)
    place = f"{kind}/{precision}"
    with whole_folder(model.folder / place, replace=True) as aside:
        write(aside / f"model{suffix}")
        files = {f"{place}/{path.name}": sha256(path) for path in sorted(aside.iterdir(), reverse=True)}
        _forget(model.folder, place)  # a command that is killed must not leave other files than are recorded
    export = Export(kind, precision, model.sha256, files, made)
    _save(model.folder, load_exports(model.folder) | {export.name: export})
    return export


def set_trusted(folder: Path, name: str, trusted: bool) -> None:
    """Record whether an export's Dice is close enough to that of fp32."""
    exports = load_exports(folder)
    _save(folder, exports | {name: replace(exports[name], trusted=trusted)})


def _forget(folder: Path, name: str) -> None:
    """Remove the record of an export, if there is one."""
    there = load_exports(folder)
    if there.pop(name, None) is not None:
        _save(folder, there)


def _save(folder: Path, exports: dict[str, Export]) -> None:
    with whole_file(folder / EXPORTS) as aside:
        aside.write_text(json.dumps([asdict(e) for e in exports.values()], indent=1), encoding="utf-8")
