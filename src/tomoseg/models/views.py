"""Models of several networks of different views (axial, coronal, sagittal), or of the folds of a run.

    MODEL/
      views.json            the networks' folders, and the weight of each for each structure
      axial/, coronal/, ... one model folder each, of the same structures and, except for the view, the same grid

Weights depend on the scan's height: twenty axial slices are a thin strip in coronal and sagittal images. Without
weights all networks count equally, as the folds of a run do (`folds.py`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from tomoseg.checks.in_distribution import ScanRange
from tomoseg.errors import ModelError
from tomoseg.files.atomic import whole_file
from tomoseg.models.exports import load_exports
from tomoseg.models.folder import (
    PARTS,
    VIEWS,
    Model,
    ModelRecord,
    load_model,
    load_record,
    model_in,
    weights_digest,
)
from tomoseg.models.folder import sha256 as digest_of
from tomoseg.models.packaged import model_folder
from tomoseg.models.parts import is_of_parts, parts_in, record_of_parts

FORMAT_VERSION = 1

LEAST_SHARE = 0.001
"""Shares add up to 1 to within this, since they may be written with few digits."""


@dataclass(frozen=True)
class NetworkWeights:
    """Weights of the networks for scans up to some height.

    Attributes:
        up_to_mm: Greatest height of the scans that they are for; None for all taller ones.
        of: One weight per network for each structure; they add up to 1.
    """

    up_to_mm: float | None
    of: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Fusion:
    """Fusion of several networks: a mean of their logits, weighted by structure.

    Attributes:
        folders: The networks' folders, relative to the model's.
        shares: Weights from the shortest scans to the tallest; empty where all networks count equally.
        left_out: Structures of low accuracy, predicted only when asked for by name.
        provenance: How the weights were chosen.
        name: Name of the model.
        sha256: SHA-256 of the record; None if it was not read from a file.
        folder: The model's folder; None if it was not read from one.

    Example:
        >>> shares = NetworkWeights(100.0, {"liver": (1.0, 0.0)}), NetworkWeights(None, {"liver": (0.5, 0.5)})
        >>> fusion = Fusion(("axial", "coronal"), shares)
        >>> fusion.weights(["liver"], height_mm=80).tolist(), fusion.weights(["liver"], height_mm=300).tolist()
        ([[1.0], [0.0]], [[0.5], [0.5]])
    """

    folders: tuple[str, ...]
    shares: tuple[NetworkWeights, ...]
    left_out: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    sha256: str | None = None
    folder: Path | None = None

    def weights(self, structures: Sequence[str], height_mm: float) -> Float32[np.ndarray, "m c"] | None:
        """Return the weight of each network for each structure in a scan; None where all count equally.

        Args:
            structures: Names of the structures, in channel order.
            height_mm: Extent of the scan in mm along the body's long axis.
        """
        if not self.shares:
            return None
        found = next(s for s in self.shares if s.up_to_mm is None or height_mm <= s.up_to_mm)
        return np.array([found.of[name] for name in structures], np.float32).T


def is_of_views(folder: Path) -> bool:
    """Return True if a folder, or the packaged or fetched model of that name, is a model of several views or folds.

    Raises:
        ModelError: If there is neither such a folder nor such a model.
    """
    return (model_folder(folder) / VIEWS).is_file()


def load_views(folder: Path) -> tuple[tuple[Model, ...], Fusion]:
    """Read the networks of a model and their fusion.

    Args:
        folder: The folder of a model of several networks, or a model's name.

    Raises:
        ModelError: If a file is missing, altered or of another version, or the networks do not belong together.
    """
    folder = model_folder(folder)
    fusion = load_fusion(folder)
    models = tuple(load_model(folder / name) for name in fusion.folders)
    _check_together(folder, fusion, [model.record for model in models])
    return models, fusion


def record_of(folder: Path) -> ModelRecord:
    """Read the record of a model, without its weights; of several networks, their common record.

    Args:
        folder: The model's folder.

    Raises:
        ModelError: If a record is missing or cannot be read.
    """
    if (folder / PARTS).is_file():
        return record_of_parts(folder)
    return _record_of_views(folder) if (folder / VIEWS).is_file() else load_record(folder)


def _record_of_views(folder: Path) -> ModelRecord:
    fusion = load_fusion(folder)
    scores = {name: value for name, value in fusion.provenance.items() if name in {"validation_dice", "dice"}}
    records = [load_record(folder / name) for name in fusion.folders]
    first = records[0] if fusion.shares else record_of_folds(records)
    return replace(first, scores=scores, provenance=_provenance(first, fusion))


def _provenance(first: ModelRecord, fusion: Fusion) -> dict[str, Any]:
    """Return the provenance of several networks; of imported ones also the weights' authors and citation."""
    networks = ", ".join(fusion.folders)
    if first.plan is None:
        return {"networks": networks, "found_only_when_asked_for": ", ".join(fusion.left_out) or "-"}
    of_all = {name: value for name, value in first.provenance.items() if name not in {"fold", "source_sha256"}}
    return of_all | {"networks": networks}


def record_of_folds(records: Sequence[ModelRecord]) -> ModelRecord:
    """Join the records of a run's folds: that of the first, with the range of training scans of all.

    Args:
        records: The record of each fold.
    """
    ranges = [one.trained_on for one in records if one.trained_on is not None]
    return replace(records[0], trained_on=reduce(ScanRange.joined, ranges) if ranges else None)


def networks_in(folder: Path) -> tuple[Path, ...]:
    """Return the folder of each network of a model; the model's own if it has one network.

    Args:
        folder: A model folder, a run folder, or a model's name.

    Raises:
        ModelError: If there is no such model, or its record cannot be read.
    """
    folder = model_in(folder)
    if is_of_parts(folder):
        return tuple(folder / name for name in parts_in(folder))
    return tuple(folder / name for name in load_fusion(folder).folders) if is_of_views(folder) else (folder,)


def digest_in(folder: Path) -> str:
    """Return the recorded SHA-256 of a model's weights; of several networks, each one's and the record's, joined by +.

    Args:
        folder: The model's folder.

    Raises:
        ModelError: If a record is missing or cannot be read.
    """
    if not (folder / VIEWS).is_file():
        return str(weights_digest(folder))
    fusion = load_fusion(folder)
    return "+".join(map(str, (*(weights_digest(folder / name) for name in fusion.folders), fusion.sha256)))


def exports_in(folder: Path) -> tuple[str, ...]:
    """Return the names of a model's exports; with several networks, each as `network: export`.

    Args:
        folder: The model's folder.

    Raises:
        ModelError: If a record cannot be read.
    """
    if (folder / PARTS).is_file():
        names = parts_in(folder)
    elif (folder / VIEWS).is_file():
        names = load_fusion(folder).folders
    else:
        return tuple(load_exports(folder))
    return tuple(f"{name}: {export}" for name in names for export in load_exports(folder / name))


def load_for_view(folder: Path, view: str) -> Model:
    """Read the network of a model that has a view; if none has, the first.

    Args:
        folder: The folder of a model or a run, or a model's name.
        view: `axial`, `coronal` or `sagittal`.

    Raises:
        ModelError: If a file is missing, altered or of another version.
    """
    if not is_of_views(folder):
        return load_model(folder)
    models, _ = load_views(folder)
    return next((model for model in models if model.record.grid.view == view), models[0])


def load_fusion(folder: Path) -> Fusion:
    """Read the fusion of a model's networks.

    Raises:
        ModelError: If the record is missing or cannot be read.
    """
    path = folder / VIEWS
    try:
        fusion = _fusion_of(json.loads(path.read_text(encoding="utf-8")), path)
    except (OSError, ArithmeticError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: expected a record of views, got: {error!r}; copy the model folder again") from None
    heights = [one.up_to_mm for one in fusion.shares]
    below = [height for height in heights[:-1] if height is not None]
    if (heights and heights[-1] is not None) or len(below) < len(heights) - 1 or below != sorted(below):
        raise ModelError(f"{path}: expected shares by rising height, the last for all, got {heights}")
    return fusion


def _fusion_of(data: dict[str, Any], path: Path) -> Fusion:
    """What was read from a record of views.

    Raises:
        ModelError: If it is of another version.
        ValueError: If it names no networks; another error if an entry is missing or of another kind.
    """
    if data["format"] != FORMAT_VERSION:
        raise ModelError(
            f"{path}: expected format {FORMAT_VERSION}, got {data['format']!r}; use a matching version of tomoseg"
        )
    if not data["folders"]:
        raise ValueError("no networks")
    return Fusion(
        tuple(map(str, data["folders"])),
        tuple(map(_shares, data["shares"])),
        tuple(map(str, data["left_out"])),
        dict(data["provenance"]),
        path.parent.absolute().name,
        digest_of(path),
        path.parent,
    )


def _shares(data: dict[str, Any]) -> NetworkWeights:
    """How much each network counts, for scans up to some height.

    Raises:
        ValueError: If shares are below 0 or do not add up to 1.
    """
    up_to_mm = data["up_to_mm"]
    of = {str(name): tuple(map(float, values)) for name, values in data["of"].items()}
    for name, shares in of.items():
        if not all(share >= 0 for share in shares) or not abs(sum(shares) - 1) < LEAST_SHARE:
            raise ValueError(f"shares of {name} that are below 0 or do not add up to 1")
    return NetworkWeights(None if up_to_mm is None else float(up_to_mm), of)


def save_fusion(fusion: Fusion, folder: Path) -> None:
    """Write a fusion into a model folder, beside the networks' folders.

    Raises:
        OutputError: If it cannot be written.
    """
    content = {
        "format": FORMAT_VERSION,
        "folders": fusion.folders,
        "shares": [{"up_to_mm": one.up_to_mm, "of": one.of} for one in fusion.shares],
        "left_out": fusion.left_out,
        "provenance": fusion.provenance,
    }
    with whole_file(folder / VIEWS) as aside:
        aside.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _check_together(folder: Path, fusion: Fusion, records: Sequence[ModelRecord]) -> None:
    names = records[0].labels.names
    for name, record in zip(fusion.folders, records, strict=True):
        if record.labels.names != names:
            raise ModelError(f"{folder / name}: expected the structures of {fusion.folders[0]}, got others")
    for one in fusion.shares:
        wrong = [name for name in names if len(one.of.get(name, ())) != len(records)]
        if wrong:
            raise ModelError(
                f"{folder / VIEWS}: expected {len(records)} shares per structure, got others for {', '.join(wrong[:3])}"
            )
