"""Every range that synthetic bodies are drawn from. `docs/concepts/synthetic-bodies.md` gives the reasons.

Where a publication is named its figures were looked up. Every other range is our estimate: wide enough to hold what
one sees in hospitals. Shares are our estimate throughout, chosen so that each kind of body is among some hundred.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tomoseg.bodies.hu import Count, HuConfig, Positive, Range
from tomoseg.settings import Config, Role

Share = Annotated[float, Field(ge=0, le=1)]


class ShapeConfig(Config):
    """How the anatomy is stretched, turned and bent. Folding is refused, so structures stay whole."""

    stretch: Positive = (0.85, 1.15)
    """Scale along each axis of the body; our estimate."""
    size: Positive = (0.9, 1.1)
    """Scale of the whole body, times `stretch`."""
    turn_deg: Range = (-8, 8)
    """Rotation about each axis in degrees: how patients lie on the table."""
    upside_down_share: Share = 0.01
    """Patients turned by 180 degrees about an axis, as after a wrong entry at the scanner; sides stay right."""
    bend_mm: Range = (2, 8)
    """Standard deviation in mm of a smooth random displacement."""
    bend_wavelength_mm: Positive = (70, 180)
    """Wavelength of that displacement in mm."""
    sway_mm: Range = (0, 12)
    """Bow of the whole body to the sides, and to front and back."""
    move_mm: Range = (0, 14)
    """Shift of single organs: breathing and build."""
    moved: Count = (0, 5)
    """How many organs are shifted."""
    scoliosis_share: Share = 0.08
    """Bodies whose spine is bowed to the sides: that of 38 % of adults is a little (McAviney et al., Eur Spine J 29
    (2020) 2960)."""
    scoliosis_mm: Range = (12, 35)
    """Deviation of such a spine in mm, at its largest."""
    collapsed_share: Share = 0.06
    """Bodies with one to three collapsed vertebrae: below 5 % before 60 years, 18 % from 80 up (NHANES, PMC7422504);
    11 to 19 % of women from 65 up (doi:10.1359/jbmr.080411)."""
    collapsed: Positive = (0.55, 0.85)
    """Remaining share of the height of such vertebrae, in the middle."""
    swollen_share: Share = 0.6
    """Bladders and stomachs that are emptier or fuller than in the map."""
    swollen: Positive = (0.65, 1.4)
    """Length of such organs relative to the map."""
    lacking_share: Share = 0.35
    """Bodies without organs that people can do without: gallbladder, kidney, spleen, adrenal, thyroid, prostate."""
    lacking: Count = (1, 3)
    """Number of organs that such bodies lack."""
    women_share: Share = 0.3
    """Share of maps with a prostate from which bodies without one are made."""


class FleshConfig(Config):
    """What lies around and between the structures."""

    wall_mm: Range = (5, 22)
    """Muscles of chest and abdominal wall; our estimate."""
    fat_mm: Range = (3, 55)
    """Fat under the skin of the trunk; most bodies have little; our estimate."""
    skin_mm: Range = (1.2, 2.8)
    """Thickness of the skin."""
    infiltration: Range = (0.02, 0.45)
    """Fat between the fibres of muscles: width of its streaks; our estimate."""
    mesh: Range = (0.05, 0.4)
    """Vessels and strands in the fat between organs."""
    breasts_share: Share = 0.4
    """Bodies without a prostate that have breasts."""
    breast_mm: Positive = (38, 68)
    """Radius of the breasts."""

    kidney_cortex_mm: Range = (5, 9)
    """Cortex of the kidney: in failing kidneys 5.9 mm in the mean, 3.2 to 11 (Beland et al., AJR 195 (2010) W146)."""
    gut_wall_mm: Range = (1.2, 3.5)
    """Wall of stomach and bowel."""
    cord_fluid_mm: Range = (0.0, 4.0)
    """Fluid between what counts as cord and the cord itself: maps take in more or less of it."""
    stomach_gas: Range = (0.0, 0.6)
    """Share of the stomach that is gas, from the top; the rest is fluid or food."""
    small_bowel_gas: Range = (-0.4, 0.15)
    """Share of small bowel and duodenum that is gas; below 0 most loops contain none."""
    colon_gas: Range = (-0.2, 0.8)
    """Share of the colon that is gas; the rest is stool."""
    stool_roughness_hu: Range = (5, 50)
    """Unevenness of stool; bubbles of gas from 30 up."""
    food_roughness_hu: Range = (2, 35)
    """Unevenness of the contents of the stomach."""
    chyme_roughness_hu: Range = (2, 12)
    """Unevenness of the contents of the small bowel."""
    lung_vessels: Range = (0.10, 0.24)
    """Width of vessels in the lung: large ones some 4 cm apart, and a fifth as wide, some 8 mm apart, small ones."""
    bundles: Range = (0.0, 0.09)
    """Planes of fat between muscles that the map does not distinguish."""
    clothes_share: Share = 0.3
    """Bodies under clothes or a blanket."""
    clothes_mm: Range = (0.4, 1.5)
    """Half the thickness of clothes and blankets."""
    clothes_gap_mm: Range = (2, 8)
    """Distance of clothes and blankets from the skin."""
    mask_gap_mm: Range = (0.5, 3)
    """Distance of masks and moulds from the skin."""
    mask_share: Share = 0.3
    """Share of covered bodies whose cover is a close-fitting mask or mould, as in radiotherapy."""
    clothes_hu: Range = (-950, -600)
    """HU of clothes and blankets."""
    mask_hu: Range = (-500, 100)
    """HU of masks and moulds."""
    mucosa: Range = (-0.6, 1.0)
    """How free nose and sinuses are of mucosa and fluid."""


class BonesConfig(Config):
    """Thickness of the shells of bones."""

    vertebra_mm: Range = (0.25, 0.6)
    """Bodies of vertebrae: 0.24 to 0.29 mm in the mean (Ritzel et al., J Bone Miner Res 12 (1997) 89), 0.35 in another
    series (Silva et al., Bone 15 (1994) 409)."""
    arch_mm: Range = (0.8, 2.0)
    """Arches of vertebrae and their processes; our estimate."""
    rib_mm: Range = (0.4, 0.8)
    """Ribs, collarbone; our estimate: the thickest place of the sixth rib has 1.4 mm (Holcombe et al., J Anat 235
    (2019) 883)."""
    flat_mm: Range = (0.4, 1.3)
    """Pelvis, sacrum, shoulder blade, breastbone; our estimate."""
    end_mm: Range = (0.5, 1.5)
    """Ends of long bones: 0.3 to 4 mm from head to shaft of the femur (Treece et al., Med Image Anal 14 (2010) 276)."""
    shaft_mm: Range = (3.0, 7.5)
    """Shafts of long bones; our estimate."""
    skull_mm: Range = (1.0, 2.6)
    """Each table of the skull; jaw; our estimate."""
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
    """Scans with contrast in the fluid around the cord."""
    oral_share: Share = 0.25
    """Scans with contrast in stomach and bowel."""
    urine_layer: Range = (0.0, 0.8)
    """Up to which share of the bladder's height contrast lies in late scans."""
    urine_layer_hu: Range = (110, 1500)
    """HU of the layer of contrast in the bladder."""
    structure_shift_hu: float = Field(6.0, ge=0)
    """Spread of single structures about their tissue's mean."""


class DiseaseConfig(Config):
    """What is ill or foreign."""

    calcified_share: Share = 0.4
    """Bodies with plaques in the walls of arteries."""
    fatty_pancreas_share: Share = 0.4
    """Bodies with fat between the lobules of the pancreas, which comes with age and weight (Saisho et al., Clin Anat 20
    (2007) 933)."""
    fatty_pancreas: Range = (0.1, 0.65)
    """Share of such a pancreas that is fat: 0 to 0.65 of the tissue (Kim et al., Radiology 271 (2014) 104)."""
    cysts: Count = (0, 3)
    """Cysts in liver and kidneys."""
    masses: Count = (0, 2)
    """Solid masses in liver, spleen, pancreas and kidneys, and metastases in bones."""
    lesion_mm: Positive = (3, 24)
    """Radius of cysts and masses."""
    plaques: Range = (0.6, 1.6)
    """How much of the wall plaques cover."""
    effusion_share: Share = 0.12
    """Share of lungs with a pleural effusion; its fluid is not part of the lung."""
    effusion_height: Range = (0.05, 0.5)
    """Height of the effusion, as a fraction of the lung's depth."""
    airless_share: Share = 0.12
    """Share of lungs whose dependent part is airless (atelectasis); above an effusion it always is."""
    airless_height: Range = (0.05, 0.4)
    """Height of the airless part, as a fraction of the lung's depth, from the effusion up."""
    patches_share: Share = 0.12
    """Bodies with clouded patches in the lungs."""
    patches: Range = (0.7, 1.8)
    """How rare clouded patches are: the lower, the more of the lung they take."""
    patch_density: Range = (0.15, 1)
    """Density of clouded patches, from ground glass to consolidation (1, without air)."""
    ascites_share: Share = 0.06
    """Bodies with free fluid in the belly."""
    ascites: Range = (-0.6, 2.0)
    """How much of the belly's fat gives place to it: below -0.6 a quarter, above 2 all."""
    metal_share: Share = 0.08
    """Bodies with metal: a hip or screws in vertebrae, where these are; of teeth see `TeethConfig`."""
    stones_share: Share = 0.1
    """Gallbladders with stones."""
    stones_layer: Range = (0.1, 0.35)
    """Share of the gallbladder's height up to which stones lie."""
    stones_hu: Range = (50, 400)
    """HU of stones, including the bile between them."""
    sclerosis_hu: Range = (400, 900)
    """Metastases of bone that are dense; as many are soft."""
    fatty_liver_share: Share = 0.2
    """Fatty livers: a quarter of adults (Younossi et al., Hepatology 64 (2016) 73)."""
    fatty_liver: Range = (0.08, 0.5)
    """Share of such a liver that is fat; without contrast livers with a quarter to a half of fatty cells have 42 HU in
    the mean, those with more 25 (Kodama et al., AJR 188 (2007) 1307)."""
    dilated_share: Share = 0.06
    """Bodies in which urine has widened the hollows of one kidney or both."""
    dilated_mm: Range = (7, 13)
    """Distance in mm of widened hollows from the surface of the kidney."""
    spurs_share: Share = 0.3
    """Bodies with spurs at the rims of vertebrae: small ones in everybody from the forties on (Nathan, J Bone Joint
    Surg Am 44 (1962) 243)."""
    spur_mm: Positive = (3, 9)
    """Length of spurs in mm."""
    spur_hu: Range = (250, 800)
    """HU of spurs and callus."""
    callus_share: Share = 0.06
    """Bodies with healing fractures of one to three ribs."""
    stem_mm: Positive = (60, 140)
    """Length of the stem of a metal hip."""
    screw_mm: Positive = (2, 5)
    """Radius of screws."""


class DevicesConfig(Config):
    """Tubes, catheters, drains, wires. They run through structures, which keep their voxels.

    Widths are those that catalogues give (1 French is a third of a millimetre of diameter); places as in Mathew et al.,
    S Afr J Rad 23 (2019) a1729, and Hunter and Taljanovic, Radiographics 25 (2005) 503.
    """

    airway_tube_share: Share = 0.05
    """Tubes in the windpipe."""
    airway_tube_mm: Positive = (4.5, 5.8)
    """Radius of airway tubes."""
    tube_end_mm: Range = (10, 60)
    """Distance in mm of the end of airway tubes above the division of the windpipe."""
    gastric_tube_share: Share = 0.07
    """Tubes through the oesophagus into the stomach."""
    gastric_tube_mm: Positive = (1.3, 3.0)
    """Radius of gastric tubes: 8 to 18 French."""
    catheter_share: Share = 0.12
    """Catheters in a vein of the neck or shoulder down to the heart."""
    catheter_mm: Positive = (0.8, 2.0)
    """Radius of catheters: 5 to 12 French."""
    port_share: Share = 0.4
    """Share of catheters with a port under the skin of the chest."""
    port_mm: Positive = (9, 14)
    """Radius of the port."""
    pacemaker_share: Share = 0.04
    """Pacemakers with one lead or two."""
    lead_mm: Positive = (0.8, 1.4)
    """Radius of the leads."""
    chest_drain_share: Share = 0.04
    """Drains beside a lung."""
    chest_drain_mm: Positive = (2.3, 5.3)
    """Radius of chest drains: 14 to 32 French."""
    drain_share: Share = 0.04
    """Drains of the belly."""
    drain_mm: Positive = (1.3, 2.7)
    """Radius of drains: 8 to 16 French."""
    aortic_stent_share: Share = 0.03
    """Stents in the aorta."""
    ureter_stent_share: Share = 0.03
    """Stents from a kidney to the bladder."""
    ureter_stent_mm: Positive = (0.7, 1.2)
    """Radius of stents: 4 to 7 French."""
    bladder_catheter_share: Share = 0.06
    """Catheters with a balloon in the bladder."""
    sternum_wires_share: Share = 0.05
    """Wires around the breastbone after operations."""
    clips_share: Share = 0.6
    """Clips where a gallbladder was taken out."""
    electrodes_share: Share = 0.12
    """Electrodes of an ECG and their wires on the skin."""
    plastic_hu: Range = (80, 900)
    """Walls of tubes, which hold barium or tungsten to be seen."""


class TeethConfig(Config):
    """Teeth, where a map has jaws. HU: Reshetnikov et al., JMIRx Med 5 (2024) e56759, permanent teeth of children."""

    toothless_share: Share = 0.12
    """Bodies without any; our estimate."""
    lacking: Range = (0.0, 0.5)
    """Share of the others' teeth that are missing; our estimate."""
    filled: Range = (-0.3, 0.45)
    """Share of teeth with metal, none below 0; our estimate."""
    capped_share: Share = 0.3
    """Share of teeth with metal that have a crown; the others have a filling."""
    bite_mm: Range = (38, 48)
    """How far their chewing surfaces lie over the lowest point of the chin; our estimate."""
    crown_mm: Positive = (6.5, 10)
    """Height of crowns; our estimate."""
    root_mm: Positive = (9, 14)
    """Length of roots; our estimate."""
    enamel_mm: Positive = (1.0, 2.0)
    """Thickness of the enamel; our estimate."""
    enamel_hu: Range = (1900, 2300)
    """Enamel: means of 2071 to 2955; here below what counts as metal, which throws rays."""
    dentine_hu: Range = (1300, 1900)
    """Dentine: means of 1323 to 1899."""
    pulp_hu: Range = (180, 420)
    """Pulp: means of 184 to 420."""


class FieldOfViewConfig(Config):
    """The field of view."""

    whole_share: Share = 0.3
    """Scans of the whole anatomy from top to bottom; the others show a part."""
    height_mm: Positive = (40, 600)
    """Height of a part, short ones as often as tall ones (drawn in its logarithm)."""
    head_share: Share = 0.15
    """Scans of the head, with more or less of neck and chest, where the anatomy has one."""
    head_height_mm: Positive = (50, 420)
    """Height of scans of the head, from the top of the head or from within it."""
    head_width_mm: Positive = (180, 500)
    """Width of scans of the head."""
    narrow_share: Share = 0.25
    """Scans cut at the sides of the body."""
    narrow_mm: Positive = (120, 320)
    """Width of scans that are cut at the sides."""
    spine_share: Share = 0.5
    """Share of these that are centred on the spine; the others are centred on any structure, or anywhere."""
    round_share: Share = 0.1
    """Square fields of view of which the scanner shows the inscribed circle."""
    air_mm: Range = (4, 70)
    """Air next to the body in scans that are not cut at the sides."""
    widest_mm: Positive = (500, 650)
    """Widest field of view that scanners show: they cut arms beside a trunk, and the fattest."""
    off_centre_mm: Range = (-25, 25)
    """Shift of the field of view."""
    table_share: Share = 0.85
    """Scans that show the table."""
    table_mm: Positive = (20, 48)
    """Thickness of the table: a shell filled with foam."""
    table_hu: Range = (-250, 250)
    """Shell of the table."""
    foam_hu: Range = (-960, -900)
    """Foam in the table."""
    table_gap_mm: Range = (0, 25)
    """Mattress and air between body and table."""
    prone_share: Share = 0.04
    """Patients on their belly: fluid and table are on the other side."""
    side_share: Share = 0.03
    """Patients on their side."""
    entry_share: Share = 0.8
    """Share of patients on their belly or side whose position was entered at the scanner, so that images show an
    upright body with the table at the front or at a side; images of the others show the body turned (DICOM PS3.3,
    C.7.3.1.1.2)."""
    oblique_share: Share = 0.04
    """Patients that lie half turned, as on a wedge."""
    oblique_deg: Range = (12, 45)
    """Rotation of these patients about their long axis in degrees."""
    arms_share: Share = 0.3
    """Bodies with arms where the map lacks them, or going on where it cuts them."""
    raised_share: Share = 0.5
    """Share of these whose arms are raised next to the head, if the map has shoulders without arms."""
    arm_mm: Positive = (32, 46)
    """Radius of arms, without the fat that fatter bodies have there."""


class ScannerConfig(Config):
    """The scan."""

    own_grid_share: Share = 0.0
    """Scans of a dataset that are written on the scanner's own pixels and slices, not on the voxels asked for."""
    pixel_mm: Positive = (0.4, 1.6)
    """Pixel edge of the scanner's own grid."""
    slice_mm: Positive = (0.6, 7.0)
    """Slice thickness, drawn in its logarithm."""
    kernel_fwhm_mm: Range = (0.6, 1.9)
    """Blur of the reconstruction kernel: sharp for bone to soft; our estimate."""
    noise_hu: Range = (5, 22)
    """Noise in soft tissue of 5 mm slices at 1 mm; thinner slices have more, by the root of the thickness; our
    estimate."""
    noise_grain_mm: Range = (0.8, 2.6)
    """Grain size of the noise: fine with sharp kernels, coarse after iterative reconstruction."""
    motion_share: Share = 0.06
    """Scans of patients that moved or breathed."""
    motion_mm: Range = (1, 5)
    """Extent of the motion to front and back in mm, which appears as a blur."""
    metal_rays_hu: Range = (80, 350)
    """Strength of bright and dark rays from metal."""
    streaks: Range = (0, 1)
    """Noise along the widest way through shoulders and pelvis, where fewest photons come through."""
    hardening_hu: Range = (0, 25)
    """Dark bands between dense bones."""
    cupping_hu: Range = (0, 8)
    """Darker middle of the body."""
    texture_hu: float = Field(4.0, ge=0)
    """Uneven HU within organs."""
    samples_mm: float = Field(1.7, gt=0)
    """Maximum distance in mm of the points at which tissues are sampled within a voxel, for partial-volume effects."""


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
    devices: Annotated[DevicesConfig, Role.RESULT] = DevicesConfig()
    """Tubes, catheters, drains, wires."""
    teeth: Annotated[TeethConfig, Role.RESULT] = TeethConfig()
    """Teeth and their fillings."""
    view: Annotated[FieldOfViewConfig, Role.RESULT] = FieldOfViewConfig()
    """Field of view."""
    scanner: Annotated[ScannerConfig, Role.RESULT] = ScannerConfig()
    """Blur, noise, artefacts."""
    hu: Annotated[HuConfig, Role.RESULT] = HuConfig()
    """HU of tissues."""
