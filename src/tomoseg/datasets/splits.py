"""Splits of a dataset into training, validation and test cases, by patient.

All cases of one patient go into the same split. A case's patient is the `patient_id` in `meta.csv` if there is one,
otherwise the case's name. A dataset's own splits are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tomoseg.datasets.cases import Case, Split
from tomoseg.errors import DatasetError, InputError


def assign_splits(cases: Sequence[Case], validation_share: float, test_share: float, seed: int) -> dict[str, Split]:
    """Assign every case to a split.

    If the dataset has splits of its own, they are kept, and if none of them is for validation, that is drawn from the
    training patients. Otherwise patients are drawn by a hash of the seed and their name, so that adding a case moves
    few others. Shares are rounded to whole patients; with two patients or more, a share above zero is at least one
    patient as long as one is left to train on (validation comes before test).

    Args:
        cases: All cases of the dataset.
        validation_share: Share of the patients, 0 to 1.
        test_share: Share of the patients, 0 to 1; both together must be below 1.
        seed: Random seed.

    Returns:
        Splits by the name of the case.

    Raises:
        InputError: If the shares are out of range.
        DatasetError: If the dataset's own splits leave cases out or put one patient into two.
    """
    if min(validation_share, test_share) < 0 or validation_share + test_share >= 1:
        raise InputError(
            f"expected shares of 0 or more that add up to less than 1, got {validation_share} for validation and "
            f"{test_share} for test; lower them"
        )
    own = {case.name: case.split for case in cases if case.split is not None}
    if not own:
        return _draw(cases, validation_share, test_share, seed)
    _check_own(cases)
    if "validation" not in own.values():
        own |= _draw([case for case in cases if case.split == "train"], validation_share, 0, seed)
    return own


def _draw(cases: Sequence[Case], validation_share: float, test_share: float, seed: int) -> dict[str, Split]:
    patients = sorted({case.patient for case in cases}, key=lambda patient: _rank(patient, seed))
    validations = _count(validation_share, len(patients), len(patients) - 1)
    tests = _count(test_share, len(patients), len(patients) - 1 - validations)
    # from both ends, so that changing one share does not move patients of the other
    splits: dict[str, Split] = dict.fromkeys(patients, "train")
    splits |= dict.fromkeys(patients[:tests], "test")
    splits |= dict.fromkeys(patients[len(patients) - validations :], "validation")
    return {case.name: splits[case.patient] for case in cases}


def _rank(patient: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{patient}".encode("utf-8", "surrogateescape")).digest()


def _count(share: float, patients: int, most: int) -> int:
    wanted = max(1, round(share * patients)) if share > 0 else 0
    return max(0, min(wanted, most))


def _check_own(cases: Sequence[Case]) -> None:
    outside = [case.name for case in cases if case.split is None]
    if outside:
        raise DatasetError(
            f"expected a split for every case, since others have one, got none for {', '.join(outside[:8])}"
            f"{', ...' if len(outside) > 8 else ''}; add them to meta.csv or to a split's folder"
        )
    seen: dict[str, Case] = {}
    for case in cases:
        first = seen.setdefault(case.patient, case)
        if first.split != case.split:
            raise DatasetError(
                f"expected all cases of patient {case.patient} in one split, got {first.name} in {first.split} "
                f"and {case.name} in {case.split}; move one"
            )
