"""Adapting a preprocessed dataset to a model's structures and grid."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tomoseg.config import GridConfig
from tomoseg.errors import DatasetError, counted
from tomoseg.labels import LabelSet
from tomoseg.language.words import part
from tomoseg.preprocessed.read import Preprocessed

LISTED = 4
"""Largest number of names in a message."""


def fitted(names: tuple[str, ...], grid: GridConfig, data: Preprocessed) -> Preprocessed:
    """Return a dataset with its structures in a model's order.

    Args:
        names: The model's structures, in channel order.
        grid: The model's grid.
        data: The dataset.

    Raises:
        DatasetError: If it has other structures than the model, or another grid.
    """
    if set(names) != set(data.labels.names):
        raise DatasetError(
            f"{data.folder}: expected the model's {counted(len(names), 'structure')}, got {len(data.labels)}: "
            f"{_unlike(names, data.labels.names)}; preprocess with the same structures"
        )
    _check_grid(grid, data)
    return data.with_structures(LabelSet(tuple(data.labels[name] for name in names)))


def fitted_in_part(labels: LabelSet, grid: GridConfig, data: Preprocessed) -> Preprocessed:
    """Return a dataset with a model's structures; those that it lacks count as not annotated.

    Args:
        labels: The model's structures.
        grid: The model's grid.
        data: The dataset.

    Raises:
        DatasetError: If it has none of the model's structures, or another grid.
    """
    if set(labels.names) == set(data.labels.names):
        return fitted(labels.names, grid, data)
    if not set(labels.names) & set(data.labels.names):
        raise DatasetError(
            f"{data.folder}: expected structures of the model ({_some(labels.names)}), got others: "
            f"{_some(data.labels.names)}; preprocess a dataset that has one of them"
        )
    _check_grid(grid, data)
    return data.with_structures(labels)


def grid_needed(grid: GridConfig, data: Preprocessed) -> GridConfig:
    """Return the grid that a dataset must have for a model: an axial one serves a model of any view.

    Args:
        grid: The model's grid.
        data: The dataset.
    """
    return grid.model_copy(update={"view": "axial"}) if data.grid.view == "axial" else grid


def _check_grid(grid: GridConfig, data: Preprocessed) -> None:
    if grid != data.grid:
        names = [name for name in GridConfig.model_fields if getattr(grid, name) != getattr(data.grid, name)]
        wanted, got = (
            ", ".join(f"{name} {_in_words(getattr(one, name))}" for name in names) for one in (grid, data.grid)
        )
        raise DatasetError(
            f"{data.folder}: expected the model's grid, with {wanted}, got {got}; preprocess with the same grid"
        )


def _in_words(value: object) -> str:
    """Return a setting of a grid as people write it.

    Example:
        >>> _in_words((256, 256)), _in_words(4.0), _in_words(None), _in_words("axial")
        ('256 x 256', '4', 'none', 'axial')
    """
    if isinstance(value, tuple):
        return " x ".join(map(_in_words, value))
    return f"{value:g}" if isinstance(value, float) else str(value or "none")


def _unlike(wanted: Collection[str], got: Collection[str]) -> str:
    """List the structures that only one of the two has."""
    lacking, other = ([name for name in a if name not in b] for a, b in ((wanted, got), (got, wanted)))
    told = [part(f"lacking {_some(lacking)}")] if lacking else []
    return ", and ".join([*told, part(f"besides {_some(other)}")] if other else told)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (", ..." if len(names) > LISTED else "")
