"""Two ways to keep a CPU busy in prediction: slices side by side in OpenVINO, and the network ahead of the decisions.

    .venv/bin/python benchmarks/overlap.py --model MODEL --ct CT [--slices 60] [--runs 3] [--folder build/benchmark]

Each combination segments the same scan in turns, in one process; ms a slice of every run are printed, without start-up.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

from common import machine, seconds, write_scan

from tomoseg.files.nifti import read_ct
from tomoseg.inference import openvino_engine, predictor
from tomoseg.models.folder import load_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--ct", type=Path)
    parser.add_argument("--slices", type=int, default=60)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    scan = given.folder / f"{'ct' if given.ct else 'phantom'}_{given.slices}.nii.gz"
    if not scan.exists():
        write_scan(scan, given.slices, given.ct)
    volume, model, streams = read_ct(scan), load_model(given.model), openvino_engine.STREAMS
    loaded = {}
    for side_by_side, precision in product((False, True), ("bf16", "int8")):
        openvino_engine.STREAMS = streams if side_by_side else 1
        loaded[side_by_side, precision] = predictor.Predictor(
            model, engine="openvino", device="cpu", precision=precision
        )
        loaded[side_by_side, precision].predict_label_map(volume)  # compiles
    times: dict[tuple[bool, str, bool], list[float]] = {}
    with_thread = predictor.ahead
    for _ in range(given.runs):
        for (side_by_side, precision), one in loaded.items():
            openvino_engine.STREAMS = streams if side_by_side else 1
            for overlapped in (False, True):
                predictor.ahead = with_thread if overlapped else (lambda source, most=1: source)
                taken = seconds(lambda one=one: one.predict_label_map(volume))
                times.setdefault((side_by_side, precision, overlapped), []).append(1000 * taken / given.slices)
    print(machine())
    for (side_by_side, precision, overlapped), found in times.items():
        print(
            f"{precision} {'side by side' if side_by_side else 'one at a time':13s} "
            f"{'ahead' if overlapped else 'in turn':7s} ms a slice: {', '.join(f'{ms:.1f}' for ms in sorted(found))}"
        )


if __name__ == "__main__":
    main()
