"""Time per synthetic body: medians and means of processor time by anatomy, on one core.

    NUMBA_NUM_THREADS=1 .venv/bin/python benchmarks/bodies.py LABEL_MAP ... [--bodies 24] [--spacing 3 3 5]

`procedural` stands for the phantom's anatomy of seed 0. What is compiled is compiled before time is taken.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from common import machine

from tomoseg.bodies import make_body, procedural_anatomy, read_anatomy
from tomoseg.bodies.read import PROCEDURAL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anatomy", nargs="+")
    parser.add_argument("--bodies", type=int, default=24)
    parser.add_argument("--spacing", type=float, nargs=3, default=(3.0, 3.0, 5.0))
    given = parser.parse_args()
    x, y, z = given.spacing
    print(machine())
    for name in given.anatomy:
        started = time.process_time()
        anatomy = procedural_anatomy(0) if name == PROCEDURAL else read_anatomy(Path(name))
        reading = time.process_time() - started
        make_body(anatomy, given.bodies, spacing_mm=(x, y, z))
        times, voxels = [], []
        for seed in range(given.bodies):
            started = time.process_time()
            body = make_body(anatomy, seed, spacing_mm=(x, y, z))
            times.append(time.process_time() - started)
            voxels.append(body.numbers.size / 1e6)
        print(
            f"{Path(name).name}: anatomy {reading:.1f} s; body median {statistics.median(times):.2f} s, mean "
            f"{statistics.mean(times):.2f} s, longest {max(times):.2f} s; {statistics.mean(voxels):.2f} million voxels"
        )


if __name__ == "__main__":
    main()
