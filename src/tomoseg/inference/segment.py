"""Segmentation of one scan, as the command line, Python, evaluation and tuning call it.

Everything that decides a mask lies behind `segment`: checks of the scan, the network's grid, the network, the model's
tuning, decisions and post-processing. In front of it are only readers, writers and schedulers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int16

from tomoseg.checks.in_distribution import out_of_distribution
from tomoseg.checks.scan import inspect_scan, refuse_warnings
from tomoseg.evaluation.measure import Measurement, measure
from tomoseg.files.no_scan import refuse_known, refuse_map
from tomoseg.files.scan import look, read_scan
from tomoseg.inference.choices import Choices
from tomoseg.inference.grids import averaged_axes, resampling_notices
from tomoseg.inference.nnunet.parts import PartsPredictor
from tomoseg.inference.nnunet.predictor import NnunetPredictor
from tomoseg.inference.nnunet.tasks import by_its_rules
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.self_rating import UNLIKE, RatingSums, SelfRating
from tomoseg.inference.sinks import (
    ConfidenceSink,
    HighestConfidenceSink,
    LabelMapSink,
    MaskSink,
    NoticeSink,
    Progress,
    Sink,
    collect,
)
from tomoseg.inference.stages import Stages
from tomoseg.labels import LabelSet
from tomoseg.models.folder import Model, load_model
from tomoseg.models.packaged import model_folder
from tomoseg.models.parts import is_of_parts, load_parts
from tomoseg.models.views import Fusion, is_of_views, load_views, record_of
from tomoseg.notices import UNLIKE_TRAINING, Notice, by_weight
from tomoseg.options import AS_TUNED, AUTO, DEFAULT_MODEL, Compute, Request
from tomoseg.postprocess.steps import apply, apply_to_map, needs_confidence
from tomoseg.segmentation import Confidence, LabelMap, Segmentation
from tomoseg.volume import SourceGrid, Volume

AnyModel = Predictor | Model | Path | str | Sequence[Model]
"""A model in any form that `segment` takes; a `Predictor` keeps its engines open for the next scan."""

OTHERWISE = "what `read_scan` reads of it"
"""Advice in messages: what to pass to segment a file that was recognised as something other than a scan."""


@dataclass(frozen=True)
class Prediction:
    """The segmentation of one scan.

    Attributes:
        result: Independent masks, or a label map if the request has `ml`, on the scan's own grid.
        confidence: Probability maps, if requested, calibrated if the model has temperatures.
        self_rating: Confidence of the model in the result, if requested: the expected Dice with a calibrated model,
            otherwise a figure that only ranks scans.
        statistics: Volume, HU and position of each structure, if requested.
        notices: Notices about the scan, the request and the result, the most important first.
        seconds: Duration by stage: `segment` as a whole; `grid`, `prepare`, `network` and `decisions` within it; and
            later stages such as `postprocess`.

    Example:
        >>> prediction = segment(Path("ct.nii.gz"), "head-neck")
        >>> prediction.labels.names[:2], prediction.mask("mandible").shape
        (('brainstem', 'esophagus'), (48, 40, 12))
    """

    result: Segmentation | LabelMap
    confidence: Confidence | None = None
    self_rating: SelfRating | None = None
    statistics: tuple[Measurement, ...] | None = None
    notices: tuple[Notice, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def labels(self) -> LabelSet:
        """The structures that were segmented, found or not, in channel order."""
        return self.result.labels

    def mask(self, name: str) -> Bool[np.ndarray, "x y z"]:
        """Return the mask of one structure, `(x, y, z)` bool in RAS+ order on the scan's own grid.

        Args:
            name: Name of the structure.

        Raises:
            LabelError: If there is no structure of that name.
        """
        return self.result.mask(name)


def segment(
    scan: Volume | Path | str,
    model: AnyModel = DEFAULT_MODEL,
    request: Request = AS_TUNED,
    *,
    compute: Compute = AUTO,
    progress: Progress | None = None,
    notices: tuple[Notice, ...] | None = None,
) -> Prediction:
    """Segment one scan.

    Args:
        scan: A scan, or the path of anything that `read_scan` reads.
        model: The name of a packaged or fetched model, a model folder or a run folder; a loaded model, or several whose
            logits are averaged; or a `Predictor`, which can be kept for many scans. If omitted, `body-117` with 117
            structures.
        request: Structures, thresholds and further results. What it leaves open is taken from the model's tuning.
        compute: The engine, device and precision that run the network; a `Predictor` brings its own.
        progress: Called after each slice with the number of slices done and the total number of slices; if a model
            consists of several parts, each part counts all slices of the scan.
        notices: The result of `preflight`, if it was called before; if omitted, it is called here.

    Returns:
        The masks on the scan's own grid, and the further results that were requested.

    Raises:
        InputError: If the scan cannot be read, is a label map or a result of tomoseg, does not fit into the allowed
            memory, or gives rise to a warning although the request is `strict`.
        ModelError: If the model cannot be loaded.
        LabelError: If the model does not have a requested structure.
        ConfigError: If the request cannot be met: a threshold or post-processing step is invalid, or the engine or the
            device is not available on this machine.

    Example:
        >>> prediction = segment(Path("ct.nii.gz"), "head-neck", Request(roi_subset=("mandible",)))
        >>> prediction.labels.names, prediction.confidence is None
        (('mandible',), True)
    """
    predictor = open_predictor(model, compute)
    volume = scan if isinstance(scan, Volume) else _read(Path(scan))
    choices = predictor.choices(request)
    seen = preflight(volume, predictor) if notices is None else notices
    if not isinstance(scan, Volume):
        refuse_map(seen, Path(scan), OTHERWISE)
    if request.strict:
        refuse_warnings(seen, "the scan")
    stages = Stages()
    found = _decided(predictor, volume, choices, request, stages, progress)
    statistics = None
    if request.statistics:
        with stages("statistics"):
            statistics = tuple(measure(found.result, volume))
    return Prediction(
        found.result,
        found.confidence,
        _rating_of(found, seen),
        statistics,
        by_weight((*seen, *choices.notices, *found.notices, *_told_of_nothing(found.result))),
        stages.seconds,
    )


def _told_of_nothing(result: LabelMap | Segmentation) -> tuple[Notice, ...]:
    """Return a notice if a result is empty, since empty files alone do not make that clear."""
    if not result.is_empty:
        return ()
    names = result.labels.names
    what = f"{names[0]} was not found" if len(names) == 1 else f"None of the {len(names)} structures was found"
    text = f"{what}: absent, outside the scan, or missed. Look at the scan."
    return (Notice(text, "nothing found"),)


def _read(path: Path) -> Volume:
    """Read a scan, and refuse files that are recognised as something else."""
    source = look(path)
    refuse_known(source, path, OTHERWISE)
    return read_scan(source)


def _rating_of(found: Prediction, seen: tuple[Notice, ...]) -> SelfRating | None:
    """Return the model's rating of its own result; withheld if the scan is unlike the training scans."""
    if found.self_rating is None or all(notice.kind not in UNLIKE_TRAINING for notice in seen):
        return found.self_rating
    return found.self_rating.withheld(UNLIKE)


def preflight(volume: Volume, predictor: Predictor) -> tuple[Notice, ...]:
    """Check a scan before it is segmented: its values, its geometry, and whether it resembles the training scans.

    Args:
        volume: The scan.
        predictor: The predictor of the model.

    Returns:
        Notices, the most important first.
    """
    seen = inspect_scan(volume, contrast=False)
    trained_on = predictor.record.trained_on
    brought = resampling_notices(predictor.record, volume.spacing_mm)
    parts = [part.name for part in seen.parts]
    averaged = averaged_axes(predictor.record, volume.spacing_mm)
    differences = () if trained_on is None else out_of_distribution(volume, trained_on, parts, averaged)
    return by_weight((*volume.warnings, *seen.notices, *brought, *differences))


def open_predictor(model: AnyModel, compute: Compute = AUTO) -> Predictor:
    """Make a predictor from a model in any form that `segment` takes, to segment many scans with it.

    Args:
        model: A model, as for `segment`.
        compute: The engine, device and precision that run the network; a `Predictor` brings its own.

    Returns:
        The predictor, for `segment`.

    Raises:
        ModelError: If the model cannot be loaded.
        ConfigError: If several models differ in structures or grid.

    Example:
        >>> predictor = open_predictor("head-neck")
        >>> [segment(Path(scan), predictor).mask("mandible").shape for scan in ["ct.nii.gz"]]
        [(48, 40, 12)]
    """
    if isinstance(model, Predictor):
        return model
    if not isinstance(model, Path | str):
        return predictor_of(model, compute)
    if is_of_parts(Path(model)):
        parts, folder = load_parts(Path(model)), model_folder(Path(model))
        return by_its_rules(PartsPredictor(parts, record_of(folder), folder.absolute().name, compute))
    if is_of_views(Path(model)):
        models, fusion = load_views(Path(model))
        return predictor_of(models, compute, fusion)
    return predictor_of(load_model(Path(model)), compute)


def predictor_of(model: Model | Sequence[Model], compute: Compute = AUTO, fusion: Fusion | None = None) -> Predictor:
    """Make a predictor for loaded models, either trained with tomoseg or imported from nnU-Net.

    Args:
        model: A loaded model, or several with the same structures and grid.
        compute: The engine, device and precision that run the network.
        fusion: Weights of several models; None weights them equally.

    Raises:
        ConfigError: If several models differ in structures or grid.
    """
    models = [model] if isinstance(model, Model) else list(model)
    if models[0].record.plan is None:
        return Predictor(models, compute, fusion)
    return by_its_rules(NnunetPredictor(models, compute, fusion))


def segment_on_grid(
    scan: OnGrid,
    predictor: Predictor,
    choices: Choices,
    request: Request = AS_TUNED,
    hu: Int16[np.ndarray, "x y z"] | None = None,
) -> Prediction:
    """Segment a scan that is already on the network's grid, such as a case of a preprocessed dataset.

    Args:
        scan: The scan on the network's grid.
        predictor: The predictor of the model.
        choices: Structures, thresholds, smoothing and post-processing steps.
        request: Further results to compute.
        hu: The scan on its own grid in HU, for post-processing steps that use it.

    Raises:
        ConfigError: If a post-processing step needs the scan, and `hu` is not given.
    """
    stages = Stages()
    found, evidence = _through(predictor, scan, choices, request, stages, None)
    return _with_steps(found, evidence, choices, hu, stages)


def _decided(
    predictor: Predictor,
    volume: Volume,
    choices: Choices,
    request: Request,
    stages: Stages,
    progress: Progress | None,
) -> Prediction:
    with stages("segment"):
        scan = predictor.on_grid(volume, stages)
        found, evidence = _through(predictor, scan, choices, request, stages, progress)
    return _with_steps(found, evidence, choices, volume.hu, stages)


def _through(
    predictor: Predictor,
    scan: OnGrid,
    choices: Choices,
    request: Request,
    stages: Stages,
    progress: Progress | None,
) -> tuple[Prediction, Confidence | None]:
    """Collect every slice of the scan in the sinks that the request needs; also returns evidence for steps.

    The evidence differs from requested probabilities, since masks do not depend on temperatures.
    """
    labels, grid = choices.labels, scan.source
    main = LabelMapSink(labels, grid) if request.ml else MaskSink(labels, grid)
    confidence, evidence = _probabilities(choices, request, grid)
    scales = None if choices.temperatures is None else choices.scales
    rating = RatingSums(labels.names, choices.offsets, scales) if request.triage else None
    noticed = NoticeSink()
    sinks: list[Sink] = [main, noticed, *(one for one in dict.fromkeys((confidence, evidence)) if one is not None)]
    collect(predictor.slices(scan, choices, stages, rating, progress), *sinks, stages=stages)
    found = Prediction(
        main.result,
        None if confidence is None else confidence.result,
        None if rating is None else rating.rating(),
        notices=noticed.result,
        seconds=stages.seconds,
    )
    return found, None if evidence is None else evidence.result


def _probabilities(
    choices: Choices, request: Request, grid: SourceGrid
) -> tuple[ConfidenceSink | HighestConfidenceSink | None, ConfidenceSink | None]:
    """Return the sinks of requested probabilities and of those for post-processing; the same one if both agree."""
    needed = needs_confidence(choices.steps)
    of_all = ConfidenceSink(choices.labels, grid, calibrated=False) if needed else None
    if not request.confidence:
        return None, of_all
    if request.ml:
        return HighestConfidenceSink(grid), of_all
    if needed and choices.temperatures is None:
        return of_all, of_all
    return ConfidenceSink(choices.labels, grid), of_all


def _with_steps(
    found: Prediction,
    evidence: Confidence | None,
    choices: Choices,
    hu: Int16[np.ndarray, "x y z"] | None,
    stages: Stages,
) -> Prediction:
    if not choices.steps:
        return found
    with stages("postprocess"):
        if isinstance(found.result, LabelMap):
            result: Segmentation | LabelMap = apply_to_map(found.result, choices.steps)
        else:
            result = apply(found.result, choices.steps, hu, evidence)
    return replace(found, result=result, seconds=stages.seconds)
