"""`tomoseg tune`: which thresholds, smoothing and post-processing help a model, structure by structure.

Each choice is made on cases that were not trained on, of enough patients, and kept only if it gains more than chance
would; what it gains on other cases is for a test split to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int16, UInt8

from tomoseg.errors import DatasetError
from tomoseg.files.outputs import check_folder
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import on_grid
from tomoseg.inference.sinks import ConfidenceSink, pour
from tomoseg.masks import BoxedMask, structure_mask
from tomoseg.models.folder import load_model
from tomoseg.models.packaged import check_is_own
from tomoseg.models.tuned import LEAST_PATIENTS, TUNED, Tuned, save_tuned
from tomoseg.networks.images import own_input
from tomoseg.options import AUTO, Compute, Request
from tomoseg.postprocess.crf import UNCERTAIN
from tomoseg.postprocess.step_kinds import Evidence
from tomoseg.postprocess.steps import Step, process, scan_steps
from tomoseg.preprocessed.fits import check_fits
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase

SMOOTHINGS = (0.0, 0.5, 1.0)
THRESHOLDS = (0.5, 0.3, 0.4, 0.6, 0.7)
STEPS: tuple[tuple[Step, ...], ...] = (
    (Step("crf", 1.0), Step("crf", 3.0)),
    (Step("fill_holes"),),
    (Step("closing", 2.0), Step("closing", 4.0)),
    (Step("opening", 2.0), Step("opening", 4.0)),
    (Step("remove_small", 0.1), Step("remove_small", 0.5)),
    (Step("largest"),),
)
"""What is tried, in the order in which it is done; of each line one at most."""

LEAST_GAIN = 0.002
"""Mean Dice that a choice has to gain."""

MARGIN_MM = 12.0
"""Around a structure and its reference, so that steps see what they need."""


@dataclass(frozen=True)
class Sample:
    """One structure of one case, cut out of it.

    Attributes:
        probability: 0 to 255.
        reference: Its mask.
        hu: The scan; None where the dataset keeps it on another grid.
        spacing_mm: Voxel edges.
    """

    probability: UInt8[np.ndarray, "x y z"]
    reference: np.ndarray
    hu: Int16[np.ndarray, "x y z"] | None
    spacing_mm: tuple[float, float, float]

    def mask(self, threshold: float) -> BoxedMask:
        """Where the probability reaches a threshold."""
        return BoxedMask.of(self.probability >= round(255 * threshold))

    def evidence(self) -> Evidence | None:
        """What a random field looks at."""
        return None if self.hu is None else Evidence(self.hu, self.probability)


@dataclass(frozen=True)
class Choice:
    """What was found for one structure.

    Attributes:
        structure: Its name.
        before: Mean Dice at a threshold of 0.5 without any step.
        after: With what was chosen.
        threshold: Chosen.
        steps: Chosen, in order.
        cases: In which it occurs.
    """

    structure: str
    before: float
    after: float
    threshold: float
    steps: tuple[Step, ...]
    cases: int


def tune(
    model: Path,
    preprocessed: Path,
    split: str = "validation",
    compute: Compute = AUTO,
    on_case: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Tuned, list[Choice]]:
    """Try smoothing, thresholds and steps on a split, and write what helps into the model folder.

    A structure that fewer than `LEAST_PATIENTS` patients of the split show is left as it is. Smoothing is of a whole
    model, so it is tried only where there is no such structure.

    Args:
        model: A model folder or a run folder.
        preprocessed: A preprocessed dataset with the model's structures and grid.
        split: The cases that choose.
        compute: What computes the network, where, and in what.
        on_case: Told cases done and in all, over all smoothings.

    Returns:
        What is used from now on, and for each structure that occurs what it gains.

    Raises:
        ConfigError: If it is an imported model.
        DatasetError: If the split holds no structure of enough patients, or the dataset does not fit the model.
        ModelError: If the model cannot be loaded, or is a packaged one.
        OutputError: If its folder cannot be written to.
    """
    loaded = load_model(model)
    own_input(loaded.record.reads)
    assert loaded.folder is not None  # it was read from one
    check_is_own(loaded.folder)
    check_folder(loaded.folder, (TUNED,))
    data = Preprocessed(preprocessed)
    check_fits(loaded.record.labels.names, loaded.record.grid, data)
    cases = data.split(split)
    few = _too_few(cases, loaded.record.labels.names, f"{preprocessed}, split {split!r}")
    enough = [name for name in loaded.record.labels.names if name not in few]
    smoothings = SMOOTHINGS[:1] if few else SMOOTHINGS
    predictor = Predictor(loaded, compute)
    done, total = count(1), len(cases) * len(smoothings)

    def choices_at(smoothing: float) -> list[Choice]:
        samples = _samples(predictor, cases, smoothing, lambda: on_case(next(done), total))
        return [_choose(name, samples[name]) for name in enough]

    smoothing, choices = _best({smoothing: choices_at(smoothing) for smoothing in smoothings})
    chosen_on = {"dataset": data.folder.name, "split": split, "cases": len(cases), "left": few}
    tuned = _tuned(str(loaded.sha256), smoothing, choices, chosen_on)
    save_tuned(tuned, loaded.folder)
    return tuned, choices


def _too_few(cases: Sequence[PreprocessedCase], names: Sequence[str], where: str) -> dict[str, int]:
    """Structures that fewer than `LEAST_PATIENTS` patients show, and how many do, by the records alone.

    Raises:
        DatasetError: If there is no other.
    """
    shown = {name: len({c.record.patient for c in cases if c.record.voxels.get(n)}) for n, name in enumerate(names)}
    few = {name: patients for name, patients in shown.items() if patients < LEAST_PATIENTS}
    if len(few) == len(shown):
        raise DatasetError(
            f"{where}: expected a structure that {LEAST_PATIENTS} patients or more show, got at most "
            f"{max(shown.values())}; add cases to it or choose another: what so few choose is chance"
        )
    return few


def _tuned(weights: str, smoothing: float, choices: Sequence[Choice], chosen_on: Mapping[str, Any]) -> Tuned:
    """What is used from now on, with what it gained."""
    return Tuned(
        weights,
        smoothing,
        {c.structure: c.threshold for c in choices if c.threshold != THRESHOLDS[0]},
        {c.structure: [str(step) for step in c.steps] for c in choices if c.steps},
        {**chosen_on, "dice_before": float(np.mean([c.before for c in choices])), "dice_after": _mean(choices)},
    )


def _best(tried: Mapping[float, list[Choice]]) -> tuple[float, list[Choice]]:
    """The smoothing with the highest mean Dice, where more smoothing has to gain something, and its choices.

    What they gain is told beside no smoothing at all.
    """
    best = SMOOTHINGS[0]
    for smoothing, choices in tried.items():
        needed = LEAST_GAIN if smoothing > best else 0.0
        if _mean(choices) > _mean(tried[best]) + needed:
            best = smoothing
    before = {choice.structure: choice.before for choice in tried[SMOOTHINGS[0]]}
    return best, [replace(choice, before=before[choice.structure]) for choice in tried[best]]


def _mean(choices: Sequence[Choice]) -> float:
    return float(np.mean([choice.after for choice in choices]))


def _choose(name: str, samples: Sequence[Sample]) -> Choice:
    """The threshold first, then step by step."""
    before = after = _dice(samples, THRESHOLDS[0], ())
    threshold, steps = THRESHOLDS[0], ()
    for candidate in THRESHOLDS[1:]:
        dice = _dice(samples, candidate, ())
        if dice > max(after, before + LEAST_GAIN):
            threshold, after = candidate, dice
    chosen: tuple[Step, ...] = steps
    for line in STEPS:
        if scan_steps({name: line}) and any(sample.hu is None for sample in samples):
            continue
        tried = [(_dice(samples, threshold, (*chosen, step)), step) for step in line]
        dice, step = max(tried, key=lambda pair: pair[0])
        if dice > after + LEAST_GAIN:
            chosen, after = (*chosen, step), dice
    return Choice(name, before, after, threshold, chosen, len(samples))


def _dice(samples: Sequence[Sample], threshold: float, steps: Sequence[Step]) -> float:
    """Mean over the cases in which the structure occurs."""
    each = []
    for sample in samples:
        mask = process(sample.mask(threshold), steps, sample.spacing_mm, sample.evidence())
        both = int(np.count_nonzero(mask.inside & sample.reference[mask.box]))
        each.append(2 * both / (mask.voxels + int(np.count_nonzero(sample.reference))))
    return float(np.mean(each))


def _samples(
    predictor: Predictor, cases: Sequence[PreprocessedCase], smoothing: float, on_case: Callable[[], None]
) -> dict[str, list[Sample]]:
    """Each structure of each case in which it occurs; only the boxes around them are kept."""
    choices = predictor.choices(Request(tuned=False, smoothing=smoothing))
    found: dict[str, list[Sample]] = {}
    for case in cases:
        record = case.record
        hu = case.scan_hu()
        confidence = ConfidenceSink(choices.labels, record.source)
        pour(predictor.slices(on_grid(case), choices), confidence)
        packed = np.stack([case.native_masks_slice(k) for k in range(record.source.canonical_shape[2])], axis=-1)
        for channel in record.annotated:
            reference = structure_mask(packed, channel)
            if reference.any():
                name = choices.labels.names[channel]
                sample = _sample(confidence.result.map(name), reference, case.spacing_mm, hu)
                found.setdefault(name, []).append(sample)
        on_case()
    return found


def _sample(
    probability: UInt8[np.ndarray, "x y z"],
    reference: np.ndarray,
    spacing_mm: tuple[float, float, float],
    hu: Int16[np.ndarray, "x y z"] | None,
) -> Sample:
    around = BoxedMask.of(reference | (probability >= UNCERTAIN[0]))
    margins = [int(MARGIN_MM / s) + 1 for s in spacing_mm]
    ends = zip(around.start, around.inside.shape, margins, reference.shape, strict=True)
    box = tuple(slice(max(0, s - m), min(n, s + w + m)) for s, w, m, n in ends)
    return Sample(probability[box].copy(), reference[box].copy(), None if hu is None else hu[box].copy(), spacing_mm)
