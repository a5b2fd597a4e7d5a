"""Conversion of values of any type to int16 HU, slab by slab."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int16

from tomoseg.errors import InputError, counted
from tomoseg.notices import Notice

NEARLY_WHOLE = 1e-3
"""Maximum deviation from an integer of a value that counts as one, due to its scaling."""

_DOSE = re.compile(r"(?<![a-z])(rt)?dose(?![a-z])", re.IGNORECASE)
_INT16 = np.iinfo(np.int16)


def fill_hu(
    hu: Int16[np.ndarray, "i j k"], slabs: Iterable[tuple[slice, Float32[np.ndarray, "i j s"]]], name: str
) -> list[Notice]:
    """Round values (halves to even), clip them to int16, and write them to an array.

    Args:
        hu: The array to fill.
        slabs: Planes of the last axis, and their values, which are overwritten.
        name: Name of the file in messages.

    Returns:
        Notices if values were clipped, or are those of a probability map or a dose grid.

    Raises:
        InputError: If there is NaN or infinity.
    """
    lowest, highest, clipped, has_parts = np.inf, -np.inf, 0, False
    for slab, values in slabs:
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(f"{name}: expected finite HU, got NaN or infinity among the voxels; replace them")
        has_parts = has_parts or (low >= -1 and high <= 1 and has_fractions(values))
        np.rint(values, out=values)
        if low < _INT16.min or high > _INT16.max:
            clipped += int(np.count_nonzero((values < _INT16.min) | (values > _INT16.max)))
            np.clip(values, _INT16.min, _INT16.max, out=values)
        hu[..., slab] = values
        lowest, highest = min(lowest, low), max(highest, high)
    words = _of_map(lowest, highest, has_parts, name)
    if not clipped:
        return words
    text = (
        f"{name}: clipped {counted(clipped, 'voxel')} outside {_INT16.min}..{_INT16.max} HU (the scan runs from "
        f"{lowest:.6g} to {highest:.6g}). Check that the scan is in HU and its scl_slope is right."
    )
    return [*words, Notice(text, "clipped")]


def has_fractions(values: Float32[np.ndarray, "i j s"]) -> bool:
    """Whether some of the values are not integers, within `NEARLY_WHOLE`."""
    return bool((np.abs(values - np.rint(values)) > NEARLY_WHOLE).any())


def _of_map(lowest: float, highest: float, has_parts: bool, name: str) -> list[Notice]:
    """Return a notice if values are those of a probability map or a dose grid.

    Args:
        lowest: Lowest value.
        highest: Highest value.
        has_parts: Whether there are fractions between -1 and 1.
        name: Name of the file, which may show that it is a dose.
    """
    values = f"{name}: values run from {lowest:.4g} to {highest:.4g}"
    if has_parts and lowest >= -1 and highest <= 1:
        text = (
            f"{values} with fractions, as in a probability map or a normalised scan; expected HU, with air "
            "near -1000. Pass the scan itself."
        )
        return [Notice(text, "probability map")]
    if highest > lowest >= 0 and _DOSE.search(Path(name).name.replace("_", " ")) is not None:
        text = f"{values} in a file that is named as a dose; expected HU, with air near -1000. Pass the CT."
        return [Notice(text, "dose grid")]
    return []
