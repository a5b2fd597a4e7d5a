"""Held-out cases of a model, each with the networks that score it.

In a run of folds, a case of a fold is scored by the network that it was held out of, since the mean of all folds has
seen it. Cases of the test split, of a dataset of other patients only, and all cases of other models are scored by the
model itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError, DatasetError, counted
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.segment import open_predictor
from tomoseg.labels import LabelSet
from tomoseg.models.folder import load_model, model_in
from tomoseg.models.folds import Folds, part_of, read_folds
from tomoseg.options import Compute, SplitName
from tomoseg.preprocessed.fits import fitted_in_part, grid_needed
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase


@dataclass(frozen=True)
class HeldOut:
    """Cases that a model was not trained on.

    Attributes:
        model: The model itself; of a run of folds the mean of all.
        split: Name of the split.
        cases: The cases, ordered by name.
        data: Their dataset, with the model's structures; those that it lacks count as not annotated.
        given: The dataset's own structures.
        folds: Network of each fold, from 1; empty if the model itself is used.
        fold_of: The fold of each case, by its name.
    """

    model: Predictor
    split: str
    cases: list[PreprocessedCase]
    data: Preprocessed
    given: LabelSet
    folds: dict[int, Predictor]
    fold_of: dict[str, int]

    def judge(self, case: PreprocessedCase) -> Predictor:
        """Return the predictor that was not trained on a case."""
        return self.folds[self.fold_of[case.name]] if self.folds else self.model

    @property
    def warnings(self) -> tuple[str, ...]:
        """A warning if some cases are scored on other voxels than the rest."""
        number = sum(case.scored_on_grid for case in self.cases)
        if not number:
            return ()
        return (
            f"Of {counted(len(self.cases), 'case')}, {counted(number, 'was', 'were')} for training, without masks on "
            "the scans' own voxels: scored on the network's grid. The masks in the run's out-of-fold folder, "
            "compared with the dataset, are scored on the scans' own voxels",
        )


def held_out(model: Path, dataset: Path, split: str, compute: Compute) -> HeldOut:
    """Open the cases of a split, with predictors that were not trained on them.

    Args:
        model: A model folder or a run folder.
        dataset: A preprocessed dataset with its grid, of its view or axial, and its structures or some of them.
        split: `auto`, which is `out-of-fold` of a run of folds and its dataset, and else `validation`; or the name of a
            split.
        compute: The engine, device and precision that run the networks.

    Raises:
        ConfigError: If the split has no such name, or goes by folds and the model has none.
        DatasetError: If the split is empty, the dataset does not fit the model, or only some of the cases that were
            divided into folds are in it.
        ModelError: If the model cannot be loaded.
    """
    if split not in get_args(SplitName):
        raise ConfigError(f"expected a split of {', '.join(get_args(SplitName))}, got {split!r}; choose one of these")
    predictor = open_predictor(model, compute)
    given = Preprocessed(dataset)
    data = fitted_in_part(predictor.record.labels, _grid_of(predictor, given), given)
    folds = read_folds(model_in(model))
    seen = _shares_cases(folds, data)
    if split == "auto":
        split = "out-of-fold" if seen else "validation"
    if folds is None or split == "test" or not (seen or split == "out-of-fold"):
        if split == "out-of-fold":
            raise ConfigError(
                f"{model}: expected a run of folds for split out-of-fold, got a model without folds; train one "
                "with --folds, or choose another split"
            )
        return HeldOut(predictor, split, data.split(split), data, given.labels, {}, {})
    cases, networks = _by_fold(model, folds, data, split, compute)
    return HeldOut(predictor, split, cases, data, given.labels, networks, folds.cases)


def _shares_cases(folds: Folds | None, data: Preprocessed) -> bool:
    """Return whether any case of the dataset was divided into folds."""
    return folds is not None and not folds.cases.keys().isdisjoint(case.name for case in data.cases)


def _grid_of(predictor: Predictor, given: Preprocessed) -> GridConfig:
    """Return the grid that a dataset must have; axial for a model of several views."""
    of_one_view = len({one.record.grid.view for one in predictor.models}) == 1
    grid = predictor.record.grid
    return grid_needed(grid, given) if of_one_view else grid.model_copy(update={"view": "axial"})


def _by_fold(
    model: Path, folds: Folds, data: Preprocessed, split: str, compute: Compute
) -> tuple[list[PreprocessedCase], dict[int, Predictor]]:
    """Return the cases, and the network of each of their folds.

    Raises:
        DatasetError: If the split is empty, or other cases were dealt.
        ModelError: If a network cannot be loaded.
    """
    dealt = [case for case in data.cases if case.split != "test"]
    if {case.name for case in dealt} != folds.cases.keys():
        raise DatasetError(
            f"{data.folder}: expected the {len(folds.cases)} cases that the folds of {model} were drawn from, "
            "got others; use the dataset that the run was trained on"
        )
    wanted = dealt if split == "out-of-fold" else data.split(split)
    cases = [case.in_split("validation") for case in wanted]
    numbers = sorted({folds.cases[case.name] for case in cases})
    return cases, {number: Predictor(load_model(part_of(model_in(model), number)), compute) for number in numbers}
