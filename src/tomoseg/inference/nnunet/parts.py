"""Prediction with a model of parts, one network after the other; they stay open if memory allows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property

import blosc2
import numpy as np
from jaxtyping import UInt8, UInt16
from pydantic import ByteSize

from tomoseg.inference.choices import Choices
from tomoseg.inference.engine import Engine
from tomoseg.inference.memory import may_stay_open
from tomoseg.inference.nnunet.decided import KeptSlice
from tomoseg.inference.nnunet.predictor import NnunetPredictor, whole_scan
from tomoseg.inference.on_grid import OnGrid
from tomoseg.inference.predictor import GridLogits, GridMasks, LogitSink
from tomoseg.inference.sinks import Progress, ScanSlice, in_turn
from tomoseg.inference.stages import Stages
from tomoseg.labels import LabelSet, label_type
from tomoseg.models.folder import WEIGHTS, Model, ModelRecord
from tomoseg.options import AUTO, Compute

_ELSEWHERE = -50.0
"""A logit with a negligible probability."""


class PartsPredictor(NnunetPredictor):
    """Predictor of a model of parts, joined in one label map; where two claim a voxel, the later one wins.

    Thread-safe; scans are segmented one after the other.

    Args:
        models: The parts.
        record: Their joint record.
        name: Name of the model.
        compute: The engine, device and precision that run the networks.
    """

    def __init__(self, models: Sequence[Model], record: ModelRecord, name: str, compute: Compute = AUTO) -> None:
        super().__init__(models[0], compute)
        self.models, self.record = tuple(models), record
        self._name = name
        self._open: dict[int, NnunetPredictor] = {}
        self._running = threading.Lock()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._name

    @property
    def takes_temperatures(self) -> bool:
        """False: each part may have temperatures of its own, used when it predicts alone."""
        return False

    def engines(self, labels: LabelSet | None = None) -> list[Engine]:
        """Return the engine of the first part that is needed, repeated for each part; as `Predictor.engines`."""
        first = self._needed(self.record.labels if labels is None else labels)[0]
        with self._running:
            (engine,) = self._part(first).engines()
        return [engine] * len(self.models)

    def slices(
        self,
        scan: OnGrid,
        choices: Choices,
        stages: Stages | None = None,
        watch: LogitSink | None = None,
        progress: Progress | None = None,
    ) -> Iterator[ScanSlice]:
        """Yield the scan's slices, as `NnunetPredictor.slices`, after running all parts with a requested structure.

        Each part's logits are watched, and each part counts as one scan for progress.
        """
        whole = replace(scan, slabs=[whole_scan(scan)])
        values = np.zeros(scan.source.canonical_shape, label_type(self.record.labels.ids), order="F")
        kept: list[list[bytes]] = []
        needed, depth = self._needed(choices.labels), values.shape[2]
        with self._running:
            for turn, number in enumerate(needed):
                part = self._part(number)
                part.max_memory = None if self.max_memory is None else ByteSize(self.max_memory - values.nbytes)
                told = in_turn(progress, turn, len(needed), depth)
                looked_at = _Looked(part.record.labels, choices, watch)
                found = part.slices(whole, looked_at.choices, stages or Stages(), looked_at.watch, told)
                kept.append(self._laid_over(found, looked_at, values))
        for k in range(depth):
            yield KeptSlice(k, values[:, :, k], [of_part[k] for of_part in kept if of_part], choices.labels)

    def _laid_over(
        self,
        found: Iterator[ScanSlice],
        looked_at: _Looked,
        values: UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"],
    ) -> list[bytes]:
        """Write a part's structures over those before it; return its probabilities by slice, if requested."""
        labels = looked_at.choices.labels
        to_ours = np.zeros(max(labels.ids) + 1, values.dtype)
        for structure in labels:
            to_ours[structure.id] = self.record.labels[structure.name].id
        kept = []
        for one in found:
            ids = to_ours[one.labels()]
            np.copyto(values[:, :, one.number], ids, where=ids > 0)
            if looked_at.choices.probabilities:
                kept.append(blosc2.pack_array2(one.probabilities()[looked_at.rows]))
        return kept

    def _needed(self, labels: LabelSet) -> list[int]:
        return [n for n, one in enumerate(self.models) if any(name in labels for name in one.record.labels.names)]

    def _part(self, number: int) -> NnunetPredictor:
        """Return a part's predictor; the others are closed first unless all may stay open."""
        if number not in self._open:
            if not self._stay_open:
                self._open.clear()
            self._open[number] = NnunetPredictor(self.models[number], self.compute)
        return self._open[number]

    @cached_property
    def _stay_open(self) -> bool:
        files = [one.folder / WEIGHTS for one in self.models if one.folder is not None]
        return may_stay_open(sum(path.stat().st_size for path in files), self.max_memory)


class _Looked:
    """Settings of one part.

    Attributes:
        choices: Its requested structures; all of them with `exact` resampling, as they take voxels from earlier parts.
        rows: Channels of the requested ones among these.
        watch: Passes their logits on in the channels of the whole model.
    """

    def __init__(self, own: LabelSet, choices: Choices, watch: LogitSink | None) -> None:
        wanted = [name for name in own.names if name in choices.labels]
        labels = own if choices.resampling == "exact" else own.subset(wanted)
        self.choices = replace(choices, labels=labels)
        self.rows = [labels.channel(name) for name in wanted]
        places = [choices.labels.channel(name) for name in wanted]
        self.watch = None if watch is None else _Spread(watch, self.rows, places, len(choices.labels))


class _Spread:
    """Passes a part's logits on in the channels of all structures."""

    def __init__(self, watch: LogitSink, rows: Sequence[int], channels: Sequence[int], count: int) -> None:
        self._watch, self._rows, self._channels, self._count = watch, list(rows), list(channels), count

    def add(self, logits: GridLogits, members: Sequence[GridLogits] = (), inside: GridMasks | None = None) -> None:
        """Add a slice of the part's grid."""
        shape = (self._count, *logits.shape[1:])
        spread, masks = np.full(shape, _ELSEWHERE, np.float32), np.zeros(shape, bool)
        spread[self._channels] = logits[self._rows]
        masks[self._channels] = (logits > 0 if inside is None else inside)[self._rows]
        self._watch.add(spread, inside=masks)
