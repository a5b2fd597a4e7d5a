"""What made a DICOM result, and in which words and codes it names structures."""

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
        model_sha256: The SHA-256 of the weights; of several models joined by `+`.
        version: The version of tomoseg.
        model: What the model is called; of several joined by `+`.
        kind: How DICOM calls it: a mask that a person has corrected is semi-automatic.
    """

    model_sha256: str
    version: str = __version__
    model: str = ""
    kind: Literal["AUTOMATIC", "SEMIAUTOMATIC"] = "AUTOMATIC"

    def title(self) -> str:
        """What a viewer lists a result as: tomoseg and the model, in the 64 characters that DICOM allows.

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
    """A structure's SNOMED CT code, else one of our own made of its name.

    Example:
        >>> code_of(Structure(1, "my_structure")).value
        'my_structure'
    """
    if structure.snomed and structure.snomed_meaning:
        return Code(structure.snomed, "SCT", structure.snomed_meaning[:LONGEST_NAME])
    short = structure.name if len(structure.name) <= 16 else hashlib.sha256(structure.name.encode()).hexdigest()[:16]
    return Code(short, OWN_SCHEME, structure.name[:LONGEST_NAME])
