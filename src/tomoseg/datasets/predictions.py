"""Results of `tomoseg predict` as a dataset to train on: a teacher's masks of unlabelled scans.

    PREDICTED/<scan>/<structure>.nii.gz    masks, with prediction.json, which names the scan and the model's own rating
    PREDICTED/<scan>.nii.gz                a label map, with <scan>.prediction.json

The scans stay where they are. The model's confidence in each mask is in `Case.ratings`: `only_trusted` leaves out masks
with a low one, whose structures are then unknown, not absent, as are structures that were not found. A mask that a
person has corrected is always used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tomoseg.datasets.case_folders import CaseFolders, LeftOut, label_files, named_masks
from tomoseg.datasets.cases import Case
from tomoseg.errors import DatasetError, InputError, LabelError, counted
from tomoseg.files.label_names import read_label_names
from tomoseg.files.no_scan import RECORD
from tomoseg.files.results import sidecar_path

_NO_RECORD = "expected the record of a prediction, got another file; predict again"

Ratings = dict[str, float | None]


def find_predicted_cases(folder: Path) -> CaseFolders:
    """Find the scans that a folder has predictions of; none if it has no records of predictions.

    Args:
        folder: Output folder of `tomoseg predict`.
    """
    found: list[Case] = []
    left_out: list[LeftOut] = []
    for path in sorted([*folder.glob(f"*/{RECORD}"), *folder.glob(f"*.{RECORD}")]):
        place = path.parent if path.name == RECORD else path.with_name(path.name.removesuffix(RECORD) + "nii.gz")
        try:
            found.append(_case_of(place, json.loads(path.read_text(encoding="utf-8"))))
        except (DatasetError, LabelError, InputError) as error:
            left_out.append(LeftOut(place, f"left out: {error}"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            left_out.append(LeftOut(path, f"left out: {_NO_RECORD}"))
    return CaseFolders(found, left_out)


def _case_of(place: Path, record: dict[str, Any]) -> Case:
    """Make a case from its record.

    Raises:
        DatasetError: If its scan, its masks or their ratings are missing.
        InputError: If the names of a label map cannot be read.
        LabelError: If names of masks or values cannot be told apart.
    """
    name = place.name.removesuffix(".nii.gz")
    ct = Path(record["input"]["path"])
    if not ct.exists():
        raise DatasetError("expected the scan at the path that it was predicted from, found none; predict again")
    rating = record.get("self_rating")
    if rating is None:
        raise DatasetError("expected the model's rating of each mask, got none; predict with --triage")
    ratings: Ratings = dict(rating["structures"])
    if place.is_dir():
        masks = named_masks([file for file in label_files(place) if file.name.endswith(".nii.gz")], place)
        if not masks:
            raise DatasetError("expected masks as .nii.gz, found none; predict with --format nifti")
        return Case(name=name, patient=name, ct=ct, masks=masks, annotated=tuple(masks), ratings=ratings)
    if not place.is_file() or not sidecar_path(place).is_file():
        raise DatasetError("expected a label map with the names of its values, found none; predict again")
    names = read_label_names(sidecar_path(place))
    values: dict[str, tuple[int, ...]] = {structure: (value,) for value, structure in names.items()}
    return Case(
        name=name, patient=name, ct=ct, label_map=place, annotated=tuple(values), label_values=values, ratings=ratings
    )


def only_trusted(cases: Sequence[Case], share: float) -> tuple[list[Case], list[str]]:
    """Keep only the masks that a model is most confident of, and all masks made or corrected by people.

    For each structure, the scans in which it was found are ranked by its rating, and a share of them, the highest
    rated, is kept. Structures that were not found are unknown, since they may have been missed, and so is everything in
    scans that are unlike the training data and have no ratings.

    Args:
        cases: Cases with or without ratings.
        share: Share of the scans in which a structure was found to keep, above 0 and up to 1.

    Returns:
        The cases that have masks left, and sentences about what was left out.
    """
    if all(case.ratings is None for case in cases):
        return list(cases), []
    limits = {name: _limit(cases, name, share) for name in {name for case in cases for name in case.annotated}}
    kept, before, after = [], 0, 0
    for case in cases:
        own = tuple(name for name in case.annotated if _is_trusted(case, name, limits[name]))
        before += len(case.annotated) - len(case.corrected)
        after += len(own) - len(case.corrected)
        if own:
            kept.append(replace(case, annotated=own))
    return kept, [
        f"Of {counted(before, 'mask')}, {counted(before - after, 'counts', 'count')} as unknown: the model is not sure "
        "of them, or found nothing."
    ]


def _limit(cases: Sequence[Case], name: str, share: float) -> float:
    """Return the lowest rating at which a structure's masks are kept."""
    own = (case for case in cases if name in case.annotated and name not in case.corrected)
    rated = (None if case.ratings is None else case.ratings.get(name) for case in own)
    ratings = sorted((rating for rating in rated if rating is not None), reverse=True)
    return ratings[max(1, math.ceil(share * len(ratings))) - 1] if ratings else math.inf


def _is_trusted(case: Case, name: str, limit: float) -> bool:
    if case.ratings is None or name in case.corrected:
        return True
    rating = case.ratings.get(name)
    return rating is not None and rating >= limit
