"""Positions of a body's drawn values in the two small tables that the compiled loops read."""

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
"""Positions of the values of the body as a whole: mm, HU, and widths of streaks and tubes in the noise."""

COLUMNS: tuple[str, ...] = ("shown", "fill", "hu", "extra", "gas", "content", "rough", "layer", "low", "high")
OF_SHOWN, OF_FILL, OF_HU, OF_EXTRA, OF_GAS, OF_CONTENT, OF_ROUGH, OF_LAYER, OF_LOW, OF_HIGH = range(len(COLUMNS))
"""Columns of a structure's row, by its number (channel + 1): the number it is labelled as (its own, or 0 if this body
lacks it); `Fill`; mean HU; height up to which a lung is without air; share of gas in a hollow organ; HU and unevenness
of its content; height of a layer of that content, or of fluid beside a lung, or depth in mm of fluid around the cord;
lower and upper end of an organ with one fluid level, in mm upwards in the scanner, equal for others, whose levels
follow `Anatomy.place`.

For a bone: thickness of its shell; radius up to which parts are slender; HU of their core and thickness of their shell.
For a pancreas OF_EXTRA is the distance that fat reaches from the middle of a gap between lobules, in spreads of the
noise that draws them, or -1 without fat; for a kidney, if above 0, the depth in mm at which urine of OF_CONTENT HU
begins."""
