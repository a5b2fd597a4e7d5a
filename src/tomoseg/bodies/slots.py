"""Where the compiled loops find what is drawn for one body: rows of two small tables."""

from __future__ import annotations

SLOTS: tuple[str, ...] = (
    "wall_mm",
    "fat_mm",
    "skin_mm",
    "infiltration",
    "mesh",
    "kidney_cortex_mm",
    "gut_wall_mm",
    "lung_vessels",
    "texture",
    "calcified",
    "side_down",
    "down_x",
    "down_y",
    "clothes_mm",
    "air",
    "fat",
    "skin",
    "muscle",
    "soft",
    "disc",
    "fluid",
    "bone",
    "cortical",
    "cortex_hu",
    "sinus",
    "left_blood",
    "right_blood",
    "branches",
    "consolidated",
    "calcification",
    "voxel_mm",
    "csf",
    "mucosa",
    "bundles",
    "cloth_hu",
    "cloth_gap_mm",
    "effusion",
    "ascites",
    "patches",
    "patch_share",
    "dilated",
)
(
    WALL_MM,
    FAT_MM,
    SKIN_MM,
    INFILTRATION,
    MESH,
    KIDNEY_CORTEX_MM,
    GUT_WALL_MM,
    LUNG_VESSELS,
    TEXTURE,
    CALCIFIED,
    SIDE_DOWN,
    DOWN_X,
    DOWN_Y,
    CLOTHES_MM,
    AIR,
    FAT,
    SKIN,
    MUSCLE,
    SOFT,
    DISC,
    FLUID,
    BONE,
    CORTICAL,
    CORTEX_HU,
    SINUS,
    LEFT_BLOOD,
    RIGHT_BLOOD,
    BRANCHES,
    CONSOLIDATED,
    CALCIFICATION,
    VOXEL_MM,
    CSF,
    MUCOSA,
    BUNDLES,
    CLOTH_HU,
    CLOTH_GAP_MM,
    EFFUSION,
    ASCITES,
    PATCHES,
    PATCH_SHARE,
    DILATED,
) = range(len(SLOTS))
"""Of the body as a whole: lengths in mm, HU, and widths of streaks and tubes in the noise."""

COLUMNS: tuple[str, ...] = ("shown", "fill", "hu", "extra", "gas", "content", "rough", "layer", "low", "high")
OF_SHOWN, OF_FILL, OF_HU, OF_EXTRA, OF_GAS, OF_CONTENT, OF_ROUGH, OF_LAYER, OF_LOW, OF_HIGH = range(len(COLUMNS))
"""Of each structure, by its number (channel + 1): what it counts as (itself, or 0 if this body lacks it); `Fill`; mean
HU; up to which height a lung is without air; the share of a hollow organ that is gas; HU and unevenness of its content;
up to which height a layer of that content reaches, or fluid beside a lung, or how deep fluid lies around the cord in
mm; ends of an organ with one level of fluid, in mm upwards in the scanner, equal of others, whose levels follow
`Anatomy.place`.

Of a bone: thickness of its shell; parts up to which radius are slender; HU of their core and thickness of their shell.
Of a pancreas OF_EXTRA is how far from the middle of a gap between lobules fat reaches, in spreads of the noise that
draws them, or -1 without fat. Of a kidney, if above 0, how deep under the surface urine of OF_CONTENT HU begins."""
