"""Material of structures by their names: the tissue that gives their HU, and how they are filled."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from tomoseg.labels import LabelSet


class Fill(IntEnum):
    """Way of drawing the inside of a structure."""

    PLAIN = 0
    BONE = 1
    GUT = 2
    KIDNEY = 3
    LUNG = 4
    HEART = 5
    ARTERY = 6
    VEIN = 7
    LIVER = 8
    FLUID = 9
    AIR = 10
    BRAIN = 11
    MUSCLE = 12
    CARTILAGE = 13
    CORD = 14
    LOBULES = 15


@dataclass(frozen=True)
class Kind:
    """Material of a structure.

    Attributes:
        tissue: Field of `HuConfig` with its HU.
        fill: Way of drawing its inside.
        muscle_mm: Reach of unlabelled muscle from its surface.
        hull: Part of the body: `trunk` or `head`, or `limb` or `neck` with flesh around it.
        flesh_mm: Distance from its surface to the body's, for limbs and the neck.
        may_lack: Whether it may have been taken out.
        shell: Field of `BonesConfig` with a bone's shell, without `_mm`; empty for others.
    """

    tissue: str
    fill: Fill
    muscle_mm: float = 0.0
    hull: str = "trunk"
    flesh_mm: float = 0.0
    may_lack: bool = False
    shell: str = ""


_BONE = Kind("bone", Fill.BONE, 5.0, shell="flat")
_VERTEBRA = Kind("bone", Fill.BONE, 5.0, shell="vertebra")
_KINDS: tuple[tuple[str, Kind], ...] = (
    # by the whole name or a part of it between separators; the first that is found counts
    ("vertebrae? c|cervical|vertebra c|axis|atlas", Kind("bone", Fill.BONE, 38.0, "neck", 42.0, shell="vertebra")),
    ("femur|femoral|femurs", Kind("bone_end", Fill.BONE, 44.0, "limb", 52.0, shell="end")),
    ("humerus|humeri", Kind("bone_end", Fill.BONE, 24.0, "limb", 30.0, shell="end")),
    ("tibia|fibula|patella|radius|ulna", Kind("bone_end", Fill.BONE, 20.0, "limb", 26.0, shell="end")),
    ("skull|mandible|maxilla|jaw|cranium|teeth|tooth", Kind("skull", Fill.BONE, 6.0, "head", shell="skull")),
    ("scapula|scapulae|shoulder blade", Kind("bone", Fill.BONE, 16.0, shell="flat")),
    ("clavicula|clavicle|clavicles|claviculae", Kind("bone", Fill.BONE, 8.0, shell="rib")),
    ("costal cartilages?|cartilages?", Kind("cartilage", Fill.CARTILAGE, 5.0)),
    ("ribs?|rib cage", Kind("bone", Fill.BONE, 7.0, shell="rib")),
    ("hips?|pelvis bone|coxa|ilium|pelvic bone", Kind("bone", Fill.BONE, 9.0, shell="flat")),
    ("vertebrae?|spine", _VERTEBRA),
    ("sacrum|sternum|bones?|coccyx|skeleton", _BONE),
    ("spinal cord|cord|myelon|spinal canal|spinalcord", Kind("cord", Fill.CORD)),
    ("brain ?stem", Kind("brain", Fill.PLAIN, 0, "head")),
    ("brain|cerebrum|cerebellum", Kind("brain", Fill.BRAIN, 0, "head")),
    ("eyes?|lens|eyeballs?", Kind("fluid", Fill.PLAIN, 0, "head")),
    ("parotid|parotid glands?|submandibular|submandibular glands?", Kind("gland", Fill.PLAIN, 6, "neck", 16.0)),
    ("larynx|pharynx|tongue|glottis", Kind("muscle", Fill.PLAIN, 8, "neck", 12.0)),
    ("cysts?", Kind("fluid", Fill.PLAIN)),
    ("tumou?rs?|lesions?|metastas[ei]s|mass(es)?|cancer", Kind("mass", Fill.PLAIN)),
    ("kidneys?", Kind("kidney_medulla", Fill.KIDNEY, may_lack=True)),
    ("liver|hepar", Kind("liver", Fill.LIVER)),
    ("spleen", Kind("spleen", Fill.PLAIN, may_lack=True)),
    ("pancreas", Kind("pancreas", Fill.LOBULES)),
    ("adrenal|adrenal glands?|suprarenal", Kind("adrenal", Fill.PLAIN, may_lack=True)),
    ("gall ?bladder", Kind("bile", Fill.FLUID, may_lack=True)),
    ("urinary bladder|bladder", Kind("urine", Fill.FLUID)),
    ("prostate|uterus|ovary|ovaries|seminal vesicles?", Kind("prostate", Fill.PLAIN, may_lack=True)),
    ("thyroid|thyroid gland", Kind("thyroid", Fill.PLAIN, may_lack=True)),
    ("stomach|small bowel|small intestine|duodenum|colon|bowel|rectum|esophagus|oesophagus|intestines?",
     Kind("gut_wall", Fill.GUT)),
    ("trachea|bronchus|bronchi|airways?", Kind("air", Fill.AIR)),
    ("lungs?|lobe", Kind("lung", Fill.LUNG)),
    ("atrial appendage", Kind("left_blood", Fill.ARTERY)),
    ("pulmonary (vein|artery|trunk)", Kind("lung_blood", Fill.VEIN)),
    ("portal|portal vein|splenic vein", Kind("portal_blood", Fill.VEIN)),
    ("heart|myocardium|ventricle|atrium", Kind("heart_muscle", Fill.HEART)),
    ("superior vena cava|brachiocephalic vein|jugular|upper vein", Kind("upper_vein", Fill.VEIN)),
    ("vena cava|iliac vena|vena|veins?", Kind("lower_vein", Fill.VEIN)),
    ("aorta|artery|arteries|brachiocephalic trunk|carotid|subclavian|trunk", Kind("artery", Fill.ARTERY)),
    ("gluteus|autochthon|iliopsoas|muscles?|psoas|quadriceps|sartorius", Kind("muscle", Fill.MUSCLE, 4.0)),
    ("fat|adipose", Kind("fat", Fill.PLAIN)),
)  # fmt: skip

GENERIC = Kind("soft", Fill.PLAIN)
"""For a structure whose name says nothing."""

_PATTERNS = tuple((re.compile(rf"(?:^| )(?:{words})(?: |\d|$)"), kind) for words, kind in _KINDS)


def kind_of(name: str) -> Kind | None:
    """Return the material of a structure by its name; None if the name is not known.

    Example:
        >>> kind_of("vertebrae_C2").hull, kind_of("rib_left_7").tissue, kind_of("blob")
        ('neck', 'bone', None)
    """
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = " ".join(re.findall(r"[a-z]+|\d+", words.lower()))
    return next((kind for pattern, kind in _PATTERNS if pattern.search(words)), None)


def kinds_of(labels: LabelSet) -> tuple[tuple[Kind, ...], tuple[str, ...]]:
    """The kind of each structure, and the names that say nothing, which are made of a generic soft tissue."""
    found = [(name, kind_of(name)) for name in labels.names]
    return tuple(kind or GENERIC for _, kind in found), tuple(name for name, kind in found if kind is None)


def with_fill(kinds: Iterable[Kind], *fills: Fill) -> list[int]:
    """The numbers (channel + 1) of the structures that are drawn so."""
    return [number for number, kind in enumerate(kinds, start=1) if kind.fill in fills]
