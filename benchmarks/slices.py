"""A random slice with its 117 packed masks: the preprocessed dataset against the guide's dataset class.

    .venv/bin/python benchmarks/slices.py [--cases 12] [--reads 200] [--folder build/benchmark]

Each slice is drawn from another case than the one before. Warm: files in the page cache and arrays open. Cold: every
read opens its case anew after its files were dropped from the page cache.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from common import SHAPE, machine, median_ms, seconds, write_real_size_cases

from tomoseg.config import GridConfig, PreprocessConfig
from tomoseg.labels import LabelSet
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.workflows.preprocess import preprocess


class GuideDataset:
    """The guide's dataset class, unchanged: every file is read whole for every slice."""

    def __init__(self, case: Path) -> None:
        self.case = case

    def slice(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        volume = nib.load(self.case / "ct.nii.gz").get_fdata()
        masks = []
        for name in LabelSet.total().names:
            mask = nib.load(self.case / "segmentations" / f"{name}.nii.gz").get_fdata()
            masks.append(mask[:, :, k])
        return (np.clip(volume[:, :, k], -200, 300) + 200) / 500, np.stack(masks)


def drop_from_cache(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--reads", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    given = parser.parse_args()
    dataset, fast = given.folder / "dataset", given.folder / "preprocessed"
    write_real_size_cases(dataset, given.cases)
    grid = GridConfig(mode="native", crop="none")
    preprocess(dataset, fast, PreprocessConfig(grid=grid, validation_share=0, workers=1))

    rng = np.random.default_rng(0)
    data = Preprocessed(fast)
    draws = [(i % len(data.cases), int(rng.integers(SHAPE[2]))) for i in range(given.reads)]

    def read(source: Preprocessed, case: int, k: int) -> None:
        hu, packed = source.cases[case].ct_slice(k), source.cases[case].masks_slice(k)
        assert hu.shape == SHAPE[:2]
        assert packed.shape == (15, *SHAPE[:2])

    for case in range(len(data.cases)):
        read(data, case, 0)
    warm = [seconds(lambda draw=draw: read(data, *draw)) for draw in draws]
    cold = []
    for draw in draws:
        fresh = Preprocessed(fast)
        drop_from_cache(fresh.cases[draw[0]].folder)
        cold.append(seconds(lambda draw=draw, fresh=fresh: read(fresh, *draw)))
    guide = seconds(lambda: GuideDataset(dataset / "case_00").slice(SHAPE[2] // 2))
    print(machine())
    print(f"slice with 117 packed masks of {SHAPE} voxels, {given.reads} reads over {len(data.cases)} cases")
    for name, times in (("warm", warm), ("cold", cold)):
        print(f"  {name}: median {median_ms(times):.2f} ms, 95th percentile {np.quantile(times, 0.95) * 1000:.2f} ms")
    print(f"  the guide's dataset class: {guide:.1f} s, {guide * 1000 / median_ms(warm):.0f} times the warm median")


if __name__ == "__main__":
    sys.exit(main())
