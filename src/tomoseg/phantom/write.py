"""Writing phantoms as a dataset: one folder per case, with the CT and one mask file per structure."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int16, UInt8

from tomoseg.errors import InputError
from tomoseg.files.atomic import whole_folder
from tomoseg.files.nifti import used_bits, write_bit, write_nifti
from tomoseg.interrupts import interrupts_blocked
from tomoseg.labels import LabelSet
from tomoseg.masks import byte_of
from tomoseg.phantom.scan import Phantom, make_phantom
from tomoseg.volume import SourceGrid

SEEDS_A_SPLIT = 1_000_000
"""Number of seeds reserved for each split."""


def write_phantom(phantom: Phantom, case_folder: Path) -> None:
    """Write `ct.nii.gz` and all 117 `segmentations/<structure>.nii.gz`; absent structures have an empty mask.

    Args:
        phantom: The phantom.
        case_folder: Created if missing; files of the same names in it are replaced.

    Raises:
        OutputError: If a file cannot be written.
    """
    x, y, z = phantom.hu.shape
    write_case(case_folder, phantom.hu, phantom.packed, LabelSet.total(), SourceGrid((x, y, z), phantom.affine))


def write_case(
    case_folder: Path,
    hu: Int16[np.ndarray, "x y z"],
    packed: UInt8[np.ndarray, "b x y z"],
    labels: LabelSet,
    grid: SourceGrid,
) -> None:
    """Write a scan as `ct.nii.gz` and its packed masks as `segmentations/<structure>.nii.gz`, empty ones too.

    Raises:
        OutputError: If a file cannot be written.
    """
    segmentations = case_folder / "segmentations"
    segmentations.mkdir(parents=True, exist_ok=True)
    used = [used_bits(plane, grid) for plane in packed]
    for channel, name in enumerate(labels.names):
        plane, bit = byte_of(channel)
        write_bit(segmentations / f"{name}.nii.gz", packed[plane], bit, grid, used[plane])
    write_nifti(case_folder / "ct.nii.gz", hu, grid)


def make_phantom_dataset(
    folder: Path,
    counts: Mapping[str, int],
    seed: int,
    spacing_mm: tuple[float, float, float] = (3.0, 3.0, 5.0),
    *,
    workers: int = 2,
    on_done: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Write a dataset of phantoms: `folder/<split>/<split>_000`, ...

    Existing cases are kept, so that an interrupted call can be repeated. A case is written under another name and
    renamed when it is complete. Splits share no seed.

    Args:
        folder: Made if missing.
        counts: Number of cases of each split.
        seed: 0 or more; another seed gives other bodies throughout.
        spacing_mm: Voxel spacing along x, y and z.
        workers: Processes, 1 or more.
        on_done: Called with the folder of each case when it is complete, and at once for existing ones.

    Returns:
        The folders of all cases, in the order of `counts`.

    Raises:
        InputError: If a count is negative or too large, or `workers` is below 1.
        OutputError: If a file cannot be written.
    """
    return make_cases(
        folder, counts, seed, partial(_make_case, spacing_mm=spacing_mm), workers=workers, on_done=on_done
    )


def make_cases(
    folder: Path,
    counts: Mapping[str, int],
    seed: int,
    make: Callable[[Path, int], None],
    *,
    workers: int,
    on_done: Callable[[Path], None] | None = None,
) -> list[Path]:
    """Make the missing cases of a dataset in several processes; see `make_phantom_dataset`.

    Args:
        folder: Created if missing.
        counts: Number of cases of each split.
        seed: 0 or more.
        make: Writes a case into a folder from a seed; must be picklable.
        workers: Processes, 1 or more.
        on_done: Called with the folder of each case.

    Returns:
        The folders of all cases, in the order of `counts`.

    Raises:
        InputError: If a count is negative or too large, `workers` is below 1, or the seed is negative.
        OutputError: If a file cannot be written.
    """
    _check_request(counts, seed, workers)
    first = seed * SEEDS_A_SPLIT * 100
    cases = [
        (folder / split / f"{split}_{number:03d}", first + place * SEEDS_A_SPLIT + number)
        for place, (split, count) in enumerate(counts.items())
        for number in range(count)
    ]
    done = on_done or (lambda _: None)
    todo = []
    for case, case_seed in cases:
        if case.exists():
            done(case)
        else:
            todo.append((case, case_seed))
    if todo:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context) as pool:
            with interrupts_blocked():
                futures = {pool.submit(_make_whole, make, case, case_seed): case for case, case_seed in todo}
            try:
                for future in as_completed(futures):
                    future.result()
                    done(futures[future])
            finally:  # an interrupted command ends after the cases that are being made
                pool.shutdown(cancel_futures=True)
    return [case for case, _ in cases]


def _check_request(counts: Mapping[str, int], seed: int, workers: int) -> None:
    if seed < 0:
        raise InputError(f"expected a seed of 0 or more, got {seed}; choose another")
    if workers < 1:
        raise InputError(f"expected 1 worker or more, got {workers}; raise it")
    for split, count in counts.items():
        if not 0 <= count <= SEEDS_A_SPLIT:
            raise InputError(f"expected 0 to {SEEDS_A_SPLIT} cases in {split!r}, got {count}; change the count")


def _make_whole(make: Callable[[Path, int], None], case: Path, seed: int) -> None:
    with whole_folder(case) as aside:
        make(aside, seed)


def _make_case(folder: Path, seed: int, spacing_mm: tuple[float, float, float]) -> None:
    write_phantom(make_phantom(seed, spacing_mm=spacing_mm), folder)
