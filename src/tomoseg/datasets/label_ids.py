"""Which id each structure of a dataset has.

- A structure has the value that `labels.json`, `<label map>.labels.json` or `dataset.json` gives it.
- A region, which several values stand for, has the first of them that no other structure has.
- Structures without a value, those of mask files, have their id among the 117 if all ids of the dataset are those, else
  numbers above the largest that is given, by name.
- Where cases disagree, a structure having two values or a value two structures, no id is taken over; a warning says so.
- Where nothing gives an id, or none is taken over: the ids of the 117 if all structures are among them, else from 1 by
  name.

Channels have the order of that last rule whatever the ids are, so that models go on fitting datasets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tomoseg.datasets.cases import Case
from tomoseg.files.label_names import label_set_named
from tomoseg.labels import LabelSet


def label_set_of_cases(names: Sequence[str], cases: Sequence[Case]) -> tuple[LabelSet, list[str]]:
    """The structures of a dataset under their ids.

    Args:
        names: All structures that are annotated anywhere.
        cases: Those whose values count as ids.

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
    """The id that a case's label map gives each structure; none for a region all of whose values others have.

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
    return f"The label maps of the dataset disagree about ids ({what}): the structures were numbered anew."
