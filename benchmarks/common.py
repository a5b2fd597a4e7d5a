"""Helpers of the benchmarks: a case of real size with 117 structures, the machine's name, medians."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from tomoseg.config import TRAIN_PRESETS, GridConfig, NetworkConfig, OptimizerConfig, TrainConfig
from tomoseg.files.nifti import read_ct, write_nifti
from tomoseg.grid import Placement, to_grid
from tomoseg.labels import LabelSet
from tomoseg.models.folder import Model, ModelRecord, save_model
from tomoseg.phantom import Phantom, make_phantom, write_phantom
from tomoseg.volume import SourceGrid

PRESET: TrainConfig = TRAIN_PRESETS["default"].model_copy(update={"optimizer": OptimizerConfig(kind="adamw")})
"""The preset `default` with the optimiser that it had when most rows of the notebook were measured."""

SHAPE = (222, 166, 429)
"""Voxels of a large case of the public 117-structure dataset, at 1.5 mm."""


def machine() -> str:
    """Return the processor and memory of this machine as text."""
    names = Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.exists() else []
    name = next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    flags = next((line for line in lines if line.startswith("flags")), "")
    extras = [flag for flag in ("avx512_bf16", "amx_bf16", "amx_int8") if flag in flags]
    memory = psutil.virtual_memory().total / 2**30
    cores = "" if usable_cores() == os.cpu_count() else f"{usable_cores()} of "
    extra = " ".join(extras) or "no AVX-512 bf16"
    return f"{name}, {cores}{os.cpu_count()} cores, {memory:.0f} GiB, {extra}, {sys.platform}"


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def real_size_phantom(seed: int) -> Phantom:
    """Return a whole-body phantom on exactly `SHAPE` voxels, by nearest neighbour from a coarser one."""
    phantom = make_phantom(seed, spacing_mm=(3.0, 3.0, 5.0), field_of_view="whole")
    index = np.ix_(*(np.arange(n) * old // n for n, old in zip(SHAPE, phantom.hu.shape, strict=True)))
    hu = np.asfortranarray(phantom.hu[index])
    packed = np.stack([plane[index] for plane in phantom.packed])
    return Phantom(hu=hu, packed=packed, affine=np.diag([1.5, 1.5, 1.5, 1.0]), view=phantom.view)


def write_real_size_cases(folder: Path, count: int) -> None:
    """Write cases in layout (a); existing ones are kept."""
    for number in range(count):
        case = folder / f"case_{number:02d}"
        if not case.exists():
            write_phantom(real_size_phantom(number), case)


def seconds(run: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def median_ms(times: list[float]) -> float:
    """Return the median of seconds in ms."""
    return statistics.median(times) * 1000


_CHILD = """
import json, sys, time
began = time.perf_counter()
from tomoseg.cli import main
status = main(sys.argv[1:])
from tomoseg.inference.memory import peak_memory_bytes
peak = peak_memory_bytes()
print(json.dumps({"status": status, "seconds": time.perf_counter() - began, "peak": peak}), file=sys.stderr)
"""


def run_tomoseg(*arguments: object) -> dict[str, Any]:
    """Run a command in its own process; return its exit status, seconds with imports, and peak resident bytes."""
    command = [sys.executable, "-c", _CHILD, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stderr.strip().splitlines()[-1]))


NOISE_HU = 12.0
"""Standard deviation of the noise added to an enlarged scan, without which it would be smoother than any CT."""


def write_scan(path: Path, slices: int, ct: Path | None = None) -> None:
    """Write a scan of 512 x 512 pixels: a real CT enlarged, with noise, or a whole-body phantom.

    Args:
        path: Output file.
        slices: Number of slices.
        ct: The real CT, if any.
    """
    shape = (512, 512, slices)
    if ct is None:
        hu = make_phantom(0, spacing_mm=(3.0, 3.0, 5.0), field_of_view="whole").hu
        index = np.ix_(*(np.arange(n) * old // n for n, old in zip(shape, hu.shape, strict=True)))
        write_nifti(path, np.asfortranarray(hu[index]), SourceGrid(shape, np.diag([0.9, 0.9, 2.5, 1.0])))
        return
    volume = read_ct(ct)
    extent_mm = np.array(volume.shape) * volume.spacing_mm
    large = to_grid(volume.hu, Placement((0, 0, 0), volume.shape, shape)).astype(np.float32)
    large += np.random.default_rng(0).normal(0, NOISE_HU, shape).astype(np.float32)
    affine = np.diag([*(extent_mm / shape), 1.0])
    write_nifti(path, np.asfortranarray(large.round().astype(np.int16)), SourceGrid(shape, affine))


def write_random_model(folder: Path) -> None:
    """Write the guide's network with 117 structures and random weights."""
    torch.manual_seed(0)
    grid = GridConfig(mode="size", size=(256, 256), crop="none")
    record = ModelRecord(LabelSet.total(), NetworkConfig(), grid, ((-200.0, 300.0),))
    save_model(Model(record, record.build()), folder)
