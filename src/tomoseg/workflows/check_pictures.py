"""Pictures of the findings of `tomoseg check`; the cases concerned are read once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tomoseg.checks.findings import Finding
from tomoseg.datasets.cases import Case, mask_loader, read_case
from tomoseg.errors import TomosegError
from tomoseg.labels import LabelSet
from tomoseg.pictures.finding import COLOURS, draw_finding

MOST_PICTURES = 200
"""More would make a page that no browser opens; errors come first."""

CaseAndStructure = tuple[str, str | None]
"""Names of the case and, if any, the structure that a finding is about."""


def draw_findings(
    findings: Sequence[Finding],
    cases: Sequence[Case],
    labels: LabelSet,
    on_case: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> dict[CaseAndStructure, bytes]:
    """Draw each case and structure with a finding as PNG; those whose scan cannot be read are left out.

    Args:
        findings: The findings, errors first.
        cases: The cases of the dataset.
        labels: The structures of the dataset.
        on_case: Called with the case, the number of cases drawn and the total number of cases.
    """
    texts: dict[str, dict[str | None, str]] = {}
    for finding in [finding for finding in findings if finding.case][:MOST_PICTURES]:
        of_case = texts.setdefault(finding.case, {})
        of_case[finding.structure] = of_case.get(finding.structure, "") + " " + finding.text
    drawn: dict[CaseAndStructure, bytes] = {}
    by_name = {case.name: case for case in cases}
    for number, (name, places) in enumerate(texts.items(), start=1):
        drawn |= {(name, structure): png for structure, png in _of_case(by_name[name], labels, places).items()}
        on_case(f"picture of {name}", number, len(texts))
    return drawn


def _of_case(case: Case, labels: LabelSet, places: Mapping[str | None, str]) -> dict[str | None, bytes]:
    try:
        volume = read_case(case)
        load = mask_loader(case, labels, volume.source)
    except TomosegError:
        return {}  # the finding says so
    drawn = {}
    for structure, text in places.items():
        masks: dict[str, np.ndarray] = {}
        for name in _named(structure, text, case.annotated):
            try:
                masks[name] = load(labels.channel(name))
            except TomosegError:
                continue  # a finding of its own says so
        drawn[structure] = draw_finding(volume, masks)
    return drawn


def _named(structure: str | None, text: str, annotated: Sequence[str]) -> list[str]:
    """Return the structures that a text is about: the given one and those it names; at most as many as colours."""
    words = {word.strip(".,;:()") for word in text.split()}
    others = [name for name in annotated if name in words and name != structure]
    if structure is None and not others and "masks" in words:
        others = list(annotated)
    return [*([structure] if structure in annotated and structure is not None else []), *others][: len(COLOURS)]
