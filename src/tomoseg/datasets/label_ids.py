"""Ids of the structures of a dataset.

- A structure has the value in `labels.json`, `<label map>.labels.json` or `dataset.json`.
- A region, which has several values, has the first of them that no other structure has.
- Structures without a value, such as those of mask files, have their ids among the 117 if all ids of the dataset agree
  with those, otherwise numbers above the largest given id, in order of their names.
- If cases disagree, because a structure has two values or a value two structures, no id is used, with a warning.
- If no id is given or used, ids are those of the 117 if all structures are among them, otherwise numbers from 1 in
  order of their names.

Channels are always ordered by the last rule, so that models still fit datasets whose ids change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tomoseg.datasets.cases import Case
from tomoseg.files.label_names import label_set_named
from tomoseg.labels import LabelSet


def label_set_of_cases(names: Sequence[str], cases: Sequence[Case]) -> tuple[LabelSet, list[str]]:
    """Return the structures of a dataset with their ids.

    Args:
        names: Names of all structures that are annotated in any case.
        cases: Cases whose label map values are used as ids.

    Returns:
        The label set, and a warning if cases disagree.

    Raises:
        LabelError: If there are no names.

    Example:
        >>> label_set_of_cases(["cord", "jaw"], [])[0].ids
        (1, 2)
    """
    ids: dict[str, int] = {}
    owners: dict[int, str] = {}
    for case in cases:
        for name, value in given_ids(case.label_values).items():
            if name not in names:
                continue
            if ids.setdefault(name, value) != value:
                return label_set_named(names), [_disagreement(f"{name} has the values {ids[name]} and {value}")]
            if owners.setdefault(value, name) != name:
                return label_set_named(names), [_disagreement(f"{value} stands for {owners[value]} and for {name}")]
    return label_set_named(names, ids), []


def given_ids(label_values: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return the id of each structure in a case's label map; regions without a value of their own have none.

    Example:
        >>> given_ids({"liver": (1, 2), "tumour": (2,)})
        {'tumour': 2, 'liver': 1}
    """
    ids = {name: values[0] for name, values in label_values.items() if len(values) == 1}
    taken = set(ids.values())
    for name, values in label_values.items():
        free = next((value for value in values if value not in taken), None)
        if len(values) > 1 and free is not None:
            ids[name] = free
            taken.add(free)
    return ids


def _disagreement(what: str) -> str:
    return f"The label maps of the dataset disagree about ids ({what}): the structures were renumbered."
