"""TotalSegmentator's pre- and postprocessing around the networks of its tasks.

Networks of some tasks are given only the bounding box of a structure, which a coarser model finds in the whole scan;
those of others are if only some of their structures are requested. With `exact` resampling, a scan is also resampled
to the task's spacing, labels are brought back by nearest neighbour, and small components are removed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import blosc2
import numpy as np
from jaxtyping import Bool, Int16, UInt8, UInt16
from pydantic import ByteSize

from tomoseg.errors import ConfigError, ModelError
from tomoseg.grid import Placement, Triple
from tomoseg.inference.choices import Choices, FoundBox
from tomoseg.inference.engine import Engine
from tomoseg.inference.nnunet.box import Borders, box_of, notice_of_no_finder, notice_of_none
from tomoseg.inference.nnunet.decided import KeptSlice
from tomoseg.inference.nnunet.frame import header_edges
from tomoseg.inference.nnunet.predictor import NnunetPredictor, masks_of_some, whole_scan
from tomoseg.inference.nnunet.voxels import brought, shape_on
from tomoseg.inference.nnunet.window import PlacedSlice, Window
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import LogitSink, Predictor
from tomoseg.inference.sinks import Progress, ScanSlice, in_turn
from tomoseg.inference.stages import Stages
from tomoseg.labels import LabelSet, label_type
from tomoseg.models.folder import Model, load_model
from tomoseg.models.packaged import model_folder
from tomoseg.nnunet import Box, TaskRules
from tomoseg.options import AS_TUNED, Request
from tomoseg.volume import SourceGrid, Volume

WHOLE = Request(resampling="exact")
"""Request to a model that finds a box."""


def by_its_rules(predictor: NnunetPredictor) -> Predictor:
    """Wrap a predictor in the rules of its task if it is one of TotalSegmentator's; return it as it is otherwise.

    Args:
        predictor: The predictor of an imported model.
    """
    plan = predictor.record.plan
    return predictor if plan is None or plan.rules is None else TaskPredictor(predictor, plan.rules)


class TaskPredictor(Predictor):
    """Predictor of a task of TotalSegmentator, of one network or of parts. Thread-safe.

    Args:
        inner: Predictor of its networks alone.
        rules: The task's pre- and postprocessing.
    """

    def __init__(self, inner: NnunetPredictor, rules: TaskRules) -> None:
        super().__init__(inner.models[0], inner.compute)
        self.models, self.record, self.fusion = inner.models, inner.record, inner.fusion
        self._inner, self._rules = inner, rules
        self._finders: dict[str, Predictor] = {}
        self._finding = threading.Lock()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._inner.name

    @property
    def takes_thresholds(self) -> bool:
        """As for its networks."""
        return self._inner.takes_thresholds

    @property
    def takes_temperatures(self) -> bool:
        """As for its networks, if they are given whole scans."""
        return self._rules.box is None and self._inner.takes_temperatures

    def engines(self, labels: LabelSet | None = None) -> list[Engine]:
        """Return the engines of its networks."""
        return self._inner.engines(labels)

    def computed_by(self, engines: Sequence[Engine]) -> None:
        """Use given engines for its networks, but not for the finder of the box.

        Args:
            engines: One engine per model.
        """
        self._inner.computed_by(engines)

    def as_computed(self, model: Model) -> Model:
        """Return the part of a model that its engine computes.

        Args:
            model: One of the models, with all or some of its structures.
        """
        return self._inner.as_computed(model)

    def choices(self, request: Request = AS_TUNED) -> Choices:
        """Return the decision settings, with the finder of the network's box if it has one.

        Args:
            request: The request.

        Raises:
            LabelError: If the model does not know a structure.
            ConfigError: If the model that finds the box is missing, or as `NnunetPredictor.choices`.
            ModelError: If a model cannot be read.
        """
        found = self._inner.choices(request.model_copy(update={"resampling": "smooth"}))
        found = replace(found, resampling=request.resampling)
        rule = self._rules.box or (self._box_of_some(found) if request.roi_subset else None)
        if rule is None:
            return found
        if rule is not self._rules.box and found.resampling == "smooth" and not _is_there(rule.finder):
            return replace(found, notices=(*found.notices, notice_of_no_finder(rule)))
        return replace(found, box=FoundBox(rule, self._sums_of(rule)))

    def _box_of_some(self, choices: Choices) -> Box | None:
        """Return the box for a request of some structures; None if finding it first is no faster."""
        finder = self._rules.subset_finder
        if finder is None or (choices.resampling == "smooth" and finder == self._rules.task):
            return None
        return Box(finder=finder, structures=choices.labels.names)

    def on_grid(self, volume: Volume, stages: Stages) -> OnGrid:
        """Return the scan on its own voxels.

        Args:
            volume: The scan.
            stages: Unused.
        """
        return self._inner.on_grid(volume, stages)

    def predict_batch(
        self, slices: Int16[np.ndarray, "n x y"], spacing_mm: tuple[float, float], request: Request = AS_TUNED
    ) -> Bool[np.ndarray, "n c x y"]:
        """Segment axial slices, as `NnunetPredictor.predict_batch`, without a box."""
        return self._inner.predict_batch(slices, spacing_mm, request.model_copy(update={"resampling": "smooth"}))

    def slices(
        self,
        scan: OnGrid,
        choices: Choices,
        stages: Stages | None = None,
        watch: LogitSink | None = None,
        progress: Progress | None = None,
    ) -> Iterator[ScanSlice]:
        """Yield the scan's slices, as `NnunetPredictor.slices`; finding the box counts as one more scan for progress.

        The stage `box` is recorded too.
        """
        self._inner.max_memory = self.max_memory
        if choices.box is None and choices.resampling == "smooth":
            yield from self._inner.slices(scan, choices, stages, watch, progress)
            return
        hu, stages = whole_scan(scan), stages or Stages()
        slices, passes = scan.source.canonical_shape[2], 1 if choices.box is None else 2
        with stages("box"):
            where = self._where(hu, scan, choices, in_turn(progress, 0, passes, slices))
        if where is None and choices.box is not None:
            yield from _nothing(scan, choices, choices.box.rule)
            return
        where = where or _all_of(hu)
        part, window = self._shown(hu, scan, where, choices)
        told = in_turn(progress, passes - 1, passes, slices)
        made = self._inner.slices(part, replace(choices, box=None), stages, watch, told)
        made = self._cleaned(made, window.placement.shape, choices)
        yield from _laid(made, window, scan, choices, Borders.of(choices.box, choices.labels, where, hu.shape))

    def grid_slices(
        self, scan: OnGrid, wanted: Sequence[int], choices: Choices
    ) -> dict[int, Bool[np.ndarray, "c gx gy"]]:
        """Segment some slices of a scan, as `NnunetPredictor.grid_slices`."""
        return masks_of_some(self.slices(scan, choices), scan, wanted, choices)

    def watched_at(self, scan: OnGrid) -> Placement:
        """Return the placement of watched logits, as `NnunetPredictor.watched_at`; valid without a box only."""
        return self._inner.watched_at(scan)

    def _shown(
        self, hu: Int16[np.ndarray, "x y z"], scan: OnGrid, where: tuple[Triple, Triple], choices: Choices
    ) -> tuple[OnGrid, Window]:
        """Return the part of a scan that the networks are given, and its place in the scan."""
        part, window = _shown(hu, scan, where, self._rules.voxels_mm if choices.resampling == "exact" else None)
        self._leave_room(window.placement)
        return part, window

    def _leave_room(self, placement: Placement) -> None:
        """Reduce the networks' memory limit by a resampled scan and its labels."""
        if self.max_memory is not None and placement.resamples:
            self._inner.max_memory = ByteSize(max(1, self.max_memory - 3 * math.prod(placement.shape)))

    def _where(
        self, hu: Int16[np.ndarray, "x y z"], scan: OnGrid, choices: Choices, progress: Progress | None
    ) -> tuple[Triple, Triple] | None:
        """Return the network's box as first and one past the last voxel; None without a box, or if it is empty.

        A box that is for speed only is widened to the whole scan if the finder missed one of its structures.
        """
        box = choices.box
        if box is None:
            return None
        found, complete = self._found(hu, scan, box, progress)
        is_for_speed = choices.resampling == "smooth" and box.rule is not self._rules.box
        return _all_of(hu) if is_for_speed and not complete else found

    def _found(
        self, hu: Int16[np.ndarray, "x y z"], scan: OnGrid, box: FoundBox, progress: Progress | None
    ) -> tuple[tuple[Triple, Triple] | None, bool]:
        """Return the box, None if it is empty, and whether each structure inside was found."""
        finder = self._finder(box.rule.finder)
        finder.max_memory = self.max_memory
        choices = finder.choices(WHOLE)
        choices = replace(choices, labels=choices.labels.subset(box.rule.structures))
        shape = _triple(hu.shape)
        source = SourceGrid(shape, _moved(scan.source.canonical_affine, scan.placement.start))
        slices = finder.slices(OnGrid([hu], Placement((0, 0, 0), shape, shape), source), choices, progress=progress)
        there = np.zeros(max(choices.labels.ids) + 1, bool)
        found = box_of(_seen(slices, there), shape, header_edges(source), box.rule.margin_mm)
        if self.max_memory is not None:
            with self._finding:
                self._finders.clear()
        return found, bool(there[list(choices.labels.ids)].all())

    def _finder(self, name: str) -> Predictor:
        """Return the predictor of the model that finds a box, opened once.

        Raises:
            ConfigError: If the model is missing.
        """
        with self._finding:
            if name not in self._finders:
                try:
                    model = load_model(model_folder(Path(name)))
                except ModelError as error:
                    raise ConfigError(
                        f"expected the model {name}, which finds the box for {self.name}, got: {error}"
                    ) from None
                self._finders[name] = by_its_rules(NnunetPredictor(model, self.compute))
            return self._finders[name]

    def _sums_of(self, rule: Box) -> str:
        """Return the SHA-256 of the finder's weights, joined with that of its own finder if it has one."""
        finder = self._finder(rule.finder)
        finder.record.labels.subset(rule.structures)
        of_finder = finder.choices(WHOLE).box
        return finder.sha256 if of_finder is None else f"{finder.sha256}+{of_finder.sha256}"

    def _cleaned(self, slices: Iterator[ScanSlice], shape: Triple, choices: Choices) -> Iterator[ScanSlice]:
        """Yield the slices; with `exact` resampling all at the end, without the components that the task removes."""
        if choices.resampling == "smooth" or not (self._rules.largest or self._rules.least_mm3):
            yield from slices
            return
        values = np.zeros(shape, label_type(choices.labels.ids), order="F")
        packed: list[list[bytes]] = []
        for k, one in enumerate(slices):
            values[:, :, k] = one.labels()
            packed.append([blosc2.pack_array2(one.probabilities())] if choices.probabilities else [])
        assert self._rules.voxels_mm is not None  # set for all tasks that remove components
        _remove_pieces(values, choices.labels, self._rules, math.prod(self._rules.voxels_mm))
        for k in range(shape[2]):
            yield KeptSlice(k, values[:, :, k], packed[k], choices.labels)


def _all_of(hu: Int16[np.ndarray, "x y z"]) -> tuple[Triple, Triple]:
    return (0, 0, 0), _triple(hu.shape)


def _is_there(name: str) -> bool:
    """Return True if a packaged or fetched model has that name."""
    try:
        model_folder(Path(name))
    except ModelError:
        return False
    return True


def _seen(
    slices: Iterator[ScanSlice], there: Bool[np.ndarray, "_"]
) -> Iterator[UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]]:
    """Yield the labels of each slice, and mark in `there` the ids that occur."""
    for one in slices:
        values = one.labels()
        there |= np.bincount(values.ravel(), minlength=len(there))[: len(there)] > 0
        yield values


def _remove_pieces(
    values: UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"],
    labels: LabelSet,
    rules: TaskRules,
    voxel_mm3: float,
) -> None:
    """Keep the largest component of some structures, and the large enough ones of others; 6-connected, in place."""
    from scipy import ndimage  # takes 0.2 s to import

    for name in (*rules.largest, *rules.least_mm3):
        if name not in labels:
            continue
        mask = values == labels[name].id
        pieces, count = ndimage.label(mask)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
        if name in rules.largest:
            kept = np.arange(count) == (np.argmax(sizes) if count else 0)
        else:
            kept = sizes > rules.least_mm3[name] / voxel_mm3
        values[mask & ~np.concatenate([[False], kept])[pieces]] = 0


def _shown(
    hu: Int16[np.ndarray, "x y z"], scan: OnGrid, box: tuple[Triple, Triple], voxels_mm: tuple[float, ...] | None
) -> tuple[OnGrid, Window]:
    """What the network is given of a scan, and where that lies in it."""
    start, stop = box
    cut = hu[tuple(slice(low, high) for low, high in zip(start, stop, strict=True))]
    extent, own = _triple(cut.shape), header_edges(scan.source)
    shape = extent if voxels_mm is None else shape_on(extent, own, (voxels_mm[0], voxels_mm[1], voxels_mm[2]))
    in_scan = _triple([low + more for low, more in zip(start, scan.placement.start, strict=True)])
    affine = _moved(scan.source.canonical_affine, in_scan)
    if voxels_mm is not None:
        affine[:3, :3] *= np.array(voxels_mm) / own
    part = OnGrid([brought(cut, shape)], Placement((0, 0, 0), shape, shape), SourceGrid(shape, affine))
    return part, Window.of(in_scan, extent, shape)


def _moved(affine: np.ndarray, start: Triple) -> np.ndarray:
    """Return the affine of the part of a grid that begins at a voxel."""
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ np.array(start, dtype=np.float64)
    return moved


def _triple(values: Sequence[int]) -> Triple:
    return (values[0], values[1], values[2])


def _nothing(scan: OnGrid, choices: Choices, rule: Box) -> Iterator[ScanSlice]:
    """Yield empty slices, since no box was found."""
    shape = scan.source.canonical_shape
    for k in range(shape[2]):
        one = PlacedSlice(k, None, Window.of((0, 0, 0), (1, 1, 1), (1, 1, 1)), shape, choices.labels)
        if k == 0:
            one.notices = (notice_of_none(rule),)
        yield one


def _laid(
    made: Iterator[ScanSlice], window: Window, scan: OnGrid, choices: Choices, borders: Borders
) -> Iterator[ScanSlice]:
    """Yield the scan's slices, with those of the part placed in them."""
    shape = scan.source.canonical_shape
    current: ScanSlice | None = None
    at = -1
    for k in range(shape[2]):
        layer = window.layer(k)
        while layer is not None and at < layer:
            current, at = next(made), at + 1
            borders.look(current, at, window.placement.shape[2])
        one = PlacedSlice(k, None if layer is None else current, window, shape, choices.labels)
        if k == shape[2] - 1:
            one.notices = borders.notices()
        yield one
    for _ in made:  # the part's remaining slices are watched as well
        pass
