"""Imported networks that find structures of their own, one after the other, so that one is in memory at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import blosc2
import numpy as np
from jaxtyping import Float32, UInt8, UInt16
from pydantic import ByteSize

from tomoseg.inference.choices import Choices
from tomoseg.inference.engine import Engine
from tomoseg.inference.nnunet.predictor import NnunetPredictor, whole_scan
from tomoseg.inference.predictor import LogitSink, OnGrid
from tomoseg.inference.sinks import ScanSlice
from tomoseg.inference.stages import Stages
from tomoseg.labels import LabelSet, label_type
from tomoseg.masks import packed_bytes
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.options import AS_TUNED, AUTO, Compute, Request
from tomoseg.postprocess.steps import needs_confidence

_ELSEWHERE = -50.0
"""A logit so low that its probability counts for nothing."""


@dataclass(frozen=True)
class PartsChoices(Choices):
    """What decides, and whether probabilities are to be kept of each part.

    Attributes:
        probabilities: If so.
    """

    probabilities: bool = False


class PartsPredictor(NnunetPredictor):
    """A model of parts. What each finds is kept as a label map; where two claim a voxel, the later has it.

    Threads may share it; their scans are segmented one after the other.

    Args:
        models: The parts.
        record: What they are together.
        name: What the model is called.
        compute: What computes the networks, where, and in what.
    """

    def __init__(self, models: Sequence[Model], record: ModelRecord, name: str, compute: Compute = AUTO) -> None:
        super().__init__(models[0], compute)
        self.models, self.record = tuple(models), record
        self._name = name
        self._open: tuple[int, NnunetPredictor] | None = None
        self._running = threading.Lock()

    @property
    def name(self) -> str:
        """What the model is called."""
        return self._name

    def engines(self, labels: LabelSet | None = None) -> list[Engine]:
        """What computes the first part that is needed, once for each part: all are computed alike.

        Args:
            labels: Some of the structures; if omitted, all.

        Raises:
            ConfigError: If this machine has no such device, engine or precision.
            ModelError: If a file of the model is damaged.
        """
        first = self._needed(self.record.labels if labels is None else labels)[0]
        with self._running:
            (engine,) = self._part(first).engines()
        return [engine] * len(self.models)

    def choices(self, request: Request = AS_TUNED) -> PartsChoices:
        """What decides, as `NnunetPredictor.choices`, whose errors it raises.

        Args:
            request: What is asked for.
        """
        found = super().choices(request)
        values = {one.name: getattr(found, one.name) for one in fields(found)}
        return PartsChoices(**values, probabilities=request.confidence or needs_confidence(found.steps))

    def slices(
        self, scan: OnGrid, choices: Choices, stages: Stages | None = None, watch: LogitSink | None = None
    ) -> Iterator[ScanSlice]:
        """Each of the scan's slices, once all parts are done; as `NnunetPredictor.slices`, whose errors it raises.

        Args:
            scan: On its own voxels.
            choices: What decides; parts without a wanted structure are not computed.
            stages: Takes the seconds of `grid`, `prepare` and `network`.
            watch: Looks at the logits of every part.
        """
        stages = stages or Stages()
        whole = replace(scan, slabs=[whole_scan(scan)])
        values = np.zeros(scan.source.canonical_shape, label_type(self.record.labels.ids), order="F")
        kept: list[list[bytes]] = []
        with self._running:
            for number in self._needed(choices.labels):
                kept.append(self._add_part(number, whole, choices, stages, watch, values))
        for k in range(values.shape[2]):
            yield PartsSlice(k, values[:, :, k], [of_part[k] for of_part in kept if of_part], choices.labels)

    def _add_part(
        self,
        number: int,
        scan: OnGrid,
        choices: Choices,
        stages: Stages,
        watch: LogitSink | None,
        values: UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"],
    ) -> list[bytes]:
        """Put what a part finds over what is there; its probabilities by slice, if they are wanted."""
        part = self._part(number)
        part.max_memory = None if self.max_memory is None else ByteSize(self.max_memory - values.nbytes)
        own = part.record.labels
        wanted = own.subset([name for name in own.names if name in choices.labels])
        to_ours = np.zeros(max(own.ids) + 1, values.dtype)
        for structure in wanted:
            to_ours[structure.id] = self.record.labels[structure.name].id
        watched = (
            None
            if watch is None
            else _Spread(watch, [choices.labels.channel(n) for n in wanted.names], len(choices.labels))
        )
        kept = []
        for one in part.slices(scan, replace(choices, labels=wanted), stages, watched):
            found = to_ours[one.labels()]
            np.copyto(values[:, :, one.number], found, where=found > 0)
            if isinstance(choices, PartsChoices) and choices.probabilities:
                kept.append(blosc2.pack_array2(one.probabilities()))
        return kept

    def _needed(self, labels: LabelSet) -> list[int]:
        return [n for n, one in enumerate(self.models) if any(name in labels for name in one.record.labels.names)]

    def _part(self, number: int) -> NnunetPredictor:
        """What computes a part; the former one is let go first."""
        if self._open is None or self._open[0] != number:
            self._open = None
            self._open = number, NnunetPredictor(self.models[number], self.compute)
        return self._open[1]


class PartsSlice(ScanSlice):
    """A slice that is decided already.

    Args:
        number: From 0, the most inferior.
        values: The id of each voxel's structure.
        probabilities: Packed, of each part; none where they are not wanted.
        labels: The structures that are wanted.
    """

    def __init__(
        self,
        number: int,
        values: UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"],
        probabilities: Sequence[bytes],
        labels: LabelSet,
    ) -> None:
        self.number = number
        self._values, self._packed, self._labels = values, probabilities, labels

    def masks(self) -> UInt8[np.ndarray, "b x y"]:
        """A mask for each structure, packed; no two share a voxel."""
        bits = np.zeros((packed_bytes(len(self._labels)), max(self._labels.ids) + 1), np.uint8)
        for channel, structure in enumerate(self._labels):
            bits[channel // 8, structure.id] = 1 << channel % 8
        return bits[:, self._values]

    def labels(self) -> UInt8[np.ndarray, "x y"] | UInt16[np.ndarray, "x y"]:
        """The id of each voxel's structure, 0 for none."""
        return self._values.astype(label_type(self._labels.ids))

    def probabilities(self, *, calibrated: bool = True) -> UInt8[np.ndarray, "c x y"]:
        """Of each structure among its part's and the background, 0 to 1 as 0 to 255."""
        return np.concatenate([blosc2.unpack_array2(one) for one in self._packed])

    def highest_probability(self) -> UInt8[np.ndarray, "1 x y"]:
        """Of the most probable structure, 0 to 1 as 0 to 255."""
        return self.probabilities().max(axis=0, keepdims=True)


class _Spread:
    """Hands on a part's logits among those of all structures."""

    def __init__(self, watch: LogitSink, channels: Sequence[int], count: int) -> None:
        self._watch, self._channels, self._count = watch, list(channels), count

    def add(self, logits: Float32[np.ndarray, "c x y"], members: Sequence[Float32[np.ndarray, "c x y"]] = ()) -> None:
        """Take in a slice of the part's grid."""
        spread = np.full((self._count, *logits.shape[1:]), _ELSEWHERE, np.float32)
        spread[self._channels] = logits
        self._watch.add(spread)
