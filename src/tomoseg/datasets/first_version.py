"""Conversion of the public whole-body CT dataset's first version (104 structures) to its second (117).

97 names are the same in both, and no structure was merely renamed. The five parts of the heart became one structure,
`heart`, which is their union here, as in the dataset's own tools. `face` and `pulmonary_artery` have no counterpart
among the 117: the second version labels them, and the parts of the heart, for other tasks. Structures that are new in
the second version are unknown in cases of the first, not absent.

Source: "Changes and improvements in TotalSegmentator v2" and the class maps in that project's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from tomoseg.datasets.cases import Case
from tomoseg.labels import LabelSet

HEART = "heart"

HEART_PARTS = (
    "heart_myocardium", "heart_atrium_left", "heart_ventricle_left", "heart_atrium_right", "heart_ventricle_right",
)  # fmt: skip

WITHOUT_COUNTERPART = ("face", "pulmonary_artery")

NEW_IN_SECOND = (
    HEART, "skull", "thyroid_gland", "prostate", "brachiocephalic_vein_left", "brachiocephalic_vein_right",
    "brachiocephalic_trunk", "common_carotid_artery_left", "common_carotid_artery_right", "atrial_appendage_left",
    "subclavian_artery_left", "subclavian_artery_right", "vertebrae_S1", "sternum", "costal_cartilages",
    "pulmonary_vein", "superior_vena_cava", "kidney_cyst_left", "kidney_cyst_right", "spinal_cord",
)  # fmt: skip

_TELLING = frozenset((*HEART_PARTS, *WITHOUT_COUNTERPART))


@cache
def names_of_first_version() -> frozenset[str]:
    """Return the 104 names of the first version."""
    return frozenset(LabelSet.total().names) - set(NEW_IN_SECOND) | _TELLING


def in_second_version(name: str) -> str | None:
    """Return the counterpart in the second version of a name of the first; None if it has none.

    Example:
        >>> in_second_version("heart_atrium_left"), in_second_version("liver"), in_second_version("face")
        ('heart', 'liver', None)
    """
    if name in HEART_PARTS:
        return HEART
    return None if name in WITHOUT_COUNTERPART else name


def is_first_version(names: Sequence[str]) -> bool:
    """Whether a case's structures are those of the first version.

    They are if all are among the 104, and the seven that the second version does not have are present. Scans labelled
    with only the parts of the heart, or only a face, do not count.
    """
    return _TELLING <= set(names) <= names_of_first_version()


def as_second_version(cases: Sequence[Case]) -> tuple[list[Case], list[str]]:
    """Convert cases of the first version to the structures of the second; others are returned as they are.

    Args:
        cases: Cases with masks or label maps.

    Returns:
        The cases, and a warning if some were changed.
    """
    turned = [_turned(case) if is_first_version(case.annotated) else case for case in cases]
    changed = sum(new is not old for new, old in zip(turned, cases, strict=True))
    if not changed:
        return turned, []
    return turned, [
        f"{changed} of {len(cases)} cases have the 104 structures of the public dataset's first version: {HEART} is "
        f"the union of its {len(HEART_PARTS)} parts there, and {' and '.join(WITHOUT_COUNTERPART)} are left out."
    ]


def _turned(case: Case) -> Case:
    annotated = tuple(dict.fromkeys(new for name in case.annotated if (new := in_second_version(name)) is not None))
    if case.label_map is None:
        return replace(case, annotated=annotated, unions={HEART: HEART_PARTS})
    heart = tuple(value for part in HEART_PARTS for value in case.label_values[part])
    return replace(case, annotated=annotated, label_values={**case.label_values, HEART: heart})
