"""The algorithm that made a DICOM result, and codes for its structures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from tomoseg.labels import Structure
from tomoseg.version import __version__

MANUFACTURER = "tomoseg"
OWN_SCHEME = "99TOMOSEG"
"""Coding scheme of structures without a SNOMED CT code; 99 marks private ones."""

LONGEST_NAME = 64


@dataclass(frozen=True)
class MadeBy:
    """The algorithm behind a result.

    Attributes:
        model_sha256: SHA-256 of the weights; those of several models are joined by `+`.
        version: Version of tomoseg.
        model: Name of the model; those of several are joined by `+`.
        kind: DICOM algorithm type; a mask that a person has corrected is semi-automatic.
    """

    model_sha256: str
    version: str = __version__
    model: str = ""
    kind: Literal["AUTOMATIC", "SEMIAUTOMATIC"] = "AUTOMATIC"

    def title(self) -> str:
        """Return the title of a result in viewers: tomoseg and the model, in at most 64 characters as DICOM allows.

        Example:
            >>> MadeBy("0" * 64, model="head-neck").title()
            'tomoseg head-neck'
        """
        name = "".join(" " if letter == "\\" or not letter.isprintable() else letter for letter in self.model)
        return f"{MANUFACTURER} {name}"[:LONGEST_NAME].strip()


@dataclass(frozen=True)
class Code:
    """A coded concept: value, scheme, meaning."""

    value: str
    scheme: str
    meaning: str


ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
SIDES = {"Right": Code("24028007", "SCT", "Right"), "Left": Code("7771000", "SCT", "Left")}


def code_of(structure: Structure) -> Code:
    """Return a structure's SNOMED CT code, or a private one made from its name.

    Example:
        >>> code_of(Structure(1, "my_structure")).value
        'my_structure'
    """
    if structure.snomed and structure.snomed_meaning:
        return Code(structure.snomed, "SCT", structure.snomed_meaning[:LONGEST_NAME])
    short = structure.name if len(structure.name) <= 16 else hashlib.sha256(structure.name.encode()).hexdigest()[:16]
    return Code(short, OWN_SCHEME, structure.name[:LONGEST_NAME])
