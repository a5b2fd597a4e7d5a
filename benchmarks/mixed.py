"""Detection of slices of several scans mixed in turn, from their contents alone.

    OMP_NUM_THREADS=1 nice .venv/bin/python benchmarks/mixed.py OPENKBP DICOM_FOLDER SCAN.nii.gz ...

A folder with `ct.nii.gz` below it, such as OpenKBP's, stands for all of these; another is a scan in DICOM. Each scan is
looked at as it is and mixed with itself slice by slice: moved, smoothed, enhanced, with the noise of a lower dose.
Printed are, for each kind, how many are taken for several scans and how many for the right number, and the greatest
value over all periods of what comes back in turn (what three quarters of the pairs of slices exceed).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from common import machine
from scipy import ndimage

from tomoseg.files.dicom.mixed import FEWEST_SLICES, IN_TURN, MOSTLY, blocks_of, period_of, returns_of
from tomoseg.files.scan import read_scan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", type=Path, nargs="+")
    given = parser.parse_args()
    print(machine())
    measured: defaultdict[str, list[tuple[int, int, float]]] = defaultdict(list)
    for path in scans_among(given.scans):
        volume = read_scan(path)
        hu = np.ascontiguousarray(volume.hu.transpose(2, 1, 0))
        if len(hu) < FEWEST_SLICES:
            print(f"left out, {len(hu)} slices: {path.name}")
            continue
        along_mm = np.arange(len(hu)) * volume.spacing_mm[2]
        for kind, scans, stack in kinds_of(hu):
            period, value = period_of(stack, along_mm), comes_back(stack, along_mm)
            measured[kind].append((scans, period, value))
            if kind == "one scan" and period != 1:
                print(f"taken for {period} scans: {path}")
    for kind, rows in measured.items():
        scans, periods, values = (np.array(column) for column in zip(*rows, strict=True))
        known = values[np.isfinite(values)]
        low, middle, high = np.quantile(known, (0, 0.5, 1)) if known.size else (np.nan,) * 3
        print(
            f"{kind}: {len(rows)}, taken for several {np.sum(periods > 1)}, for the right number "
            f"{np.sum(periods == scans)}; comes back, of {known.size}: least {low:.2f}, median {middle:.2f}, greatest "
            f"{high:.2f} ({2 * IN_TURN:g} is asked for)"
        )


def scans_among(paths: list[Path]) -> Iterator[Path]:
    """Yield the path of each scan."""
    for path in paths:
        inside = sorted(path.rglob("ct.nii.gz")) if path.is_dir() else []
        yield from inside or [path]


def kinds_of(hu: np.ndarray) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yield the scan and its mixtures: description, number of scans, slices."""
    noise = np.random.default_rng(0).normal(0, 30, hu.shape)
    yield "one scan", 1, hu
    yield "moved by 2 and 1 pixels", 2, in_turn(hu, np.roll(hu, (2, 1), (1, 2)))
    yield "smoothed over 1 pixel", 2, in_turn(hu, ndimage.gaussian_filter(hu, (0, 1, 1)))
    yield "enhanced by 60 HU from 80 to 300 HU", 2, in_turn(hu, hu + 60 * ((hu > 80) & (hu < 300)))
    yield "noise of 30 HU", 2, in_turn(hu, hu + noise * (hu > -950))
    yield "moved up and down by 3 pixels", 3, in_turn(hu, np.roll(hu, 3, 1), np.roll(hu, -3, 1))


def in_turn(*scans: np.ndarray) -> np.ndarray:
    """Return the first slice of the first scan, the second of the second, and so on."""
    mixed = scans[0].copy()
    for number, one in enumerate(scans):
        mixed[number :: len(scans)] = np.clip(np.rint(one[number :: len(scans)]), -32768, 32767)
    return mixed


def comes_back(hu: np.ndarray, along_mm: np.ndarray) -> float:
    """Return the greatest value over all periods; NaN if there is none."""
    values = [
        float(np.sort(above)[int((1 - MOSTLY) * len(above))]) for _, _, above in returns_of(blocks_of(hu), along_mm)
    ]
    return max(values, default=float("nan"))


if __name__ == "__main__":
    main()
