"""Cases for `tomoseg view`, each a scan with its masks, from files, an evaluation or predictions."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomoseg.datasets.cases import MaskCase
from tomoseg.datasets.mask_cases import find_mask_cases
from tomoseg.errors import DatasetError, InputError, LabelError, TomosegError
from tomoseg.evaluation.score_files import read_scores
from tomoseg.evaluation.scores import CaseScore
from tomoseg.files.label_files import label_stem, label_suffix, read_label_map, segment_values
from tomoseg.files.label_names import read_json, structure_name, values_in
from tomoseg.workflows.prediction_record import scan_of_result
from tomoseg.workflows.score_sources import matched_cases
from tomoseg.workflows.triage import triage_path

SUMMARY = "summary.json"

CORRECTIONS = "corrections"
"""Name of the folder of corrections, next to the masks."""


@dataclass(frozen=True)
class ViewCase:
    """One case to look at.

    Attributes:
        name: Name of the case.
        scan: Path of its scan.
        masks: Its masks, if any.
        reference: Masks to compare with.
        score: Score that cases are sorted by.
    """

    name: str
    scan: Path
    masks: MaskCase | None = None
    reference: MaskCase | None = None
    score: float | None = None


@dataclass(frozen=True)
class Views:
    """The cases to view.

    Attributes:
        title: Title of the collection.
        cases: At least one case, in viewing order.
        measure: Name of the score; empty if there is none.
        beside: Default folder of corrections.
        left_out: Cases left out, each with the reason.
    """

    title: str
    cases: tuple[ViewCase, ...]
    beside: Path
    measure: str = ""
    left_out: tuple[str, ...] = ()


def masks_of(paths: Sequence[Path], name: str) -> MaskCase:
    """Find the masks of one scan.

    Raises:
        DatasetError: If there are none, or masks of several scans of which none has this name.
        LabelError: If names are invalid.
    """
    if len(paths) == 1 and paths[0].is_dir():
        found = {case.name: case for case in find_mask_cases(paths[0])}
        if len(found) > 1 and name not in found:
            raise DatasetError(
                f"{paths[0]}: expected masks of one scan, or of one called {name}, got those of {len(found)}; "
                "pass the folder of this scan's masks"
            )
        return found.get(name) or next(iter(found.values()))
    if len(paths) == 1 and (case := _named(paths[0])) is not None:
        return case
    return _single_files(paths, name)


def _named(path: Path) -> MaskCase | None:
    """Return the masks of one file with names; None for a single mask, or a label map without names."""
    if label_suffix(path) is None or not path.is_file():
        (case,) = find_mask_cases(path)  # raises the error
        return case
    try:
        (case,) = find_mask_cases(path)
    except DatasetError:
        return None
    return case


def _single_files(paths: Sequence[Path], name: str) -> MaskCase:
    """Return masks from files named after their structures; a label map without names gets numbers instead.

    Raises:
        DatasetError: If one of several files holds several structures.
        LabelError: If names are invalid or not unique.
    """
    masks: dict[str, Path] = {}
    for path in paths:
        if not path.is_file() or label_suffix(path) is None or segment_values(path) is not None:
            raise DatasetError(
                f"{path}: expected a file of one mask beside others, got another kind; pass a folder or one file of "
                "all structures"
            )
        structure = structure_name(label_stem(path), str(path))
        if structure in masks:
            raise LabelError(f"{path}: expected each structure once, got {structure} twice; rename one file")
        masks[structure] = path
    if len(masks) == 1 and (numbered := _numbered(paths[0])):
        return MaskCase(name=name, patient=name, label_map=paths[0], annotated=tuple(numbered), label_values=numbered)
    return MaskCase(name=name, patient=name, masks=masks, annotated=tuple(masks))


def _numbered(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the values of a label map without names, by number; empty for a mask."""
    values = [value for value in values_in(read_label_map(path)) if value]
    return {} if values in ([], [1]) else {f"label {value}": (value,) for value in values}


def find_scored(folder: Path) -> Views:
    """Find the cases of an evaluation of masks, the lowest mean Dice first.

    Args:
        folder: Folder of `tomoseg evaluate --output`.

    Raises:
        DatasetError: If the masks no longer exist, or no case has its scan.
        InputError: If the evaluation cannot be read, or is one of a model.
    """
    scores = read_scores(folder)
    predicted, reference = _scored(folder)
    pairs, _ = matched_cases(predicted, reference)
    cases, left_out = [], []
    for score in sorted(scores, key=lambda case: (_mean_dice(case) is None, _mean_dice(case) or 0.0)):
        pair = pairs.get(score.case)
        scan = None if pair is None else _scan_of(*pair)
        if pair is None or scan is None:
            left_out.append(f"{score.case}: its scan is not known; put it beside its masks, as in a dataset")
        else:
            cases.append(ViewCase(score.case, scan, *pair, _mean_dice(score)))
    return _views(folder, cases, predicted.absolute().parent, "Dice", left_out)


def _scan_of(ours: MaskCase, theirs: MaskCase) -> Path | None:
    return theirs.ct or ours.ct or scan_of_result(ours.first_file)


def _scored(folder: Path) -> tuple[Path, Path]:
    """Return the paths of the scored masks and of the references.

    Raises:
        InputError: If they are unknown, or no longer exist.
    """
    try:
        how = read_json(folder / SUMMARY)["how"]
        places = Path(how["predicted"]), Path(how["reference"])
    except (KeyError, TypeError):
        raise InputError(
            f"{folder / SUMMARY}: expected a record of what was scored, got none; evaluate again"
        ) from None
    for path in places:
        if not path.exists():
            raise InputError(
                f"{folder}: expected masks at {path}, where they were scored, got nothing there; run it in the "
                "folder where `tomoseg evaluate` was run, or evaluate again"
            )
    return places


def _mean_dice(case: CaseScore) -> float | None:
    known = [one.dice for one in case.structures if one.dice is not None]
    return sum(known) / len(known) if known else None


def find_predicted(folder: Path) -> Views:
    """Find the cases of a folder of predictions, in the order of its triage if there is one.

    Args:
        folder: Folder of `tomoseg predict --output`, with many scans.

    Raises:
        DatasetError: If none of the scans has masks.
        InputError: If the manifest cannot be read.
    """
    ratings = dict(_ratings(folder))
    cases, left_out = [], []
    for scan in _scans_in(folder):
        name = str(scan["name"])
        try:
            if scan["state"] == "failed":
                raise DatasetError(f"it was not segmented: {scan['error']}")
            output = Path(scan["output"])
            masks = masks_of((output if output.exists() else folder / output.name,), name)
            if not Path(scan["input"]).exists():
                raise DatasetError(f"its scan is not at {scan['input']} any more")
        except TomosegError as error:
            left_out.append(f"{name}: {error}")
        else:
            cases.append(ViewCase(name, Path(scan["input"]), masks, None, ratings.get(name)))
    order = {name: place for place, name in enumerate(ratings)}
    cases.sort(key=lambda case: order.get(case.name, len(order)))
    return _views(folder, cases, folder.absolute(), "self-rating" if ratings else "", left_out)


def _scans_in(folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the entry of each scan in the manifests of all parts.

    Raises:
        InputError: If a manifest cannot be read.
    """
    for path in sorted(folder.glob("predictions*.json")):
        try:
            yield from read_json(path)["scans"]
        except (KeyError, TypeError):
            raise InputError(f"{path}: expected a record of each scan, got none; predict again") from None


def _ratings(folder: Path) -> Iterator[tuple[str, float | None]]:
    """Yield the self-rating of each scan in review order; None if there is none.

    Raises:
        InputError: If a table is invalid.
    """
    for path in sorted(folder.glob(f"{triage_path(folder).stem}*.csv")):
        try:
            with path.open(newline="", encoding="utf-8-sig") as stream:
                rows = list(csv.DictReader(stream))
            yield from ((row["scan"], None if row["self_rating"] == "-" else float(row["self_rating"])) for row in rows)
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: expected a triage table, got: {error}; remove it, or predict again") from None


def _views(folder: Path, cases: Sequence[ViewCase], beside: Path, measure: str, left_out: Sequence[str]) -> Views:
    if not cases:
        raise DatasetError(f"{folder}: expected a case with its scan and its masks, got none; {left_out[0]}")
    return Views(folder.absolute().name, tuple(cases), beside / CORRECTIONS, measure, tuple(left_out))
