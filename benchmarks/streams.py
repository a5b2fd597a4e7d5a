"""Slices that OpenVINO computes beside each other, one per thread, and one after the other by all threads together.

    .venv/bin/python benchmarks/streams.py [--rounds 12]
    .venv/bin/python benchmarks/streams.py --scans CT.nii.gz ... [--models head-neck OTHER] [--rounds 3]

Without scans: ms per slice of the packaged networks, at several sizes. With scans: seconds of each model from file to
masks in memory, in one process, the ways and models in turn, the best of the rounds summed over the scans; the first
round, which compiles, does not count.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from common import machine, median_ms, seconds

from tomoseg.inference.choose import choose_engine
from tomoseg.inference.segment import open_predictor, segment
from tomoseg.models.folder import load_model
from tomoseg.options import Compute

NETWORKS = {"head-neck/axial": [(96, 96), (128, 128)], "body-117/axial": [(96, 96), (160, 128), (224, 192)]}
SLICES = 8
WAYS = {"one by one": 1, "beside each other": None}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--scans", type=Path, nargs="+", default=[])
    parser.add_argument("--models", nargs="+", default=["head-neck"])
    given = parser.parse_args()
    print(machine())
    if given.scans:
        of_scans(given.models, given.scans, given.rounds)
    else:
        of_slices(given.rounds)


def of_slices(rounds: int) -> None:
    """Print the ms per slice of each network and size."""
    for name, shapes in NETWORKS.items():
        engines = {count: choose_engine(load_model(name), "openvino", "cpu", "auto") for count in (1, 2, 4)}
        for shape in shapes:
            images = np.random.default_rng(0).random((SLICES, engines[1].input_spec.channels, *shape), np.float32)
            times: dict[int, list[float]] = {count: [] for count in engines}
            for count, engine in engines.items():
                engine.prepare(shape, count)
                engine.run(images)
            for _ in range(rounds):
                for count, engine in engines.items():
                    times[count].append(seconds(partial(engine.run, images)) / SLICES)
            alone = median_ms(times[1])
            told = ", ".join(
                f"{count} at once {median_ms(each):.2f} ms ({median_ms(each) / alone:.2f})"
                for count, each in times.items()
            )
            print(f"{name} {engines[1].precision} {shape}: {told}", flush=True)


def of_scans(models: list[str], scans: list[Path], rounds: int) -> None:
    """Print the seconds of all scans for each model and way."""
    predictors = {
        (model, way): open_predictor(Path(model), Compute(device="cpu", batch_size=size))
        for model in models
        for way, size in WAYS.items()
    }
    best: dict[tuple[str, str], list[float]] = {key: [] for key in predictors}
    for scan in scans:
        times: dict[tuple[str, str], list[float]] = {key: [] for key in predictors}
        for _ in range(rounds + 1):
            for key, predictor in predictors.items():
                times[key].append(seconds(partial(segment, scan, predictor)))
        for key, each in times.items():
            best[key].append(min(each[1:]))
    for (model, way), each in best.items():
        print(f"{model}, {way}: {sum(each):.2f} s for {len(scans)} scans")


if __name__ == "__main__":
    main()
