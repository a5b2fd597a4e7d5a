"""Which scans were found, in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from tomoseg.files.cohort import CASE_NAMES
from tomoseg.files.paths import shown
from tomoseg.files.source import ScanKind
from tomoseg.language.sentences import sentence
from tomoseg.language.words import later, say, say_many
from tomoseg.workflows.scans import FoundScans

_KINDS: dict[ScanKind, str] = {
    "dicom": "DICOM",
    "zip": later("in ZIP archives"),
    "nifti": "NIfTI",
    "nrrd": "NRRD",
    "metaimage": "MetaImage",
}
_ORDER = tuple(_KINDS)

_OTHERS: dict[str, Callable[[int], str]] = {
    "dose grids": lambda n: say_many(n, "1 dose grid", "{count} dose grids"),
    "DICOM segmentations": lambda n: say_many(n, "1 DICOM segmentation", "{count} DICOM segmentations"),
    "structure sets": lambda n: say_many(n, "1 structure set", "{count} structure sets"),
    "reports": lambda n: say_many(n, "1 report", "{count} reports"),
    "presentation states": lambda n: say_many(n, "1 presentation state", "{count} presentation states"),
    "registrations": lambda n: say_many(n, "1 registration", "{count} registrations"),
    "localizers": lambda n: say_many(n, "1 localizer", "{count} localizers"),
    "dose sheets": lambda n: say_many(n, "1 dose sheet", "{count} dose sheets"),
    "screen captures": lambda n: say_many(n, "1 screen capture", "{count} screen captures"),
    "perfusion maps": lambda n: say_many(n, "1 perfusion map", "{count} perfusion maps"),
    "DICOM files without images": lambda n: say_many(
        n, "1 DICOM file without images", "{count} DICOM files without images"
    ),
    "results of tomoseg": lambda n: say_many(n, "1 result of tomoseg", "{count} results of tomoseg"),
    f"masks beside a {CASE_NAMES[0]}": lambda n: say_many(
        n, "1 mask beside a {name}", "{count} masks beside a {name}", name=CASE_NAMES[0]
    ),
}
"""What is known to be no scan, by what it is counted as."""


def scans_in_words(found: FoundScans) -> str:
    """How many scans there are of which kind, what is left out and why, and what else is there."""
    kinds = listed_kinds(scan.found.kind for scan in found.scans if scan.found is not None)
    scans = say_many(len(found.scans), "1 scan", "{count} scans")
    words = [say("{name}: {text}", name=scans, text=kinds) if kinds else scans]
    if found.left_out:
        reasons = [f"{shown(one.path, found.place)} ({sentence(one.why)})" for one in found.left_out]
        words.append(say("left out: {reasons}", reasons="; ".join(reasons)))
    if found.others:
        others = (_OTHERS[kind](count) for kind, count in found.others.most_common())
        words.append(say("no scans: {others}", others=", ".join(others)))
    return "; ".join(words)


def listed_kinds(kinds: Iterable[ScanKind]) -> str:
    """How many scans there are of each kind, most first.

    Example:
        >>> listed_kinds(["nifti", "dicom", "dicom"])
        '2 DICOM, 1 NIfTI'
    """
    counts = Counter(kinds)
    ordered = sorted(counts, key=lambda kind: (-counts[kind], _ORDER.index(kind)))
    return ", ".join(f"{counts[kind]} {say(_KINDS[kind])}" for kind in ordered)
