"""How good a model is on real CT that it never saw, structure by structure.

    .venv/bin/python benchmarks/real_ct.py [--model body-117] NAME=SCAN=REFERENCE ... [--least-voxels 50] [--json FILE]

REFERENCE is a label map (of the 117, or with its names beside it), a folder of masks, or whatever `evaluate` takes.
Scored are the structures that both know and the reference shows with at least so many voxels; all of a model's
structures are looked for, those too that it leaves out by default. Printed for each scan: the Dice of each structure,
the mean, the mean of the 25 largest, of vertebrae and of ribs, and how long it took.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from common import machine

from tomoseg import Predictor, Request, read_scan, segment
from tomoseg.datasets.mask_cases import OpenMasks, find_mask_cases
from tomoseg.inference.segment import open_predictor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="NAME=SCAN=REFERENCE")
    parser.add_argument("--model", nargs="+", default=["body-117"], help="of several the plain mean")
    parser.add_argument("--least-voxels", type=int, default=50)
    parser.add_argument("--json", type=Path, help="where the scores go too")
    given = parser.parse_args()
    print(machine())
    predictor = predictor_of(given.model)
    everything = {}
    for pair in given.pairs:
        name, scan, reference = pair.split("=")
        started = time.perf_counter()
        scores = scored(predictor, Path(scan), Path(reference), given.least_voxels)
        seconds = time.perf_counter() - started
        everything[name] = {structure: round(dice, 4) for structure, (dice, _) in scores.items()}
        show(name, scores, seconds)
    if len(everything) > 3:
        show_means(everything)
    if given.json:
        given.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


def show_means(everything: dict[str, dict[str, float]]) -> None:
    """Of each structure the mean over the scans that show it."""
    values: dict[str, list[float]] = {}
    for scores in everything.values():
        for structure, dice in scores.items():
            values.setdefault(structure, []).append(dice)
    print(f"\n{len(everything)} scans: " + ", ".join(f"{n} {np.mean(v):.3f} ({len(v)})" for n, v in values.items()))


def predictor_of(models: list[str]) -> Predictor:
    """Of one model, or of several whose logits are averaged."""
    if len(models) == 1:
        return open_predictor(models[0])
    from tomoseg import load_model

    return Predictor([load_model(one) for one in models])


def scored(predictor: Predictor, scan: Path, reference: Path, least: int) -> dict[str, tuple[float, int]]:
    """Dice and voxels of the reference, by structure, the largest first."""
    volume = read_scan(scan)
    (case,) = find_mask_cases(reference)
    references = OpenMasks(case, volume.source)
    found = segment(volume, predictor, Request(all=True))
    scores = {}
    for name in found.labels.names:
        if name not in case.annotated:
            continue
        mask, expected = found.mask(name), references.mask(name)
        if expected.voxels >= least:
            both = int(np.count_nonzero(mask[expected.box] & expected.inside))
            scores[name] = (2 * both / (int(mask.sum()) + expected.voxels), expected.voxels)
    return dict(sorted(scores.items(), key=lambda one: -one[1][1]))


def show(title: str, scores: dict[str, tuple[float, int]], seconds: float) -> None:
    """Groups first, then all, the largest structure first."""
    print(f"\n{title}: {len(scores)} structures, {seconds:.1f} s")
    dice = {name: value for name, (value, _) in scores.items()}
    groups = {
        "all": list(dice),
        "25 largest": list(dice)[:25],
        "vertebrae": [name for name in dice if name.startswith("vertebrae")],
        "ribs": [name for name in dice if name.startswith("rib_")],
        "others": [name for name in dice if not name.startswith(("rib_", "vertebrae"))],
    }
    for group, names in groups.items():
        if names:
            above = sum(dice[name] >= 0.5 for name in names)
            print(f"  {group}: mean {np.mean([dice[name] for name in names]):.3f}, {above} of {len(names)} from 0.5 up")
    print("  " + ", ".join(f"{name} {value:.2f}" for name, value in dice.items()))


if __name__ == "__main__":
    main()
