"""Which steps the masks of which structures go through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int16

from tomoseg.errors import ConfigError
from tomoseg.labels import LabelSet, unknown_name_message
from tomoseg.masks import BoxedMask
from tomoseg.postprocess.components import keep_largest, remove_small
from tomoseg.postprocess.crf import Field, refine
from tomoseg.postprocess.morphology import closing, fill_holes, opening
from tomoseg.segmentation import Confidence, LabelMap, Segmentation

AMOUNTS: dict[str, tuple[str, float] | None] = {
    "largest": None,
    "fill_holes": None,
    "remove_small": ("ml", 0.5),
    "opening": ("mm", 2.0),
    "closing": ("mm", 2.0),
    "crf": ("logits", 3.0),
}
"""Each step's unit, and its amount where none is given."""


@dataclass(frozen=True)
class Step:
    """Something done to one structure's mask.

    Attributes:
        name: A key of `AMOUNTS`.
        amount: In its unit; None for steps without one.
    """

    name: str
    amount: float | None = None

    def __str__(self) -> str:
        return self.name if self.amount is None else f"{self.name}:{self.amount:g}"


Steps = Mapping[str, Sequence[Step]]
"""Structure to what is done to its mask, in order."""


def steps_of(texts: Sequence[str], names: Sequence[str]) -> dict[str, tuple[Step, ...]]:
    """Steps as they are written on a command line: `largest` for all structures, `liver=opening:2` for one.

    Args:
        texts: What was written, in the order in which it is done.
        names: The structures that there are.

    Raises:
        ConfigError: If a step or a structure is unknown, or an amount is no number above 0.

    Example:
        >>> {name: [str(step) for step in steps] for name, steps in steps_of(["largest", "a=opening:1"], "ab").items()}
        {'a': ['largest', 'opening:1'], 'b': ['largest']}
    """
    found: dict[str, tuple[Step, ...]] = {}
    for text in texts:
        structure, _, written = text.rpartition("=")
        if structure and structure not in names:
            raise ConfigError(f"postprocess {text}: {unknown_name_message(structure, names)}")
        step = _step(written)
        for name in [structure] if structure else names:
            found[name] = (*found.get(name, ()), step)
    return found


def _step(text: str) -> Step:
    name, _, number = text.partition(":")
    if name not in AMOUNTS:
        raise ConfigError(f"postprocess {text}: {unknown_name_message(name, list(AMOUNTS))}")
    unit = AMOUNTS[name]
    if unit is None:
        if number:
            raise ConfigError(f"postprocess {text}: expected {name} without an amount, got {number!r}; leave it out")
        return Step(name)
    try:
        amount = float(number) if number else unit[1]
    except ValueError:
        amount = -1.0
    if not 0 < amount < np.inf:
        raise ConfigError(
            f"postprocess {text}: expected an amount in {unit[0]} above 0 such as {name}:{unit[1]:g}, got {number!r}; "
            "correct it"
        )
    return Step(name, amount)


def needs_confidence(steps: Steps) -> bool:
    """Whether any step looks at probabilities."""
    return any(step.name == "crf" for each in steps.values() for step in each)


def apply(
    segmentation: Segmentation,
    steps: Steps,
    hu: Int16[np.ndarray, "x y z"] | None = None,
    confidence: Confidence | None = None,
) -> Segmentation:
    """Masks after their steps; eight structures at a time are unpacked.

    Args:
        segmentation: Is not changed.
        steps: For some of its structures.
        hu: The scan; for `crf`.
        confidence: Probabilities of the structures; for `crf`.

    Raises:
        ConfigError: If a step is for an unknown structure, or needs what is not given.
    """
    _check(steps, segmentation.labels)
    planes: dict[int, list[int]] = {}
    for name in steps:
        channel = segmentation.labels.channel(name)
        planes.setdefault(channel // 8, []).append(channel % 8)
    changed = {}
    for plane, bits in planes.items():
        packed = segmentation.byte_plane(plane)
        for bit in bits:
            name = segmentation.labels.names[8 * plane + bit]
            mask = BoxedMask.of((packed >> np.uint8(bit) & 1).view(bool))
            found = process(mask, steps[name], segmentation.grid.spacing_mm, _evidence(name, hu, confidence))
            packed &= np.uint8(255 - (1 << bit))
            packed[found.box] |= found.inside.view(np.uint8) << np.uint8(bit)
        changed[plane] = packed
    return segmentation.with_planes(changed)


def apply_to_map(label_map: LabelMap, steps: Steps) -> LabelMap:
    """A label map after its structures' steps.

    Each structure is worked on as it is in the map given. What a structure loses becomes background; what it gains
    it gets where the map has background, the first structure first.

    Args:
        label_map: Is not changed.
        steps: For some of its structures; `crf` is for masks only.

    Raises:
        ConfigError: If a step is for an unknown structure, or needs probabilities.
    """
    _check(steps, label_map.labels)
    values, gains = label_map.values.copy(order="K"), []
    for structure in label_map.labels:
        if structure.name not in steps:
            continue
        mask = BoxedMask.of(label_map.values == structure.id)
        found = process(mask, steps[structure.name], label_map.grid.spacing_mm, None)
        before = mask.within(found.start, found.inside.shape).whole()
        values[mask.box][mask.inside & ~found.within(mask.start, mask.inside.shape).whole()] = 0
        gains.append((structure.id, found.box, found.inside & ~before))
    for number, box, gained in gains:
        values[box][gained & (values[box] == 0)] = number
    return replace(label_map, values=values)


@dataclass(frozen=True)
class Evidence:
    """What a step may look at besides the mask: the scan's HU and the structure's probabilities, 0 to 255."""

    hu: np.ndarray
    probability: np.ndarray


def process(
    mask: BoxedMask, steps: Sequence[Step], spacing_mm: tuple[float, float, float], evidence: Evidence | None
) -> BoxedMask:
    """One structure's mask after its steps.

    Args:
        mask: Of one structure.
        steps: In order.
        spacing_mm: Voxel edges.
        evidence: For `crf`.

    Raises:
        ConfigError: If a step needs probabilities and there are none.
    """
    for step in steps:
        mask = _tight(_done(mask, step, spacing_mm, evidence))
    return mask


def _done(mask: BoxedMask, step: Step, spacing_mm: tuple[float, float, float], evidence: Evidence | None) -> BoxedMask:
    if step.amount is None:
        return SIMPLE[step.name](mask)
    if step.name == "remove_small":
        return remove_small(mask, float(np.prod(spacing_mm)) / 1000, step.amount)
    if step.name == "opening":
        return opening(mask, step.amount, spacing_mm)
    if step.name == "closing":
        return closing(mask, step.amount, spacing_mm)
    if evidence is None:
        raise ConfigError("expected probabilities of each structure for crf, got none; leave --ml off, or crf out")
    return refine(mask, evidence.probability, evidence.hu, spacing_mm, Field(weight=step.amount))


SIMPLE: dict[str, Callable[[BoxedMask], BoxedMask]] = {"largest": keep_largest, "fill_holes": fill_holes}


def _tight(mask: BoxedMask) -> BoxedMask:
    box = BoxedMask.of(mask.inside)
    x, y, z = (a + b for a, b in zip(mask.start, box.start, strict=True))
    return BoxedMask(box.inside, (x, y, z), mask.shape)


def _evidence(name: str, hu: np.ndarray | None, confidence: Confidence | None) -> Evidence | None:
    return None if hu is None or confidence is None else Evidence(hu, confidence.map(name))


def _check(steps: Steps, labels: LabelSet) -> None:
    for name in steps:
        if name not in labels.names:
            raise ConfigError(f"postprocess: {unknown_name_message(name, labels.names)}")
