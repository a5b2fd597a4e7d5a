"""Detection by `tomoseg check` of mistakes put into real cases, and its false alarms on untouched ones.

    .venv/bin/python benchmarks/check.py DATASET [--cases 40]

Into so many cases, drawn at random, one mistake after another is put: left and right swapped, scan and masks mirrored
together or one of them alone along each axis, values shifted. Each time the whole dataset is judged anew. A case in
which a mistake cannot be seen (no pair of left and right) gets no such mistake.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import machine

from tomoseg.checks.dataset import check_cases
from tomoseg.checks.facts import AXES, CaseFacts, case_facts
from tomoseg.datasets.cases import Case, mask_loader
from tomoseg.datasets.layouts import find_dataset
from tomoseg.files.nifti import read_ct
from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask
from tomoseg.volume import Volume

Masks = dict[str, BoxedMask]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--cases", type=int, default=40)
    given = parser.parse_args()
    print(machine())
    dataset = find_dataset(given.dataset)
    began = time.perf_counter()
    facts = [facts_of(case, *opened(case, dataset.labels)) for case in dataset.cases]
    found = check_cases(facts)
    masks = sum(len(case.structures) for case in facts)
    flagged = len({(f.case, f.structure) for f in found if f.structure})
    print(
        f"{len(facts)} cases in {time.perf_counter() - began:.0f} s; {flagged} of {masks} masks: {flagged / masks:.1%}"
    )
    for (level, kind), count in sorted(Counter((f.level, f.kind) for f in found).items()):
        print(f"  {level} {kind}: {count}")
    before = {(f.case, f.kind) for f in found if f.level == "error"}
    hits: defaultdict[str, list[bool]] = defaultdict(list)
    for number in np.random.default_rng(0).permutation(len(facts))[: given.cases]:
        case = dataset.cases[number]
        for mistake, volume, changed in mistakes(*opened(case, dataset.labels)):
            others = [*facts[:number], facts_of(case, volume, changed), *facts[number + 1 :]]
            new = {(f.case, f.kind) for f in check_cases(others) if f.level == "error" and f.case == case.name} - before
            hits[mistake].append(bool(new))
            if not new:
                print(f"  not found: {case.name} {mistake}")
    print("| mistake | found | of |\n|---|---|---|")
    for mistake, each in hits.items():
        print(f"| {mistake} | {sum(each)} | {len(each)} |")


def opened(case: Case, labels: LabelSet) -> tuple[Volume, Masks]:
    volume = read_ct(case.ct)
    load = mask_loader(case, labels, volume.source)
    return volume, {name: BoxedMask.of(load(labels.channel(name))) for name in case.annotated}


def facts_of(case: Case, volume: Volume, masks: Masks) -> CaseFacts:
    return case_facts(case.name, case.patient, case.split, volume, masks.items())


def mistakes(volume: Volume, masks: Masks) -> Iterator[tuple[str, Volume, Masks]]:
    """Yield each kind of mistake that this case can show."""
    partners = {name: name.replace("left", "right") for name in masks if "left" in name}
    pairs = {left: right for left, right in partners.items() if right in masks}
    if pairs:
        swap = pairs | {right: left for left, right in pairs.items()}
        yield "left and right swapped", volume, {name: masks[swap.get(name, name)] for name in masks}
    for axis, direction in enumerate(AXES):
        turned = replace(volume, hu=np.flip(volume.hu, axis))
        flipped = {name: BoxedMask.of(np.flip(mask.whole(), axis)) for name, mask in masks.items()}
        if axis or pairs:
            yield f"scan and masks mirrored from {direction}", turned, flipped
        yield f"scan alone mirrored from {direction}", turned, masks
        yield f"masks alone mirrored from {direction}", volume, flipped
    for shift in (-1000, -100, 60, 200, 1024):
        hu = np.clip(volume.hu.astype(np.int32) + shift, -32768, 32767).astype(np.int16)
        yield f"{shift:+d} HU", replace(volume, hu=hu), masks


if __name__ == "__main__":
    main()
