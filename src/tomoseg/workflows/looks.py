"""Pictures of a run: chosen structures in a validation case, drawn at each new best validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int16

from tomoseg.config import TrainConfig
from tomoseg.errors import ConfigError, unknown_name_message
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import AS_TRAINED, on_grid
from tomoseg.labels import LabelSet
from tomoseg.masks import structure_mask
from tomoseg.models.folder import load_model
from tomoseg.options import Compute
from tomoseg.pictures.panel import best_slice, draw_panel
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.training.listener import Beginning, Listener
from tomoseg.training.run_folder import BEST
from tomoseg.workflows.watched_run import picture_path


@dataclass(frozen=True)
class _Look:
    """A structure in the slice of a validation case where it is largest."""

    structure: str
    channel: int
    case: PreprocessedCase

    @cached_property
    def number(self) -> int:
        """Index of the slice; the whole reference is read once to find it."""
        return best_slice(structure_mask(self.case.masks(), self.channel))

    @property
    def hu(self) -> Int16[np.ndarray, "x y"]:
        return self.case.ct_slice(self.number)

    @property
    def reference(self) -> Bool[np.ndarray, "x y"]:
        return structure_mask(self.case.masks_slice(self.number), self.channel)


def check_pictures(labels: LabelSet, config: TrainConfig) -> None:
    """Refuse to draw structures that are not trained.

    Raises:
        ConfigError: If a structure is not in the dataset.
    """
    for name in config.pictures:
        if name not in labels.names:
            raise ConfigError(f"pictures: {unknown_name_message(name, labels.names)}")


def pictures_beside(listener: Listener, run: Path, data: Preprocessed, config: TrainConfig) -> Listener:
    """Return a listener that also draws the chosen structures with each model that is kept.

    An epoch's state is saved before its pictures are drawn; those that are missing are drawn when the run is resumed.

    Args:
        listener: Callbacks for progress, and for stopping early.
        run: The run folder.
        data: The preprocessed dataset, with the splits to use.
        config: The settings.

    Raises:
        ConfigError: If a structure is not in the dataset.
    """
    check_pictures(data.labels, config)
    looks = _looks(data.split("validation") if config.pictures else [], data.labels, config.pictures)
    if not looks:
        return listener

    def on_begin(beginning: Beginning) -> None:
        if beginning.history and (missing := _missing(looks, run, beginning.history[-1]["epoch"])):
            _draw(missing, run, config, beginning.history[-1])
        listener.on_begin(beginning)

    def on_epoch(record: dict[str, Any]) -> None:
        _draw(looks, run, config, record)
        listener.on_epoch(record)

    return replace(listener, on_begin=on_begin, on_epoch=on_epoch)


def _looks(cases: Sequence[PreprocessedCase], labels: LabelSet, names: Sequence[str]) -> list[_Look]:
    """Return each structure in the first case that contains it; structures in no case are left out."""
    looks = []
    for name in names:
        channel = labels.channel(name)
        case = next((case for case in cases if case.record.voxels.get(channel)), None)
        if case is not None:
            looks.append(_Look(name, channel, case))
    return looks


def _missing(looks: Sequence[_Look], run: Path, epoch: int) -> list[_Look]:
    return [look for look in looks if not picture_path(run, look.structure, epoch).exists()]


def _draw(looks: Sequence[_Look], run: Path, config: TrainConfig, record: Mapping[str, Any]) -> None:
    """Draw the prediction of the best model, if it is of this epoch."""
    if "validation_loss" not in record:
        return
    model, epoch = load_model(run / BEST), record["epoch"]
    if model.record.provenance.get("epoch") != epoch:
        return
    predictor = Predictor(model, Compute(engine="torch", device=config.device, precision=config.precision))
    choices = predictor.choices(AS_TRAINED)
    for look in looks:
        path = picture_path(run, look.structure, epoch)
        path.parent.mkdir(parents=True, exist_ok=True)
        masks = predictor.grid_slices(on_grid(look.case), [look.number], choices)[look.number]
        spacing_mm = look.case.grid_spacing_mm[:2]
        shown = (look.hu, look.reference, masks[look.channel])
        draw_panel(*shown, look.structure, spacing_mm, path, lang=config.lang)
