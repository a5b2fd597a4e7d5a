"""A model that is loaded once and segments many scans."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice, tee

import numpy as np
from jaxtyping import Bool, Float, Float32, Int16, UInt8
from torch import Tensor

from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError
from tomoseg.grid import Placement, place_grid, slabs_on_grid
from tomoseg.inference.ahead import ahead
from tomoseg.inference.choose import choose_engine
from tomoseg.inference.decide import (
    Between,
    confidences,
    decide_labels,
    decide_masks,
    highest_confidence,
    label_dtype,
    scan_slices,
)
from tomoseg.inference.expected import ExpectedDice
from tomoseg.inference.memory import activation_bytes, batch_that_fits
from tomoseg.inference.smoothing import MOST_REACH, smoothed
from tomoseg.inference.stages import Stages
from tomoseg.inference.tiles import slice_logits
from tomoseg.labels import LabelSet, side_of
from tomoseg.masks import packed_bytes, unpack
from tomoseg.models.folder import Model, ModelRecord, restrict_structures
from tomoseg.options import AT_ONE_HALF, Decisions, EngineName
from tomoseg.segmentation import Confidence, LabelMap, Segmentation
from tomoseg.volume import Volume

Progress = Callable[[int, int], None]
"""Told after each slice of a scan: slices done, slices in all."""


class Predictor:
    """Segments scans with one model.

    Args:
        model: A loaded model, or several with the same structures and grid, whose logits are averaged.
        structures: The structures to predict; none named predicts all.
        engine: `auto`, `torch` or `openvino`.
        device: `auto`, `cpu`, `cuda`, ...
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        batch_size: Slices in one forward pass, at most; None is 1 on a CPU and 4 elsewhere.
        max_memory: Bytes that the process may take; batches shrink to fit.
        decisions: What decides whether a voxel belongs to a structure.

    Raises:
        LabelError: If the model does not know a structure.
        ConfigError: If this machine has no such device, engine or precision, the structures no mirror image, or
            several models differ in structures or grid.

    Example:
        >>> predictor = Predictor(load_model(Path("model")))  # doctest: +SKIP
        >>> segmentation = predictor.predict_volume(read_ct(Path("ct.nii.gz")))  # doctest: +SKIP
        >>> segmentation.mask("liver").sum()  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Model | Sequence[Model],
        *,
        structures: tuple[str, ...] = (),
        engine: EngineName = "auto",
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
        max_memory: int | None = None,
        decisions: Decisions = AT_ONE_HALF,
    ) -> None:
        models = [restrict_structures(one, structures) for one in ([model] if isinstance(model, Model) else model)]
        record = models[0].record
        _check_alike([one.record for one in models])
        self.record = record
        self.labels: LabelSet = record.labels
        self.grid: GridConfig = record.grid
        self.max_memory = max_memory
        self.engines = [choose_engine(one, engine, device, precision) for one in models]
        self.engine = self.engines[0]
        self.batch_size = batch_size or (1 if self.engine.device == "cpu" else 4)
        self._offsets = _offsets(self.labels, decisions)
        for each in self.engines:
            each.offsets = self._offsets if self._offsets.any() else None
            each.mirrored = decisions.flips
        self._smoothing = decisions.smoothing
        self._activation_bytes = max(activation_bytes(one.record.network) for one in models)

    def predict_volume(
        self,
        volume: Volume,
        progress: Progress | None = None,
        stages: Stages | None = None,
        confidence: Confidence | None = None,
        expected: ExpectedDice | None = None,
    ) -> Segmentation:
        """Independent masks of a scan, on its own grid.

        Args:
            volume: The scan.
            progress: Told after each slice.
            stages: Takes the seconds of `grid`, `prepare`, `network` and `decisions`.
            confidence: Takes each structure's probabilities; made with `confidence_of`.
            expected: Takes what its Dice may be expected to be; made with `expected_dice`.

        Raises:
            InputError: If the scan does not fit into the memory allowed.
        """
        stages = stages or Stages()
        segmentation = Segmentation(self.labels, volume.source)
        placement, slabs = self._to_grid(volume, stages)
        slices = self.packed_slices(slabs, placement, volume.shape, stages, confidence, expected)
        for k, packed in enumerate(slices):
            with stages("decisions"):
                segmentation.append(packed)
            if progress is not None:
                progress(k + 1, volume.shape[2])
        return segmentation

    def predict_label_map(
        self,
        volume: Volume,
        progress: Progress | None = None,
        stages: Stages | None = None,
        confidence: Confidence | None = None,
        expected: ExpectedDice | None = None,
    ) -> LabelMap:
        """One structure a voxel: the highest positive logit; ties go to the structure that comes first.

        Args:
            volume: The scan.
            progress: Told after each slice.
            stages: Takes the seconds of `grid`, `prepare`, `network` and `decisions`.
            confidence: Takes the probability of the most probable structure; made with `confidence_of`.
            expected: Takes what each structure's Dice may be expected to be; made with `expected_dice`.

        Raises:
            InputError: If the scan does not fit into the memory allowed.
        """
        stages = stages or Stages()
        placement, slabs = self._to_grid(volume, stages)
        values = np.zeros(volume.shape, label_dtype(self.labels.ids), order="F")
        box = placement.box()
        for k, between in enumerate(self._between(slabs, placement, volume.shape, stages, expected)):
            with stages("decisions"):
                if between is not None:
                    values[box[0], box[1], k] = decide_labels(between, _size(placement), self.labels.ids)
                if confidence is not None:
                    decide = partial(highest_confidence, offsets=self._offsets)
                    confidence.append(_placed(between, placement, volume.shape, decide, 1))
            if progress is not None:
                progress(k + 1, volume.shape[2])
        return LabelMap(values, self.labels, volume.source)

    def confidence_of(self, volume: Volume, *, ml: bool) -> Confidence:
        """Room for the probabilities of a scan, to be given to `predict_volume` or `predict_label_map`.

        Args:
            volume: The scan.
            ml: One map of the most probable structure instead of a map a structure.
        """
        return Confidence(("confidence",) if ml else self.labels.names, volume.source)

    def expected_dice(self) -> ExpectedDice:
        """Room for what the Dice of a scan may be expected to be, for `predict_volume` or `predict_label_map`."""
        return ExpectedDice(self.labels.names, self._offsets)

    def predict_batch(
        self, slices: Int16[np.ndarray, "n x y"], spacing_mm: tuple[float, float]
    ) -> Bool[np.ndarray, "n c x y"]:
        """Masks of axial slices, each for itself: none is taken for a neighbour of another.

        Where the network looks at one slice only, they are given the grid of one stack and computed in batches.

        Args:
            slices: HU, RAS+ order.
            spacing_mm: Pixel edges along x and y.
        """
        looks_around = self._smoothing > 0 or any(e.reads.reach > 0 or e.reads.network.dims == 3 for e in self.engines)
        if looks_around and len(slices) > 1:
            return np.concatenate([self.predict_batch(one[None], spacing_mm) for one in slices])
        distance_mm = self.grid.slice_spacing_mm or 1.0  # so that the slices are not mixed
        volume = Volume.from_array(np.moveaxis(slices, 0, 2), np.diag([*spacing_mm, distance_mm, 1.0]))
        placement, slabs = self._to_grid(volume, Stages())
        packed = np.stack(list(self.packed_slices(slabs, placement, volume.shape)), axis=1)
        return np.moveaxis(unpack(packed, len(self.labels)), 0, 1)

    def predict_slice(self, hu: Int16[np.ndarray, "x y"], spacing_mm: tuple[float, float]) -> Bool[np.ndarray, "c x y"]:
        """Masks of one axial slice.

        Args:
            hu: HU, RAS+ order.
            spacing_mm: Pixel edges along x and y.
        """
        return self.predict_batch(hu[None], spacing_mm)[0]

    def grid_slice(self, on_grid: Int16[np.ndarray, "gx gy gz"], k: int) -> Bool[np.ndarray, "c gx gy"]:
        """Masks of one slice of a scan that is on the network's grid already, decided there.

        Args:
            on_grid: HU of the whole scan.
            k: Which slice.
        """
        reads = self.record.reads
        if reads.network.dims == 2 and self._smoothing == 0:  # what else it depends on
            low, high = max(0, k - reads.reach), k + reads.reach + 1
            on_grid, k = on_grid[:, :, low:high], k - low
        shape = (on_grid.shape[0], on_grid.shape[1], on_grid.shape[2])
        slices = self.packed_slices([on_grid], Placement((0, 0, 0), shape, shape), shape)
        return unpack(next(islice(slices, k, None)), len(self.labels))

    def packed_slices(
        self,
        slabs: Iterable[Int16[np.ndarray, "gx gy _"]],
        placement: Placement,
        shape: tuple[int, int, int],
        stages: Stages | None = None,
        confidence: Confidence | None = None,
        expected: ExpectedDice | None = None,
    ) -> Iterator[UInt8[np.ndarray, "b x y"]]:
        """Packed masks of each of the scan's slices, from the scan on the network's grid.

        Args:
            slabs: HU on the network's grid, from inferior to superior.
            placement: Where the grid lies in the scan.
            shape: The scan's shape in RAS+ order.
            stages: Takes the seconds of `prepare`, `network` and `decisions`.
            confidence: Takes each structure's probabilities.
            expected: Takes what each structure's Dice may be expected to be; made with `expected_dice`.
        """
        stages = stages or Stages()
        planes = packed_bytes(len(self.labels))
        for between in self._between(slabs, placement, shape, stages, expected):
            with stages("decisions"):
                packed = _placed(between, placement, shape, decide_masks, planes)
                if confidence is not None:
                    decide = partial(confidences, offsets=self._offsets)
                    confidence.append(_placed(between, placement, shape, decide, len(self.labels)))
            yield packed

    def confidence_slices(
        self,
        slabs: Iterable[Int16[np.ndarray, "gx gy _"]],
        placement: Placement,
        shape: tuple[int, int, int],
    ) -> Iterator[UInt8[np.ndarray, "c x y"]]:
        """Probabilities of every structure in each of the scan's slices, 0 to 255.

        Args:
            slabs: HU on the network's grid, from inferior to superior.
            placement: Where the grid lies in the scan.
            shape: The scan's shape in RAS+ order.
        """
        decide = partial(confidences, offsets=self._offsets)
        for between in self._between(slabs, placement, shape, Stages()):
            yield _placed(between, placement, shape, decide, len(self.labels))

    def _between(
        self,
        slabs: Iterable[Int16[np.ndarray, "gx gy _"]],
        placement: Placement,
        shape: tuple[int, int, int],
        stages: Stages,
        expected: ExpectedDice | None = None,
    ) -> Iterator[Between | None]:
        """What each of the scan's slices lies between; None outside of the grid's box."""
        depth = placement.box()[2]
        with stages("prepare"):
            for engine in self.engines:
                engine.prepare(engine.reads.tile(placement.shape))
        batch = self._batch(placement, shape)
        of_members = expected if len(self.engines) > 1 else None
        made = stages.of("network", self._grid_logits(slabs, placement.shape, batch, of_members))
        deciding = smoothed(made, self._smoothing)
        logits = ahead(deciding if expected is None or of_members else _taken_in(deciding, expected), batch)
        slices = scan_slices(logits, placement)
        for k in range(shape[2]):
            yield next(slices) if depth.start <= k < depth.stop else None
        if expected is not None:  # slices of the grid that no slice of the scan lies between count as well
            for _ in logits:
                pass

    def _batch(self, placement: Placement, shape: tuple[int, int, int]) -> int:
        """Slices in one forward pass: as many as asked for and as the memory allows."""
        if self.max_memory is None:
            return self.batch_size
        pixels = max(math.prod(e.reads.padded(e.reads.tile(placement.shape))) for e in self.engines)
        logits = 4 * len(self.labels) * pixels
        batches = 2 + len(self.engines)  # one of each model is made, one waits, one is used
        each = batches * logits + self._activation_bytes * pixels
        result = int(np.prod(shape)) * 2  # the label map and its copy in the file's order, or compressed masks
        held = 2 * logits  # the slices of the grid that a slice of the scan lies between
        if self._smoothing > 0:
            held += (2 * MOST_REACH + 1) * logits
        for block in (engine.reads for engine in self.engines if engine.reads.network.dims == 3):
            depth = block.tile(placement.shape)[2]  # three layers of tiles: summed, given out, begun
            held += 3 * 4 * len(self.labels) * math.prod(placement.shape[:2]) * depth
        return batch_that_fits(self.max_memory, result + held, each, self.batch_size)

    def _to_grid(self, volume: Volume, stages: Stages) -> tuple[Placement, Iterator[Int16[np.ndarray, "gx gy _"]]]:
        with stages("grid"):
            placement = place_grid(volume.hu, volume.spacing_mm, self.grid)
        return placement, stages.of("grid", slabs_on_grid(volume.hu, placement))

    def _grid_logits(
        self,
        slabs: Iterable[Int16[np.ndarray, "gx gy _"]],
        shape: tuple[int, int, int],
        batch: int,
        expected: ExpectedDice | None,
    ) -> Generator[Float[Tensor, "c gx gy"], None, None]:
        copies = tee(slabs, len(self.engines))  # a slab is held until the last of the engines has had it
        streams = [slice_logits(e, own, shape, batch) for e, own in zip(self.engines, copies, strict=True)]
        for members in zip(*streams, strict=True):
            logits = members[0] if len(members) == 1 else mean_logits(members)
            if expected is not None:
                expected.add(logits, members)
            yield logits


def _taken_in(
    logits: Iterable[Float[Tensor, "c gx gy"]], expected: ExpectedDice
) -> Generator[Float[Tensor, "c gx gy"], None, None]:
    """The same slices; what may be expected of them is noted as they pass."""
    for each in logits:
        expected.add(each)
        yield each


def mean_logits(of_models: Sequence[Float[Tensor, "c x y"]]) -> Float[Tensor, "c x y"]:
    """The mean over several models of a slice's logits."""
    total = of_models[0].float()
    for logits in of_models[1:]:
        total = total + logits.to(total)
    return total / len(of_models)


def _check_alike(records: Sequence[ModelRecord]) -> None:
    """Refuse models whose logits do not lie on each other.

    Raises:
        ConfigError: If they differ in structures or grid.
    """
    for number, record in enumerate(records[1:], start=2):
        for what, first, other in (
            ("structures", records[0].labels.names, record.labels.names),
            ("grid", records[0].grid, record.grid),
        ):
            if first != other:
                raise ConfigError(
                    f"expected models with the same {what}, got another {what} in model {number}; "
                    "average models of one preprocessed dataset"
                )


def _size(placement: Placement) -> tuple[int, int]:
    return placement.extent[:2]


def _placed(
    between: Between | None,
    placement: Placement,
    shape: tuple[int, int, int],
    decide: Callable[[Between, tuple[int, int]], UInt8[np.ndarray, "n _ _"]],
    planes: int,
) -> UInt8[np.ndarray, "n x y"]:
    """What is decided in the grid's box, in a slice of the scan that is 0 elsewhere."""
    out = np.zeros((planes, *shape[:2]), np.uint8)
    if between is not None:
        box = placement.box()
        out[:, box[0], box[1]] = decide(between, _size(placement))
    return out


def _offsets(labels: LabelSet, decisions: Decisions) -> Float32[np.ndarray, "c"]:
    """The logit of each structure's threshold.

    Raises:
        ConfigError: If mirror images are asked for where there is a left and a right.
    """
    sided = [name for name in labels.names if side_of(name) is not None]
    if decisions.flips and sided:
        raise ConfigError(
            f"expected structures without a left and a right for flips, got {', '.join(sided[:3])}; leave flips off"
        )
    thresholds = np.array([decisions.thresholds.get(name, 0.5) for name in labels.names])
    return np.log(thresholds / (1 - thresholds)).astype(np.float32)
