"""Peak memory of `tomoseg predict`: 117 structures on 512x512x300, in a process of its own.

    .venv/bin/python benchmarks/predict_memory.py [--model MODEL] [--slices 300] [--folder build/benchmark]

Without a model the guide's network with random weights is taken: its masks are noise, the worst case for what
compresses them in memory. The scan is a phantom enlarged to 512x512.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from common import machine

from tomoseg.config import GridConfig, NetworkConfig
from tomoseg.datasets.phantom import make_phantom
from tomoseg.files.nifti import write_nifti
from tomoseg.labels import LabelSet
from tomoseg.models.folder import Model, ModelRecord, save_model
from tomoseg.volume import SourceGrid

CHILD = """
import json, resource, sys, time
from tomoseg.cli import main
began = time.perf_counter()
status = main(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"status": status, "seconds": time.perf_counter() - began, "peak": peak}), file=sys.stderr)
"""


def write_scan(path: Path, slices: int) -> None:
    phantom = make_phantom(0, spacing_mm=(3.0, 3.0, 5.0), field_of_view="whole")
    shape = (512, 512, slices)
    index = np.ix_(*(np.arange(n) * old // n for n, old in zip(shape, phantom.hu.shape, strict=True)))
    write_nifti(path, np.asfortranarray(phantom.hu[index]), SourceGrid(shape, np.diag([0.9, 0.9, 2.5, 1.0])))


def write_random_model(folder: Path) -> None:
    torch.manual_seed(0)
    grid = GridConfig(mode="size", size=(256, 256), crop="none")
    record = ModelRecord(LabelSet.total(), NetworkConfig(), grid, ((-200.0, 300.0),))
    save_model(Model(record, record.build()), folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    scan = given.folder / f"scan_{given.slices}.nii.gz"
    if not scan.exists():
        write_scan(scan, given.slices)
    model = given.model or given.folder / "random_model"
    if not model.exists():
        write_random_model(model)
    print(machine())
    print(f"predict of {given.slices} slices of 512x512 with {given.model or 'random weights'}")
    for name, flags in (("label map", ["--ml"]), ("a mask a structure", [])):
        out = given.folder / f"predicted_{name.replace(' ', '_')}"
        command = [sys.executable, "-c", CHILD, "predict", "-i", str(scan), "-o", str(out), "-m", str(model), *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        result = json.loads(done.stderr.strip().splitlines()[-1])
        print(f"  {name}: peak {result['peak'] / 2**30:.2f} GiB resident, {result['seconds']:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
