"""Choice of threshold and postprocessing steps for one structure, with its gain by cross-validation over patients.

The choice is made on all patients. Its gain is measured on each group of patients with what the other groups choose; a
choice without gain is not taken. Structures of few patients share one threshold, chosen in the same way.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int16, UInt8

from tomoseg.masks import BoxedMask
from tomoseg.postprocess.step_kinds import Evidence
from tomoseg.postprocess.steps import PostprocessStep, process, scan_steps

THRESHOLDS = (0.5, 0.4, 0.3, 0.2, 0.6, 0.7)
STEPS: tuple[tuple[PostprocessStep, ...], ...] = (
    (PostprocessStep("crf", 1.0), PostprocessStep("crf", 3.0)),
    (PostprocessStep("fill_holes"),),
    (PostprocessStep("closing", 2.0), PostprocessStep("closing", 4.0)),
    (PostprocessStep("opening", 2.0), PostprocessStep("opening", 4.0)),
    (PostprocessStep("remove_small", 0.1), PostprocessStep("remove_small", 0.5)),
    (PostprocessStep("largest"),),
)
"""Candidate steps in the order in which they run; at most one of each line is chosen."""

LEAST_GAIN = 0.002
"""Minimum gain in mean Dice for a choice."""

GROUPS = 5
"""Number of groups of patients in the cross-validation."""


@dataclass(frozen=True)
class Sample:
    """One structure of one case, cropped to its box.

    Attributes:
        probability: Probability scaled to 0 to 255.
        reference: Reference mask.
        hu: The scan in HU; None if the dataset keeps it on another grid.
        spacing_mm: Voxel spacing in mm, per axis.
        patient: Name of the patient.
        found: The predicted mask if no threshold applies, else None.
    """

    probability: UInt8[np.ndarray, "x y z"]
    reference: np.ndarray
    hu: Int16[np.ndarray, "x y z"] | None
    spacing_mm: tuple[float, float, float]
    patient: str = ""
    found: Bool[np.ndarray, "x y z"] | None = None

    def mask(self, threshold: float) -> BoxedMask:
        """Return the predicted mask, or the voxels whose probability reaches `threshold`."""
        return BoxedMask.of(self.probability >= round(255 * threshold) if self.found is None else self.found)

    def evidence(self) -> Evidence | None:
        """Return the evidence for a random field, or None without a scan."""
        return None if self.hu is None else Evidence(self.hu, self.probability)


@dataclass(frozen=True)
class Choice:
    """The choice for one structure.

    Attributes:
        structure: Name of the structure.
        before: Mean Dice at a threshold of 0.5 without any step.
        after: Mean Dice with the choice, on the cases it was made on.
        threshold: The chosen threshold.
        steps: The chosen steps, in order.
        cases: Number of cases in which the structure occurs.
        on_others: Mean Dice of the cases, each with the choice of the other patients.
        refused: The choice that was rejected for lack of gain on other patients, in words; or empty.
    """

    structure: str
    before: float
    after: float
    threshold: float
    steps: tuple[PostprocessStep, ...]
    cases: int
    on_others: float
    refused: str = ""


class Scores:
    """Dice of one structure in each case, for any threshold and steps; computed once and cached.

    Args:
        name: Name of the structure.
        samples: The cases in which it occurs.
    """

    def __init__(self, name: str, samples: Sequence[Sample]) -> None:
        self.name, self.samples = name, samples
        self._known: dict[tuple[float, tuple[PostprocessStep, ...]], Float64[np.ndarray, "n"]] = {}

    def of(self, threshold: float, steps: tuple[PostprocessStep, ...] = ()) -> Float64[np.ndarray, "n"]:
        """Return the Dice of each case."""
        key = threshold, steps
        if key not in self._known:
            self._known[key] = np.array([_dice(sample, threshold, steps) for sample in self.samples])
        return self._known[key]

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Candidate thresholds; only the first if no threshold applies."""
        return THRESHOLDS if all(sample.found is None for sample in self.samples) else THRESHOLDS[:1]

    def groups(self) -> list[Bool[np.ndarray, "n"]]:
        """Return for each group of patients the mask of its cases; the grouping is deterministic."""
        return [self.of_patients(group) for group in _groups({one.patient for one in self.samples})]

    def of_patients(self, patients: set[str]) -> Bool[np.ndarray, "n"]:
        """Return the mask of the cases of some patients."""
        return np.array([sample.patient in patients for sample in self.samples])


def _groups(patients: set[str]) -> list[set[str]]:
    ranked = sorted(patients, key=lambda patient: hashlib.sha256(patient.encode()).digest())
    return [set(ranked[number::GROUPS]) for number in range(min(GROUPS, len(ranked)))]


def choose(scores: Scores) -> Choice:
    """Choose threshold and steps for a structure, if they also help patients they were not chosen on.

    Args:
        scores: Scores of the structure, in at least two patients.
    """
    plain = scores.of(THRESHOLDS[0])
    threshold, steps = _best(scores, np.ones(len(plain), bool))
    before, cases = float(plain.mean()), len(plain)
    if (threshold, steps) == (THRESHOLDS[0], ()):
        return Choice(scores.name, before, before, threshold, steps, cases, before)
    on_others = np.zeros(cases)
    for group in scores.groups():
        on_others[group] = scores.of(*_best(scores, ~group))[group]
    if on_others.mean() <= before:
        words = [*([f"threshold {threshold:g}"] if threshold != THRESHOLDS[0] else []), *map(str, steps)]
        refused = f"{', '.join(words)}: {on_others.mean() - before:+.4f}"
        return Choice(scores.name, before, before, THRESHOLDS[0], (), cases, before, refused)
    after = float(scores.of(threshold, steps).mean())
    return Choice(scores.name, before, after, threshold, steps, cases, float(on_others.mean()))


def choose_together(structures: Sequence[Scores]) -> list[Choice]:
    """Choose one threshold for several structures, if it also helps patients it was not chosen on.

    A structure's own threshold would be chance where few patients show it; of many structures together one is not.

    Args:
        structures: Scores of the structures, in two patients or more altogether; none gives none.

    Returns:
        The choice for each structure; a threshold of 0.5 if no other helps.
    """
    if not structures:
        return []
    patients = {sample.patient for scores in structures for sample in scores.samples}
    threshold = _best_of_all(structures, patients)
    on_others = _by_others(structures, patients)
    before = [float(scores.of(THRESHOLDS[0]).mean()) for scores in structures]
    if np.mean(on_others) <= np.mean(before):
        threshold, on_others = THRESHOLDS[0], before
    return [
        Choice(one.name, plain, float(one.of(threshold).mean()), threshold, (), len(one.samples), others)
        for one, plain, others in zip(structures, before, on_others, strict=True)
    ]


def _by_others(structures: Sequence[Scores], patients: set[str]) -> list[float]:
    """Each structure's mean Dice over its cases, each at the threshold that the other patients choose."""
    dice = [np.zeros(len(scores.samples)) for scores in structures]
    for group in _groups(patients):
        threshold = _best_of_all(structures, patients - group)
        for scores, own in zip(structures, dice, strict=True):
            here = scores.of_patients(group)
            own[here] = scores.of(threshold)[here]
    return [float(own.mean()) for own in dice]


def _best_of_all(structures: Sequence[Scores], patients: set[str]) -> float:
    """The threshold with the highest mean over structures of their mean over some patients, if it gains enough."""

    def means(threshold: float) -> Iterator[float]:
        for scores in structures:
            here = scores.of_patients(patients)
            if here.any():
                yield float(scores.of(threshold)[here].mean())

    dice = {threshold: float(np.mean(list(means(threshold)))) for threshold in THRESHOLDS}
    best = max(dice, key=lambda threshold: dice[threshold])
    return best if dice[best] > dice[THRESHOLDS[0]] + LEAST_GAIN else THRESHOLDS[0]


def _best(scores: Scores, which: Bool[np.ndarray, "n"]) -> tuple[float, tuple[PostprocessStep, ...]]:
    """The threshold first, then step by step, by some of the cases."""

    def mean(threshold: float, steps: tuple[PostprocessStep, ...] = ()) -> float:
        return float(scores.of(threshold, steps)[which].mean())

    threshold = THRESHOLDS[0]
    before = after = mean(threshold)
    for candidate in scores.thresholds[1:]:
        dice = mean(candidate)
        if dice > max(after, before + LEAST_GAIN):
            threshold, after = candidate, dice
    chosen: tuple[PostprocessStep, ...] = ()
    for line in STEPS:
        if scan_steps({scores.name: line}) and any(sample.hu is None for sample in scores.samples):
            continue
        dice, step = max(((mean(threshold, (*chosen, step)), step) for step in line), key=lambda pair: pair[0])
        if dice > after + LEAST_GAIN:
            chosen, after = (*chosen, step), dice
    return threshold, chosen


def _dice(sample: Sample, threshold: float, steps: Sequence[PostprocessStep]) -> float:
    mask = process(sample.mask(threshold), steps, sample.spacing_mm, sample.evidence())
    both = int(np.count_nonzero(mask.inside & sample.reference[mask.box]))
    return 2 * both / (mask.voxels + int(np.count_nonzero(sample.reference)))
