"""Hounsfield units of tissues by contrast phase.

A range with a name behind it was compared with the figures of that publication, given with the range or below. Where
it says *our estimate* nobody did: such ranges are what textbooks of CT agree on, made wide on purpose.

- *Abramowitz*: Abramowitz et al., AJR 192 (2009) 618: fluid beside lungs, -21 to 32 HU.
- *Cala*: Cala et al., AJNR 2 (1981) 41: healthy brains, 34 +- 3 HU in all, white matter 30 +- 3, deep grey 33 +- 3.
- *Choi*: Choi et al., Oral Surg Oral Med Oral Pathol 92 (2001) 240, and the thesis of 1999 behind it: glands of healthy
  people without contrast, parotid -4 +- 24 HU, submandibular 50 +- 16.
- *Goodpaster*: Goodpaster et al., J Appl Physiol 89 (2000) 104: muscle with the fat in it, lean 49 +- 3 HU, obese
  39 +- 8, obese with diabetes 34 +- 4.
- *Jang*: Jang et al., Radiology 291 (2019) 360: spongy bone of L1 in 20374 adults, 226 +- 44 HU below 30 years, 2.5 HU
  less with each year, 89 +- 38 from 90 up.
- *MDCT*: "MDCT of the liver and hypervascular hepatocellular carcinomas", AJR, 171 patients: gain over the native scan
  in the arterial phase aorta 300 to 336 HU, spleen 97 to 108, liver 15 to 25, portal vein 75 to 104, veins of the liver
  24 to 51; in the portal phase liver 59 to 63, aorta 117 to 125, spleen 73 to 82.
- *Rosenquist*: Framingham Heart Study, PMC3745280: fat in the belly -94 HU in the mean (-106 to -79), under the skin
  less.
- *Steatosis*: doi:10.1007/s00414-019-02016-1: livers without disease 58 +- 9 HU, very fatty ones 32 +- 14.
- *Thyroid*: doi:10.1148/radiology.147.3.6844615: healthy 118 +- 12 HU, with inflammation 61 to 70.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from tomoseg.settings import Config

Phase = Literal["native", "arterial", "portal", "late"]
PHASES: tuple[Phase, ...] = ("native", "arterial", "portal", "late")


def _ordered(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"expected the lower bound first, got {list(value)}")
    return value


def _positive(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] <= 0:
        raise ValueError(f"expected numbers above 0, got {list(value)}")
    return value


def _count(value: tuple[int, int]) -> tuple[int, int]:
    if not 0 <= value[0] <= value[1]:
        raise ValueError(f"expected two numbers of 0 or more, the lower one first, got {list(value)}")
    return value


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
"""Lower and upper end of a range to draw from, both included."""
Positive = Annotated[tuple[float, float], AfterValidator(_ordered), AfterValidator(_positive)]
"""A range of values above 0."""
Count = Annotated[tuple[int, int], AfterValidator(_count)]
"""Least and greatest number, both included."""

ByPhase = tuple[Range, Range, Range, Range]
"""Ranges for native, arterial, portal venous and late scans."""


def same(low: float, high: float) -> ByPhase:
    """Return the same range for every phase."""
    return ((low, high),) * 4


class HuConfig(Config):
    """Mean HU of tissues: ranges for native, arterial, portal venous and late (3 to 10 minutes) scans.

    Example:
        >>> HuConfig().liver[0]
        (35, 68)
    """

    liver: ByPhase = ((35, 68), (50, 85), (85, 135), (70, 105))
    """Liver; below 40 where fatty, see `DiseaseConfig.fatty_liver` (Steatosis; MDCT; late: our estimate)."""
    spleen: ByPhase = ((38, 56), (85, 150), (100, 145), (75, 105))
    """Spleen (MDCT; native and late: our estimate)."""
    pancreas: ByPhase = ((20, 50), (60, 130), (60, 115), (45, 85))
    """Pancreas without the fat between its lobules, see `DiseaseConfig.fatty_pancreas`; our estimate."""
    kidney_cortex: ByPhase = ((26, 42), (120, 220), (150, 230), (110, 170))
    """Cortex of the kidney: bright before the marrow is; our estimate."""
    kidney_medulla: ByPhase = ((24, 40), (45, 95), (120, 210), (110, 180))
    """Marrow of the kidney; our estimate."""
    kidney_pelvis: ByPhase = ((-60, 12), (-60, 15), (-40, 40), (150, 900))
    """Fat and urine in the sinus of the kidney; excreted contrast when late; our estimate."""
    adrenal: ByPhase = ((5, 38), (40, 85), (45, 95), (30, 65))
    """Adrenal glands; our estimate."""
    thyroid: ByPhase = ((75, 125), (130, 220), (120, 190), (100, 160))
    """Thyroid: iodine of its own (Thyroid; with contrast: our estimate)."""
    gland: ByPhase = ((-20, 45), (20, 100), (20, 95), (0, 70))
    """Salivary glands: the more fat the darker (Choi; with contrast: our estimate)."""
    prostate: ByPhase = ((30, 48), (40, 75), (50, 95), (45, 85))
    """Prostate and other organs of the lower pelvis; our estimate."""
    mass: ByPhase = ((20, 48), (30, 120), (40, 110), (35, 90))
    """Solid tumours and metastases; our estimate."""
    fluid: ByPhase = same(-4, 20)
    """Cysts, cerebrospinal fluid; our estimate, below the 20 HU that simple cysts do not reach."""
    effusion: ByPhase = same(-5, 35)
    """Fluid beside lungs and in the belly (Abramowitz; Gümüş et al., Clinics 79 (2024): 5 and 15 in the mean)."""
    bile: ByPhase = same(0, 22)
    """Bile; our estimate."""
    urine: ByPhase = ((-3, 14), (-3, 15), (-2, 20), (10, 600))
    """Urine; contrast comes down when late; our estimate."""
    gut_wall: ByPhase = ((30, 48), (55, 110), (65, 115), (50, 85))
    """Wall of stomach and bowel; our estimate."""
    gut_fluid: ByPhase = same(0, 32)
    """Fluid and chyme in stomach and bowel; our estimate."""
    gut_contrast: ByPhase = same(120, 450)
    """Contrast taken by mouth; our estimate."""
    stool: ByPhase = same(5, 75)
    """Stool, without the gas in it; our estimate."""
    heart_muscle: ByPhase = ((38, 52), (80, 125), (90, 125), (70, 100))
    """Muscle of the heart; our estimate."""
    artery: ByPhase = ((32, 52), (200, 430), (110, 190), (80, 130))
    """Blood in arteries (MDCT; native and late: our estimate)."""
    left_blood: ByPhase = ((32, 52), (190, 420), (110, 190), (80, 130))
    """Blood in the left heart; our estimate, as in arteries."""
    right_blood: ByPhase = ((32, 52), (120, 450), (105, 185), (80, 130))
    """Blood in the right heart: denser yet where contrast still flows in; our estimate."""
    lung_blood: ByPhase = ((32, 52), (140, 420), (105, 185), (80, 130))
    """Blood in the large vessels of the lung; our estimate."""
    upper_vein: ByPhase = ((32, 52), (70, 800), (100, 180), (80, 130))
    """Blood in the veins of arms and neck; undiluted contrast on the side of the injection; our estimate."""
    lower_vein: ByPhase = ((32, 52), (38, 100), (85, 175), (80, 130))
    """Blood in the lower vena cava and the veins of the pelvis; our estimate."""
    portal_blood: ByPhase = ((32, 52), (45, 160), (130, 210), (85, 135))
    """Blood in the portal and the splenic vein (MDCT for the arterial phase; else our estimate)."""
    muscle: ByPhase = ((35, 62), (38, 68), (45, 75), (42, 72))
    """Muscle without the fat between its fibres (Goodpaster; with contrast: our estimate)."""
    soft: ByPhase = ((20, 60), (30, 90), (35, 100), (30, 85))
    """Generic soft tissue, for structures of other names; our estimate."""
    fat: ByPhase = same(-120, -88)
    """Fat, of the belly and darker under the skin (Rosenquist)."""
    skin: ByPhase = same(-20, 50)
    """Skin; our estimate."""
    brain: ByPhase = ((27, 38), (30, 44), (30, 44), (30, 42))
    """Brain, grey and white together (Cala; with contrast: our estimate)."""
    cord: ByPhase = ((28, 42), (30, 46), (32, 48), (32, 46))
    """Spinal cord with what is around it; our estimate."""
    myelogram: ByPhase = same(250, 1200)
    """Fluid around the cord with contrast in it; our estimate."""
    disc: ByPhase = same(55, 105)
    """Discs between vertebrae; our estimate."""
    cartilage: ByPhase = same(70, 145)
    """Cartilage of the ribs; our estimate."""
    bone: ByPhase = same(-10, 230)
    """Spongy bone within vertebrae, pelvis, ribs; below 100 in osteoporosis, about 0 in the oldest (Jang)."""
    bone_end: ByPhase = same(-20, 330)
    """Spongy bone in the ends of femur and humerus; below 0 where it is marrow of fat; our estimate."""
    marrow: ByPhase = same(-80, 60)
    """Marrow in their shafts: mostly fat; our estimate."""
    skull: ByPhase = same(250, 700)
    """Spongy bone within skull and jaw; our estimate."""
    cortical: ByPhase = same(750, 1500)
    """Cortical bone without the spongy bone that a voxel also holds; our estimate."""
    lung: ByPhase = same(-900, -720)
    """Lung with its small vessels; our estimate."""
    airless: ByPhase = ((10, 55), (20, 80), (20, 90), (20, 80))
    """Lung without air: collapsed or filled; our estimate."""
    air: ByPhase = same(-1000, -985)
    """Air; the definition of HU."""
    calcification: ByPhase = same(180, 1100)
    """Calcified plaques, stones, lymph nodes; our estimate."""
    metal: ByPhase = same(2600, 3071)
    """Metal, cut off where scanners cut it off; our estimate."""


TISSUES: tuple[str, ...] = tuple(HuConfig.model_fields)
