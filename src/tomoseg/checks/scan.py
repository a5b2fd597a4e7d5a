"""Checks of a scan before it is used: geometry, values, body and contrast medium.

They give warnings only, since the user may know better.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from tomoseg.checks.body import BodyProfile, body_profile
from tomoseg.checks.contrast import Contrast, find_contrast
from tomoseg.checks.planes import PlaneFacts, plane_facts
from tomoseg.checks.region import Part, find_parts
from tomoseg.checks.values import LEAST_VOXELS, ValueFacts, thin_slices, value_facts
from tomoseg.errors import InputError, counted
from tomoseg.language.words import part
from tomoseg.notices import Kind, Notice
from tomoseg.volume import Volume

PLAUSIBLE_SPACING_MM = (0.2, 10.0)
"""Range of voxel edges of clinical CT, with some tolerance."""

LEAST_HEIGHT_MM = 15.0
"""Minimum height of a scan; fewer slices do not show which vertebra or rib they cut."""

MOST_OBLIQUE_DEGREES = 20.0
"""Maximum angle in degrees; heads and gantries are tilted by up to about this."""

LONG_VOXELS = 2.0
"""Ratio of the voxel edge from left to right, or from back to front, to the other edges from which slices are taken
to be sagittal or coronal."""

MOST_BORDER = 0.4
"""Maximum share of the image's border that is body; with shoulders and large patients it is a quarter."""

AXES = (part("left to right"), part("back to front"), part("feet to head"))

_DIRECTIONS = ("LR", "PA", "IS")

MAPS_READ: frozenset[Kind] = frozenset({"probability map", "dose grid"})
"""Kinds of notice, from reading, for files that are no scan; their values are not checked again."""

UNREADABLE_VALUES: frozenset[Kind] = frozenset(
    {*MAPS_READ, "one value", "label map", "grey values", "not HU", "no air", "shifted HU", "scaled HU", "windowed"}
)
"""Kinds of notice for values that are not those of a CT; the body is then not examined."""


@dataclass(frozen=True)
class Inspection:
    """The results of inspecting a scan.

    Attributes:
        axes: Directions of the file's axes: `LPS` is towards the patient's left, back and head.
        oblique_degrees: Largest angle between an axis of the file and the nearest axis of the patient.
        extent_mm: Extent of the scan along x, y and z.
        values: Statistics of its values.
        planes: Unusual slices.
        body_mm: Width, depth and height of the visible body; None if no body is found.
        border_share: Share of the left, right, front and back border of the images that is body.
        parts: Visible body parts, from feet to head; empty if they are not recognised.
        contrast: Whether vessels are enhanced by contrast medium; None if this was not examined.
        notices: Notices about anything unusual.
    """

    axes: str
    oblique_degrees: float
    extent_mm: tuple[float, float, float]
    values: ValueFacts
    planes: PlaneFacts
    body_mm: tuple[float, float, float] | None
    border_share: float | None
    parts: tuple[Part, ...]
    contrast: Contrast | None
    notices: tuple[Notice, ...]


def check_scan(volume: Volume) -> tuple[Notice, ...]:
    """Check that a scan looks like a complete CT in HU with the right orientation.

    Args:
        volume: The scan.

    Returns:
        One notice per finding: what was found, what was expected, what to do. Empty for an ordinary scan.

    Example:
        >>> import numpy as np
        >>> scan = Volume.from_array(np.zeros((4, 4, 4), np.int16), np.diag([1.0, 1.0, 1.0, 1.0]))
        >>> check_scan(scan)[0].message
        'Every voxel is 0 HU; expected a scan. Check that the right file was exported.'
    """
    return inspect_scan(volume, contrast=False).notices


def refuse_warnings(notices: Iterable[Notice], name: str) -> None:
    """Refuse a scan that has warnings; notes are allowed.

    Args:
        notices: Notices about the scan.
        name: Name of the scan in the message.

    Raises:
        InputError: If there are warnings.
    """
    kinds = [notice.kind for notice in notices if notice.level == "warning"]
    if kinds:
        raise InputError(
            f"{name}: expected a scan without warnings, as --strict requires, got: "
            f"{', '.join(dict.fromkeys(kinds))}; predict without --strict to read them, and see "
            "docs/how-to/warnings.md"
        )


def inspect_scan(volume: Volume, *, contrast: bool = True) -> Inspection:
    """Inspect a scan without a model: geometry, values, body and contrast medium.

    Args:
        volume: The scan.
        contrast: Whether to look for contrast medium, which is the slowest part and does not reveal mistakes.

    Returns:
        The findings, with all notices.

    Example:
        >>> import numpy as np
        >>> scan = Volume.from_array(np.zeros((4, 4, 4), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]))
        >>> found = inspect_scan(scan)
        >>> found.extent_mm, [notice.kind for notice in found.notices]
        ((8.0, 8.0, 8.0), ['one value', 'few slices'])
    """
    thin = thin_slices(volume)
    values, notices = value_facts(volume, thin)
    planes, of_planes = plane_facts(volume, thin)
    kinds = {notice.kind for notice in (*notices, *volume.warnings)}
    notices = () if kinds & MAPS_READ else notices
    is_large = thin.size >= LEAST_VOXELS
    if is_large and not kinds & {"one value", "label map", *MAPS_READ}:
        notices += _not_told(of_planes, volume.warnings)
    oblique = _oblique_degrees(volume)
    notices += (*_geometry(volume), *_oblique(oblique))
    x, y, z = (n * edge for n, edge in zip(volume.shape, volume.spacing_mm, strict=True))
    is_ct = is_large and not kinds & UNREADABLE_VALUES
    body, of_body = _body_facts(volume, round(z, 1), contrast) if is_ct else (_BodyFacts(), ())
    return Inspection(
        "".join(_DIRECTIONS[int(target)][int(direction > 0)] for target, direction in volume.source.orientation),
        round(oblique, 2),
        (x, y, z),
        values,
        planes,
        body.extent_mm,
        body.border_share,
        body.parts,
        body.contrast,
        (*notices, *of_body),
    )


def _not_told(notices: tuple[Notice, ...], warnings: tuple[Notice, ...]) -> tuple[Notice, ...]:
    """Drop notices about steps between slices if reading the scan has already reported their reason."""
    told = {"uneven HU"} & {warning.kind for warning in warnings}
    return tuple(notice for notice in notices if notice.kind not in told)


@dataclass(frozen=True)
class _BodyFacts:
    """The fields of `Inspection` about the body; empty if the values are not those of a CT."""

    extent_mm: tuple[float, float, float] | None = None
    border_share: float | None = None
    parts: tuple[Part, ...] = ()
    contrast: Contrast | None = None


def _body_facts(volume: Volume, height_mm: float, contrast: bool) -> tuple[_BodyFacts, tuple[Notice, ...]]:
    profile = body_profile(volume)
    parts, turned = find_parts(profile)
    extent = profile.extent_mm
    facts = _BodyFacts(
        None if extent is None else (*extent[:2], min(extent[2], height_mm)),  # levels may be thicker than slices
        round(profile.border_share, 3),
        tuple(replace(part, to_mm=min(part.to_mm, height_mm)) for part in parts),
        find_contrast(volume) if contrast and profile.has_body.any() else None,
    )
    return facts, (*_body(profile), *turned)


def _oblique_degrees(volume: Volume) -> float:
    directions = volume.affine[:3, :3] / np.array(volume.spacing_mm)
    return float(np.degrees(np.arccos(np.clip(np.abs(np.diag(directions)), 0, 1))).max())


def _oblique(degrees: float) -> tuple[Notice, ...]:
    if degrees <= MOST_OBLIQUE_DEGREES:
        return ()
    text = (
        f"The scan's axes are rotated by {degrees:.0f} degrees from the patient's; expected at most "
        f"{MOST_OBLIQUE_DEGREES:g}. Masks fit the scan, but the model was trained on other orientations: look "
        "at them, or resample the scan to axial slices."
    )
    return (Notice(text, "oblique"),)


def _geometry(volume: Volume) -> tuple[Notice, ...]:
    """Check the voxel edges, the slice direction and the height of a scan."""
    low, high = PLAUSIBLE_SPACING_MM
    spacing = volume.spacing_mm
    notices = []
    if not (low <= min(spacing) and max(spacing) <= high):
        text = (
            f"Voxels measure {' x '.join(f'{edge:.4g}' for edge in spacing)} mm; expected edges of {low:g} to "
            f"{high:g} mm. Check the header's unit, and whether slices are missing."
        )
        notices.append(Notice(text, "voxel size"))
    longest = int(np.argmax(spacing))
    if longest < 2 and spacing[longest] >= LONG_VOXELS * max(spacing[axis] for axis in range(3) if axis != longest):
        text = (
            f"Voxels are longest from {AXES[longest]} ({spacing[longest]:.3g} mm), as in "
            f"{('sagittal', 'coronal')[longest]} slices; expected axial ones. Use the axial series if there is one."
        )
        notices.append(Notice(text, "slice direction"))
    height = volume.shape[2] * spacing[2]
    if height < LEAST_HEIGHT_MM:
        text = (
            f"The scan covers {height:.3g} mm from feet to head ({counted(volume.shape[2], 'slice')}); expected at "
            f"least {LEAST_HEIGHT_MM:g} mm. So short a scan does not show which vertebra or rib is which: use the "
            "whole series."
        )
        notices.append(Notice(text, "few slices"))
    return tuple(notices)


def _body(profile: BodyProfile) -> tuple[Notice, ...]:
    if not profile.has_body.any():
        text = (
            f"The largest piece of tissue measures {profile.area_cm2.max():.3g} cm2 in a slice; expected a "
            "body. Look at the scan: it may show air, a phantom or the table."
        )
        return (Notice(text, "no body"),)
    if profile.border_share > MOST_BORDER:
        text = (
            f"{profile.border_share:.0%} of the image border is body; expected less than {MOST_BORDER:.0%}. "
            "The field of view cuts off the patient's sides: models trained on whole patients do worse; use a "
            "reconstruction with the full field of view."
        )
        return (Notice(text, "body cut"),)
    return ()
