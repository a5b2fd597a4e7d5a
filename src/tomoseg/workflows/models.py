"""`tomoseg models`: what comes with the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tomoseg.errors import ConfigError, unknown_name_message
from tomoseg.models.folder import ModelRecord, load_record
from tomoseg.models.packaged import CARD, packaged_models


@dataclass(frozen=True)
class PackagedModel:
    """A model in the package.

    Attributes:
        name: What `--model` takes.
        record: What it is.
        megabytes: Of all its files.
        card: What is to be known before it is used, as Markdown.
    """

    name: str
    record: ModelRecord
    megabytes: float
    card: str


def models() -> list[PackagedModel]:
    """All models in the package, by name.

    Raises:
        ModelError: If one of them is damaged.
    """
    return [_described(name, folder) for name, folder in packaged_models().items()]


def card_of(name: str) -> str:
    """What is to be known of a model in the package before it is used, as Markdown.

    Raises:
        ConfigError: If there is no such model.
        ModelError: If one of them is damaged.
    """
    cards = {model.name: model.card for model in models()}
    if name not in cards:
        raise ConfigError(unknown_name_message(name, list(cards)))
    return cards[name]


def _described(name: str, folder: Path) -> PackagedModel:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return PackagedModel(name, load_record(folder), size / 1e6, (folder / CARD).read_text(encoding="utf-8"))
