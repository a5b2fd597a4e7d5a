"""Bone where none should be: spurs at the rims of vertebrae, callus of broken ribs. It counts as its bone."""

from __future__ import annotations

import numpy as np

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.config import DiseaseConfig
from tomoseg.bodies.inserts import UNLABELLED, Capsule

_BODY_SHARE = 0.45
"""The body of a vertebra is the front of it."""
_RIM_MM = 4.0


def draw_spurs(anatomy: Anatomy, shown: set[int], config: DiseaseConfig, rng: np.random.Generator) -> list[Capsule]:
    """Draw spurs and callus of one body."""
    found: list[Capsule] = []
    spine, broken = rng.random() < config.spurs_share, rng.random() < config.callus_share
    vertebrae = [n for n in sorted(shown) if anatomy.kinds[n - 1].shell == "vertebra"]
    for number in rng.permutation(vertebrae)[: -(-len(vertebrae) // 2)] if spine else ():
        found += _of_vertebra(anatomy, int(number), config, rng)
    ribs = [n for n in sorted(shown) if anatomy.labels.names[n - 1].startswith("rib")]
    for number in rng.permutation(ribs)[: rng.integers(1, 4)] if broken else ():
        found.append(_callus(anatomy, int(number), config, rng))
    return found


def _of_vertebra(anatomy: Anatomy, number: int, config: DiseaseConfig, rng: np.random.Generator) -> list[Capsule]:
    """Draw spurs at the front rims of a vertebra's upper or lower end."""
    box = anatomy.boxes[number]
    found = (np.argwhere(anatomy.numbers[box] == number) + [side.start for side in box]) * np.array(anatomy.spacing_mm)
    body = found[found[:, 1] > np.quantile(found[:, 1], 1 - _BODY_SHARE)]
    if not len(body):  # cut down to one row of voxels
        return []
    low, high = np.quantile(body[:, 2], (0.03, 0.97))
    pieces = []
    for _ in range(int(rng.integers(1, 4))):
        end, way = ((low, -1.0), (high, 1.0))[int(rng.integers(2))]
        rim = body[np.abs(body[:, 2] - end) < _RIM_MM]
        if not len(rim):
            continue
        angle = np.deg2rad(rng.uniform(-75, 75))
        towards = np.array([np.sin(angle), np.cos(angle)])
        start = rim[np.argmax((rim[:, :2] - rim[:, :2].mean(0)) @ towards)]
        length = rng.uniform(*config.spur_mm)
        tip = start + np.array([*(length * towards), way * rng.uniform(0, 0.8) * length])
        pieces.append(_bone(start, tip, rng.uniform(1.5, 3.2), number, config, rng))
    return pieces


def _callus(anatomy: Anatomy, number: int, config: DiseaseConfig, rng: np.random.Generator) -> Capsule:
    """Draw callus around one place of a rib."""
    box = anatomy.boxes[number]
    found = np.argwhere(anatomy.numbers[box] == number) + [side.start for side in box]
    at = found[int(rng.integers(len(found)))] * np.array(anatomy.spacing_mm)
    return _bone(at, at, rng.uniform(5, 8), number, config, rng)


def _bone(
    start: np.ndarray, end: np.ndarray, radius: float, number: int, config: DiseaseConfig, rng: np.random.Generator
) -> Capsule:
    a, b = (tuple(float(v) for v in at) for at in (start, end))
    hu = rng.uniform(*config.spur_hu)
    return Capsule((a[0], a[1], a[2]), (b[0], b[1], b[2]), radius, 0.0, hu, hu, UNLABELLED, number)
