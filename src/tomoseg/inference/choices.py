"""Decision settings of a scan: those of the request, over those that the model was tuned to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32

from tomoseg.errors import ConfigError, counted
from tomoseg.evaluation.temperatures import Temperatures, scales_of
from tomoseg.labels import LabelSet, counterpart
from tomoseg.models.tuned import Tuned
from tomoseg.nnunet import Box
from tomoseg.notices import Notice
from tomoseg.options import Decisions, Request, Resampling, thresholds_of
from tomoseg.postprocess.steps import Steps, needs_confidence, scan_steps, steps_of


@dataclass(frozen=True)
class FoundBox:
    """The model that finds the part of a scan that a network is given.

    Attributes:
        rule: The model, its structures, and the margin around them.
        sha256: SHA-256 of that model's weights.
    """

    rule: Box
    sha256: str


@dataclass(frozen=True)
class Choices:
    """Decision settings of a scan.

    Attributes:
        labels: Requested structures, in channel order.
        decisions: Thresholds, mirror images and smoothing.
        steps: Postprocessing of masks.
        notices: Parts of the model's tuning that are not used, and why.
        tuned: The model's tuning, if it has any effect.
        temperatures: Temperatures of probabilities, if the model has any and they are requested.
        probabilities: Whether probabilities are requested, or needed by a step.
        resampling: How masks are brought to the scan's own voxels.
        box: The finder of the part of the scan that the network is given; None for all of it.
    """

    labels: LabelSet
    decisions: Decisions
    steps: Steps
    notices: tuple[Notice, ...] = ()
    tuned: Tuned | None = None
    temperatures: Temperatures | None = None
    probabilities: bool = False
    resampling: Resampling = "smooth"
    box: FoundBox | None = None

    @property
    def scales(self) -> Float32[np.ndarray, "c 2"]:
        """Factors of logits (1 / temperature) for probabilities, above and below 0."""
        return scales_of(self.temperatures, self.labels.names)

    @property
    def offsets(self) -> Float32[np.ndarray, "c"]:
        """The logit of each structure's threshold."""
        thresholds = np.array([self.decisions.thresholds.get(name, 0.5) for name in self.labels.names])
        return np.log(thresholds / (1 - thresholds)).astype(np.float32)


def choices_of(labels: LabelSet, tuned: Tuned | None, request: Request, left_out: Sequence[str] = ()) -> Choices:
    """Combine a request with a model's tuning.

    Args:
        labels: All structures of the model.
        tuned: The tuning, if there is one and it is to be used.
        request: The request, which takes precedence.
        left_out: Structures that are predicted only when named.

    Raises:
        LabelError: If the model does not know a structure.
        ConfigError: If a threshold or a step cannot be parsed, a step needs probabilities for a label map, or mirror
            images are requested of a model without the counterpart of a structure.
    """
    if left_out and not request.roi_subset:
        kept = choices_of(labels.subset([name for name in labels.names if name not in left_out]), tuned, request)
        return replace(kept, notices=(*kept.notices, _told_of(left_out)))
    untuned = _made(labels, Tuned(""), request)
    if tuned is None:
        return untuned
    made = _made(labels, tuned, request)
    differs = (made.decisions, made.steps) != (untuned.decisions, untuned.steps)
    return replace(made, tuned=tuned if differs else None)


def _told_of(left_out: Sequence[str]) -> Notice:
    words = (
        f"{counted(len(left_out), 'structure')} that this model segments poorly, according to its model card, "
        f"{'is' if len(left_out) == 1 else 'are'} left out: {', '.join(left_out)}. Add --all, or name them "
        "with --roi-subset."
    )
    return Notice(words, "structures left out")


def _made(labels: LabelSet, found: Tuned, request: Request) -> Choices:
    wanted = labels.subset(request.roi_subset) if request.roi_subset else labels
    names = wanted.names
    thresholds = {name: value for name, value in found.thresholds.items() if name in names}
    smoothing = found.smoothing if request.smoothing is None else request.smoothing
    decisions = Decisions(
        thresholds=thresholds | thresholds_of(request.threshold, names), flips=request.flips, smoothing=smoothing
    )
    if request.flips:
        _check_flips(wanted, labels)
    if request.postprocess is None:
        choices = Choices(wanted, decisions, *_tuned_steps(found, names, request.ml))
    else:
        choices = Choices(wanted, decisions, _asked_steps(request.postprocess, names, request.ml))
    return replace(choices, probabilities=request.confidence or needs_confidence(choices.steps))


def _asked_steps(texts: Sequence[str], names: Sequence[str], ml: bool) -> Steps:
    steps = steps_of(texts, names)
    if ml and (needing := ", ".join(scan_steps(steps))):
        raise ConfigError(f"expected masks for {needing}, got --ml; leave --ml off, or {needing} out")
    return steps


def _tuned_steps(tuned: Tuned, names: Sequence[str], ml: bool) -> tuple[Steps, tuple[Notice, ...]]:
    """Return the tuned steps without those that a label map cannot have, and a notice about these."""
    chosen = [f"{name}={step}" for name, steps in tuned.steps.items() if name in names for step in steps]
    left_out = [text for text in chosen if ml and scan_steps(steps_of([text], names))]
    steps = steps_of([text for text in chosen if text not in left_out], names)
    if not left_out:
        return steps, ()
    words = (
        f"Left out: {', '.join(left_out)}, which tuning chose but which needs probabilities that a label map "
        "does not have. Leave --ml off to apply it."
    )
    return steps, (Notice(words, "tuned step"),)


def _check_flips(wanted: LabelSet, labels: LabelSet) -> None:
    """Refuse mirror images if the model lacks the left-right counterpart of a structure.

    Raises:
        ConfigError: If so.
    """
    alone = [name for name in wanted.names if counterpart(name) not in labels]
    if alone:
        raise ConfigError(
            "expected a model that knows the left or right counterpart of every structure, for flips, got "
            f"none for {', '.join(alone[:3])}; leave flips off, or name other structures with --roi-subset"
        )
