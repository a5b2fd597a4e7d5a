"""Small label maps to make bodies of."""

import numpy as np

from tomoseg.bodies import Anatomy, BodyConfig, build_anatomy
from tomoseg.bodies.config import (
    BonesConfig,
    ContrastConfig,
    DevicesConfig,
    DiseaseConfig,
    FieldOfViewConfig,
    FleshConfig,
    ScannerConfig,
    ShapeConfig,
)
from tomoseg.labels import LabelSet

SPACING = (4.0, 4.0, 4.0)
AFFINE = np.diag([*SPACING, 1.0])

STILL = ShapeConfig(
    stretch=(1, 1), size=(1, 1), turn_deg=(0, 0), upside_down_share=0, bend_mm=(0, 0), sway_mm=(0, 0), moved=(0, 0),
    lacking_share=0, women_share=0, scoliosis_share=0, collapsed_share=0, swollen_share=0,
)  # fmt: skip
PLAIN = BodyConfig(
    shape=STILL,
    flesh=FleshConfig(clothes_share=0, breasts_share=0, wall_mm=(12, 12), fat_mm=(16, 16), skin_mm=(2, 2)),
    bones=BonesConfig(unlike_share=0),
    contrast=ContrastConfig(
        native_share=0,
        arterial_share=0,
        portal_share=1,
        late_share=0,
        oral_share=0,
        structure_shift_hu=0,
        myelogram_share=0,
    ),
    disease=DiseaseConfig(
        calcified_share=0,
        fatty_pancreas_share=0,
        fatty_liver_share=0,
        dilated_share=0,
        spurs_share=0,
        callus_share=0,
        cysts=(0, 0),
        masses=(0, 0),
        effusion_share=0,
        airless_share=0,
        patches_share=0,
        ascites_share=0,
        metal_share=0,
        stones_share=0,
    ),
    devices=DevicesConfig(**{name: 0 for name in DevicesConfig.model_fields if name.endswith("_share")}),
    view=FieldOfViewConfig(
        whole_share=1,
        narrow_share=0,
        head_share=0,
        round_share=0,
        table_share=0,
        prone_share=0,
        side_share=0,
        oblique_share=0,
        arms_share=0,
        off_centre_mm=(0, 0),
    ),
    scanner=ScannerConfig(
        noise_hu=(0, 0), streaks=(0, 0), hardening_hu=(0, 0), cupping_hu=(0, 0), texture_hu=0, motion_share=0
    ),
)
"""Nothing is bent, ill or noisy: what is left can be told by hand."""


def block_map() -> np.ndarray:
    """A liver to the right of a spleen, with a vertebra behind and a kidney in between: boxes 60 to 80 mm wide."""
    labels = LabelSet.total()
    values = np.zeros((60, 50, 30), np.uint8)
    values[34:54, 15:35, :] = labels["liver"].id
    values[6:24, 15:33, 4:26] = labels["spleen"].id
    values[24:34, 10:22, :] = labels["vertebrae_L1"].id
    values[24:34, 26:40, 5:25] = labels["kidney_left"].id
    return values


def chest_map() -> np.ndarray:
    """Two lungs with a heart between them, front where y is high."""
    labels = LabelSet.total()
    values = np.zeros((60, 40, 20), np.uint8)
    values[4:26, 8:34, :] = labels["lung_lower_lobe_left"].id
    values[34:56, 8:34, :] = labels["lung_lower_lobe_right"].id
    values[26:34, 16:34, :] = labels["heart"].id
    return values


def head_map() -> np.ndarray:
    """A skull around a brain, an empty box of bone in front of it, and three vertebrae of the neck below."""
    labels = LabelSet.total()
    values = np.zeros((44, 60, 60), np.uint8)
    values[2:42, 2:40, 28:58] = labels["skull"].id
    values[4:40, 4:38, 30:56] = 0
    values[6:38, 6:36, 32:54] = labels["brain"].id
    values[12:32, 40:58, 28:48] = labels["skull"].id
    values[14:30, 41:56, 30:46] = 0
    for number, low in ((4, 0), (3, 8), (2, 16)):
        values[16:28, 6:18, low : low + 7] = labels[f"vertebrae_C{number}"].id
    return values


def block_anatomy() -> Anatomy:
    return build_anatomy(block_map(), LabelSet.total(), AFFINE, "blocks")


def changed(**sections: dict[str, object]) -> BodyConfig:
    """The plain settings, with some others."""
    plain = PLAIN.model_dump()
    return BodyConfig(**{name: {**values, **sections.get(name, {})} for name, values in plain.items()})


def thorax_map() -> np.ndarray:
    """Lungs, heart, windpipe, gullet, stomach, veins, breastbone, shoulder blades: boxes in 240 x 200 x 240 mm."""
    labels = LabelSet.total()
    values = np.zeros((60, 50, 60), np.uint8)
    for name, box in {
        "scapula_left": np.s_[0:4, 4:10, 36:56],
        "scapula_right": np.s_[56:60, 4:10, 36:56],
        "lung_upper_lobe_left": np.s_[5:24, 8:38, 16:56],
        "lung_upper_lobe_right": np.s_[36:55, 8:38, 16:56],
        "heart": np.s_[24:36, 20:38, 16:32],
        "stomach": np.s_[14:30, 14:34, 2:12],
        "esophagus": np.s_[28:31, 12:15, 10:58],
        "trachea": np.s_[27:32, 18:22, 34:60],
        "superior_vena_cava": np.s_[33:36, 25:28, 28:46],
        "brachiocephalic_vein_right": np.s_[35:38, 25:28, 46:50],
        "brachiocephalic_vein_left": np.s_[20:35, 25:28, 46:49],
        "sternum": np.s_[26:34, 40:43, 18:50],
    }.items():
        values[box] = labels[name].id
    return values
