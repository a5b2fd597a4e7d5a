"""Disease and metal in a body: fluid beside lungs, lungs without air, cysts, masses, implants."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.special import erfinv

from tomoseg.bodies.anatomy import Anatomy
from tomoseg.bodies.config import BodyConfig, DiseaseConfig
from tomoseg.bodies.kinds import Fill, with_fill

_ALL_URINE = 9.0
"""More than the noise has spreads: nothing of the sinus is fat."""
_WITH_CYSTS = (Fill.LIVER, Fill.KIDNEY)
_WITH_MASSES = ("liver", "spleen", "pancreas", "kidney_medulla", "bone")


def draw_lungs(
    anatomy: Anatomy, config: BodyConfig, table: dict[str, Float32[np.ndarray, "n"]], rng: np.random.Generator
) -> None:
    """Draw up to which height fluid replaces the lower part of lungs, and lung without air lies above it."""
    disease = config.disease
    for side in ("left", "right"):
        fluid = rng.uniform(*disease.effusion_height) if rng.random() < disease.effusion_share else 0.0
        airless = rng.uniform(*disease.airless_height) if fluid or rng.random() < disease.airless_share else -1.0
        for number in with_fill(anatomy.kinds, Fill.LUNG):
            name = anatomy.labels.names[number - 1].lower()
            if side in name:
                share = 0.4 if "upper" in name or "middle" in name else 1.0
                table["layer"][number] = fluid * (share == 1.0)
                table["extra"][number] = (fluid + airless) * share


def draw_fat(
    anatomy: Anatomy,
    config: BodyConfig,
    hu: dict[str, float],
    table: dict[str, Float32[np.ndarray, "n"]],
    rng: np.random.Generator,
) -> None:
    """Draw fat of the liver and its width between lobules of the pancreas; gaps lie where smooth noise is near 0."""
    if rng.random() < config.disease.fatty_liver_share:
        liver, share = with_fill(anatomy.kinds, Fill.LIVER), rng.uniform(*config.disease.fatty_liver)
        table["hu"][liver] += share * (hu["fat"] - table["hu"][liver])
    if rng.random() < config.disease.fatty_pancreas_share:
        share = rng.uniform(*config.disease.fatty_pancreas)
        table["extra"][with_fill(anatomy.kinds, Fill.LOBULES)] = erfinv(min(share, 0.99)) * 2**0.5


def draw_kidneys(
    anatomy: Anatomy,
    config: BodyConfig,
    hu: dict[str, float],
    table: dict[str, Float32[np.ndarray, "n"]],
    rng: np.random.Generator,
) -> float:
    """Draw dilated kidneys into `table`; return by how many spreads of noise their sinus loses fat, 0 if none."""
    kidneys = [number for number in with_fill(anatomy.kinds, Fill.KIDNEY) if number in anatomy.boxes]
    if not kidneys or rng.random() >= config.disease.dilated_share:
        return 0.0
    chosen = kidneys if rng.random() < 0.3 else [int(rng.choice(kidneys))]
    table["extra"][chosen] = rng.uniform(*config.disease.dilated_mm)
    table["content"][chosen] = max(hu["kidney_pelvis"], hu["fluid"])
    return _ALL_URINE


def draw_lesions(
    anatomy: Anatomy,
    config: BodyConfig,
    hu: dict[str, float],
    shown: UInt8[np.ndarray, "n"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "m 8"]:
    """Draw cysts, masses and metal."""
    disease = config.disease
    there = [number for number in anatomy.boxes if shown[number]]
    rows: list[list[float]] = []
    if rng.random() < disease.metal_share:
        rows += _metal(anatomy, there, hu["metal"], disease, rng)
    for kind, count in (("cyst", disease.cysts), ("mass", disease.masses)):
        hosts = [n for n in there if _hosts(anatomy, n, kind)]
        drawn = int(rng.integers(*count, endpoint=True)) if hosts else 0
        rows += [_lesion(anatomy, int(rng.choice(hosts)), kind, config, hu, rng) for _ in range(drawn)]
    return np.array(rows, np.float32).reshape(-1, 8)


def _lesion(
    anatomy: Anatomy, host: int, kind: str, config: BodyConfig, hu: dict[str, float], rng: np.random.Generator
) -> list[float]:
    radius = float(np.exp(rng.uniform(*np.log(np.maximum(config.disease.lesion_mm, 0.1)))))
    value = _lesion_hu(anatomy, host, kind, config.disease, hu, rng)
    counts = _cyst_of(anatomy, host) if kind == "cyst" else host
    return [*_point_in(anatomy, host, rng), radius, value, 0.0, host, counts]


def _hosts(anatomy: Anatomy, number: int, kind: str) -> bool:
    one = anatomy.kinds[number - 1]
    return one.fill in _WITH_CYSTS if kind == "cyst" else one.tissue in _WITH_MASSES


def _lesion_hu(
    anatomy: Anatomy, host: int, kind: str, disease: DiseaseConfig, hu: dict[str, float], rng: np.random.Generator
) -> float:
    if kind == "cyst":
        return hu["fluid"]
    if anatomy.kinds[host - 1].fill == Fill.BONE:
        return float(rng.choice([hu["mass"], rng.uniform(*disease.sclerosis_hu)]))
    return hu["mass"] + float(rng.normal(0, 12))


def _cyst_of(anatomy: Anatomy, host: int) -> int:
    """A cyst of the kidney counts as one where the map knows such; else it belongs to its organ."""
    name = anatomy.labels.names[host - 1].replace("kidney", "kidney_cyst")
    known = anatomy.kinds[host - 1].fill == Fill.KIDNEY and name in anatomy.labels
    return anatomy.labels.channel(name) + 1 if known else host


def _metal(
    anatomy: Anatomy, there: list[int], value: float, disease: DiseaseConfig, rng: np.random.Generator
) -> list[list[float]]:
    """The shaft and head of one femur, or screws in a vertebra; a skull that was drawn has its metal in its teeth."""
    places = [n for n in there if anatomy.kinds[n - 1].tissue in ("bone_end", "skull") or _is_lumbar(anatomy, n)]
    if not places:
        return []
    chosen = int(rng.choice(places))
    box = anatomy.boxes[chosen]
    if anatomy.kinds[chosen - 1].tissue == "bone_end":
        top = np.array([(box[0].start + box[0].stop) / 2, (box[1].start + box[1].stop) / 2, box[2].stop])
        at = [float(v) for v in top * anatomy.spacing_mm]
        return [[*at, rng.uniform(*disease.stem_mm), value, 4.0, chosen, chosen]]
    if anatomy.kinds[chosen - 1].tissue == "skull":
        return []
    return [
        [*_point_in(anatomy, chosen, rng), rng.uniform(*disease.screw_mm), value, 0.0, chosen, chosen]
        for _ in range(int(rng.integers(2, 6)))
    ]


def _is_lumbar(anatomy: Anatomy, number: int) -> bool:
    return anatomy.labels.names[number - 1].lower().startswith("vertebrae_l")


def _point_in(anatomy: Anatomy, number: int, rng: np.random.Generator) -> list[float]:
    """Draw a point of a structure, in mm along the map's array axes."""
    x, y, z = anatomy.boxes[number]
    found = np.argwhere(anatomy.numbers[x, y, z] == number)
    at = found[int(rng.integers(len(found)))] + [x.start, y.start, z.start]
    return [float(v) for v in at * np.array(anatomy.spacing_mm)]
