"""Corrected masks, in versions that are never overwritten.

They are files `FOLDER/CASE/0001/STRUCTURE.nii.gz`, on the scan's own grid, with `correction.json` beside, which names
the structure, the author and the time. A version holds one structure; the last version of each structure counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from tomoseg.datasets.cases import Case
from tomoseg.errors import DatasetError
from tomoseg.files.label_names import structure_name
from tomoseg.files.no_scan import CORRECTION
from tomoseg.files.paths import lacking

DIGITS = 4
"""Digits in the name of a version's folder, so that names sort as numbers do."""


@dataclass(frozen=True)
class Correction:
    """A corrected mask.

    Attributes:
        structure: Name of the structure.
        version: Number of the version of the case, from 1.
        mask: Mask file.
        who: Name of the author.
        when: Time of saving, as ISO 8601 in UTC.
    """

    structure: str
    version: int
    mask: Path
    who: str = ""
    when: str = ""


def versions(folder: Path) -> list[Path]:
    """Return the folders of a case's versions, in order; folders that are still being written are left out.

    Args:
        folder: The folder of the case.
    """
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.isdecimal() and (path / CORRECTION).is_file()]
    return sorted(found, key=lambda path: int(path.name))


def latest(folder: Path) -> dict[str, Correction]:
    """Return the last correction of each structure of a case.

    Args:
        folder: The folder of the case.

    Raises:
        DatasetError: If a record cannot be read, or its mask is missing.
        LabelError: If a structure's name cannot be used.
    """
    found: dict[str, Correction] = {}
    for path in versions(folder):
        one = _read(path)
        found[one.structure] = one
    return found


def _read(folder: Path) -> Correction:
    try:
        record = json.loads((folder / CORRECTION).read_text(encoding="utf-8"))
        name, who, when = str(record["structure"]), str(record["who"]), str(record["when"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(
            f"{folder / CORRECTION}: expected a record of the correction, got: {error}; remove this version"
        ) from None
    structure = structure_name(name, str(folder / CORRECTION))
    mask = folder / f"{structure}.nii.gz"
    if not mask.is_file():
        raise DatasetError(f"{mask}: expected the mask of a correction, got {lacking(mask)}; remove this version")
    return Correction(structure, int(folder.name), mask, who, when)


def with_corrections(cases: Sequence[Case], folder: Path | None, known: Sequence[str]) -> tuple[list[Case], list[str]]:
    """Replace the masks of cases by the last correction of each structure.

    Args:
        cases: The cases of a dataset.
        folder: The folder of the corrections; None for none.
        known: The dataset's structures; corrections of others are left out.

    Returns:
        The cases, and a sentence about each correction that is left out.

    Raises:
        DatasetError: If there are no corrections, or one cannot be read.
        LabelError: If a structure's name cannot be used.
    """
    if folder is None:
        return list(cases), []
    if not folder.is_dir():
        raise DatasetError(f"{folder}: expected a folder of corrections, got {lacking(folder)}; check --corrections")
    by_case = {path.name: latest(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    if not any(by_case.values()):
        raise DatasetError(
            f"{folder}: expected CASE/0001/STRUCTURE.nii.gz, got none; pass the folder that `tomoseg view` wrote"
        )
    left_out = list(_left_out(by_case, folder, {case.name for case in cases}, known))
    return [_corrected(case, by_case.get(case.name, {}), known) for case in cases], left_out


def _left_out(
    by_case: Mapping[str, Mapping[str, Correction]], folder: Path, cases: Set[str], known: Sequence[str]
) -> Iterator[str]:
    """Yield a sentence about each case and each structure that the dataset does not have."""
    for case, found in by_case.items():
        if found and case not in cases:
            yield f"{folder / case}: these corrections belong to no case of the dataset; they are left out"
            continue
        for one in found.values():
            if one.structure not in known:
                yield f"{one.mask}: this correction belongs to no structure of the dataset; it is left out"


def _corrected(case: Case, found: Mapping[str, Correction], known: Sequence[str]) -> Case:
    masks = {name: one.mask for name, one in found.items() if name in known}
    return replace(case, corrected=masks, annotated=tuple(dict.fromkeys((*case.annotated, *masks)))) if masks else case
