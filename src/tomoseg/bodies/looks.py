"""Appearance of one body: HU by phase, flesh, contents of the gut, disease, removed organs, metal."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.config import BodyConfig, BonesConfig, FleshConfig
from tomoseg.bodies.hu import PHASES, TISSUES, Phase
from tomoseg.bodies.illness import draw_fat, draw_kidneys, draw_lesions, draw_lungs
from tomoseg.bodies.kinds import Fill
from tomoseg.bodies.lying import PatientPosition, levels, side_down
from tomoseg.bodies.placement import Placement
from tomoseg.bodies.render import Appearance
from tomoseg.bodies.slots import COLUMNS, DILATED, DOWN_X, DOWN_Y, OF_HIGH, OF_LOW, OF_SHOWN, SIDE_DOWN, SLOTS

_UNLIKE = (Fill.PLAIN, Fill.LIVER, Fill.KIDNEY, Fill.VEIN, Fill.LOBULES)
"""Fills whose structures differ a little within one tissue."""
_SLENDER = {"vertebra": ("arch", 7.0), "end": ("shaft", 17.0)}
"""The shell of slender parts of a bone, and up to which radius in mm they are slender."""
_WHOLE_STERNUM_MM = 100.0


def draw_phase(config: BodyConfig, rng: np.random.Generator) -> Phase:
    """A contrast phase."""
    shares = np.array([getattr(config.contrast, f"{phase}_share") for phase in PHASES], float)
    if shares.sum() == 0:
        return "native"
    return PHASES[int(rng.choice(len(PHASES), p=shares / shares.sum()))]


def tissue_hu(config: BodyConfig, phase: Phase, rng: np.random.Generator) -> dict[str, float]:
    """Mean HU of each tissue: bodies that take up much contrast do so everywhere."""
    common = rng.random()
    found = {}
    for tissue in TISSUES:
        low, high = getattr(config.hu, tissue)[PHASES.index(phase)]
        share = float(np.clip(0.5 * common + 0.5 * rng.random(), 0, 1)) if phase != "native" else rng.random()
        found[tissue] = low + share * (high - low)
    return found


def draw_look(anatomy: Anatomy, config: BodyConfig, phase: Phase, rng: np.random.Generator) -> Appearance:
    """Draw what a body looks like, without its arms."""
    hu = tissue_hu(config, phase, rng)
    shown = _shown(anatomy, config, rng)
    table = {name: np.zeros(len(anatomy.kinds) + 1, np.float32) for name in COLUMNS}
    table["shown"][:] = shown
    for number, kind in enumerate(anatomy.kinds, start=1):
        mean = hu[kind.tissue]
        if kind.fill in _UNLIKE:
            mean += float(rng.normal(0, config.contrast.structure_shift_hu * (0.25 if kind.tissue == "fluid" else 1)))
        table["fill"][number] = kind.fill
        table["hu"][number] = mean
        table["extra"][number] = -1.0
    _draw_bones(anatomy, config, hu, table, rng)
    _draw_contents(anatomy, config, phase, hu, table, rng)
    draw_lungs(anatomy, config, table, rng)
    draw_fat(anatomy, config, hu, table, rng)
    body = _body(anatomy, config, hu, rng)
    body[DILATED] = draw_kidneys(anatomy, config, hu, table, rng)
    return Appearance(
        structures=np.stack([table[name] for name in COLUMNS], 1),
        body=body,
        breasts=_breasts(anatomy, config.flesh, shown, rng),
        lesions=draw_lesions(anatomy, config, hu, shown, rng),
        arms=np.zeros((0, 9), np.float32),
    )


def _body(
    anatomy: Anatomy, config: BodyConfig, hu: dict[str, float], rng: np.random.Generator
) -> Float32[np.ndarray, "s"]:
    """Draw the values of the body as a whole, in the order of `SLOTS`."""
    flesh, disease = config.flesh, config.disease
    myelogram = rng.random() < config.contrast.myelogram_share
    mask = rng.random() < flesh.mask_share
    body = {name: float(rng.uniform(*getattr(flesh, name))) for name in _DRAWN}
    body |= {name: hu[name] for name in SLOTS if name in hu}
    body |= {
        "wall_mm": body["wall_mm"] if anatomy.wall else 0.0,
        "fat_mm": _fat_mm(flesh, anatomy.wall, rng),
        "texture": config.scanner.texture_hu * rng.uniform(0.5, 1.5),
        "calcified": _now_and_then(disease.calcified_share, disease.plaques, 0.0, rng),
        "effusion": hu["effusion"],
        "ascites": _now_and_then(disease.ascites_share, disease.ascites, -9.0, rng),
        "patches": _now_and_then(disease.patches_share, disease.patches, 9.0, rng),
        "patch_share": rng.uniform(*disease.patch_density),
        "clothes_mm": _now_and_then(flesh.clothes_share, flesh.clothes_mm, 0.0, rng),
        "cloth_hu": rng.uniform(*(flesh.mask_hu if mask else flesh.clothes_hu)),
        "cloth_gap_mm": rng.uniform(*(flesh.mask_gap_mm if mask else flesh.clothes_gap_mm)),
        "cortex_hu": hu["kidney_cortex"],
        "sinus": hu["kidney_pelvis"],
        "branches": 0.5 * (hu["portal_blood"] + hu["artery"]),
        "voxel_mm": float(np.mean(anatomy.spacing_mm)),
        "csf": hu["myelogram"] if myelogram else hu["fluid"],
        "consolidated": hu["airless"],
    }
    return np.array([body.get(name, 0.0) for name in SLOTS], np.float32)


_SHELLS = tuple(name for name in BonesConfig.model_fields if name.endswith("_mm"))
_DRAWN = (
    "wall_mm",
    "skin_mm",
    "infiltration",
    "bundles",
    "mucosa",
    "mesh",
    "kidney_cortex_mm",
    "gut_wall_mm",
    "lung_vessels",
)


def lying_so(look: Appearance, anatomy: Anatomy, placement: Placement, lying: PatientPosition) -> Appearance:
    """Return the look with its fluids settled on the side that is down."""
    structures, body = look.structures.copy(), look.body.copy()
    structures[:, [OF_LOW, OF_HIGH]] = levels(anatomy, placement, lying, structures[:, OF_SHOWN] > 0)
    body[[SIDE_DOWN, DOWN_X, DOWN_Y]] = side_down(placement, lying), *lying.down
    return look._replace(structures=structures, body=body)


def _now_and_then(share: float, ends: tuple[float, float], otherwise: float, rng: np.random.Generator) -> float:
    """Draw from a range in a share of bodies; else return `otherwise`."""
    return float(rng.uniform(*ends)) if rng.random() < share else otherwise


def _fat_mm(flesh: FleshConfig, wall: bool, rng: np.random.Generator) -> float:
    """Fat under the skin, little more often than much; a map that has its flesh gets only some more."""
    low, high = flesh.fat_mm
    thick = low + (high - low) * rng.beta(1.3, 2.6)
    return float(thick if wall else 0.35 * (thick - low))


def _shown(anatomy: Anatomy, config: BodyConfig, rng: np.random.Generator) -> UInt8[np.ndarray, "n"]:
    """Draw the number that each structure is labelled as: organs may be taken out, maps of men make women too."""
    shown = np.arange(len(anatomy.kinds) + 1, dtype=np.uint8)
    removable = [number for number in anatomy.boxes if anatomy.kinds[number - 1].may_lack]
    if removable and rng.random() < config.shape.lacking_share:
        count = min(len(removable), int(rng.integers(*config.shape.lacking, endpoint=True)))
        shown[rng.choice(removable, count, replace=False)] = 0
    if rng.random() < config.shape.women_share:
        shown[anatomy.named("prostate")] = 0
    if not shown[list(anatomy.boxes)].any():
        return np.arange(len(shown), dtype=np.uint8)  # something is to be seen
    return shown


def _draw_bones(
    anatomy: Anatomy,
    config: BodyConfig,
    hu: dict[str, float],
    table: dict[str, Float32[np.ndarray, "n"]],
    rng: np.random.Generator,
) -> None:
    """Shells and spongy bone."""
    shells = {name.removesuffix("_mm"): rng.uniform(*getattr(config.bones, name)) for name in _SHELLS}
    for number, kind in enumerate(anatomy.kinds, start=1):
        if kind.fill == Fill.BONE:
            slender, radius = _SLENDER.get(kind.shell, (kind.shell, 0.0))
            factor = rng.normal(1, config.bones.unlike_share)
            table["extra"][number], table["rough"][number] = shells[kind.shell], shells[slender]
            table["hu"][number], table["gas"][number] = factor * hu[kind.tissue], max(radius, 1e-3)
            table["content"][number] = hu["marrow"] if slender == "shaft" else factor * hu[kind.tissue]


def _draw_contents(
    anatomy: Anatomy,
    config: BodyConfig,
    phase: Phase,
    hu: dict[str, float],
    table: dict[str, Float32[np.ndarray, "n"]],
    rng: np.random.Generator,
) -> None:
    """Draw the contents of hollow organs into `table`."""
    oral = rng.random() < config.contrast.oral_share
    for number, (name, kind) in enumerate(zip(anatomy.labels.names, anatomy.kinds, strict=True), start=1):
        if kind.fill == Fill.GUT:
            drawn = _gut(name.lower(), config.flesh, hu, oral, rng)
            for key, value in zip(("gas", "content", "rough"), drawn, strict=True):
                table[key][number] = value
        layer, content = -1.0, table["content"][number]
        if kind.tissue == "urine" and phase == "late":
            layer, content = rng.uniform(*config.contrast.urine_layer), rng.uniform(*config.contrast.urine_layer_hu)
        elif kind.fill == Fill.CORD:
            layer = rng.uniform(*config.flesh.cord_fluid_mm)
        elif kind.tissue == "bile" and rng.random() < config.disease.stones_share:
            layer, content = rng.uniform(*config.disease.stones_layer), rng.uniform(*config.disease.stones_hu)
        table["layer"][number], table["content"][number] = layer, content


def _gut(
    name: str, flesh: FleshConfig, hu: dict[str, float], oral: bool, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Share of gas, HU and unevenness of what a part of the gut holds."""
    with_contrast = oral and rng.random() < 0.65
    if "colon" in name or "rectum" in name:
        gas, rough = rng.uniform(*flesh.colon_gas), rng.uniform(*flesh.stool_roughness_hu)
        return gas, hu["gut_contrast" if with_contrast else "stool"], rough
    content = hu["gut_contrast" if with_contrast else "gut_fluid"]
    if "stomach" in name:
        return rng.uniform(*flesh.stomach_gas), content, rng.uniform(*flesh.food_roughness_hu)
    return rng.uniform(*flesh.small_bowel_gas), content, rng.uniform(*flesh.chyme_roughness_hu)


def _breasts(
    anatomy: Anatomy, flesh: FleshConfig, shown: UInt8[np.ndarray, "n"], rng: np.random.Generator
) -> Float32[np.ndarray, "m 4"]:
    """Draw breasts beside the breastbone: rows of x, y, z and radius, in mm along the map's array axes."""
    front = anatomy.named("sternum")
    if not front or shown[anatomy.named("prostate")].any() or rng.random() >= flesh.breasts_share:
        return np.zeros((0, 4), np.float32)
    spacing = np.array(anatomy.spacing_mm)
    low, high = (
        np.array([getattr(side, end) for side in anatomy.boxes[front[0]]]) * spacing for end in ("start", "stop")
    )
    centre = (low + high) / 2
    if high[2] - low[2] < _WHOLE_STERNUM_MM:
        return np.zeros((0, 4), np.float32)
    radius = rng.uniform(*flesh.breast_mm)
    z = low[2] + rng.uniform(-20, 25)
    return np.array([[centre[0] + side * 78, high[1] - 5, z, radius] for side in (-1, 1)], np.float32)
