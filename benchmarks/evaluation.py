"""Time and memory of scoring one large case, beside the reference implementation structure by structure.

    .venv/bin/python benchmarks/evaluation.py [--structures 109] [--rounds 3] [--reference]

The case has 222 x 166 x 429 voxels of 1.5 mm; the prediction is the reference with its edges moved at random. With
`--reference` DeepMind's `surface-distance` scores the same pairs, and the ratio and the largest difference between the
figures are printed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import psutil
from common import SHAPE, machine, real_size_phantom
from scipy import ndimage

from tomoseg.evaluation.masks import Scoring, score_pairs
from tomoseg.evaluation.scores import StructureScore
from tomoseg.labels import LabelSet
from tomoseg.masks import pack, packed_bytes, structure_mask
from tomoseg.phantom import make_phantom
from tomoseg.segmentation import Segmentation, boxed_masks
from tomoseg.volume import SourceGrid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=int, default=109)
    parser.add_argument("--work", type=Path, default=Path("build/benchmark/evaluation"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reference", action="store_true")
    given = parser.parse_args()
    print(machine())
    predicted, reference = pair(given.work, given.structures)
    at_rest = psutil.Process().memory_info().rss
    seconds = []
    for _ in range(given.rounds):
        began = time.perf_counter()
        scores = score(predicted, reference)
        seconds.append(time.perf_counter() - began)
    dice = np.mean([s.dice for s in scores if s.dice is not None])
    peak = _peak_bytes()
    print(f"{len(scores)} structures, mean Dice {dice:.3f}, {SHAPE} voxels")
    print(f"all metrics: {statistics.median(seconds):.2f} s (median of {given.rounds})")
    print(f"memory: {at_rest / 2**20:.0f} MiB before, {peak / 2**20:.0f} MiB at the most")
    if given.reference:
        compare(predicted, reference, scores, statistics.median(seconds))


def pair(folder: Path, structures: int) -> list[Segmentation]:
    """Return a prediction and its reference, read slice by slice from files kept between runs."""
    names = [f"{what}_{structures}.npy" for what in ("predicted", "reference")]
    if not all((folder / name).exists() for name in names):
        folder.mkdir(parents=True, exist_ok=True)
        maker = multiprocessing.get_context("spawn").Process(target=make_pair, args=(folder, structures, names))
        maker.start()
        maker.join()
    labels = LabelSet.total().subset([LabelSet.total().names[c] for c in present()[:structures]])
    found = []
    for name in names:
        packed = np.load(folder / name, mmap_mode="r")
        found.append(Segmentation(labels, SourceGrid((SHAPE[0], SHAPE[1], SHAPE[2]), np.diag([1.5, 1.5, 1.5, 1.0]))))
        for k in range(SHAPE[2]):
            found[-1].append(np.asarray(packed[k]))
    return found


@cache
def present() -> list[int]:
    """Return the structures of the coarse phantom that the case is made of."""
    packed = make_phantom(0, spacing_mm=(3.0, 3.0, 5.0), field_of_view="whole").packed
    return [c for c in range(117) if structure_mask(packed, c).any()]


def make_pair(folder: Path, structures: int, names: list[str]) -> None:
    """Write a reference, and the same with its edges moved, `(z, byte, x, y)`; in its own process."""
    phantom = real_size_phantom(0)
    rng = np.random.default_rng(0)
    coarse = (12, 9, 22)
    index = []
    for axis, n in enumerate(SHAPE):
        shift = ndimage.zoom(rng.uniform(-3, 3, coarse), np.divide(SHAPE, coarse), order=1)
        place = np.arange(n).reshape([-1 if a == axis else 1 for a in range(3)])
        index.append(np.clip(np.rint(place + shift), 0, n - 1).astype(np.int32))
    for name, warp in zip(names, (True, False), strict=True):
        out = np.zeros((SHAPE[2], packed_bytes(structures), *SHAPE[:2]), np.uint8)
        for start in range(0, structures, 8):
            masks = [structure_mask(phantom.packed, c) for c in present()[start : start + min(8, structures - start)]]
            packed = pack(np.stack([mask[tuple(index)] if warp else mask for mask in masks]))[0]
            out[:, start // 8] = packed.transpose(2, 0, 1)
        np.save(folder / name, out)


def score(predicted: Segmentation, reference: Segmentation) -> list[StructureScore]:
    pairs = zip(predicted.labels.names, boxed_masks(predicted), boxed_masks(reference), strict=True)
    return list(score_pairs(pairs, predicted.grid, Scoring()))


def compare(predicted: Segmentation, reference: Segmentation, ours: list[StructureScore], seconds: float) -> None:
    """Compare with the reference implementation on the same pairs, each mask of the whole volume."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from surface_distance import metrics
    theirs = 0.0
    furthest = 0.0
    for each in ours:
        a, b = (np.ascontiguousarray(side.mask(each.structure)) for side in (reference, predicted))
        if each.value("hd95_mm") is None or not (a.any() and b.any()):
            continue
        began = time.perf_counter()
        found = metrics.compute_surface_distances(a, b, (1.5, 1.5, 1.5))
        figures = (
            metrics.compute_dice_coefficient(a, b),
            metrics.compute_surface_dice_at_tolerance(found, 3.0),
            metrics.compute_robust_hausdorff(found, 95),
        )
        metrics.compute_average_surface_distance(found)
        theirs += time.perf_counter() - began
        mine = [each.value(name) for name in ("dice", "surface_dice", "hd95_mm")]
        furthest = max(furthest, *(abs(x - y) for x, y in zip(figures, mine, strict=True)))
    print(f"surface-distance, structure by structure: {theirs:.1f} s, {theirs / seconds:.1f} times as long")
    print(f"largest difference of Dice, surface Dice and HD95: {furthest:.2g}")


def _peak_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
