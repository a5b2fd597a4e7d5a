"""Values of any type turned into int16 HU, slab by slab."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float32, Int16

from tomoseg.errors import InputError
from tomoseg.notices import Notice

_INT16 = np.iinfo(np.int16)


def fill_hu(
    hu: Int16[np.ndarray, "i j k"], slabs: Iterable[tuple[slice, Float32[np.ndarray, "i j s"]]], name: str
) -> list[Notice]:
    """Round values (halves to even), clip them to int16, and put them in their places.

    Args:
        hu: To be filled.
        slabs: Which planes of the last axis, and their values; these are overwritten.
        name: What to call the file in messages.

    Returns:
        A sentence if values were clipped.

    Raises:
        InputError: If there is NaN or infinity.
    """
    lowest, highest, clipped = np.inf, -np.inf, 0
    for slab, values in slabs:
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise InputError(f"{name}: expected finite HU, got NaN or infinity among the voxels; replace them")
        np.rint(values, out=values)
        if low < _INT16.min or high > _INT16.max:
            clipped += int(np.count_nonzero((values < _INT16.min) | (values > _INT16.max)))
            np.clip(values, _INT16.min, _INT16.max, out=values)
        hu[..., slab] = values
        lowest, highest = min(lowest, low), max(highest, high)
    if not clipped:
        return []
    text = (
        f"{name}: {clipped} voxels lie outside of {_INT16.min}..{_INT16.max} HU (the scan runs from {lowest:.6g} to "
        f"{highest:.6g}) and were clipped. Check that the scan is in HU and its scl_slope is right."
    )
    return [Notice(text, "clipped")]
