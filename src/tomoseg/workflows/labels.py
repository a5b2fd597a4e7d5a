"""`tomoseg labels`: the structures of a dataset, or the 117."""

from __future__ import annotations

from pathlib import Path

from tomoseg.datasets.layouts import find_dataset
from tomoseg.labels import LabelSet
from tomoseg.preprocessed.format import INDEX, DatasetIndex


def labels_of(dataset: Path | None) -> LabelSet:
    """The label set of a dataset or preprocessed dataset; the 117 for None.

    Raises:
        DatasetError: If the folder holds neither.
    """
    if dataset is None:
        return LabelSet.total()
    if (dataset / INDEX).exists():
        return DatasetIndex.load(dataset).labels
    return find_dataset(dataset).labels
