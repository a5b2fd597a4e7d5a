"""Prediction with a model that is loaded once and segments many scans."""

from __future__ import annotations

import math
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import tee
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int16

from tomoseg.errors import ConfigError
from tomoseg.grid import Placement, place_grid, slabs_on_grid, slice_positions
from tomoseg.inference.background import prefetch
from tomoseg.inference.choices import Choices, choices_of
from tomoseg.inference.choose import choose_engine
from tomoseg.inference.decide import SlicePair, scan_slices
from tomoseg.inference.engine import Engine
from tomoseg.inference.grids import grid_for
from tomoseg.inference.logits import LogitSource, Mirror, mean_logits
from tomoseg.inference.memory import activation_bytes, batch_that_fits, give_back
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.sinks import Progress, ScanSlice
from tomoseg.inference.smoothing import MOST_REACH, smoothed
from tomoseg.inference.stages import Stages
from tomoseg.inference.tiles import bytes_of_blocks, slice_logits
from tomoseg.inference.views import KeptLogits, bytes_of_view
from tomoseg.labels import LabelSet, counterpart
from tomoseg.masks import unpack
from tomoseg.models.calibrated import Calibration, load_calibration
from tomoseg.models.folder import Model, ModelRecord, restrict_structures
from tomoseg.models.tuned import Tuned, load_tuned
from tomoseg.models.views import Fusion, record_of_folds
from tomoseg.networks.images import NetworkInput, own_input
from tomoseg.options import AS_TUNED, AUTO, Compute, Request
from tomoseg.views import ordered
from tomoseg.volume import Volume, seen

BATCH_BYTES = 2**28
"""Memory of a batch beyond which fewer slices are computed at once on a CPU."""

GridLogits = Float32[np.ndarray, "c gx gy"]
GridMasks = Bool[np.ndarray, "c gx gy"]


@runtime_checkable
class LogitSink(Protocol):
    """Receives the logits of each slice of the network's grid as they are computed."""

    def add(self, logits: GridLogits, members: Sequence[GridLogits] = (), inside: GridMasks | None = None) -> None:
        """Receive the next slice.

        Args:
            logits: The logits from which masks are decided.
            members: The logits of each model, if `logits` is a mean over several.
            inside: The masks on the network's grid, if they are not simply the logits above 0.
        """


class Predictor:
    """One model, or several whose logits are averaged, with the engines that run them. Thread-safe.

    Attributes:
        models: The loaded models, with all their structures.
        fusion: Weights of several models; None weights them equally.
        record: The record of the first model; for cross-validation folds, its training range covers all of them.
        compute: The engine, device and precision that run the networks.
        max_memory: Maximum memory of the process in bytes; None is unlimited.

    Args:
        model: A loaded model, or several with the same structures and grid, possibly of different views.
        compute: The engine, device and precision that run the networks.
        fusion: Weights of several models; None weights them equally.

    Raises:
        ConfigError: If several models differ in structures or grid.

    Example:
        >>> from pathlib import Path
        >>> from tomoseg.inference.segment import segment
        >>> from tomoseg.models.folder import load_model
        >>> predictor = Predictor(load_model("head-neck/axial"))
        >>> [segment(Path(scan), predictor).mask("mandible").shape for scan in ["ct.nii.gz"]]
        [(48, 40, 12)]
    """

    def __init__(self, model: Model | Sequence[Model], compute: Compute = AUTO, fusion: Fusion | None = None) -> None:
        self.models: tuple[Model, ...] = (model,) if isinstance(model, Model) else tuple(model)
        self.fusion = fusion
        self.record = self.models[0].record
        if fusion is not None and not fusion.shares:
            self.record = record_of_folds([one.record for one in self.models])
        _check_alike([one.record for one in self.models])
        self.compute = compute
        self.max_memory = compute.max_memory
        self._engines: dict[LabelSet, list[Engine]] = {}
        self._opening = threading.Lock()

    def engines(self, labels: LabelSet | None = None) -> list[Engine]:
        """Return the engine of each model; engines are opened on first use.

        Args:
            labels: The structures to compute; if omitted, all.

        Raises:
            ConfigError: If the device, engine or precision is not available on this machine.
            ModelError: If a file of the model is damaged.
        """
        wanted = self.record.labels if labels is None else labels
        with self._opening:
            if wanted not in self._engines:
                asked = self.compute.engine, self.compute.device, self.compute.precision
                names = () if wanted == self.record.labels else wanted.names
                narrow = [self.as_computed(restrict_structures(one, names)) for one in self.models]
                self._engines[wanted] = [choose_engine(one, *asked) for one in narrow]
            return self._engines[wanted]

    def release(self, labels: LabelSet) -> None:
        """Release the memory that the engines keep between scans, before free memory is measured.

        Args:
            labels: The structures that the engines compute.
        """
        for engine in self.engines(labels):
            engine.release()
        give_back()

    def computed_by(self, engines: Sequence[Engine]) -> None:
        """Use given engines for all structures, instead of those that `compute` selects.

        Args:
            engines: One engine per model.
        """
        with self._opening:
            self._engines[self.record.labels] = list(engines)

    def as_computed(self, model: Model) -> Model:
        """Return the part of a model that its engine computes: by default all of it.

        Args:
            model: One of the models, with all or some of its structures.
        """
        return model

    def choices(self, request: Request = AS_TUNED) -> Choices:
        """Return thresholds, smoothing and post-processing: the request's, or else those that the model was tuned to.

        Args:
            request: The request.

        Raises:
            LabelError: If the model does not have a requested structure.
            ConfigError: If a threshold or a post-processing step is invalid or does not fit the rest of the request, or
                exact resampling is requested for a model that is not a task of TotalSegmentator.
            ModelError: If the model's tuning cannot be read.
        """
        if request.resampling == "exact":
            raise ConfigError(
                "expected a task of TotalSegmentator, such as total-3mm from tomoseg fetch, for exact resampling, got "
                f"{self.name}; leave --resampling off"
            )
        left_out = () if self.fusion is None or request.all else self.fusion.left_out
        choices = choices_of(self.record.labels, self._tuned if request.tuned else None, request, left_out)
        asked = request.calibrated and (request.confidence or request.triage)
        if not asked or self._calibration is None:
            return choices
        return replace(choices, temperatures=self._calibration.temperatures)

    @property
    def takes_thresholds(self) -> bool:
        """Whether each structure is decided independently, so that thresholds apply."""
        return True

    @property
    def takes_temperatures(self) -> bool:
        """Whether calibration temperatures apply to the model's probabilities."""
        return True

    def watched_at(self, scan: OnGrid) -> Placement | None:
        """Return the placement of the watched logits' grid in a scan; None if it is the grid of `scan`.

        Args:
            scan: The scan on the network's grid.
        """
        return None

    @property
    def name(self) -> str:
        """Name of the model; for several models, their names joined by plus signs."""
        return self.fusion.name if self.fusion is not None else "+".join(one.name for one in self.models)

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights, and of the weighting of several networks."""
        fusion = [] if self.fusion is None else [self.fusion.sha256]
        return "+".join(map(str, [*(one.sha256 for one in self.models), *fusion]))

    @cached_property
    def _calibration(self) -> Calibration | None:
        return load_calibration(self.folder, self.sha256, self.record.labels.names)

    @cached_property
    def _tuned(self) -> Tuned | None:
        return load_tuned(self.folder, self.sha256)

    @property
    def folder(self) -> Path | None:
        """Folder of the model; None for several models, and for a model that was not read from a folder."""
        if self.fusion is not None:
            return self.fusion.folder
        return self.models[0].folder if len(self.models) == 1 else None

    def on_grid(self, volume: Volume, stages: Stages) -> OnGrid:
        """Resample a scan to the network's grid, slab by slab as slices are taken.

        Args:
            volume: The scan.
            stages: Records the duration of the stage `grid`.

        Raises:
            GridError: If the grid would be too large.
        """
        with stages("grid"):
            grid = grid_for(self.record, volume.spacing_mm).model_copy(update={"view": "axial"})
            placement = place_grid(volume.hu, volume.spacing_mm, grid)
        return OnGrid(stages.of("grid", slabs_on_grid(volume.hu, placement)), placement, volume.source)

    def slices(
        self,
        scan: OnGrid,
        choices: Choices,
        stages: Stages | None = None,
        watch: LogitSink | None = None,
        progress: Progress | None = None,
    ) -> Iterator[ScanSlice]:
        """Yield each axial slice of the scan from inferior to superior, with the logits to decide its masks from.

        Args:
            scan: The scan on the network's grid.
            choices: Structures, thresholds and smoothing.
            stages: Records the duration of the stages `prepare` and `network`.
            watch: Receives the logits of every slice of the network's grid.
            progress: Called after each slice with the number of slices done and the total number of slices.

        Raises:
            InputError: If the scan does not fit into the allowed memory.
        """
        shape = scan.source.canonical_shape
        between = self._between(scan, choices, stages or Stages(), watch)
        offsets, scales = choices.offsets, choices.scales
        for k, each in enumerate(between):
            yield ScanSlice(k, each, scan.placement, shape, choices.labels, offsets, scales)
            if progress is not None:
                progress(k + 1, shape[2])

    def predict_batch(
        self, slices: Int16[np.ndarray, "n x y"], spacing_mm: tuple[float, float], request: Request = AS_TUNED
    ) -> Bool[np.ndarray, "n c x y"]:
        """Segment independent axial slices: none is treated as a neighbour of another.

        If the network sees one slice at a time, they are resampled together and computed in batches.

        Args:
            slices: `(n, x, y)` in HU, in RAS+ order.
            spacing_mm: Pixel spacing along x and y in mm.
            request: Structures and thresholds; post-processing steps are not applied.

        Returns:
            `(n, structures, x, y)`, a mask per slice and structure.

        Raises:
            LabelError: If the model does not have a requested structure.
        """
        choices = self.choices(request)
        if self._reach([model.record.grid.view for model in self.models], choices) != 0 and len(slices) > 1:
            return np.concatenate([self.predict_batch(one[None], spacing_mm, request) for one in slices])
        distance_mm = self.record.grid.slice_spacing_mm or 1.0  # so that the slices are not mixed
        volume = Volume.from_array(np.moveaxis(slices, 0, 2), np.diag([*spacing_mm, distance_mm, 1.0]))
        scan = self.on_grid(volume, Stages())
        packed = np.stack([each.masks() for each in self.slices(scan, choices)], axis=1)
        return np.moveaxis(unpack(packed, len(choices.labels)), 0, 1)

    def grid_slices(
        self, scan: OnGrid, wanted: Sequence[int], choices: Choices
    ) -> dict[int, Bool[np.ndarray, "c gx gy"]]:
        """Segment some slices of a scan on the network's grid.

        If a network sees a slice with its neighbours only, no other slices are computed.

        Args:
            scan: The scan on the network's grid; it is read as a whole.
            wanted: Numbers of the slices of the network's grid.
            choices: Structures and thresholds.
        """
        hu = scan.whole()
        reach = self._reach(self._views(scan), choices)
        parts = [(tuple(wanted), 0, hu.shape[2])]
        if reach is not None:
            parts = [((k,), max(0, k - reach), k + reach + 1) for k in wanted]
        told = any(own_input(model.record.input_spec).network.position for model in self.models)
        positions_mm = slice_positions(hu, scan.spacing_mm) if told and reach is not None else None
        masks = {}
        for numbers, low, high in parts:
            part = scan.part(hu, slice(low, high), positions_mm)
            for each in self.slices(part, choices):
                if low + each.number in numbers:
                    masks[low + each.number] = unpack(each.masks(), len(choices.labels))
        return masks

    def _reach(self, views: Sequence[str], choices: Choices) -> int | None:
        """Number of slices on either side that the masks of a slice depend on; None for the whole scan."""
        input_spec = [own_input(model.record.input_spec) for model in self.models]
        across = any(view != "axial" for view in views) or any(each.network.dims == 3 for each in input_spec)
        return None if across or choices.decisions.smoothing > 0 else max(each.reach for each in input_spec)

    def _between(
        self, scan: OnGrid, choices: Choices, stages: Stages, watch: LogitSink | None
    ) -> Iterator[SlicePair | None]:
        """Yield the two grid slices around each slice of the scan; None outside the grid."""
        placement = scan.placement
        engines = self.engines(self._computed(choices))
        views = self._views(scan)
        with stages("prepare"):
            batch = self._prepared(engines, views, scan, choices)
        sources = [
            LogitSource(engine, choices.offsets, mirror)
            for engine, mirror in zip(engines, self._mirrors(choices), strict=True)
        ]
        of_members = watch if len(sources) > 1 else None  # several are watched before smoothing, a single one after
        weights = self._weights(scan, choices.labels)
        made = stages.of("network", _grid_logits(sources, views, scan, batch, weights, of_members))
        deciding = smoothed(made, choices.decisions.smoothing)
        logits = prefetch(deciding if watch is None or of_members else _watched(deciding, watch), batch)
        slices, depth = scan_slices(logits, placement), placement.box()[2]
        for k in range(scan.source.canonical_shape[2]):
            yield next(slices) if depth.start <= k < depth.stop else None
        if watch is not None:  # grid slices beyond the scan's last count as well
            for _ in logits:
                pass

    def _computed(self, choices: Choices) -> LabelSet:
        """Return the structures that the networks compute: with flips also the left-right counterparts."""
        if not choices.decisions.flips:
            return choices.labels
        names = choices.labels.names
        return self.record.labels.subset([*names, *map(counterpart, names)])

    def _mirrors(self, choices: Choices) -> list[Mirror | None]:
        """Return the mirror averaging of each model; None without flips."""
        if not choices.decisions.flips:
            return [None] * len(self.models)
        computed = self._computed(choices)
        return [Mirror.of(choices.labels, computed, model.record.grid.view) for model in self.models]

    def _views(self, scan: OnGrid) -> list[str]:
        """Return the view that each model needs the scan reordered to; `axial` for as it is.

        Raises:
            ConfigError: If the scan is already in the order of a view that is not the models'.
        """
        views: list[str] = [model.record.grid.view for model in self.models]
        if scan.view == "axial":
            return views
        if set(views) != {scan.view}:
            raise ConfigError(
                f"expected a model for {scan.view} slices, as the dataset has them, got one for "
                f"{', '.join(views)}; preprocess with the model's view"
            )
        return ["axial"] * len(views)

    def _weights(self, scan: OnGrid, labels: LabelSet) -> Float32[np.ndarray, "m c 1 1"] | None:
        """Return the weight of each model for each structure; None for equal weights."""
        if self.fusion is None:
            return None
        height_mm = scan.placement.extent[2] * scan.source.spacing_mm[2]
        weights = self.fusion.weights(labels.names, height_mm)
        return None if weights is None else weights[..., None, None]

    def _prepared(self, engines: Sequence[Engine], views: Sequence[str], scan: OnGrid, choices: Choices) -> int:
        """Prepare the engines; return the number of slices per forward pass, fewer than asked if memory is limited."""
        shape = scan.placement.shape
        tiles = [_input_spec(engine).tile(ordered(shape, view)) for engine, view in zip(engines, views, strict=True)]
        pixels = [math.prod(engine.input_spec.padded(tile)) for engine, tile in zip(engines, tiles, strict=True)]
        logits = 4 * len(choices.labels) * max(pixels)
        activations = [activation_bytes(model.record.network) for model in self.models]
        # a batch in the making per model, one waiting, one in use, and with views one more waiting
        batches = len(engines) + 2 + (len(set(views)) > 1)
        each = batches * logits + max(activations) * max(pixels)

        def prepare(images: int) -> int:
            for engine, tile in zip(engines, tiles, strict=True):
                engine.prepare(tile, images if len(tile) == 2 else 1)
            return images

        asked = prepare(self.compute.batch_size or _usual_batch(engines[0], each))
        if self.max_memory is None:
            return asked
        self.release(choices.labels)
        result = math.prod(scan.source.shape) * 2  # the label map and its copy in the file's order, or compressed masks
        smoothed_over = 2 * MOST_REACH + 1 if choices.decisions.smoothing > 0 else 0
        held = (2 + smoothed_over) * logits  # two grid slices around the scan's slice
        held += (sum(activations) - max(activations)) * max(pixels)  # one set per network
        held += sum(
            _bytes_of_whole(engine, view, shape, len(choices.labels))
            for engine, view in zip(engines, views, strict=True)
        )
        fitting = batch_that_fits(self.max_memory, result + held, each, asked)
        return asked if fitting == asked else prepare(fitting)


def _usual_batch(engine: Engine, each: int) -> int:
    """Return the usual number of slices per forward pass, each of which takes so many bytes."""
    return engine.at_once if engine.device != "cpu" else min(engine.at_once, max(1, BATCH_BYTES // each))


def _bytes_of_whole(engine: Engine, view: str, shape: tuple[int, int, int], structures: int) -> int:
    """Return the bytes held over many slices, by a network of blocks or of a view that is not axial."""
    if view != "axial":
        return bytes_of_view(view, shape, structures)
    input_spec = _input_spec(engine)
    return bytes_of_blocks(input_spec.tile(shape)[2], shape, structures) if input_spec.network.dims == 3 else 0


def _input_spec(engine: Engine) -> NetworkInput:
    return own_input(engine.input_spec)


def _grid_logits(
    sources: Sequence[LogitSource],
    views: Sequence[str],
    scan: OnGrid,
    batch: int,
    weights: Float32[np.ndarray, "m c 1 1"] | None,
    watch: LogitSink | None,
) -> Generator[GridLogits, None, None]:
    """Yield the mean logits over the models of each grid slice; those of several models may be watched."""
    told = [source.input_spec.network.position for source in sources]
    slabs = scan.slabs
    if set(views) != {"axial"} or any(told):  # these need the whole scan before its first slice
        slabs = [scan.whole()]
    copies = tee(slabs, len(sources))  # a slab is held until the last engine has read it
    streams = [
        _view_logits(source, view, replace(scan, slabs=own), batch)
        for source, view, own in zip(sources, views, copies, strict=True)
    ]
    for members in zip(*streams, strict=True):
        logits = members[0] if len(members) == 1 else mean_logits(members, weights)
        if watch is not None:
            watch.add(logits, members)
        yield logits


def _view_logits(source: LogitSource, view: str, scan: OnGrid, batch: int) -> Iterator[GridLogits]:
    """Yield one model's logits of each axial slice of a scan, whatever its view."""
    slabs, shape, positions_mm = scan.slabs, ordered(scan.placement.shape, view), scan.positions_mm
    told = source.input_spec.network.position
    if view != "axial" or told:
        (whole,) = slabs
        turned = seen(whole, view)
        slabs = [turned]
        if told and positions_mm is None:
            positions_mm = slice_positions(turned, ordered(scan.spacing_mm, view))
    logits = slice_logits(source, slabs, shape, batch, positions_mm)
    yield from logits if view == "axial" else KeptLogits(prefetch(logits, batch), view).axial()


def _watched(logits: Iterable[GridLogits], watch: LogitSink) -> Generator[GridLogits, None, None]:
    """Pass each slice's logits to `watch`, and yield them."""
    for each in logits:
        watch.add(each)
        yield each


def _check_alike(records: Sequence[ModelRecord]) -> None:
    """Refuse models whose logits cannot be averaged.

    Raises:
        ConfigError: If they differ in structures, grid or plan.
    """
    for number, record in enumerate(records[1:], start=2):
        for what, first, other in (
            ("structures", records[0].labels.names, record.labels.names),
            ("grid", records[0].grid, record.grid.model_copy(update={"view": records[0].grid.view})),
            ("plan", records[0].plan, record.plan),
        ):
            if first != other:
                raise ConfigError(
                    f"expected models with the same {what}, got a difference in model {number}; average models of "
                    "the same preprocessed dataset, or imported ones of the same training"
                )
