"""The models that a server offers, described without their weights, and its output formats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomoseg.errors import ConfigError, counted
from tomoseg.formats import FORMATS
from tomoseg.labels import Structure
from tomoseg.models.folder import ModelRecord
from tomoseg.models.packaged import model_folder
from tomoseg.models.parts import is_of_parts
from tomoseg.models.views import digest_in, networks_in, record_of
from tomoseg.packages import is_installed
from tomoseg.server.records import FormatShape, OfferedModel, StructureShape

TRAINED = "models"
"""Folder of models from trainings, in the server's folder."""


@dataclass(frozen=True)
class Offer:
    """A model that jobs can use.

    Attributes:
        folder: Its folder.
        shape: Its description as sent to clients.
        is_trainable: Whether training can start from it; not true of imported models.
    """

    folder: Path
    shape: OfferedModel
    is_trainable: bool = True


def offers_of(models: Iterable[Path]) -> dict[str, Offer]:
    """Describe models, by name: that of a packaged or fetched model, or of the folder.

    Args:
        models: Names or folders, of which the first is the default.

    Raises:
        ModelError: If a model is missing or damaged.
        ConfigError: If two have the same name.
    """
    offers: dict[str, Offer] = {}
    for given in models:
        folder = model_folder(given).absolute()
        name = folder.name
        if name in offers:
            raise ConfigError(f"expected models of different names, got {name!r} twice; rename a folder")
        record = _record(folder)
        offers[name] = Offer(folder, _described(name, folder, record), record.plan is None and not is_of_parts(folder))
    return offers


def trained_in(folder: Path) -> list[Path]:
    """Return the folders of models from a server's trainings, in order of creation.

    Args:
        folder: The server's folder.
    """
    place = folder / TRAINED
    return sorted(place.iterdir(), key=lambda one: one.stat().st_mtime) if place.is_dir() else []


def _record(folder: Path) -> ModelRecord:
    networks = networks_in(folder)
    return record_of(networks[0].parent if len(networks) > 1 else networks[0])


def _described(name: str, folder: Path, record: ModelRecord) -> OfferedModel:
    networks = networks_in(folder)
    digests = [digest_in(network) for network in networks]
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    shapes = [StructureShape(**of_structure(one)) for one in record.labels]
    return OfferedModel(name=name, sha256=digest, structures=shapes)


def of_structure(structure: Structure) -> dict[str, Any]:
    """Describe a structure as sent to clients.

    Args:
        structure: A structure of a model.
    """
    return {name: getattr(structure, name) for name in ("id", "name", "group", "colour")}


def formats() -> list[FormatShape]:
    """Return the output formats that the installed packages support."""
    return [
        FormatShape(name=name, help=one.help) for name, one in FORMATS.items() if all(map(is_installed, one.packages))
    ]


def in_words(offers: Mapping[str, Offer]) -> str:
    """Describe models in words.

    Args:
        offers: The models by name.
    """
    return ", ".join(f"{name} ({counted(len(one.shape.structures), 'structure')})" for name, one in offers.items())
