"""`tomoseg models`: the packaged models, and descriptions of models."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tomoseg.errors import ConfigError
from tomoseg.models.calibrated import Calibration, calibration_in
from tomoseg.models.fetched import fetched_models
from tomoseg.models.folder import RECORD, ModelRecord, model_in
from tomoseg.models.packaged import CARD, packaged_models
from tomoseg.models.tuned import Tuning, tuning_of
from tomoseg.models.views import exports_in, record_of
from tomoseg.preprocessed.format import INDEX


@dataclass(frozen=True)
class PackagedModel:
    """A model shipped with the package.

    Attributes:
        name: The name for `--model`.
        record: The model's record.
        megabytes: Size of all its files in MB.
        card: The model card, as Markdown.
    """

    name: str
    record: ModelRecord
    megabytes: float
    card: str


def models() -> list[PackagedModel]:
    """Return all packaged models, ordered by name.

    Raises:
        ModelError: If one of them is damaged.
    """
    return [_described(name, folder) for name, folder in packaged_models().items()]


def fetched() -> dict[str, ModelRecord]:
    """Return the records of the fetched models, by name.

    Raises:
        ModelError: If one of them is damaged.
    """
    return {name: record_of(folder) for name, folder in fetched_models().items()}


@dataclass(frozen=True)
class KnownModel:
    """Description of a model.

    Attributes:
        folder: The model folder.
        record: The model's record.
        exports: Engines and precisions that it is exported for.
        tuning: The model's tuning, if any.
        card: The model card, as Markdown, or None.
        calibration: Temperatures of its probabilities; None if there are none for its present weights.
    """

    folder: Path
    record: ModelRecord
    exports: tuple[str, ...]
    tuning: Tuning
    card: str | None
    calibration: Calibration | None


def described(model: Path) -> KnownModel:
    """Return the description of a model, without reading its weights.

    Args:
        model: A packaged model's name, a model folder, or a run folder for its best model.

    Raises:
        ConfigError: If it is none of these.
        ModelError: If it is damaged, or there is no such packaged model.

    Example:
        >>> described(Path("head-neck")).record.labels.names[:2]
        ('brainstem', 'esophagus')
    """
    folder = model_in(model)
    if not (folder / RECORD).is_file() and (folder / INDEX).is_file():
        raise ConfigError(
            f"{model}: expected a model or a run, got a preprocessed dataset; `tomoseg labels` shows what it holds"
        )
    record, card = record_of(folder), folder / CARD
    text = card.read_text(encoding="utf-8") if card.is_file() else None
    return KnownModel(folder, record, exports_in(folder), tuning_of(folder), text, calibration_in(folder))


def _described(name: str, folder: Path) -> PackagedModel:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return PackagedModel(name, record_of(folder), size / 1e6, (folder / CARD).read_text(encoding="utf-8"))
