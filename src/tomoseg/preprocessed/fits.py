"""Whether a model was made for a preprocessed dataset."""

from __future__ import annotations

from tomoseg.errors import DatasetError
from tomoseg.preprocessed.read import Preprocessed


def check_fits(names: tuple[str, ...], grid: object, data: Preprocessed) -> None:
    """Refuse a dataset that a model was not made for.

    Args:
        names: The model's structures, in channel order.
        grid: The model's grid.
        data: The dataset.

    Raises:
        DatasetError: If its structures or its grid differ.
    """
    if names != data.labels.names:
        raise DatasetError(
            f"{data.folder}: expected the model's {len(names)} structures, got {len(data.labels)} "
            f"({', '.join(data.labels.names[:4])}, ...); preprocess with the same structures"
        )
    if grid != data.grid:
        raise DatasetError(
            f"{data.folder}: expected the model's grid ({grid}), got {data.grid}; preprocess with the same grid"
        )
