"""Header values that may distinguish several stacks in one series: phases, kernels, times, repeats.

Marks are the same for all slices of a stack (a kernel), or for blocks of them (one acquisition of several). Orders
increase from slice to slice (a time), so that a second stack starts anew. `apart` uses both.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pydicom

Lookup = Callable[[str, str], Any]
"""Returns the value of a keyword in a sequence of the frame's groups, or in the file if the sequence is empty."""

IN_PLANE_MM = 1.0
"""Distance of first pixels within the plane from which slices may be of two reconstructions."""


HASH_LENGTH = 64
"""Length of a hashed value, which may name a patient; values that may be shown are shorter."""


@dataclass(frozen=True)
class Mark:
    """A header value that slices of one stack have in common.

    Attributes:
        words: Name in messages.
        places: Sequences (or empty) and keywords in which it is looked up, in order.
        is_shown: Whether its value cannot identify a patient and may be shown.
    """

    words: str
    places: tuple[tuple[str, str], ...]
    is_shown: bool = False


_CONTENT, _GEOMETRY = "FrameContentSequence", "CTGeometrySequence"
_DETAILS, _EXPOSURE = "CTXRayDetailsSequence", "CTExposureSequence"
_RECONSTRUCTION, _HEART = "CTReconstructionSequence", "CardiacSynchronizationSequence"

MARKS = (
    Mark("time", ((_CONTENT, "TemporalPositionIndex"), ("", "TemporalPositionIdentifier")), True),
    Mark("acquisition", ((_CONTENT, "FrameAcquisitionNumber"), ("", "AcquisitionNumber")), True),
    Mark("kernel", ((_RECONSTRUCTION, "ConvolutionKernel"), ("", "ConvolutionKernel")), True),
    Mark("image type", (("CTImageFrameTypeSequence", "FrameType"), ("", "ImageType")), True),
    Mark("kV", ((_DETAILS, "KVP"), ("", "KVP")), True),
    Mark("phase in %", ((_HEART, "NominalPercentageOfCardiacPhase"), ("", "NominalPercentageOfCardiacPhase")), True),
    Mark("phase", ((_HEART, "NominalCardiacTriggerDelayTime"), ("", "TriggerTime")), True),
    Mark("phase", ((_CONTENT, "CardiacCyclePosition"), ("", "CardiacCyclePosition"))),
    Mark("field in mm", ((_RECONSTRUCTION, "ReconstructionDiameter"), ("", "ReconstructionDiameter")), True),
    Mark("thickness in mm", (("PixelMeasuresSequence", "SliceThickness"), ("", "SliceThickness")), True),
    Mark("filter", ((_DETAILS, "FilterType"), ("", "FilterType")), True),
    Mark("scan options", (("", "ScanOptions"),)),
    Mark("contrast agent", (("", "ContrastBolusAgent"),)),
    Mark("description", (("", "SeriesDescription"),)),
    Mark("protocol", (("", "ProtocolName"),)),
    Mark("comment", (("", "ImageComments"),)),
    Mark("series time", (("", "SeriesTime"),)),
    Mark("study", (("", "StudyInstanceUID"),)),
    Mark("space", (("", "FrameOfReferenceUID"),)),
    Mark("scale", (("", "RescaleIntercept"),), True),
)
"""Marks in order of likelihood; the first that distinguishes stacks is used."""

ACQUISITION = next(number for number, mark in enumerate(MARKS) if mark.words == "acquisition")
"""Index of the acquisition number, which is an order as well."""

EXPOSURES = (
    ((_EXPOSURE, "XRayTubeCurrentInmA"), ("", "XRayTubeCurrent")),
    ((_EXPOSURE, "ExposureInmAs"), ("", "Exposure")),
    ((_EXPOSURE, "ExposureTimeInms"), ("", "ExposureTime")),
)
"""Exposure values, which change from slice to slice in most scans, and distinguish stacks only if each has one."""

ORDERS = (
    ((_CONTENT, "FrameAcquisitionDateTime"), ("", "AcquisitionDateTime"), ("", "AcquisitionTime")),
    ((_CONTENT, "FrameReferenceDateTime"), ("", "ContentTime")),
)
"""Times of an image; the number and the file name of an image are orders as well."""

TAGS = tuple(
    dict.fromkeys(
        keyword
        for places in (*(mark.places for mark in MARKS), *EXPOSURES, *ORDERS)
        for sequence, keyword in places
        if not sequence
    )
)
"""Keywords that must be read from a header."""


@dataclass(frozen=True)
class Traits:
    """The values of one image.

    Attributes:
        marks: A value or None for each of `MARKS`; those that may name a patient are hashed.
        exposures: A value or None for each of `EXPOSURES`.
        times: Seconds or None for each of `ORDERS`.
    """

    marks: tuple[str | None, ...]
    exposures: tuple[float | None, ...] = ()
    times: tuple[float | None, ...] = ()


def traits_of(lookup: Lookup) -> Traits:
    """Look up the values of an image.

    Args:
        lookup: Function that looks up a value.
    """
    return Traits(
        tuple(_mark(_first(lookup, mark.places), mark.is_shown) for mark in MARKS),
        tuple(_number(_first(lookup, places)) for places in EXPOSURES),
        tuple(_time(_first(lookup, places)) for places in ORDERS),
    )


def _first(lookup: Lookup, places: tuple[tuple[str, str], ...]) -> Any:
    return next((value for place in places if (value := lookup(*place)) not in (None, "")), None)


def _mark(value: Any, is_shown: bool) -> str | None:
    if value is None:
        return None
    parts = value if isinstance(value, pydicom.multival.MultiValue | list | tuple) else [value]
    text = " ".join(_plain(str(part).strip()) for part in parts)
    if not is_shown or not re.fullmatch(r"[\w .+/-]{1,40}", text):
        return hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return text


def _plain(text: str) -> str:
    """Normalise the text of a decimal number: 120 for 120.0 and 1.2E2."""
    return f"{float(text):.10g}" if re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,2})?", text) else text


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _time(value: Any) -> float | None:
    """Parse a time in seconds since midnight, or since an arbitrary day if it has a date; None if it is not a time.

    Example:
        >>> _time("101530.5"), _time("20240131101530.5") - _time("20240131101530")
        (36930.5, 0.5)
    """
    found = re.fullmatch(r"(\d{8})?(\d\d)(\d\d)(\d\d)?(\.\d+)?(?:[+-]\d{4})?", str(value).strip())
    if found is None:
        return None
    date, hour, minute, second, part = found.groups(default="0")
    days = int(date[:4]) * 372 + int(date[4:6] or 0) * 31 + int(date[6:] or 0) if len(date) == 8 else 0
    return days * 86400.0 + int(hour) * 3600 + int(minute) * 60 + int(second) + float(f"0{part}" if part != "0" else 0)
