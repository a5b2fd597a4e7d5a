"""Checks of a dataset: likely mistakes in labelled scans, alone and compared with each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tomoseg.checks.facts import SCAN_BIN, CaseFacts, StructureFacts
from tomoseg.checks.findings import LEAST_CASES, SCAN, Finding, RobustStats
from tomoseg.checks.sides import direction_findings, image_findings, side_findings
from tomoseg.errors import counted
from tomoseg.language.words import millilitres, part

OVERLAP_SHARE = 0.10
SHIFT_HU = 40
EMPTY_SHARE = 0.10
"""Share of empty masks above which a structure is not reported case by case."""

LEAST_VOXELS = 50
"""Minimum size of masks that are compared for copies; smaller ones may be identical by chance."""
VOLUME = (5.0, 0.92)
POSITION = (6.0, 0.12)
OFFSET = (6.0, 20.0)
TISSUE = (6.0, 75.0)
"""Limits for outliers, in spreads from the median and in absolute terms, both to be exceeded: of the logarithm of
volumes (a factor of 2.5), positions in the body, distances to other structures in mm, and median HU."""


def check_cases(cases: Sequence[CaseFacts]) -> list[Finding]:
    """Check a dataset; errors come first, then warnings that concern a whole scan.

    Args:
        cases: The facts of each case.
    """
    found = [
        *(finding for case in cases for finding in _alone(case)),
        *_empties(cases),
        *_shifted(cases),
        *_duplicates(cases),
        *_leaks(cases),
        *side_findings(cases),
        *direction_findings(cases),
        *image_findings(cases),
        *_outliers(cases),
    ]
    return sorted(found, key=lambda f: (f.weight, f.kind, f.case, f.structure or ""))


def _alone(case: CaseFacts) -> Iterator[Finding]:
    """Yield the findings that need no other case."""
    for structure, reason in case.unreadable.items():
        yield Finding.error("unreadable", f"{reason}.", case.name, structure)
    for notice in case.warnings:
        yield Finding.warning(f"{SCAN}{notice.kind}", str(notice), case.name)
    if case.levels == 1:
        text = f"All its voxels are {case.lowest}: the scan is empty. Export it again, or leave the case out."
        yield Finding.error("constant", text, case.name)
        return
    yield from _scan_alone(case)
    for name, facts in case.structures.items():
        yield from _structure_alone(case, name, facts)
    for (one, other), share in case.overlaps.items():
        if share > OVERLAP_SHARE:
            text = (
                f"{share:.0%} of the smaller of {one} and {other} overlaps the other. Some structures do "
                "overlap; check whether these should."
            )
            yield Finding.warning("overlap", text, case.name, one)


def _scan_alone(case: CaseFacts) -> Iterator[Finding]:
    if case.levels > 1 and case.lowest >= 0 and case.highest <= 255:
        text = (
            f"Its values run from {case.lowest} to {case.highest}; expected HU, with air near -1000. It is a "
            "picture, not a CT: export it again."
        )
        yield Finding.error("not HU", text, case.name)
    if case.blank_slices:
        text = (
            f"Slices with a single value between others: {case.blank_slices}. They are missing or were "
            "blanked: export the scan again, or leave out the structures there."
        )
        yield Finding.warning("blank slices", text, case.name)


def _structure_alone(case: CaseFacts, name: str, facts: StructureFacts) -> Iterator[Finding]:
    if facts.gaps:
        text = f"Slices without it between its first and its last: {facts.gaps}. Check whether they were forgotten."
        yield Finding.warning("gap", text, case.name, name)
    if facts.blank_share > 0:
        text = (
            f"{facts.blank_share:.0%} of it lies in slices of the scan that have a single value. The scan was "
            "cut: leave out the case, or this mask."
        )
        yield Finding.error("outside of the scan", text, case.name, name)


def _empties(cases: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Yield findings about empty masks: one each if the structure is present in most cases, one for all others.

    A dataset in which every structure is annotated has many of them, since no scan shows the whole body.
    """
    empty: defaultdict[str, list[str]] = defaultdict(list)
    held: defaultdict[str, int] = defaultdict(int)
    for case in cases:
        for name, facts in case.structures.items():
            held[name] += 1
            if facts.voxels == 0:
                empty[name].append(case.name)
    often = {
        name: names
        for name, names in empty.items()
        if held[name] < LEAST_CASES or len(names) > max(1, EMPTY_SHARE * held[name])
    }
    for name in sorted(empty.keys() - often.keys()):
        for case_name in empty[name]:
            text = (
                "The mask is empty, which means that the structure is absent from the scan; it is present in "
                f"{held[name] - len(empty[name])} of {held[name]} cases. If nobody looked for it, delete the "
                "file: not annotated is not the same as absent."
            )
            yield Finding.warning("empty", text, case_name, name)
    if often:
        yield _empty_often(often, held)


def _empty_often(often: dict[str, list[str]], held: Mapping[str, int]) -> Finding:
    most = sorted(often, key=lambda name: -len(often[name]))
    where = [f"{name} in {len(often[name])} of {counted(held[name], 'case')}" for name in most[:4]]
    text = (
        f"Empty masks: {sum(map(len, often.values()))}, of {counted(len(often), 'structure')} "
        f"({', '.join(where)}{', ...' if len(most) > 4 else ''}), which means absent from these scans. If "
        "nobody looked for them, delete the files, or remove the names from the label map's list: not "
        "annotated is not the same as absent."
    )
    return Finding.warning("empty", text, "")


def _shifted(cases: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Yield findings about scans whose values are shifted against those of the others."""
    cases = [case for case in cases if case.levels]
    if len(cases) < LEAST_CASES:
        return
    shares = np.sqrt([case.histogram / max(1, case.histogram.sum()) for case in cases])
    typical = np.fft.rfft(np.median(shares, axis=0), 2 * shares.shape[1])
    for case, share in zip(cases, shares, strict=True):
        alike = np.fft.irfft(np.fft.rfft(share, 2 * share.size) * typical.conj())
        bins = int(alike.argmax())
        shift = SCAN_BIN * (bins - alike.size if bins >= share.size else bins)
        if abs(shift) >= SHIFT_HU:
            text = (
                f"Its values are about {shift:+d} HU off those of the other scans. The rescale slope and "
                "intercept were not applied, or were applied twice: export the scan again."
            )
            yield Finding.error("not HU", text, case.name)


def _duplicates(cases: Sequence[CaseFacts]) -> Iterator[Finding]:
    scans: defaultdict[str, list[CaseFacts]] = defaultdict(list)
    for case in cases:
        scans[case.digest].append(case)
    for alike in scans.values():
        for case in alike[1:]:
            text = f"The scan is identical to that of {alike[0].name}, voxel for voxel. Keep one of the two."
            yield Finding.error("duplicate", text, case.name)
    yield from _copied_masks(cases, {case.name: alike[0].name for alike in scans.values() for case in alike})


def _copied_masks(cases: Sequence[CaseFacts], same_scan: dict[str, str]) -> Iterator[Finding]:
    """Yield findings about masks copied from another scan or structure.

    Args:
        cases: The facts of each case.
        same_scan: For each case, the first case with the same scan.
    """
    masks: defaultdict[str, list[tuple[CaseFacts, str]]] = defaultdict(list)
    for case in cases:
        for name, facts in case.structures.items():
            if facts.voxels >= LEAST_VOXELS:
                masks[facts.digest].append((case, name))
    for same in masks.values():
        first, first_name = same[0]
        for case, name in same[1:]:
            if same_scan[case.name] != same_scan[first.name] or name != first_name:
                text = f"The mask is identical to that of {first_name} in {first.name}. One of the two is a copy."
                yield Finding.error("duplicate", text, case.name, name)


def _leaks(cases: Sequence[CaseFacts]) -> Iterator[Finding]:
    """Yield findings about patients, or scans, that are in two splits."""
    for what, key in ((part("patient"), "patient"), (part("scan"), "digest")):
        together: defaultdict[str, list[CaseFacts]] = defaultdict(list)
        for case in cases:
            if case.split is not None:
                together[getattr(case, key)].append(case)
        for group in together.values():
            for case in group[1:]:
                if case.split != group[0].split:
                    text = (
                        f"The same {what} is in {case.split} and, as {group[0].name}, in {group[0].split}: "
                        "scores would be too high. Put both into one split."
                    )
                    yield Finding.error("in two splits", text, case.name)


def _outliers(cases: Sequence[CaseFacts]) -> Iterator[Finding]:
    names = sorted({name for case in cases for name in case.structures})
    for name in names:
        held = [(case, case.structures[name]) for case in cases if name in case.structures]
        held = [(case, facts) for case, facts in held if facts.voxels]
        if len(held) >= LEAST_CASES:
            yield from _volumes(name, held)
            yield from _places(name, held)
            yield from _tissues(name, held)
            yield from _offsets(name, held)


Held = Sequence[tuple[CaseFacts, StructureFacts]]


def _volumes(name: str, held: Held) -> Iterator[Finding]:
    sizes = np.log([facts.volume_ml for _, facts in held])
    typical = RobustStats.of(sizes)
    low, high = np.exp(typical.usual(sizes, *VOLUME))
    for (case, facts), size in zip(held, sizes, strict=True):
        if typical.is_far(float(size), *VOLUME):
            times = float(np.exp(abs(size - typical.middle)))
            which = "more" if size > typical.middle else "less"
            text = (
                f"It has {_ml(facts.volume_ml)} ml, {times:.1f} times {which} than the median of "
                f"{_ml(np.exp(typical.middle))} ml ({_ml(low)} to {_ml(high)} are usual). Check that all of it is "
                "contoured, and nothing else."
            )
            yield Finding.warning("volume", text, case.name, name)


def _ml(volume: float) -> str:
    return millilitres(volume, "en")  # a sentence is English until it is printed


def _places(name: str, held: Held) -> Iterator[Finding]:
    for axis, extent in ((0, part("width from the patient's left")), (1, part("depth from the patient's back"))):
        values = np.array([facts.in_body[axis] for _, facts in held])
        typical = RobustStats.of(values)
        low, high = typical.usual(values, *POSITION)
        for (case, _), value in zip(held, values, strict=True):
            if typical.is_far(float(value), *POSITION):
                text = (
                    f"Its centre lies {value:.0%} of the body's {extent}; {typical.middle:.0%} is usual "
                    f"({low:.0%} to {high:.0%}). Check that the mask belongs to the scan."
                )
                yield Finding.warning("position", text, case.name, name)


def _tissues(name: str, held: Held) -> Iterator[Finding]:
    values = np.array([facts.hu_median for _, facts in held])
    typical = RobustStats.of(values)
    low, high = typical.usual(values, *TISSUE)
    for (case, _), value in zip(held, values, strict=True):
        if typical.is_far(float(value), *TISSUE):
            text = (
                f"Its median is {value:.0f} HU; {typical.middle:.0f} is usual ({low:.0f} to {high:.0f}). Check that "
                "the mask lies on the structure and that the scan is in HU."
            )
            yield Finding.warning("HU", text, case.name, name)


def _offsets(name: str, held: Held) -> Iterator[Finding]:
    """Yield findings about structures whose offset to most other structures of the case is unusual."""
    far: defaultdict[str, list[tuple[str, float]]] = defaultdict(list)
    asked: defaultdict[str, int] = defaultdict(int)
    for other in sorted({o for case, _ in held for o in case.structures if o != name}):
        for case_name, off_mm in _steps_off(other, held):
            asked[case_name] += 1
            if off_mm is not None:
                far[case_name].append((other, off_mm))
    for case_name, others in far.items():
        if len(others) > max(1, asked[case_name] / 2):
            nearest = min(others, key=lambda pair: pair[1])
            text = (
                f"It lies far from its usual place relative to {len(others)} of {asked[case_name]} other "
                f"structures, {nearest[1]:.0f} mm off relative to {nearest[0]}. Check that all of it is "
                "contoured and that its name is right."
            )
            yield Finding.warning("position", text, case_name, name)


def _steps_off(other: str, held: Held) -> Iterator[tuple[str, float | None]]:
    """Yield for each case with another structure the deviation of the offset to it in mm; None if it is usual."""
    both = [(case, facts) for case, facts in held if case.has(other)]
    if len(both) < LEAST_CASES:
        return
    steps = np.array([np.subtract(facts.middle_mm, case.structures[other].middle_mm) for case, facts in both])
    typical = [RobustStats.of(along) for along in steps.T]
    middle = np.array([each.middle for each in typical])
    for (case, _), step in zip(both, steps, strict=True):
        is_far = any(each.is_far(float(value), *OFFSET) for each, value in zip(typical, step, strict=True))
        yield case.name, float(np.linalg.norm(step - middle)) if is_far else None
