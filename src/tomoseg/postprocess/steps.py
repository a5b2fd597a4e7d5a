"""Parsing post-processing steps, and applying them to masks and label maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int16

from tomoseg.errors import ConfigError, unknown_name_message
from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask, add_mask, by_byte, clear_mask, mask_in
from tomoseg.postprocess.step_kinds import STEP_KINDS, Evidence, MaskStep, ScanStep, Spacing
from tomoseg.segmentation import Confidence, LabelMap, Segmentation


@dataclass(frozen=True)
class PostprocessStep:
    """One post-processing step of one structure's mask.

    Attributes:
        name: A key of `STEP_KINDS`.
        amount: Number in the step's unit; None for steps without one.
    """

    name: str
    amount: float | None = None

    def __str__(self) -> str:
        return self.name if self.amount is None else f"{self.name}:{self.amount:g}"


Steps = Mapping[str, Sequence[PostprocessStep]]
"""Post-processing steps by structure, in the order in which they run."""


def steps_of(texts: Sequence[str], names: Sequence[str]) -> dict[str, tuple[PostprocessStep, ...]]:
    """Parse steps from the command line: `largest` for all structures, `liver=opening:2` for one.

    Args:
        texts: The steps, in the order in which they run.
        names: Names of all structures.

    Raises:
        ConfigError: If a step or a structure is unknown, or an amount is not a number above 0.

    Example:
        >>> {name: [str(step) for step in steps] for name, steps in steps_of(["largest", "a=opening:1"], "ab").items()}
        {'a': ['largest', 'opening:1'], 'b': ['largest']}
    """
    found: dict[str, tuple[PostprocessStep, ...]] = {}
    for text in texts:
        structure, _, written = text.rpartition("=")
        if structure and structure not in names:
            raise ConfigError(f"postprocess {text}: {unknown_name_message(structure, names)}")
        step = _step(written)
        for name in [structure] if structure else names:
            found[name] = (*found.get(name, ()), step)
    return found


def _step(text: str) -> PostprocessStep:
    name, colon, number = text.partition(":")
    if name not in STEP_KINDS:
        raise ConfigError(f"postprocess {text}: {unknown_name_message(name, list(STEP_KINDS))}")
    kind = STEP_KINDS[name]
    if kind.amount is None:
        if colon:
            raise ConfigError(f"postprocess {text}: expected {name} without an amount, got {number!r}; leave it out")
        return PostprocessStep(name)
    try:
        amount = float(number) if colon else kind.amount
    except ValueError:
        amount = -1.0
    if not 0 < amount < np.inf:
        raise ConfigError(
            f"postprocess {text}: expected an amount in {kind.unit} above 0 such as {name}:{kind.amount:g}, "
            f"got {number!r}; correct it"
        )
    return PostprocessStep(name, amount)


def scan_steps(steps: Steps) -> tuple[str, ...]:
    """Return the names of the steps that use the scan and probabilities, which label maps cannot have.

    Example:
        >>> scan_steps(steps_of(["largest", "a=crf"], ["a", "b"]))
        ('crf',)
    """
    names = (step.name for each in steps.values() for step in each)
    return tuple(dict.fromkeys(name for name in names if isinstance(STEP_KINDS[name], ScanStep)))


def needs_confidence(steps: Steps) -> bool:
    """Return True if any step uses probabilities."""
    return bool(scan_steps(steps))


def apply(
    segmentation: Segmentation,
    steps: Steps,
    hu: Int16[np.ndarray, "x y z"] | None = None,
    confidence: Confidence | None = None,
) -> Segmentation:
    """Apply steps to masks; eight structures at a time are decompressed.

    Args:
        segmentation: The masks; not modified.
        steps: Steps of some of its structures.
        hu: The scan in HU, for steps that use it.
        confidence: Probabilities of the structures, for steps that use them.

    Raises:
        ConfigError: If a step is for an unknown structure, or needs the scan or probabilities and they are not given.
    """
    _check(steps, segmentation.labels)
    changed = {}
    for plane, channels in by_byte(segmentation.labels.channel(name) for name in steps).items():
        packed = segmentation.byte_plane(plane)
        for channel in channels:
            name = segmentation.labels.names[channel]
            mask = BoxedMask.of(mask_in(packed, channel))
            found = process(mask, steps[name], segmentation.grid.spacing_mm, _evidence(name, hu, confidence))
            clear_mask(packed, channel)
            add_mask(packed, channel, found)
        changed[plane] = packed
    return segmentation.with_planes(changed)


def apply_to_map(label_map: LabelMap, steps: Steps) -> LabelMap:
    """Apply steps to a label map.

    Each structure is processed as it is in the given map. Voxels that it loses become background; it gains voxels only
    where the map has background, earlier structures first.

    Args:
        label_map: The label map; not modified.
        steps: Steps of some of its structures, without those that use the scan.

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


def process(
    mask: BoxedMask, steps: Sequence[PostprocessStep], spacing_mm: Spacing, evidence: Evidence | None
) -> BoxedMask:
    """Apply steps to one structure's mask.

    Args:
        mask: The mask of one structure.
        steps: The steps, in order.
        spacing_mm: Voxel spacing.
        evidence: Scan and probabilities, for steps that use them.

    Raises:
        ConfigError: If a step needs evidence and there is none.
    """
    for step in steps:
        mask = _tight(_done(mask, step, spacing_mm, evidence))
    return mask


def _done(mask: BoxedMask, step: PostprocessStep, spacing_mm: Spacing, evidence: Evidence | None) -> BoxedMask:
    kind, amount = STEP_KINDS[step.name], step.amount or 0.0
    if isinstance(kind, MaskStep):
        return kind.run(mask, spacing_mm, amount)
    if evidence is None:
        raise ConfigError(
            f"expected separate probabilities of each structure for {step.name}, got none; leave --ml off, or "
            f"{step.name} out"
        )
    return kind.run(mask, spacing_mm, amount, evidence)


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
