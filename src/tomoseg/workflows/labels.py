"""`tomoseg labels`: the structures of a dataset or of a model, or the 117."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tomoseg.checks.holdings import CaseHolding, Holdings, extent_of
from tomoseg.errors import GridError, InputError
from tomoseg.labels import LabelSet
from tomoseg.models.folder import is_model, model_in
from tomoseg.models.tuned import Tuning, tuning_of
from tomoseg.models.views import record_of
from tomoseg.preprocessed.format import INDEX
from tomoseg.preprocessed.holdings import holdings_of
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.workflows.datasets import grid_of, open_dataset


@dataclass(frozen=True)
class Structures:
    """The structures of a dataset or model.

    Attributes:
        labels: Their names, ids, groups and colours.
        holdings: Cases and volumes of each in the dataset; None for a model.
        warnings: Warnings about the dataset.
        left_out: Those of the warnings that are about cases left out.
        tuning: The model's tuning; None for a dataset.
    """

    labels: LabelSet
    holdings: Holdings | None = None
    warnings: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    tuning: Tuning | None = None


def structures_of(place: Path | None, on_case: Callable[[int, int], None] = lambda done, total: None) -> Structures:
    """Return the structures of a dataset, a preprocessed dataset, a model or a run, without reading any voxels.

    Args:
        place: Its folder, or a packaged model's name; the 117 if None.
        on_case: Called with the number of cases done and their total as those of a dataset are read.

    Raises:
        DatasetError: If it is none of these.
        ModelError: If it is a model whose record cannot be read.

    Example:
        >>> structures_of(Path("head-neck")).labels.names[:2]
        ('brainstem', 'esophagus')
    """
    if place is None:
        return Structures(LabelSet.total())
    if (place / INDEX).exists():
        data = Preprocessed(place)
        return Structures(data.labels, holdings_of([case.record for case in data.cases], data.labels))
    if is_model(place):
        folder = model_in(place)
        return Structures(record_of(folder).labels, tuning=tuning_of(folder))
    found = open_dataset(place)
    held, unread = [], []
    for done, case in enumerate(found.cases):
        on_case(done, len(found.cases))
        try:
            grid = grid_of(case)
            held.append(CaseHolding(case.name, case.annotated, {}, grid.spacing_mm, extent_of(grid)))
        except (InputError, GridError) as error:
            held.append(CaseHolding(case.name, case.annotated, {}, None))
            unread.append(f"{case.name}: {error}.")
    left_out = tuple(map(str, found.left_out))
    return Structures(found.labels, Holdings.of(held, found.labels.names), (*found.warnings, *unread), left_out)
