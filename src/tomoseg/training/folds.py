"""Assignment of patients to folds for cross-validation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from tomoseg.errors import DatasetError
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase

DEALT = ("train", "validation")
"""Splits whose patients are assigned to folds; test cases are left out."""


def assign_folds(data: Preprocessed, folds: int, seed: int) -> dict[str, int]:
    """Assign the patients of the training and validation splits to folds, the same for the same patients.

    Patients are assigned structure by structure, the rarest first, so that a rare structure is in as many folds as
    possible. All cases of a patient are in one fold, and no fold has more patients than its even share, rounded up.

    Args:
        data: The preprocessed dataset.
        folds: Number of folds, 2 or more.
        seed: Seed of the assignment.

    Returns:
        The fold of each case, from 1, by the case's name.

    Raises:
        DatasetError: If there are fewer patients than folds.
    """
    cases = [case for case in data.cases if case.split in DEALT]
    patients = sorted({case.record.patient for case in cases}, key=lambda patient: _rank(patient, seed))
    if len(patients) < folds:
        advice = f"take {len(patients)} folds at most, or add patients" if len(patients) > 1 else "add patients"
        raise DatasetError(
            f"{data.folder}: expected {folds} patients or more for {folds} folds, got {len(patients)} in the training "
            f"and validation splits; {advice}"
        )
    holding = [_patients_of(cases, channel) for channel in range(len(data.labels))]
    dealt = _dealt(patients, sorted(holding, key=len), folds)
    return {case.name: dealt[case.record.patient] for case in cases}


def fold_of(data: Preprocessed, folds: Mapping[str, int], fold: int) -> Preprocessed:
    """Return the dataset of one fold: its cases are for validation, those of the other folds for training.

    Args:
        data: The preprocessed dataset.
        folds: The fold of each case.
        fold: The fold, from 1.
    """
    return data.resplit({name: "validation" if other == fold else "train" for name, other in folds.items()})


def _dealt(patients: Sequence[str], holding: Sequence[set[str]], folds: int) -> dict[str, int]:
    """Assign patients to folds: those with each structure in turn, then those with none."""
    most = -(-len(patients) // folds)
    members: list[set[str]] = [set() for _ in range(folds)]
    for holders in (*holding, set(patients)):
        left = holders.difference(*members)
        for patient in filter(left.__contains__, patients):
            open_folds = (those for those in members if len(those) < most)
            min(open_folds, key=lambda those: (len(those & holders), len(those))).add(patient)
    return {patient: fold for fold, those in enumerate(members, start=1) for patient in those}


def _patients_of(cases: Sequence[PreprocessedCase], channel: int) -> set[str]:
    return {case.record.patient for case in cases if case.record.voxels.get(channel)}


def _rank(patient: str, seed: int) -> bytes:
    return hashlib.sha256(f"fold {seed}:{patient}".encode("utf-8", "surrogateescape")).digest()
