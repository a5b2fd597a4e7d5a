"""Sinks against plain arrays: a scan of six slices, of which the grid's box holds four, on the grid's own points."""

import numpy as np
import pytest

from tomoseg.grid import Placement
from tomoseg.inference.decide import GridSlice, scan_slices
from tomoseg.inference.sinks import (
    ConfidenceSink,
    HighestConfidenceSink,
    LabelMapSink,
    MaskSink,
    NoticeSink,
    ScanSlice,
    Sink,
    collect,
    in_turn,
)
from tomoseg.inference.stages import Stages
from tomoseg.labels import LabelSet, Structure
from tomoseg.masks import unpack
from tomoseg.notices import Notice
from tomoseg.volume import SourceGrid

SHAPE, BOX = (7, 6, 6), (slice(1, 6), slice(2, 6), slice(1, 5))
LABELS = LabelSet(tuple(Structure(3 * c + 2, f"s{c}") for c in range(9)))
GRID = SourceGrid(SHAPE, np.diag([1.0, 1.0, 2.0, 1.0]))
LOGITS = np.random.default_rng(0).normal(0, 3, (9, 5, 4, 4)).astype(np.float32)
OFFSETS = np.linspace(-1, 1, 9).astype(np.float32)


def slices():
    placement = Placement((1, 2, 1), (5, 4, 4), (5, 4, 4))
    between = scan_slices((LOGITS[..., k] for k in range(4)), placement)
    for k in range(6):
        yield ScanSlice(k, next(between) if 1 <= k < 5 else None, placement, SHAPE, LABELS, OFFSETS)


def whole(values, fill=0):
    """In the scan, `fill` outside of the box."""
    out = np.full((*values.shape[:-3], *SHAPE), fill, values.dtype)
    out[(..., *BOX)] = values
    return out


def test_masks():
    sink = MaskSink(LABELS, GRID)
    collect(slices(), sink)
    expected = whole(LOGITS > 0)
    assert 0.1 < expected.mean() < 0.2
    for channel, name in enumerate(LABELS.names):
        assert np.array_equal(sink.result.mask(name), expected[channel])
    assert (sink.result.labels, sink.result.grid) == (LABELS, GRID)


def test_a_label_map():
    sink = LabelMapSink(LABELS, GRID)
    collect(slices(), sink)
    winner = np.where(LOGITS.max(axis=0) > 0, np.array(LABELS.ids)[LOGITS.argmax(axis=0)], 0)
    assert np.array_equal(sink.result.values, whole(winner))
    assert sink.result.values.dtype == np.uint8
    assert len(np.unique(winner)) > 5


def test_probabilities():
    each, highest = ConfidenceSink(LABELS, GRID), HighestConfidenceSink(GRID)
    collect(slices(), each, highest)
    logits = LOGITS.astype(np.float64) + OFFSETS[:, None, None, None]
    expected = whole(255 / (1 + np.exp(-logits)))
    for channel, name in enumerate(LABELS.names):
        assert np.abs(each.result.map(name) - expected[channel]).max() <= 0.51
    assert np.abs(highest.result.map("confidence") - expected.max(axis=0)).max() <= 0.51


def test_notices_of_any_slice_are_kept():
    def noticed():
        for one in slices():
            if one.number in (2, 5):
                one.notices = (Notice(f"Slice {one.number}.", "no box"),)
            yield one

    sink = NoticeSink()
    collect(noticed(), sink)
    assert [notice.message for notice in sink.result] == ["Slice 2.", "Slice 5."]


def test_passes_count_on():
    told = []
    for number in range(3):
        of_pass = in_turn(lambda *slices: told.append(slices), number, 3, 10)
        of_pass(2, 4)
        of_pass(4, 4)
    assert told == [(5, 30), (10, 30), (15, 30), (20, 30), (25, 30), (30, 30)]
    assert in_turn(None, 0, 3, 10) is None


class Volumes:
    """Voxels of each structure: a sink that tomoseg does not have."""

    def __init__(self):
        self.voxels, self.numbers = np.zeros(9, int), []

    def take(self, scan_slice):
        self.voxels += unpack(scan_slice.masks(), 9).sum(axis=(1, 2))
        self.numbers.append(scan_slice.number)


def test_a_sink_of_ones_own():
    sink = Volumes()
    assert isinstance(sink, Sink)
    collect(slices(), sink)
    assert sink.voxels.tolist() == (LOGITS > 0).sum(axis=(1, 2, 3)).tolist()
    assert sink.numbers == list(range(6))


def test_each_slice_goes_to_every_sink_in_their_order_before_the_next_is_made():
    told = []

    class Tells:
        def __init__(self, name):
            self.name = name

        def take(self, scan_slice):
            told.append((self.name, scan_slice.number))

    def made():
        for each in slices():
            told.append(("made", each.number))
            yield each

    collect(made(), Tells("first"), Tells("second"))
    assert told == [(who, k) for k in range(6) for who in ("made", "first", "second")]


def test_what_nobody_asks_for_is_not_computed(monkeypatch):
    for name in ("decide_labels", "confidences", "highest_confidence"):
        monkeypatch.setattr(f"tomoseg.inference.sinks.{name}", lambda *_: pytest.fail("it was computed"))
    stages = Stages()
    collect(slices(), MaskSink(LABELS, GRID), stages=stages)
    assert list(stages.seconds) == ["decisions"]


def test_outside_of_the_box_there_is_nothing():
    outside = next(iter(slices()))
    assert not outside.masks().any()
    assert outside.masks().shape == (2, *SHAPE[:2])
    assert not outside.labels().any()
    assert outside.probabilities().shape == (9, *SHAPE[:2])
    assert not outside.probabilities().any()
    assert outside.highest_probability().shape == (1, *SHAPE[:2])


def test_a_box_on_another_grid_is_interpolated():
    """Twice as many pixels along x: the pixels between two points have shares of one and three quarters."""
    logits = np.array([-4.0, 4.0], np.float32).reshape(1, 2, 1)
    one = GridSlice(logits)
    labels = LabelSet((Structure(1, "a"),))
    placement = Placement((0, 0, 0), (4, 1, 1), (2, 1, 1))
    found = ScanSlice(0, (one, one, 0.0), placement, (4, 1, 1), labels, np.zeros(1, np.float32))
    assert found.labels()[:, 0].tolist() == [0, 0, 1, 1]
    expected = 255 / (1 + np.exp([4, 2, -2, -4]))  # -4, -4 + 8 / 4, -4 + 8 * 3 / 4, 4
    assert found.probabilities()[0, :, 0].tolist() == np.rint(expected).tolist()
