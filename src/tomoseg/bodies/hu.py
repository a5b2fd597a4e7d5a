"""Hounsfield units of tissues by contrast phase, each range with where it is published.

Sources named in short below:

- *Prokop*: Prokop and Galanski, Spiral and Multislice Computed Tomography of the Body, Thieme 2003.
- *Kalender*: Kalender, Computed Tomography, 3rd edition, Publicis 2011, chapter 1 (HU of tissues).
- *Bae*: Bae, Radiology 256 (2010) 32-61 (contrast medium and scan timing; enhancement of vessels and organs).
- *Pickhardt*: Pickhardt et al., Ann Intern Med 158 (2013) 588-595 (trabecular bone); Pickhardt et al., AJR 197 (2011)
  W151 (liver and spleen, unenhanced).
- *Schneider*: Schneider et al., Phys Med Biol 45 (2000) 459-478 (HU of bone, muscle, fat, lung).
- *Goodpaster*: Goodpaster et al., J Appl Physiol 89 (2000) 104-110 (muscle and the fat in it).
- *Yuh*: Yuh and Cohan, AJR 173 (1999) 747-757 (the kidney by phase).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from tomoseg.settings import Config

Phase = Literal["native", "arterial", "portal", "late"]
PHASES: tuple[Phase, ...] = ("native", "arterial", "portal", "late")


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"expected the lower end first, got {list(value)}")
    return value


def _positive(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] <= 0:
        raise ValueError(f"expected numbers above 0, got {list(value)}")
    return value


def _count(value: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= value[0] <= value[1]:
        raise ValueError(f"expected two numbers from 0 up, the lower one first, got {list(value)}")
    return value


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""The ends of what is drawn from, both included."""
Positive = Annotated[tuple[float, float], AfterValidator(_ordered), AfterValidator(_positive)]
"""The same of what cannot be 0 or less."""
Count = Annotated[tuple[int, int], AfterValidator(_count)]
"""The fewest and the most."""

ByPhase = tuple[Range, Range, Range, Range]
"""For native, arterial, portal venous and late scans."""


def same(low: float, high: float) -> ByPhase:
    """One range for all phases."""
    return ((low, high),) * 4


class HuConfig(Config):
    """Mean HU of tissues: ranges for native, arterial, portal venous and late (3 to 10 minutes) scans.

    Example:
        >>> HuConfig().liver[0]
        (35, 68)
    """

    liver: ByPhase = ((35, 68), (50, 85), (85, 135), (70, 105))
    """Liver; below 40 where fatty (Prokop; Bae; Pickhardt)."""
    spleen: ByPhase = ((38, 56), (85, 150), (100, 145), (75, 105))
    """Spleen (Prokop; Pickhardt)."""
    pancreas: ByPhase = ((20, 50), (60, 130), (60, 115), (45, 85))
    """Pancreas without the fat between its lobules (Prokop; Bae); see `DiseaseConfig.fatty_pancreas`."""
    kidney_cortex: ByPhase = ((26, 42), (120, 220), (150, 230), (110, 170))
    """Cortex of the kidney: bright before the marrow is (Yuh)."""
    kidney_medulla: ByPhase = ((24, 40), (45, 95), (120, 210), (110, 180))
    """Marrow of the kidney (Yuh)."""
    kidney_pelvis: ByPhase = ((-60, 12), (-60, 15), (-40, 40), (150, 900))
    """Fat and urine in the sinus of the kidney; excreted contrast when late (Yuh)."""
    adrenal: ByPhase = ((5, 38), (40, 85), (45, 95), (30, 65))
    """Adrenal glands (Prokop)."""
    thyroid: ByPhase = ((75, 125), (130, 220), (120, 190), (100, 160))
    """Thyroid: iodine of its own (Prokop)."""
    gland: ByPhase = ((-20, 45), (20, 100), (20, 95), (0, 70))
    """Salivary glands: the more fat the darker (Prokop)."""
    prostate: ByPhase = ((30, 48), (40, 75), (50, 95), (45, 85))
    """Prostate and other organs of the lower pelvis (Prokop)."""
    mass: ByPhase = ((20, 48), (30, 120), (40, 110), (35, 90))
    """Solid tumours and metastases (Prokop)."""
    fluid: ByPhase = same(-4, 20)
    """Cysts, effusions, cerebrospinal fluid (Kalender; Prokop)."""
    effusion: ByPhase = same(-5, 35)
    """Fluid beside lungs and in the belly (Abramowitz et al., AJR 192 (2009) 618: -21 to 32; Gümüş et al., Clinics 79
    (2024): 5 and 15 in the mean)."""
    bile: ByPhase = same(0, 22)
    """Bile (Prokop)."""
    urine: ByPhase = ((-3, 14), (-3, 15), (-2, 20), (10, 600))
    """Urine; contrast comes down when late (Prokop)."""
    gut_wall: ByPhase = ((30, 48), (55, 110), (65, 115), (50, 85))
    """Wall of stomach and bowel (Prokop)."""
    gut_fluid: ByPhase = same(0, 32)
    """Fluid and chyme in stomach and bowel (Prokop)."""
    gut_contrast: ByPhase = same(120, 450)
    """Contrast taken by mouth (Prokop)."""
    stool: ByPhase = same(5, 75)
    """Stool, without the gas in it (Prokop)."""
    heart_muscle: ByPhase = ((38, 52), (80, 125), (90, 125), (70, 100))
    """Muscle of the heart (Bae)."""
    artery: ByPhase = ((32, 52), (200, 430), (110, 190), (80, 130))
    """Blood in arteries (Bae)."""
    left_blood: ByPhase = ((32, 52), (190, 420), (110, 190), (80, 130))
    """Blood in the left heart (Bae)."""
    right_blood: ByPhase = ((32, 52), (120, 450), (105, 185), (80, 130))
    """Blood in the right heart: denser yet where contrast still flows in (Bae)."""
    lung_blood: ByPhase = ((32, 52), (140, 420), (105, 185), (80, 130))
    """Blood in the large vessels of the lung (Bae)."""
    upper_vein: ByPhase = ((32, 52), (70, 800), (100, 180), (80, 130))
    """Blood in the veins of arms and neck; undiluted contrast on the side of the injection (Bae)."""
    lower_vein: ByPhase = ((32, 52), (38, 100), (85, 175), (80, 130))
    """Blood in the lower vena cava and the veins of the pelvis (Bae)."""
    portal_blood: ByPhase = ((32, 52), (45, 160), (130, 210), (85, 135))
    """Blood in the portal and the splenic vein (Bae)."""
    muscle: ByPhase = ((35, 62), (38, 68), (45, 75), (42, 72))
    """Muscle without the fat between its fibres (Goodpaster; Kalender)."""
    soft: ByPhase = ((20, 60), (30, 90), (35, 100), (30, 85))
    """Generic soft tissue, for structures of other names (Kalender)."""
    fat: ByPhase = same(-120, -88)
    """Fat (Kalender; Goodpaster)."""
    skin: ByPhase = same(-20, 50)
    """Skin (Schneider)."""
    brain: ByPhase = ((27, 38), (30, 44), (30, 44), (30, 42))
    """Brain, grey and white together (Kalender)."""
    cord: ByPhase = ((28, 42), (30, 46), (32, 48), (32, 46))
    """Spinal cord with what is around it (Kalender)."""
    myelogram: ByPhase = same(250, 1200)
    """Fluid around the cord with contrast in it."""
    disc: ByPhase = same(55, 105)
    """Discs between vertebrae (Prokop)."""
    cartilage: ByPhase = same(70, 145)
    """Cartilage of the ribs (Schneider)."""
    bone: ByPhase = same(-10, 230)
    """Spongy bone within vertebrae, pelvis, ribs; below 100 in osteoporosis, about 0 in the oldest (Pickhardt)."""
    bone_end: ByPhase = same(-20, 330)
    """Spongy bone in the ends of femur and humerus; below 0 where it is marrow of fat (Schneider)."""
    marrow: ByPhase = same(-80, 60)
    """Marrow in their shafts: mostly fat (Schneider)."""
    skull: ByPhase = same(250, 700)
    """Spongy bone within skull and jaw (Schneider)."""
    cortical: ByPhase = same(750, 1500)
    """Cortical bone without the spongy bone that a voxel also holds (Schneider)."""
    lung: ByPhase = same(-900, -720)
    """Lung with its small vessels (Kalender; Schneider)."""
    airless: ByPhase = ((10, 55), (20, 80), (20, 90), (20, 80))
    """Lung without air: collapsed or filled (Prokop)."""
    air: ByPhase = same(-1000, -985)
    """Air (Kalender)."""
    calcification: ByPhase = same(180, 1100)
    """Calcified plaques, stones, lymph nodes (Prokop)."""
    metal: ByPhase = same(2600, 3071)
    """Metal, cut off where scanners cut it off."""


TISSUES: tuple[str, ...] = tuple(HuConfig.model_fields)
