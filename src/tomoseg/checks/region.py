"""Parts of the body that a scan shows, estimated from its profile by fixed rules for adults.

Each level is scored for each part: a head is small with bone around it, a neck is small with bone at its centre, a
thorax has lungs or is wide and flat, an abdomen has a spine and little other bone, a pelvis has deep bone on both
sides, legs are two. Dynamic programming then finds the sequence of parts from feet to head that fits the scores best.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int64

from tomoseg.checks.body import BodyProfile
from tomoseg.language.words import part
from tomoseg.notices import Notice

PartName = Literal["legs", "pelvis", "abdomen", "thorax", "neck", "head"]
Certainty = Literal["likely", "unsure"]

PARTS: tuple[PartName, ...] = (
    part("legs"),
    part("pelvis"),
    part("abdomen"),
    part("thorax"),
    part("neck"),
    part("head"),
)

LIKELY_SCORE = 0.6
MOST_BORDER = 0.3
"""Maximum share of the image's border that is body; beyond it, the outline does not tell parts apart."""

TURNED_GAIN, TURNED_MM = 0.2, 150.0
"""Minimum gain in score per level from reversing the scan, and minimum length in mm, to report it as upside down."""

FRONT = 0.6
"""Position of the spine, 0 at the back to 1 at the front, above which a scan is back to front; 0.3 is usual."""

CHANGE_MM, SKIPPED = 15.0, 4.0
"""Cost of a change to the next part, as the length of levels with a score of 1, and its factor for each part that is
skipped: no thorax follows directly on a pelvis."""


@dataclass(frozen=True)
class Part:
    """A part of the body in a scan.

    Attributes:
        name: Name of the part.
        from_mm: Its lower end, in mm above the lowest slice.
        to_mm: Its upper end.
        certainty: `likely` if the mean score of its levels is at least `LIKELY_SCORE`, otherwise `unsure`.
    """

    name: PartName
    from_mm: float
    to_mm: float
    certainty: Certainty


def find_parts(profile: BodyProfile) -> tuple[tuple[Part, ...], tuple[Notice, ...]]:
    """Estimate the parts of the body in a scan.

    Args:
        profile: The profile of the scan.

    Returns:
        The parts from feet to head, none if the body's outline is cut off; and notices if the scan seems turned over.
    """
    levels = np.flatnonzero(profile.has_body)
    if levels.size == 0 or profile.border_share > MOST_BORDER:
        return (), ()
    scores = _scores(profile)[levels]
    change = max(1.0, CHANGE_MM / profile.step_mm)
    fit, path = _fit(scores, change)
    turned_fit, turned_path = _fit(scores[::-1], change)
    notices = []
    long_enough = levels.size * profile.step_mm >= TURNED_MM and len(set(turned_path.tolist())) > 1
    if long_enough and turned_fit - fit > TURNED_GAIN * levels.size:
        text = (
            f"From its lowest slice up, the body looks like {_told(turned_path[::-1])}; expected feet to head. "
            "The scan may be upside down: check its orientation, or convert it from DICOM again."
        )
        notices.append(Notice(text, "upside down"))
    elif _is_back_to_front(profile, levels[path == PARTS.index("abdomen")]):
        text = (
            "The spine lies at the front of the abdomen; expected at the back. The scan may be mirrored from back to "
            "front: check its orientation, or convert it from DICOM again."
        )
        notices.append(Notice(text, "back to front"))
    return _parts(path, scores, levels, profile.step_mm), tuple(notices)


def _scores(p: BodyProfile) -> Float64[np.ndarray, "n parts"]:
    """Score the similarity of each level to each part, 0 to 1."""
    no_lung = 1 - _up(p.lung, 0.04, 0.09)
    large = _up(p.area_cm2, 250, 350)
    flat = _up(p.width_mm / np.maximum(p.depth_mm, 1), 1.9, 2.4)
    shoulders = flat * _up(p.area_cm2, 180, 350) * (1 - _up(p.area_cm2, 700, 800))
    deep = _up(p.bone * p.lateral, 0.008, 0.02) * _up(p.deep_mm, 42, 58)
    two = np.maximum(_up(p.second, 0.4, 0.7), _up(p.lateral, 0.9, 1.0) * _up(p.deep_mm, 40, 55) * 0.7)
    long = _up(p.depth_mm / np.maximum(p.width_mm, 1), 1.05, 1.25) * _up(p.area_cm2, 180, 240)
    ring = _up(p.lateral, 0.35, 0.6) * np.maximum(_up(p.bone, 0.05, 0.09), long * _up(p.bone, 0.02, 0.04))
    skull = np.maximum(ring, _up(p.bone, 0.12, 0.18))
    small = 1 - _up(p.area_cm2, 320, 420)
    legs = two * no_lung * (1 - _up(p.bone, 0.15, 0.25))
    pelvis = large * no_lung * deep
    abdomen = large * no_lung * (1 - _up(p.bone, 0.05, 0.08)) * (1 - deep) * (1 - 0.6 * flat) * (1 - long)
    thorax = np.maximum(_up(p.lung, 0.04, 0.09), 0.8 * shoulders)
    neck = (1 - _up(p.area_cm2, 240, 360)) * (1 - skull) * no_lung * (1 - _up(p.second, 0.4, 0.7))
    return np.stack([legs, pelvis, abdomen, thorax, neck, small * skull], axis=1)


def _up(values: Float64[np.ndarray, " n"], low: float, high: float) -> Float64[np.ndarray, " n"]:
    return np.clip((values - low) / (high - low), 0, 1)


def _fit(scores: Float64[np.ndarray, "n parts"], change: float) -> tuple[float, Int64[np.ndarray, " n"]]:
    """Find the ascending sequence of parts with the highest sum of scores, less a cost for each change of part."""
    count, parts = scores.shape
    steps = np.subtract.outer(np.arange(parts), np.arange(parts)).astype(np.float64)  # [to, from]
    price = np.where(steps >= 0, change * (steps + SKIPPED * np.maximum(steps - 1, 0)), np.inf)
    best, came = scores[0], np.zeros((count, parts), np.int64)
    for level in range(1, count):
        reached = best - price
        came[level] = reached.argmax(axis=1)
        best = reached.max(axis=1) + scores[level]
    path = np.zeros(count, np.int64)
    path[-1] = best.argmax()
    for level in range(count - 1, 0, -1):
        path[level - 1] = came[level, path[level]]
    return float(best.max()), path


def _told(path: Int64[np.ndarray, " n"]) -> str:
    """Return the names of the parts along a path."""
    changes = np.flatnonzero(np.diff(path, prepend=-1))
    return ", ".join(PARTS[path[level]] for level in changes)


def _is_back_to_front(profile: BodyProfile, levels: Int64[np.ndarray, " n"]) -> bool:
    spine = profile.spine[levels]
    spine = spine[np.isfinite(spine)]
    return spine.size * profile.step_mm >= 40 and float(np.median(spine)) > FRONT


def _parts(
    path: Int64[np.ndarray, " n"], scores: Float64[np.ndarray, "n parts"], levels: Int64[np.ndarray, " n"], step: float
) -> tuple[Part, ...]:
    found = []
    for number, name in enumerate(PARTS):
        inside = path == number
        if inside.any():
            sure = float(scores[inside, number].mean()) >= LIKELY_SCORE
            first, last = levels[inside][[0, -1]]
            found.append(
                Part(name, round(first * step, 1), round((last + 1) * step, 1), "likely" if sure else "unsure")
            )
    return tuple(found)
