"""`tomoseg tune`: thresholds, smoothing and postprocessing of a model, chosen for each structure.

Each choice is made on cases not used for training, of enough patients, and kept only if it also gains on patients that
it was not made on (`choosing.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int16, UInt8

from tomoseg.errors import DatasetError
from tomoseg.evaluation.temperatures import LogitCounts
from tomoseg.files.outputs import begin_folder
from tomoseg.inference.score_cases import ScoredCase
from tomoseg.inference.sinks import ConfidenceSink, MaskSink, collect
from tomoseg.masks import BoxedMask, structure_mask
from tomoseg.models.calibrated import CALIBRATED
from tomoseg.models.folder import model_in
from tomoseg.models.packaged import check_is_own
from tomoseg.models.tuned import LEAST_PATIENTS, TUNED, Tuned, save_tuned
from tomoseg.options import AUTO, Compute, Request
from tomoseg.postprocess.crf import UNCERTAIN
from tomoseg.preprocessed.read import PreprocessedCase
from tomoseg.workflows.calibrate import CountedCase, keep
from tomoseg.workflows.choosing import LEAST_GAIN, THRESHOLDS, Choice, Sample, Scores, choose, choose_together
from tomoseg.workflows.held_out import HeldOut, held_out

SMOOTHINGS = (0.0, 0.5, 1.0)
LEAST_MASKS = 20
"""Minimum masks of which one threshold is chosen for several structures."""

MARGIN_MM = 12.0
"""Margin in mm around a structure and its reference, as context for the steps."""


def tune(
    model: Path,
    preprocessed: Path,
    split: str = "auto",
    compute: Compute = AUTO,
    on_case: Callable[[int, int], None] = lambda done, total: None,
    on_structure: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> tuple[Tuned, list[Choice]]:
    """Try smoothing, thresholds and steps on a split, and write those that help, and temperatures, to the model folder.

    Of an imported model whose structures exclude one another no threshold is tried; one of parts, and one that is shown
    the box of a structure alone, have no temperatures.
    Structures that fewer than `LEAST_PATIENTS` patients of the split show share one threshold, if the split has
    `LEAST_MASKS` masks of them, of two patients or more, and it helps patients that did not choose it; else they are
    left as they are. Smoothing is of a whole model, so it is tried only where there is no such structure.

    Args:
        model: A model folder or a run folder.
        preprocessed: A preprocessed dataset with the model's grid, and its structures or some of them.
        split: Split of the choosing cases; `auto` takes cases not used for training: for a run of folds all cases,
            each with the network that it was held out of, else the validation split.
        compute: The engine, device and precision that run the network.
        on_case: Called with the number of cases done and the total number of cases, over all smoothings.
        on_structure: Called before the candidates of each structure are tried, for each smoothing, with its name, the
            number of structures done and their total number.

    Returns:
        The new tuning, and its gain for each structure that occurs.

    Raises:
        ConfigError: If the split has no such name, or the dataset is not on the scans' own voxels, as an imported model
            needs it.
        DatasetError: If the split has too few patients, or the dataset does not fit the model.
        ModelError: If the model cannot be loaded, or is a packaged one.
        OutputError: If its folder cannot be written to.
    """
    folder = model_in(model)
    check_is_own(folder)
    begin_folder(folder, (TUNED, CALIBRATED))
    found = held_out(model, preprocessed, split, compute)
    names, cases = found.model.record.labels.names, found.cases
    few = _few_of(cases, names, found.model.takes_thresholds)
    few.check(len(names), f"{preprocessed}, split {found.split!r}")
    enough = [name for name in names if name not in few.patients]
    smoothings = SMOOTHINGS[:1] if few.patients else SMOOTHINGS
    counts = LogitCounts(len(names)) if found.model.takes_temperatures and enough else None
    done, total = count(1), len(cases) * len(smoothings)

    def choices_at(smoothing: float) -> list[Choice]:
        samples = _samples(found, smoothing, None if smoothing else counts, lambda: on_case(next(done), total))
        own = [chosen(number, name, samples[name]) for number, name in enumerate(enough)]
        return own + choose_together([Scores(name, samples[name]) for name in few.sharing])

    def chosen(number: int, name: str, samples: list[Sample]) -> Choice:
        on_structure(name, number, len(enough))
        return choose(Scores(name, samples))

    smoothing, choices = _best({smoothing: choices_at(smoothing) for smoothing in smoothings})
    chosen_on = {"dataset": found.data.folder.name, "split": found.split, "cases": len(cases), **few.told(choices)}
    tuned = _tuned(found.model.sha256, smoothing, choices, chosen_on)
    save_tuned(tuned, folder)
    if counts is not None:
        keep(found, counts, folder)
    return tuned, choices


@dataclass(frozen=True)
class _Few:
    """The structures that fewer than `LEAST_PATIENTS` patients show.

    Attributes:
        patients: The number of patients of each.
        masks: Number of all their masks.
        altogether: Number of patients that show any of them.
        takes_thresholds: Whether the model takes thresholds.
    """

    patients: dict[str, int]
    masks: int
    altogether: int
    takes_thresholds: bool

    @property
    def sharing(self) -> list[str]:
        """Those that can share one threshold; none if there are too few masks to choose one."""
        can = self.takes_thresholds and self.masks >= LEAST_MASKS and self.altogether >= 2
        return [name for name, patients in self.patients.items() if patients] if can else []

    def check(self, structures: int, where: str) -> None:
        """Refuse a split on which nothing can be chosen.

        Raises:
            DatasetError: If all structures are of few patients and can share no threshold.
        """
        if len(self.patients) == structures and not self.sharing:
            raise DatasetError(
                f"{where}: expected a structure in {LEAST_PATIENTS} patients or more, got at most "
                f"{max(self.patients.values())}, or {LEAST_MASKS} masks of two patients or more to choose one "
                f"threshold for all structures, got {self.masks} of {self.altogether}; add cases to it or choose "
                "another: a choice from so few is chance"
            )

    def told(self, choices: Sequence[Choice]) -> dict[str, dict[str, int]]:
        """Return for the record which of them share a threshold, and which are left as they are."""
        chosen = {choice.structure for choice in choices if choice.threshold != THRESHOLDS[0]}
        together = {name: patients for name, patients in self.patients.items() if name in chosen}
        return {"together": together, "left": {n: p for n, p in self.patients.items() if n not in chosen}}


def _few_of(cases: Sequence[PreprocessedCase], names: Sequence[str], takes_thresholds: bool) -> _Few:
    """Return the structures of few patients, from the records alone."""
    shown = {name: [c.record.patient for c in cases if c.record.voxels.get(n)] for n, name in enumerate(names)}
    few = {name: found for name, found in shown.items() if len(set(found)) < LEAST_PATIENTS}
    patients = {name: len(set(found)) for name, found in few.items()}
    return _Few(patients, sum(map(len, few.values())), len(set().union(*few.values())), takes_thresholds)


def _tuned(weights: str, smoothing: float, choices: Sequence[Choice], chosen_on: Mapping[str, Any]) -> Tuned:
    """Return the tuning to use, with its gain."""
    return Tuned(
        weights,
        smoothing,
        {c.structure: c.threshold for c in choices if c.threshold != THRESHOLDS[0]},
        {c.structure: [str(step) for step in c.steps] for c in choices if c.steps},
        {
            **chosen_on,
            "dice_before": float(np.mean([choice.before for choice in choices])),
            "dice_after": float(np.mean([choice.after for choice in choices])),
            "dice_on_others": _on_others(choices),
            "refused": {choice.structure: choice.refused for choice in choices if choice.refused},
        },
    )


def _best(tried: Mapping[float, list[Choice]]) -> tuple[float, list[Choice]]:
    """Return the smoothing with the highest mean Dice on other patients; more smoothing has to gain something.

    Its choices are returned too, with their gain compared to no smoothing.
    """
    best = SMOOTHINGS[0]
    for smoothing, choices in tried.items():
        needed = LEAST_GAIN if smoothing > best else 0.0
        if _on_others(choices) > _on_others(tried[best]) + needed:
            best = smoothing
    before = {choice.structure: choice.before for choice in tried[SMOOTHINGS[0]]}
    return best, [replace(choice, before=before[choice.structure]) for choice in tried[best]]


def _on_others(choices: Sequence[Choice]) -> float:
    return float(np.mean([choice.on_others for choice in choices]))


def _samples(
    found: HeldOut, smoothing: float, counts: LogitCounts | None, on_case: Callable[[], None]
) -> dict[str, list[Sample]]:
    """Return the samples of each structure, cropped to boxes, and count the logits."""
    choices = found.model.choices(Request(tuned=False, calibrated=False, smoothing=smoothing, all=True))
    samples: dict[str, list[Sample]] = {}
    for case in found.cases:
        scored = ScoredCase(case)
        hu = scored.hu()
        confidence, masks = ConfidenceSink(choices.labels, scored.source), MaskSink(choices.labels, scored.source)
        sinks = (confidence,) if found.model.takes_thresholds else (confidence, masks)
        judge = found.judge(case)
        watch = None if counts is None else CountedCase(case, counts, judge.watched_at(scored.scan))
        collect(judge.slices(scored.scan, choices, watch=watch), *sinks)
        if watch is not None:
            watch.end()
        packed = np.stack([scored.masks_slice(k) for k in range(scored.source.canonical_shape[2])], axis=-1)
        for channel in case.record.annotated:
            reference = structure_mask(packed, channel)
            if reference.any():
                name = choices.labels.names[channel]
                mask = None if found.model.takes_thresholds else masks.result.mask(name)
                cut = _sample(confidence.result.map(name), mask, reference, scored.source.spacing_mm, hu)
                samples.setdefault(name, []).append(replace(cut, patient=case.record.patient))
        on_case()
    return samples


def _sample(
    probability: UInt8[np.ndarray, "x y z"],
    mask: Bool[np.ndarray, "x y z"] | None,
    reference: np.ndarray,
    spacing_mm: tuple[float, float, float],
    hu: Int16[np.ndarray, "x y z"] | None,
) -> Sample:
    seen = reference | (probability >= UNCERTAIN[0])
    around = BoxedMask.of(seen if mask is None else seen | mask)
    margins = [int(MARGIN_MM / s) + 1 for s in spacing_mm]
    ends = zip(around.start, around.inside.shape, margins, reference.shape, strict=True)
    box = tuple(slice(max(0, s - m), min(n, s + w + m)) for s, w, m, n in ends)
    cut = Sample(probability[box].copy(), reference[box].copy(), None if hu is None else hu[box].copy(), spacing_mm)
    return cut if mask is None else replace(cut, found=mask[box].copy())
