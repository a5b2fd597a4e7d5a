"""Detection of the layout of a folder of labelled scans.

Layouts:

- *case folders*: `<case>/ct.nii.gz` with `<case>/segmentations/<structure>.nii.gz`, or with one label map
  (a NIfTI whose name contains `labels` or starts with `seg`) beside the scan. Cases lie in the dataset's folder, in
  folders in it, or under `train/`, `validation/` or `val/`, `test/`. A table `meta.csv` may give splits and patients.
- *flat*: `<stem>.nii.gz` with `<stem>_labels*.nii.gz`, or `ct.nii.gz` with `labels*.nii.gz`, all in one folder.
- *listed*: a `dataset.json` with `training`, as in the Medical Decathlon.
- *paired folders*: `images/<case>.nii.gz` with `labels/<case>.nii.gz`, or `imagesTr/<case>_0000.nii.gz` with
  `labelsTr/<case>.nii.gz`, without a `dataset.json`.
- *predictions*: results of `tomoseg predict --triage` for scans that are stored elsewhere (`predictions.py`).
- *numbered*: a `dataset.json` with `imagesTr/<case>_0000.nii.gz` and `labelsTr/<case>.nii.gz`, as in nnU-Net raw.

In place of `.nii.gz`, a scan may be a file or a folder of any kind that `files.scan` reads (`scan_files.py`).

The names of a label map's values are read from, in this order, `<label map>.labels.json` beside it, a `labels.json` in
the case's folder, one in the dataset's folder; or the label map has `total` in its name and holds the 117 structures
with their ids. The values are the structures' ids (`label_ids.py`). If a `labels.json` in a case's folder is a list, it
has the names of the structures annotated in that case. Hidden files (`.DS_Store`, `._ct.nii.gz`) are ignored.

A structure that has no mask file in a case, or is not among its labels, is unknown there, not absent. Cases of the
public 117-structure dataset's first version, which had 104, get the names of the second (`first_version.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tomoseg.datasets.case_folders import CaseFolders, LeftOut, find_case_folders
from tomoseg.datasets.cases import Case, named_alike
from tomoseg.datasets.dataset_json import DATASET_FILE, find_listed_cases, find_numbered_cases, is_listed
from tomoseg.datasets.first_version import as_second_version, is_first_version
from tomoseg.datasets.flat import find_flat_cases
from tomoseg.datasets.label_ids import label_set_of_cases
from tomoseg.datasets.meta_table import META_FILE, apply_meta
from tomoseg.datasets.paired_folders import find_paired_cases, has_paired_folders
from tomoseg.datasets.predictions import find_predicted_cases
from tomoseg.errors import DatasetError
from tomoseg.files.cohort import MASKS_FOLDER
from tomoseg.files.label_names import check_told_apart
from tomoseg.labels import LabelSet

Layout = Literal["case folders", "flat", "listed", "numbered", "paired folders", "predictions"]


NOTHING = CaseFolders([], [])


@dataclass(frozen=True)
class Dataset:
    """A folder of labelled scans.

    Attributes:
        cases: The cases, sorted by name.
        labels: All structures that are annotated in any case, with their ids in the dataset (`label_ids.py`).
        layout: The layout that was recognised.
        warnings: Sentences about what was left out and why, and anything else unusual.
        left_out: Files and folders that are not used; each is among the warnings.
    """

    cases: tuple[Case, ...]
    labels: LabelSet
    layout: Layout
    warnings: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()


def find_dataset(folder: Path) -> Dataset:
    """Find the cases of a dataset without opening a scan.

    Args:
        folder: The dataset's folder, of any of the layouts above.

    Returns:
        The cases and the structures annotated in them.

    Raises:
        DatasetError: If there is no such folder, no layout fits, no case has masks, or its files contradict each other.
        InputError: If a JSON file in it cannot be read.
        LabelError: If a file of labels has a name or a value twice.
    """
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise DatasetError(f"{folder}: expected a dataset folder, got {got}; check the path")
    try:
        layout, found = _predicted_or(folder, *_find(folder))
    except OSError as error:
        raise DatasetError(f"{folder}: expected readable folders, got: {error}; check their permissions") from None
    if not found.cases:
        raise DatasetError(_nothing_found(folder, found.left_out))
    cases, warnings = _with_meta(folder, found)
    cases = named_alike(cases)
    with_ids = [case for case in cases if not is_first_version(case.annotated)]
    cases, more = as_second_version(sorted(cases, key=lambda case: case.name))
    names = sorted({name for case in cases for name in case.annotated})
    check_told_apart(names, str(folder))
    labels, disagreement = label_set_of_cases(names, with_ids)
    warnings = [*warnings, *more, *disagreement]
    return Dataset(tuple(cases), labels, layout, (*map(str, found.left_out), *warnings), tuple(found.left_out))


def _with_meta(folder: Path, found: CaseFolders) -> tuple[list[Case], list[str]]:
    """Apply the dataset's table of cases, if there is one; return the cases and warnings about the table."""
    if not (folder / META_FILE).is_file():
        return found.cases, []
    present = [path.name for pattern in ("*", "*/*") for path in folder.glob(pattern)]
    return apply_meta(found.cases, folder / META_FILE, present)


def _predicted_or(folder: Path, layout: Layout, found: CaseFolders) -> tuple[Layout, CaseFolders]:
    """Return the cases that were found, or if there are none, those of predictions."""
    predicted = NOTHING if found.cases else find_predicted_cases(folder)
    return (layout, found) if predicted == NOTHING else ("predictions", predicted)


def _find(folder: Path) -> tuple[Layout, CaseFolders]:
    if (folder / DATASET_FILE).is_file():
        return ("listed", find_listed_cases(folder)) if is_listed(folder) else ("numbered", find_numbered_cases(folder))
    if has_paired_folders(folder):
        return "paired folders", find_paired_cases(folder)
    flat = CaseFolders([], []) if (folder / MASKS_FOLDER).is_dir() else find_flat_cases(folder)
    if flat.cases:
        return "flat", flat
    folders = find_case_folders(folder)
    used = {path for case in folders.cases for path in case.mask_files}
    alone = [one for one in flat.left_out if one.path not in used]
    return "case folders", CaseFolders(folders.cases, [*alone, *folders.left_out])


def _nothing_found(folder: Path, left_out: Sequence[LeftOut]) -> str:
    if left_out:
        return f"{folder}: expected cases with masks, got none; the first of {len(left_out)} left out: {left_out[0]}"
    return (
        f"{folder}: expected a dataset, got none; looked for <case>/ct.nii.gz with "
        "<case>/segmentations/<structure>.nii.gz or <case>/labels.nii.gz (under train/, validation/, test/ or not), "
        "<stem>.nii.gz with <stem>_labels.nii.gz, images/ with labels/ or imagesTr/ with labelsTr/, and dataset.json; "
        "lay it out as one of these"
    )
