"""What looks wrong about a scan before it is used. Nothing here refuses a scan: the user may know better."""

from __future__ import annotations

from tomoseg.volume import Volume

PLAUSIBLE_AIR_HU = -200
"""Every CT has air around or in the patient; a lowest value above this says that it is no CT in HU."""

PLAUSIBLE_DENSE_HU = 100
"""Bone, contrast and the table lie above this."""

PLAUSIBLE_SPACING_MM = (0.2, 10.0)
"""Voxel edges of clinical CT, with room on both sides."""


def check_scan(volume: Volume) -> tuple[str, ...]:
    """Look for what makes a scan unlikely to be a CT in HU.

    Args:
        volume: The scan.

    Returns:
        One sentence or two for each finding: what was seen, what was expected, what to do. Empty for an ordinary scan.

    Example:
        >>> import numpy as np
        >>> scan = Volume.from_array(np.zeros((4, 4, 4), np.int16), np.diag([1.0, 1.0, 1.0, 1.0]))
        >>> check_scan(scan)[0]
        'Every voxel is 0 HU, a scan was expected. Check that the right file was exported.'
    """
    return (*_value_warnings(volume), *_spacing_warnings(volume))


def _value_warnings(volume: Volume) -> list[str]:
    lowest, highest = int(volume.hu.min()), int(volume.hu.max())
    if lowest == highest:
        return [f"Every voxel is {lowest} HU, a scan was expected. Check that the right file was exported."]
    warnings = []
    if lowest > PLAUSIBLE_AIR_HU:
        warnings.append(
            f"The lowest value is {lowest} HU, air near -1000 was expected. "
            "The scan may be windowed or not in HU: export it again with its rescale slope and intercept."
        )
    if highest < PLAUSIBLE_DENSE_HU:
        warnings.append(
            f"The highest value is {highest} HU, bone or contrast above {PLAUSIBLE_DENSE_HU} was expected. "
            "The scan may be windowed, scaled, or hold no patient: look at it before you use a result."
        )
    return warnings


def _spacing_warnings(volume: Volume) -> list[str]:
    low, high = PLAUSIBLE_SPACING_MM
    spacing = volume.spacing_mm
    if low <= min(spacing) and max(spacing) <= high:
        return []
    return [
        f"Voxels measure {' x '.join(f'{edge:.4g}' for edge in spacing)} mm, edges from {low:g} to {high:g} mm were "
        "expected. Check the unit of the header and whether slices are missing."
    ]
