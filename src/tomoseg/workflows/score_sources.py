"""Sources of scores: a model's predictions on a split, and existing masks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path

import numpy as np

from tomoseg.datasets.cases import MaskCase
from tomoseg.datasets.mask_cases import OpenMasks, find_mask_cases
from tomoseg.datasets.shared_grid import shared_grid
from tomoseg.errors import ConfigError, DatasetError, InputError, TomosegError, counted, unknown_name_message
from tomoseg.evaluation.masks import Pair, Scoring, score_pairs
from tomoseg.evaluation.scores import CaseScore
from tomoseg.files.label_files import noticed_of_geometry
from tomoseg.files.label_names import check_told_apart, label_set_named
from tomoseg.files.scan import read_scan
from tomoseg.inference.choices import Choices
from tomoseg.inference.score_cases import masks_of_case, on_grid, score_case_fully
from tomoseg.labels import LabelSet, composed
from tomoseg.masks import structure_mask
from tomoseg.models.folder import is_model
from tomoseg.notices import Notice, by_weight
from tomoseg.options import Compute, EvaluateOptions, Request
from tomoseg.pictures.page_3d import Masks3D, masks_3d, write_masks_3d
from tomoseg.postprocess.steps import scan_steps
from tomoseg.preprocessed.read import PreprocessedCase
from tomoseg.segmentation import boxed_masks
from tomoseg.volume import check_same_grid
from tomoseg.workflows.held_out import held_out
from tomoseg.workflows.prediction_record import noticed_of_result

COURSE = "metrics.jsonl"
"""The records of a run's epochs, as `training/run_folder.py` names them; that module imports PyTorch."""

LOOKED_AT = 16
"""Number of slices of a structure among which the model's worst is chosen."""


class ModelSource:
    """Predictions of a model on a split, with the references."""

    def __init__(self, model: Path, dataset: Path, options: EvaluateOptions, compute: Compute) -> None:
        self._held_out = held_out(model, dataset, options.split, compute)
        data, self.split = self._held_out.data, self._held_out.split
        self._choices = self._held_out.model.choices(Request(tuned=options.tuned, all=True))
        given = self._held_out.given.names
        self.labels = data.labels.subset(_wanted_of(given, options.structures, data.labels.names))
        self.cases: dict[str, PreprocessedCase] = {case.name: case for case in self._held_out.cases}
        _check_steps(self._choices, self._held_out.cases)
        self.missing: dict[str, str] = {}
        self.noticed = {name: case.record.warnings for name, case in self.cases.items() if case.record.warnings}
        one_sided = () if options.structures else tuple(_on_one_side(set(data.labels.names), set(given)))
        self.warnings = (*self._held_out.warnings, *one_sided)
        if options.panels and self._choices.steps:
            told = "the pictures show masks before the steps that tune chose; the scores are after them"
            self.warnings = (*self.warnings, told)
        self.title = model.absolute().name
        self.reference = f"{data.folder.absolute().name}, {self.split}"
        self.courses = [model / COURSE, model.parent / COURSE]

    def score(self, name: str, scoring: Scoring) -> CaseScore:
        """Score a case."""
        case = self.cases[name]
        return score_case_fully(self._held_out.judge(case), case, scoring, self._choices, self.labels.names)

    def draw(self, name: str, structure: str, path: Path, options: EvaluateOptions) -> None:
        """Draw a structure of a case.

        Raises:
            InputError: If no voxel of the reference is left on the model's grid.
        """
        from tomoseg.pictures.panel import draw_panel  # imports Matplotlib

        case, channel = self.cases[name], self._choices.labels.channel(structure)
        ct, reference = case.ct(), structure_mask(case.masks(), channel)
        if not reference.any():
            raise InputError("expected voxels of it on the model's grid, found none")
        inside = np.flatnonzero(reference.any(axis=(0, 1)))
        tried = inside[[len(inside) * part // LOOKED_AT for part in range(LOOKED_AT)]]
        wanted = list(dict.fromkeys(tried.tolist()))
        masks = self._held_out.judge(case).grid_slices(on_grid(case), wanted, self._choices)
        found = {k: of_slice[channel] for k, of_slice in masks.items()}
        k = max(found, key=lambda k: int(np.count_nonzero(found[k] != reference[:, :, k])))
        spacing_mm = case.grid_spacing_mm[:2]
        draw_panel(ct[:, :, k], reference[:, :, k], found[k], structure, spacing_mm, path, lang=options.lang)

    def page(self, name: str, path: Path, options: EvaluateOptions) -> None:
        """Write the 3D page of a case, on the voxels that it was scored on."""
        case = self.cases[name]
        found, reference = masks_of_case(self._held_out.judge(case), case, self._choices)
        both = zip(found.labels, boxed_masks(found), boxed_masks(reference), strict=True)
        channels = {channel: self._choices.labels.names[channel] for channel in case.record.annotated}
        annotated = set(channels.values())
        shown = (
            Masks3D(structure, mask, given if structure.name in annotated else None)
            for structure, mask, given in both
            if structure.name in self.labels
        )
        write_masks_3d(shown, reference.grid, path, name, options.lang)


def _wanted_of(known: Sequence[str], wanted: Sequence[str], of_model: Sequence[str]) -> Sequence[str]:
    """Return the structures to score: those of both model and dataset, or the wanted ones among them.

    Raises:
        DatasetError: If the dataset lacks a wanted structure that the model has.
    """
    unknown = [name for name in wanted if name in of_model and name not in known]
    if unknown:
        raise DatasetError(
            f"expected structures that the dataset has, got {_some(unknown)}, which only the model has; choose "
            f"from {_some([name for name in of_model if name in known])}"
        )
    return wanted or [name for name in of_model if name in known]


def _check_steps(choices: Choices, cases: Sequence[PreprocessedCase]) -> None:
    """Refuse steps that use the scan if the dataset does not keep it on the scored voxels.

    Raises:
        ConfigError: If there are such steps and such cases.
    """
    needing = scan_steps(choices.steps)
    if needing and any(case.record.placement.resamples and not case.scored_on_grid for case in cases):
        raise ConfigError(
            f"expected steps that need only masks, got {', '.join(needing)}, which needs the scan, and the "
            "dataset has it on another grid; predict, then score the masks"
        )


def _called(reference: Path) -> str:
    return "a file" if reference.is_file() else "another folder"


class MaskSource:
    """Predicted and reference masks, matched by the names of their cases."""

    def __init__(self, predicted: Path, reference: Path, options: EvaluateOptions, compute: Compute) -> None:
        if predicted.is_dir() and is_model(predicted):
            raise DatasetError(
                f"{reference}: expected a preprocessed dataset with a model, got {_called(reference)}; run tomoseg "
                "preprocess on the reference, or tomoseg predict, and compare masks with masks"
            )
        self.cases, self.missing = matched_cases(predicted, reference)
        self.labels, self.warnings = _common_labels(list(self.cases.values()), options.structures)
        self.warnings += _without_file(self.cases, self.labels.names)
        self.noticed = {name: noticed for name, pair in self.cases.items() if (noticed := _noticed(*pair))}
        self.title, self.reference = predicted.absolute().name, reference.absolute().name
        self.courses: list[Path] = []
        self.split = options.split
        self._resample = options.resample

    def score(self, name: str, scoring: Scoring) -> CaseScore:
        """Score a case."""
        ours, theirs = self.cases[name]
        reference, predicted = self._open(ours, theirs)

        def pairs() -> Iterator[Pair]:
            for structure in self.labels.names:
                if structure in theirs.annotated:
                    yield structure, predicted.mask(structure), reference.mask(structure)

        scores = tuple(score_pairs(pairs(), reference.grid, scoring))
        return CaseScore(name, scores, theirs.patient, reference.grid.spacing_mm)

    def draw(self, name: str, structure: str, path: Path, options: EvaluateOptions) -> None:
        """Draw a structure of a case.

        Raises:
            GridError: If the scan is on another grid than the reference.
            InputError: If there is no scan, or it cannot be read.
        """
        from tomoseg.pictures.panel import draw_panel, worst_slice  # imports Matplotlib

        ours, theirs = self.cases[name]
        ct = theirs.ct or ours.ct
        if ct is None:
            raise InputError("expected its CT beside the masks, found none; add it as ct.nii.gz")
        volume = read_scan(ct)
        reference, predicted = self._open(ours, theirs)
        check_same_grid(volume.source, reference.grid, str(ct), "the reference")
        given, found = reference.mask(structure), predicted.mask(structure)
        k = worst_slice(found.whole(), given.whole())
        at, one = (0, 0, k), (volume.shape[0], volume.shape[1], 1)
        red, blue = (mask.within(at, one).whole()[:, :, 0] for mask in (given, found))
        draw_panel(volume.hu[:, :, k], red, blue, structure, volume.spacing_mm[:2], path, lang=options.lang)

    def page(self, name: str, path: Path, options: EvaluateOptions) -> None:
        """Write the 3D page of a case."""
        reference, predicted = self._open(*self.cases[name])
        write_masks_3d(masks_3d(self.labels, predicted, reference), reference.grid, path, name, options.lang)

    def _open(self, ours: MaskCase, theirs: MaskCase) -> tuple[OpenMasks, OpenMasks]:
        """Open prediction and reference on one grid."""
        grid, owner = shared_grid(ours, theirs, self._resample)
        return OpenMasks(theirs, grid, owner), OpenMasks(ours, grid, owner, resample=self._resample)


def matched_cases(predicted: Path, reference: Path) -> tuple[dict[str, tuple[MaskCase, MaskCase]], dict[str, str]]:
    """Return prediction and reference of each case by name, and the reason for each unmatched case.

    Raises:
        DatasetError: If there are no masks on a side, or no case on both.
    """
    ours, theirs = ({case.name: case for case in find_mask_cases(path)} for path in (predicted, reference))
    if len(ours) == len(theirs) == 1:  # a single pair matches, whatever the names
        ours = dict(zip(theirs, ours.values(), strict=True))
    if not ours.keys() & theirs.keys():
        raise DatasetError(
            f"expected cases of the same names on both sides, got {_some(ours)} in {predicted} and {_some(theirs)} "
            f"in {reference}; rename one side"
        )
    matched = {name: (ours[name], theirs[name]) for name in theirs if name in ours}
    alone = [(theirs, f"no prediction in {predicted}"), (ours, f"no reference in {reference}")]
    return matched, {name: why for side, why in alone for name in side if name not in matched}


def _noticed(ours: MaskCase, theirs: MaskCase) -> tuple[Notice, ...]:
    """Return the notices of the segmented scan, and of the geometry of the reference."""
    told = [*noticed_of_result(ours.first_file), *noticed_of_result(theirs.first_file)]
    with suppress(TomosegError):  # reported when it is scored
        told += [notice.without(theirs.first_file) for notice in noticed_of_geometry(theirs.first_file)]
    return by_weight(told)


def _common_labels(
    pairs: Sequence[tuple[MaskCase, MaskCase]], wanted: Sequence[str]
) -> tuple[LabelSet, tuple[str, ...]]:
    """Return the structures of both sides, and sentences about those of one side only.

    Raises:
        ConfigError: If a wanted structure is on neither side.
        DatasetError: If there is nothing in common.
        LabelError: If two names differ only in case.
    """
    ours, theirs = ({name for pair in pairs for name in pair[side].annotated} for side in (0, 1))
    wanted = [composed(name) for name in wanted]
    for name in wanted:
        if name not in ours | theirs:
            raise ConfigError(f"structures: {unknown_name_message(name, sorted(ours | theirs))}")
    check_told_apart(sorted(ours | theirs), "predictions and references")
    common = (ours & theirs) & (set(wanted) or ours)
    if not common:
        raise DatasetError(
            f"expected structures that both sides have, got {_some(sorted(ours))} predicted and "
            f"{_some(sorted(theirs))} as reference; give them the same names"
        )
    warnings = _lacking(ours, theirs, wanted) if wanted else _on_one_side(ours, theirs)
    return label_set_named(sorted(common)), tuple(warnings)


def _on_one_side(ours: Set[str], theirs: Set[str]) -> Iterator[str]:
    for only, what in ((ours - theirs, "predicted without a reference"), (theirs - ours, "never predicted")):
        if only:
            yield f"{counted(len(only), 'structure is', 'structures are')} {what} and not scored: {_some(sorted(only))}"


def _lacking(ours: Set[str], theirs: Set[str], wanted: Sequence[str]) -> Iterator[str]:
    for side, what in ((theirs, "in the reference"), (ours, "predicted")):
        if lacking := sorted(set(wanted) - side):
            yield f"asked for, but never {what} and so not scored: {_some(lacking)}"


def _without_file(cases: Mapping[str, tuple[MaskCase, MaskCase]], names: Sequence[str]) -> tuple[str, ...]:
    """Return sentences about structures that some predictions have and others lack, which count as empty."""
    lacking = [
        f"{name} {structure}"
        for name, (ours, theirs) in cases.items()
        for structure in names
        if structure in theirs.annotated and structure not in ours.annotated
    ]
    if not lacking:
        return ()
    masks = counted(len(lacking), "mask")
    return (f"{masks} without a file among the predictions, counted as empty: {_some(lacking)}",)


def _some(names: Sequence[str] | Mapping[str, object]) -> str:
    listed = list(names)
    return ", ".join(listed[:6]) + (", ..." if len(listed) > 6 else "") if listed else "none"
