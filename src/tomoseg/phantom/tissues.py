"""HU of tissues by contrast phase.

All structures of one tissue share one distribution, so that intensity alone cannot tell them apart: every muscle, every
bone, every artery, every lobe of the lungs.

Typical values, our estimate after textbooks of CT (Prokop and Galanski, 2003; Kalender, 2011), which the table below
stays within (tests check it):

| tissue | HU | | tissue | HU |
|---|---|---|---|---|
| air | -1000 | | liver, unenhanced; portal venous | 50..65; 90..130 |
| lung | -900..-700 | | spleen, unenhanced; portal venous | 40..55; 100..140 |
| fat | -120..-60 | | kidney, unenhanced; enhanced | 25..45; 140..220 |
| water, cyst, urine | 0..15 | | pancreas, unenhanced; enhanced | 30..50; 80..120 |
| bile | 0..20 | | blood, unenhanced | 35..50 |
| brain | 25..40 | | artery, arterial phase | 250..400 |
| muscle | 45..70 | | veins, portal venous | 110..180 |
| cartilage | 80..130 | | thyroid, unenhanced | 80..120 |
| trabecular bone | 100..300 | | cortical bone | 500..1500 |
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32

Phase = Literal["unenhanced", "arterial", "portal"]
PHASES: tuple[Phase, ...] = ("unenhanced", "arterial", "portal")

CORTICAL_HU = 750.0
CORTEX_MM = 2.0
"""Thickness of the cortical shell; at usual voxel sizes it is blurred with its surroundings, as in a scan."""

# name: mean HU unenhanced, arterial and portal venous, and the standard deviation of its texture in HU
_TABLE: dict[str, tuple[float, float, float, float]] = {
    "air": (-1000, -1000, -1000, 0),
    "lung": (-840, -830, -830, 18),
    "lung_vessel": (30, 90, 70, 0),
    "fat": (-105, -103, -102, 5),
    "skin": (5, 10, 10, 5),
    "muscle": (56, 60, 64, 6),
    "brain": (33, 35, 36, 2),
    "csf": (8, 8, 8, 2),
    "eye": (12, 12, 12, 1),
    "liver": (58, 68, 108, 4),
    "spleen": (50, 118, 116, 4),
    "pancreas": (43, 96, 92, 6),
    "kidney": (35, 165, 180, 6),
    "adrenal": (25, 60, 66, 3),
    "thyroid": (100, 165, 150, 5),
    "prostate": (40, 52, 62, 4),
    "gut_wall": (42, 70, 82, 3),
    "gut_fluid": (16, 16, 18, 6),
    "stool": (35, 35, 38, 45),
    "urine": (6, 6, 8, 1),
    "bile": (10, 10, 12, 1),
    "cyst": (8, 8, 9, 1),
    "myocardium": (46, 98, 100, 3),
    "artery": (42, 290, 150, 3),
    "left_heart": (42, 285, 150, 3),
    "right_heart": (42, 210, 145, 3),
    "upper_vein": (42, 170, 140, 3),
    "lower_vein": (42, 75, 140, 3),
    "portal_vein": (42, 110, 165, 3),
    "cartilage": (105, 105, 108, 8),
    "disc": (82, 82, 84, 6),
    "bone": (205, 210, 215, 22),
    "cord": (36, 38, 38, 2),
    "bronchus_wall": (20, 30, 30, 2),
    "table": (-40, -40, -40, 0),
    "foam": (-930, -930, -930, 3),
}

TISSUES: tuple[str, ...] = tuple(_TABLE)
TISSUE_NUMBER: dict[str, int] = {name: number for number, name in enumerate(TISSUES)}
_STEADY = ("air", "foam", "table", "fat", "lung", "lung_vessel")


@dataclass(frozen=True)
class TissueTable:
    """Mean HU and texture (standard deviation in HU) of each tissue in one scan, by tissue number."""

    phase: Phase
    mean: Float32[np.ndarray, "t"]
    texture: Float32[np.ndarray, "t"]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> TissueTable:
        """Draw a contrast phase, and each tissue's mean around its typical value."""
        phase: Phase = PHASES[int(rng.choice(3, p=[0.25, 0.2, 0.55]))]
        values = np.array(list(_TABLE.values()), np.float32)
        mean = values[:, PHASES.index(phase)]
        loose = np.array([name not in _STEADY for name in TISSUES])
        shift = rng.normal(0, 1, len(mean)).clip(-1.8, 1.8) * (1.2 + 0.035 * np.maximum(mean, 0))
        mean = mean + np.where(loose, shift, 0.3 * rng.normal(0, 1, len(mean)).clip(-2, 2) * (mean > -990) * 8)
        return cls(phase, mean.astype(np.float32), values[:, 3].copy())

    def hu(self, tissue: str) -> float:
        """Mean HU of a tissue."""
        return float(self.mean[TISSUE_NUMBER[tissue]])
