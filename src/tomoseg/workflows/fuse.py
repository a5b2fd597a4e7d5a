"""`tomoseg fuse`: one model from several that segment in different views.

Each structure's mixture of networks is chosen on held-out cases among a few candidates, by the Dice pooled over all
voxels, so that false masks cost as much as missed ones. Short scans have mixtures of their own, since they are a thin
strip in coronal view: these are chosen on short cases, and on a stack of slices of each tall one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from tomoseg.errors import ConfigError, DatasetError, OutputError
from tomoseg.files.atomic import whole_folder
from tomoseg.files.outputs import begin_folder
from tomoseg.grid import Placement
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import GridLogits, GridMasks, Predictor
from tomoseg.inference.score_cases import AS_TRAINED
from tomoseg.labels import LabelSet
from tomoseg.masks import unpack
from tomoseg.models.folder import Model, load_model, model_in
from tomoseg.models.views import Fusion, NetworkWeights, save_fusion
from tomoseg.options import AUTO, Compute
from tomoseg.preprocessed.fits import fitted
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase
from tomoseg.volume import SourceGrid

SHORT_MM = 120.0
"""Height in mm up to which a scan counts as short."""

STACK_MM = 80.0
"""Height in mm of the stack taken from tall scans to choose for short ones."""

STEPS = 4
"""Weights are multiples of one quarter."""

LEAST_GAIN = 0.01
"""Minimum gain in Dice of a structure's own mixture over the best mixture for all; else it takes that."""

LEAST_VOXELS = 200
"""Minimum voxels of a structure in the choosing cases; with fewer it takes the best mixture for all."""


@dataclass(frozen=True)
class Fused:
    """The chosen fusion and its scores.

    Attributes:
        fusion: Weights of the networks, and structures left out.
        dice: Dice by structure, pooled over all choosing cases; NaN if they do not show it.
        alone: Dice of each network alone, likewise.
    """

    fusion: Fusion
    dice: dict[str, float]
    alone: tuple[dict[str, float], ...]


def fuse(
    models: Sequence[Path],
    dataset: Path,
    output: Path,
    *,
    split: str = "validation",
    least_dice: float = 0.0,
    compute: Compute = AUTO,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> Fused:
    """Fuse models of several views into one model folder.

    Args:
        models: Two or more model or run folders, each of another view.
        dataset: A preprocessed dataset of axial view, with the models' structures and grid.
        output: The new model folder; it must not exist.
        split: Split of the choosing cases.
        least_dice: Structures of lower Dice are left out unless requested.
        compute: The engine, device and precision that run the networks.
        on_case: Called after each case with the number of cases done and the total number of cases.

    Raises:
        ConfigError: If there are fewer than two models, two are of one view, or they differ in structures or grid.
        DatasetError: If the dataset is not of axial view, or of other structures or another grid.
        ModelError: If a model cannot be loaded.
        OutputError: If the model cannot be written, or already exists.
    """
    begin_folder(output)
    if output.is_dir() and any(output.iterdir()):
        raise OutputError(f"{output}: expected a new or empty folder, got one with files in it; choose another")
    loaded = [load_model(model) for model in models]
    fused = weigh(loaded, Preprocessed(dataset), split, least_dice, compute, on_case)
    with whole_folder(output) as aside:
        for view, model in zip(fused.fusion.folders, models, strict=True):
            shutil.copytree(model_in(model), aside / view)
        save_fusion(fused.fusion, aside)
    return fused


def weigh(
    models: Sequence[Model],
    data: Preprocessed,
    split: str = "validation",
    least_dice: float = 0.0,
    compute: Compute = AUTO,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> Fused:
    """Choose the weights of several models for each structure.

    Args:
        models: Two or more models, each of another view.
        data: A preprocessed dataset of axial view, with the models' structures and grid.
        split: Split of the choosing cases.
        least_dice: Structures of lower Dice are left out unless requested.
        compute: The engine, device and precision that run the networks.
        on_case: Called after each case with the number of cases done and the total number of cases.

    Raises:
        ConfigError: If there are fewer than two models, two are of one view, or they differ in structures or grid.
        DatasetError: If the dataset is not of axial view, of other structures or another grid, or has no such cases.
    """
    data = _checked(models, data)
    views = tuple(model.record.grid.view for model in models)
    cases = data.split(split)
    mixtures = mixtures_of(len(models))
    counts = {True: _Counts(len(mixtures), len(data.labels)), False: _Counts(len(mixtures), len(data.labels))}
    predictor = Predictor(models, compute)
    for done, case in enumerate(cases, start=1):
        is_short = case.spacing_mm[2] * case.record.placement.extent[2] <= SHORT_MM
        _count(predictor, case, slice(0, case.slices), mixtures, counts[is_short])
        if not is_short:
            _count(predictor, case, _stack_of(case, done), mixtures, counts[True])
        on_case(done, len(cases))
    fused = _fused(counts, mixtures, data.labels, views, least_dice)
    fused.fusion.provenance.update(split=split, cases=[case.name for case in cases])
    return fused


def _fused(
    counts: dict[bool, _Counts],
    mixtures: Float32[np.ndarray, "k m"],
    labels: LabelSet,
    views: tuple[str, ...],
    least_dice: float,
) -> Fused:
    shares, mixed = _chosen(counts, mixtures, labels)
    dice = _named(mixed.dice[0], labels)
    left_out = tuple(name for name, value in dice.items() if not value >= least_dice) if least_dice > 0 else ()
    known = {name: round(value, 4) for name, value in dice.items() if np.isfinite(value)}
    everything = (counts[True] + counts[False]).dice
    alone = (int(np.flatnonzero(mixtures[:, m] == 1)[0]) for m in range(len(views)))
    return Fused(
        Fusion(views, shares, left_out, {"dice": known}), dice, tuple(_named(everything[k], labels) for k in alone)
    )


def _checked(models: Sequence[Model], data: Preprocessed) -> Preprocessed:
    """Return the data with its structures in the models' order.

    Raises:
        ConfigError: If there are fewer than two models, two are of one view, or one is imported.
        DatasetError: If the dataset is not of axial view, or of other structures or another grid.
    """
    if any(model.record.plan is not None for model in models):
        raise ConfigError(
            "expected networks trained here on one grid, got an imported one, whose logits are on its own "
            "voxels and not separate for each structure; name the folds of one training together after -m of "
            "tomoseg predict, which averages them"
        )
    views = [model.record.grid.view for model in models]
    if len(views) < 2 or len(set(views)) < len(views):
        raise ConfigError(
            f"expected two models or more, each of another view, got {', '.join(views) or 'none'}; name models of "
            "different views"
        )
    if data.grid.view != "axial":
        raise DatasetError(
            f"{data.folder}: expected a dataset of axial view to choose weights on, got {data.grid.view}"
        )
    first = models[0].record
    return fitted(first.labels.names, first.grid.model_copy(update={"view": "axial"}), data)


def _named(values: Float32[np.ndarray, "c"], labels: LabelSet) -> dict[str, float]:
    return dict(zip(labels.names, values.tolist(), strict=True))


def mixtures_of(models: int) -> Float32[np.ndarray, "k m"]:
    """Return all mixtures of so many models in quarters, the even one first.

    Example:
        >>> mixtures_of(2).tolist()
        [[0.5, 0.5], [0.0, 1.0], [0.25, 0.75], [0.75, 0.25], [1.0, 0.0]]
    """
    quarters = [mixture for mixture in product(range(STEPS + 1), repeat=models) if sum(mixture) == STEPS]
    found = [np.array(mixture, np.float32) / STEPS for mixture in quarters]
    even = np.full(models, 1 / models, np.float32)
    return np.stack([even, *(one for one in found if not np.array_equal(one, even))])


class _Counts:
    """Voxels of masks, references and both, for each mixture and structure."""

    def __init__(self, mixtures: int, structures: int) -> None:
        self.predicted: Int64[np.ndarray, "k c"] = np.zeros((mixtures, structures), np.int64)
        self.both: Int64[np.ndarray, "k c"] = np.zeros((mixtures, structures), np.int64)
        self.reference: Int64[np.ndarray, "c"] = np.zeros(structures, np.int64)

    @property
    def dice(self) -> Float32[np.ndarray, "k c"]:
        """Return the Dice over all counted voxels; NaN without reference."""
        with np.errstate(invalid="ignore"):
            dice = 2 * self.both / (self.predicted + self.reference)
        return np.where(self.reference > 0, dice, np.nan).astype(np.float32)

    def __add__(self, other: _Counts) -> _Counts:
        total = _Counts(*self.both.shape)
        for name in ("predicted", "both", "reference"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total


class _Watch:
    """Counts each slice of the grid as its logits pass."""

    def __init__(
        self, case: PreprocessedCase, first: int, mixtures: Float32[np.ndarray, "k m"], counts: _Counts
    ) -> None:
        self._case, self._mixtures, self._counts, self._next = case, mixtures, counts, first

    def add(self, logits: GridLogits, members: Sequence[GridLogits] = (), inside: GridMasks | None = None) -> None:
        """Take in the next slice."""
        counts = self._counts
        structures = len(counts.reference)
        known = np.zeros(structures, bool)
        known[list(self._case.record.annotated)] = True
        reference = unpack(self._case.masks_slice(self._next), structures) & known[:, None, None]
        counts.reference += reference.sum((1, 2))
        stacked = np.stack(members)
        for k, mixture in enumerate(self._mixtures):
            inside = (np.tensordot(mixture, stacked, 1) > 0) & known[:, None, None]
            counts.predicted[k] += inside.sum((1, 2))
            counts.both[k] += (inside & reference).sum((1, 2))
        self._next += 1


def _count(predictor: Predictor, case: PreprocessedCase, part: slice, mixtures: np.ndarray, counts: _Counts) -> None:
    """Count the masks of mixtures in some slices of a case, segmented without the others."""
    hu = case.ct()[:, :, part]
    shape = (hu.shape[0], hu.shape[1], hu.shape[2])
    scan = OnGrid([hu], Placement((0, 0, 0), shape, shape), SourceGrid(shape, np.diag([*case.grid_spacing_mm, 1.0])))
    watch = _Watch(case, part.start, mixtures, counts)
    for _ in predictor.slices(scan, predictor.choices(AS_TRAINED), watch=watch):
        pass


def _stack_of(case: PreprocessedCase, seed: int) -> slice:
    """Draw a stack of slices at a random position of a tall case."""
    thick = max(1, round(STACK_MM / case.grid_spacing_mm[2]))
    first = int(np.random.default_rng(seed).integers(max(1, case.slices - thick + 1)))
    return slice(first, min(first + thick, case.slices))


def _chosen(
    counts: dict[bool, _Counts], mixtures: Float32[np.ndarray, "k m"], labels: LabelSet
) -> tuple[tuple[NetworkWeights, ...], _Counts]:
    """Return the best mixture of each structure for short scans and for the others, with their scores."""
    everything = counts[True] + counts[False]
    channels = np.arange(len(labels))
    mixed = _Counts(1, len(labels))
    shares = []
    for short, own in counts.items():
        picks = _best(own, everything)
        of = {name: tuple(map(float, mixtures[pick])) for name, pick in zip(labels.names, picks, strict=True)}
        shares.append(NetworkWeights(SHORT_MM if short else None, of))
        mixed.predicted[0] += own.predicted[picks, channels]
        mixed.both[0] += own.both[picks, channels]
        mixed.reference += own.reference
    return tuple(shares), mixed


def _best(own: _Counts, everything: _Counts) -> Int64[np.ndarray, "c"]:
    """Return each structure's mixture if it gains over the one of best mean; structures of few voxels take that one."""
    counts = own if own.reference.any() else everything
    dice = counts.dice
    shown = counts.reference >= LEAST_VOXELS
    in_the_mean = int(dice[:, shown].mean(axis=1).argmax()) if shown.any() else 0
    best = np.nan_to_num(dice, nan=-1).argmax(axis=0)
    gain = np.take_along_axis(dice, best[None], axis=0)[0] - dice[in_the_mean]
    return np.where(shown & (gain >= LEAST_GAIN), best, in_the_mean)
