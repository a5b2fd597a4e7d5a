"""What metrics are computed from."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from tomoseg.evaluation import pairs
from tomoseg.evaluation.pairs import MaskPair, VoxelCounts
from tomoseg.evaluation.surface import surface_distances
from tomoseg.masks import BoxedMask


def made():
    mask = BoxedMask.of(np.ones((2, 2, 2), bool))
    return MaskPair(mask, mask, (1.0, 1.0, 1.0), 3.0)


def test_volumes_by_hand():
    counts = VoxelCounts(6, 4, 3, 0.5)
    assert (counts.predicted_ml, counts.reference_ml) == (3.0, 2.0)


def test_surfaces_are_measured_once_for_all_metrics(monkeypatch):
    calls = []
    monkeypatch.setattr(pairs, "surface_distances", lambda *args: calls.append(args) or surface_distances(*args))
    pair = made()
    assert pair.surfaces is pair.surfaces
    assert pair.surfaces.mean() == 0
    assert len(calls) == 1


def test_surfaces_of_two_pairs_are_measured_at_once(monkeypatch):
    both = Barrier(2, timeout=30)  # broken unless two threads wait at it

    def measure(*args):
        both.wait()
        return surface_distances(*args)

    monkeypatch.setattr(pairs, "surface_distances", measure)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda pair: pair.surfaces.mean(), [made(), made()])) == [0, 0]
