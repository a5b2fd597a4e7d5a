"""`tomoseg check`: a dataset checked before training."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from tomoseg.cases.folders import Folders
from tomoseg.cases.run import run_cases
from tomoseg.cases.work import CaseFunction
from tomoseg.checks.dataset import check_cases
from tomoseg.checks.facts import CaseFacts, case_facts, unreadable_case
from tomoseg.checks.findings import CheckReport
from tomoseg.checks.holdings import CaseHolding, Holdings
from tomoseg.datasets.cases import Case, mask_loader, read_case
from tomoseg.datasets.layouts import Dataset
from tomoseg.errors import GridError, InputError, LabelError
from tomoseg.files.atomic import write_whole_text
from tomoseg.files.outputs import begin_folder
from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask
from tomoseg.options import HERE, Spread
from tomoseg.pictures.check_page import write_check_page
from tomoseg.volume import Volume
from tomoseg.workflows.check_pictures import MOST_PICTURES, draw_findings
from tomoseg.workflows.datasets import open_dataset

FINDINGS, PAGE = "check.json", "check.html"


def check(
    dataset: Path,
    output: Path | None = None,
    on_case: Callable[[str, int, int], None] = lambda name, done, total: None,
    on_found: Callable[[Dataset], None] = lambda found: None,
    spread: Spread = HERE,
) -> CheckReport:
    """Check a dataset: each case alone, and cases against each other. A process has one scan in memory at a time.

    Args:
        dataset: A folder of labelled scans of any layout.
        output: Folder for `check.json` and `check.html`.
        on_case: Called with the case, the number of cases done and the total number of cases; with an output, then in
            the same way for pictures.
        on_found: Called before the first case with the cases found and what is left out.
        spread: How the cases are distributed to processes and machines.

    Raises:
        DatasetError: If it is no dataset.
        OutputError: If the output cannot be written.
    """
    if output is not None:
        begin_folder(output, (FINDINGS, PAGE))
    found = open_dataset(dataset)
    on_found(found)
    facts = _all_facts(found, on_case, spread, Folders((dataset,), output))
    masks = sum(len(case.structures) for case in facts)
    held = Holdings.of([_held(one, case) for one, case in zip(facts, found.cases, strict=True)], found.labels.names)
    left_out = tuple(map(str, found.left_out))
    report = CheckReport(dataset, len(facts), masks, check_cases(facts), found.warnings, held, left_out)
    if output is not None:
        write_findings(report, output / FINDINGS)
        pictures = draw_findings(report.findings, found.cases, found.labels, on_case)
        write_check_page(report, dataset.absolute().name, output / PAGE, pictures, most=MOST_PICTURES)
    return report


def write_findings(report: CheckReport, path: Path) -> None:
    """Write a report as JSON.

    Raises:
        OutputError: If it cannot be written.
    """
    content = {
        "dataset": str(report.dataset),
        "cases": report.cases,
        "masks": report.masks,
        "errors": report.errors,
        "flagged_masks": report.flagged_masks,
        "findings": [asdict(finding) for finding in report.findings],
        "warnings": report.warnings,
        "holds": asdict(report.holdings),
    }
    write_whole_text(path, json.dumps(content, indent=1, ensure_ascii=False))


def _held(facts: CaseFacts, case: Case) -> CaseHolding:
    volumes = {name: one.volume_ml for name, one in facts.structures.items()}
    return CaseHolding(case.name, case.annotated, volumes, facts.spacing_mm, facts.extent_mm)


def _all_facts(
    found: Dataset, on_case: Callable[[str, int, int], None], spread: Spread, folders: Folders
) -> list[CaseFacts]:
    """Return the facts of each case, in their order."""
    work = CaseFunction[Case, CaseFacts](partial(_facts, labels=found.labels), _unable)
    facts: dict[int, CaseFacts] = {}
    for number, of_case in run_cases(work, found.cases, spread, folders=folders):
        facts[number] = of_case
        on_case(of_case.name, len(facts), len(found.cases))
    return [facts[number] for number in sorted(facts)]


def _unable(case: Case, reason: str) -> CaseFacts:
    return unreadable_case(case.name, case.patient, case.split, reason)


def _facts(case: Case, labels: LabelSet) -> CaseFacts:
    try:
        volume = read_case(case)
        volume = replace(volume, warnings=tuple(notice.without(case.ct) for notice in volume.warnings))
        return case_facts(case.name, case.patient, case.split, volume, _masks(case, labels, volume))
    except (InputError, GridError, LabelError) as error:
        return unreadable_case(case.name, case.patient, case.split, str(error))


def _masks(case: Case, labels: LabelSet, volume: Volume) -> Iterator[tuple[str, BoxedMask | str]]:
    load = mask_loader(case, labels, volume.source)
    for name in case.annotated:
        try:
            yield name, BoxedMask.of(load(labels.channel(name)))
        except (InputError, GridError) as error:
            yield name, str(error)
