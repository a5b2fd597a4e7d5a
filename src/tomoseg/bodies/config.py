"""Every range that made bodies are drawn from. `docs/concepts/made-bodies.md` gives the reasons."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tomoseg.bodies.hu import HuConfig, Range
from tomoseg.settings import Config, Role

Share = Annotated[float, Field(ge=0, le=1)]


class ShapeConfig(Config):
    """How the anatomy is stretched, turned and bent. Folding is refused, so structures stay whole."""

    stretch: Range = (0.85, 1.15)
    """Scale along each axis of the body; 5th and 95th percentile of adult size against the mean (NHANES III)."""
    size: Range = (0.9, 1.1)
    """Scale of the whole body, times `stretch`."""
    turn_deg: Range = (-8, 8)
    """Turn about each axis: how patients lie on the table."""
    upside_down_share: Share = 0.01
    """Patients turned by 180 degrees about an axis, as after a wrong entry at the scanner; sides stay right."""
    bend_mm: Range = (2, 8)
    """Spread of a smooth random displacement."""
    bend_wavelength_mm: Range = (70, 180)
    """Size of its swells."""
    sway_mm: Range = (0, 12)
    """Bow of the whole body to the sides, and to front and back."""
    move_mm: Range = (0, 14)
    """Shift of single organs: breathing and build."""
    moved: tuple[int, int] = (0, 5)
    """How many organs are shifted."""
    lacking_share: Share = 0.35
    """Bodies without an organ that people can do without: gallbladder, kidney, spleen, adrenal, thyroid, prostate."""


class FleshConfig(Config):
    """What lies around and between the structures."""

    wall_mm: Range = (5, 22)
    """Muscles of chest and abdominal wall (Rankin et al., Muscle Nerve 34 (2006) 320: 10 to 30 mm)."""
    fat_mm: Range = (3, 55)
    """Fat under the skin of the trunk; most bodies have little (Storz et al., Eur Radiol 22 (2012))."""
    skin_mm: Range = (1.2, 2.8)
    """Thickness of the skin."""
    infiltration: Range = (0.02, 0.45)
    """Fat between the fibres of muscles: width of its streaks (Goodpaster)."""
    mesh: Range = (0.05, 0.4)
    """Vessels and strands in the fat between organs."""
    breasts_share: Share = 0.4
    """Bodies without a prostate that have breasts."""
    kidney_cortex_mm: Range = (5, 9)
    """Cortex of the kidney (Beland et al., AJR 195 (2010) W146)."""
    gut_wall_mm: Range = (1.2, 3.5)
    """Wall of stomach and bowel."""
    cord_fluid_mm: Range = (0.0, 4.0)
    """Fluid between what counts as cord and the cord itself: maps take in more or less of it."""
    stomach_gas: Range = (0.0, 0.6)
    """Share of the stomach that is gas, from the top; the rest is fluid or food."""
    small_bowel_gas: Range = (-0.4, 0.15)
    """The same of small bowel and duodenum; below 0 most loops have none."""
    colon_gas: Range = (-0.2, 0.8)
    """The same of the colon, beside stool."""
    stool_roughness_hu: Range = (5, 50)
    """Unevenness of stool; bubbles of gas from 30 up."""
    lung_vessels: Range = (0.10, 0.24)
    """Width of vessels in the lung."""
    clothes_share: Share = 0.3
    """Bodies under clothes or a blanket."""


class BonesConfig(Config):
    """Thickness of the shells of bones."""

    vertebra_mm: Range = (0.3, 0.9)
    """Bodies of vertebrae (Edwards et al., 2001: 0.2 to 0.6 mm; plates and osteophytes are thicker)."""
    arch_mm: Range = (0.8, 2.0)
    """Arches of vertebrae and their processes."""
    rib_mm: Range = (0.4, 1.2)
    """Ribs, collarbone (Mohr et al., J Trauma 2007)."""
    flat_mm: Range = (0.6, 2.0)
    """Pelvis, sacrum, shoulder blade, breastbone (Anderson et al., J Biomech Eng 127 (2005) 364)."""
    end_mm: Range = (0.5, 1.5)
    """Ends of long bones (Treece et al., Med Image Anal 14 (2010) 276)."""
    shaft_mm: Range = (3.0, 7.5)
    """Shafts of long bones (Treece)."""
    skull_mm: Range = (1.0, 2.6)
    """Each table of the skull; jaw."""
    unlike_share: Share = 0.12
    """Spread of the spongy bone of single bones about the body's mean."""


class ContrastConfig(Config):
    """Contrast medium."""

    native_share: Share = 0.35
    """Scans without contrast."""
    arterial_share: Share = 0.2
    """Arterial phase."""
    portal_share: Share = 0.35
    """Portal venous phase."""
    late_share: Share = 0.1
    """Late (excretory) phase; the four shares are taken relative to one another."""
    myelogram_share: Share = 0.03
    """Scans with contrast in the fluid around the cord (Prokop)."""
    oral_share: Share = 0.25
    """Scans with contrast in stomach and bowel."""
    structure_shift_hu: float = Field(6.0, ge=0)
    """Spread of single structures about their tissue's mean."""


class DiseaseConfig(Config):
    """What is ill or foreign."""

    calcified_share: Share = 0.4
    """Bodies with plaques in the walls of arteries."""
    cysts: tuple[int, int] = (0, 3)
    """Cysts in liver and kidneys."""
    masses: tuple[int, int] = (0, 2)
    """Solid masses in liver, spleen, pancreas and kidneys, and metastases in bones."""
    lesion_mm: Range = (3, 24)
    """Radius of cysts and masses."""
    effusion_share: Share = 0.12
    """Lungs with fluid or consolidation in the lower part."""
    metal_share: Share = 0.08
    """Bodies with metal: a hip or screws in vertebrae, where these are."""
    stones_share: Share = 0.1
    """Gallbladders with stones."""


class ViewConfig(Config):
    """The field of view."""

    whole_share: Share = 0.3
    """Scans of the whole anatomy from top to bottom; the others show a part."""
    height_mm: Range = (40, 600)
    """Height of a part, short ones as often as tall ones (drawn in its logarithm)."""
    narrow_share: Share = 0.25
    """Scans cut at the sides of the body."""
    narrow_mm: Range = (120, 320)
    """Width of those."""
    spine_share: Share = 0.5
    """Those about the spine, as of the back; the others are about any structure, or anywhere."""
    round_share: Share = 0.1
    """Square fields of view of which the scanner shows the inscribed circle."""
    air_mm: Range = (4, 70)
    """Air beside the body in the others."""
    off_centre_mm: Range = (-25, 25)
    """Shift of the field of view."""
    table_share: Share = 0.85
    """Scans that show the table."""
    prone_share: Share = 0.04
    """Patients on their belly: gas and table are on the other side."""
    arms_share: Share = 0.3
    """Bodies with arms beside the trunk, where the anatomy has none."""


class ScannerConfig(Config):
    """The scan."""

    own_grid_share: Share = 0.0
    """Scans of a dataset that are written on the scanner's own pixels and slices, not on the voxels asked for."""
    pixel_mm: Range = (0.4, 1.6)
    """Pixel edge of the scanner's own grid."""
    slice_mm: Range = (0.6, 7.0)
    """Slice thickness, drawn in its logarithm."""
    kernel_fwhm_mm: Range = (0.6, 1.9)
    """Blur of the reconstruction kernel: sharp for bone to soft (Kalender, chapter 4)."""
    noise_hu: Range = (5, 22)
    """Noise in soft tissue of 5 mm slices at 1 mm; thinner slices have more (Kalender, chapter 5)."""
    noise_grain_mm: Range = (0.8, 2.6)
    """Size of its grains: fine with sharp kernels, coarse after iterative reconstruction."""
    streaks: Range = (0, 1)
    """Noise along the widest way through shoulders and pelvis, where fewest photons come through."""
    hardening_hu: Range = (0, 25)
    """Dark bands between dense bones."""
    cupping_hu: Range = (0, 8)
    """Darker middle of the body."""
    texture_hu: float = Field(4.0, ge=0)
    """Uneven HU within organs."""
    samples_mm: float = Field(1.7, gt=0)
    """Tissues within a voxel are told at points at most so far apart: partial volume."""


class BodyConfig(Config):
    """What bodies are made of label maps with, and scanned with. Ranges are drawn from evenly unless said otherwise.

    Example:
        >>> BodyConfig(scanner=ScannerConfig(noise_hu=(3, 5))).scanner.noise_hu
        (3.0, 5.0)
    """

    shape: Annotated[ShapeConfig, Role.RESULT] = ShapeConfig()
    """Stretching, turning, bending."""
    flesh: Annotated[FleshConfig, Role.RESULT] = FleshConfig()
    """Around and between the structures."""
    bones: Annotated[BonesConfig, Role.RESULT] = BonesConfig()
    """Shells of bones."""
    contrast: Annotated[ContrastConfig, Role.RESULT] = ContrastConfig()
    """Contrast medium."""
    disease: Annotated[DiseaseConfig, Role.RESULT] = DiseaseConfig()
    """Illness and metal."""
    view: Annotated[ViewConfig, Role.RESULT] = ViewConfig()
    """Field of view."""
    scanner: Annotated[ScannerConfig, Role.RESULT] = ScannerConfig()
    """Blur, noise, artefacts."""
    hu: Annotated[HuConfig, Role.RESULT] = HuConfig()
    """HU of tissues."""
