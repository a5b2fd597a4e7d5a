"""Scores of a model on unseen real CT, structure by structure.

    .venv/bin/python benchmarks/real_ct.py [--model body-117] NAME=SCAN=REFERENCE ... [--least-voxels 50] [--json FILE]
        [--pictures FOLDER] [--worst 12]

REFERENCE is a label map (of the 117, or with its names beside it), a folder of masks, or whatever `evaluate` takes.
Scored are the structures that both know and the reference shows with at least so many voxels; all of a model's
structures are looked for, those too that it leaves out by default. Printed for each scan: the Dice of each structure,
the mean, the mean of the 25 largest, of vertebrae and of ribs, and how long it took.

`--pictures` draws the worst structures of each scan where reference and mask differ most, says where their voxels
went, and counts what is wrong with all those below a Dice of 0.5: missed, taken for another structure, or spilled
into what is none. The pictures show the scans: keep them where the scans are kept.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import machine
from worst import Faults, summary

from tomoseg import Prediction, Predictor, Request, Volume, read_scan, segment
from tomoseg.datasets.mask_cases import OpenMasks, find_mask_cases
from tomoseg.inference.segment import open_predictor

SERIES = {"vertebrae": "vertebrae", "ribs": "rib_"}
"""Name prefixes of structures that are distinguished by number."""
BAD = 0.5
"""Dice below which a structure counts as failed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="NAME=SCAN=REFERENCE")
    parser.add_argument("--model", nargs="+", default=["body-117"], help="of several the plain mean")
    parser.add_argument("--least-voxels", type=int, default=50)
    parser.add_argument("--json", type=Path, help="where the scores go too")
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of the worst structures")
    parser.add_argument("--worst", type=int, default=12, help="how many of each scan are drawn")
    given = parser.parse_args()
    print(machine())
    predictor = predictor_of(given.model)
    everything = {}
    for pair in given.pairs:
        name, scan, reference = pair.split("=")
        started = time.perf_counter()
        compared = Compared.of(predictor, Path(scan), Path(reference))
        scores = compared.scores(given.least_voxels)
        seconds = time.perf_counter() - started
        everything[name] = {structure: round(dice, 4) for structure, (dice, _) in scores.items()}
        show(name, scores, seconds)
        if given.pictures:
            draw_worst(compared, scores, given.worst, given.pictures / name)
    if len(everything) > 3:
        show_means(everything)
    if given.json:
        given.json.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")


def show_means(everything: dict[str, dict[str, float]]) -> None:
    """Print the mean of each structure over the scans that contain it."""
    values: dict[str, list[float]] = {}
    for scores in everything.values():
        for structure, dice in scores.items():
            values.setdefault(structure, []).append(dice)
    print(f"\n{len(everything)} scans: " + ", ".join(f"{n} {np.mean(v):.3f} ({len(v)})" for n, v in values.items()))


def predictor_of(models: list[str]) -> Predictor:
    """Return the predictor of one model, or of several whose logits are averaged."""
    if len(models) == 1:
        return open_predictor(models[0])
    from tomoseg import load_model

    return Predictor([load_model(one) for one in models])


@dataclass(frozen=True)
class Compared:
    """A scan with a model's prediction and the reference."""

    volume: Volume
    found: Prediction
    references: OpenMasks

    @classmethod
    def of(cls, predictor: Predictor, scan: Path, reference: Path) -> Compared:
        """Segment all of the model's structures, including those left out by default."""
        volume = read_scan(scan)
        (case,) = find_mask_cases(reference)
        return cls(volume, segment(volume, predictor, Request(all=True)), OpenMasks(case, volume.source))

    def scores(self, least: int) -> dict[str, tuple[float, int]]:
        """Dice and voxels of the reference, by structure, the largest first."""
        scores = {}
        for name in self.found.labels.names:
            if name not in self.references.case.annotated:
                continue
            mask, expected = self.found.mask(name), self.references.mask(name)
            if expected.voxels >= least:
                both = int(np.count_nonzero(mask[expected.box] & expected.inside))
                scores[name] = (2 * both / (int(mask.sum()) + expected.voxels), expected.voxels)
        return dict(sorted(scores.items(), key=lambda one: -one[1][1]))


def scored(predictor: Predictor, scan: Path, reference: Path, least: int) -> dict[str, tuple[float, int]]:
    """Dice and voxels of the reference, by structure, the largest first."""
    return Compared.of(predictor, scan, reference).scores(least)


def draw_worst(compared: Compared, scores: dict[str, tuple[float, int]], count: int, folder: Path) -> None:
    """Draw the worst structures, and print where the voxels of all failed ones went."""
    folder.mkdir(parents=True, exist_ok=True)
    faults = Faults(compared.found, compared.references)
    ranked = sorted(scores, key=lambda name: scores[name][0])
    print(f"  the worst, drawn in {folder}:")
    for place, name in enumerate(ranked[:count], start=1):
        dice = scores[name][0]
        path = folder / f"{place:02d}_{name}_{dice:.2f}.png"
        print(f"    {name} {dice:.2f}: {faults.draw(name, dice, compared.volume, path)}")
    for group, start in SERIES.items():
        if names := [name for name in scores if name.startswith(start)]:
            print(f"  {group} {faults.as_one(names)}")
    bad = {name: faults.of(name) for name in ranked if scores[name][0] < BAD}
    if bad:
        print(f"  {len(bad)} below {BAD}, most of whose wrong voxels are: {summary(bad)}")


def show(title: str, scores: dict[str, tuple[float, int]], seconds: float) -> None:
    """Print the groups first, then all structures, the largest first."""
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
