"""Imported networks of real size beside nnU-Net's own predictor: the same weights, scan and machine, file to file.

    .venv/bin/python benchmarks/imported.py --nnunet PYTHON --ct CT [--networks 3mm part] [--slices 100 300 800]
    .venv/bin/python benchmarks/imported.py --small --nnunet PYTHON      the way through, in a minute or two
    .venv/bin/python benchmarks/imported.py --table                      what was found so far

Networks have the sizes of TotalSegmentator's, `3mm` (112x112x128, 5 stages, 117 structures) and `part` (one of five at
1.5 mm: 128x128x128, 6 stages, 24 structures), with random weights: their masks are noise, the worst case for what
decides and compresses masks. The scan is a real CT enlarged to 512x512 pixels of 0.8 mm and slices of 1.5 mm. Both
overlap patches by half and mirror nothing. Every row is a process of its own with its imports; seconds are of the wall,
memory is the highest resident of that process or its largest child. Rows that are in `--folder` already are not run
again, so that a run that was stopped goes on. `--nnunet` names a Python that has what
`tests/oracles/requirements-nnunet.txt` says.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import machine, run_tomoseg, usable_cores, write_scan

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.nnunet_files import Made, write_training  # noqa: E402  # from the folder above
from tomoseg.files.nifti import read_ct, write_nifti  # noqa: E402
from tomoseg.models.leaner import made_leaner  # noqa: E402
from tomoseg.models.openvino import computes_bf16, openvino_core, read_openvino  # noqa: E402
from tomoseg.volume import SourceGrid  # noqa: E402

WIDTHS = (32, 64, 128, 256, 320, 320)
EDGES_MM = (0.8, 0.8, 1.5)


def made_of(stages: int, patch: tuple[int, ...], spacing: float, structures: int) -> Made:
    """A plain network as nnU-Net's plans have it."""
    cube = (3, 3, 3)
    names = {"background": 0} | {f"part_{number}": number for number in range(1, structures + 1)}
    return Made(
        patch=patch,
        spacing=(spacing,) * 3,
        features=WIDTHS[:stages],
        kernels=(cube,) * stages,
        strides=((1, 1, 1), *((2, 2, 2),) * (stages - 1)),
        blocks=(2,) * stages,
        decoder=(2,) * (stages - 1),
        labels=names,
    )


NETWORKS = {"3mm": made_of(5, (112, 112, 128), 3.0, 117), "part": made_of(6, (128, 128, 128), 1.5, 24)}
SMALL = {"small": made_of(3, (32, 32, 32), 6.0, 40)}

NNUNET = """
import json, os, resource, sys, time
began = time.perf_counter()
for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(name, "/nonexistent")
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
training, scan, out, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
predictor = nnUNetPredictor(tile_step_size=0.5, use_gaussian=True, use_mirroring=False,
    perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False)
predictor.initialize_from_trained_model_folder(training, (0,))
predictor.predict_from_files_sequential([[scan]], [out])
peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
print(json.dumps({"seconds": time.perf_counter() - began, "peak": peak}))
"""


def scan_of(folder: Path, slices: int, ct: Path | None) -> Path:
    """The scan of so many slices; made once."""
    path = folder / f"scan_{slices}.nii.gz"
    if not path.exists():
        write_scan(path, slices, ct)
        volume = read_ct(path)
        write_nifti(path, volume.hu, SourceGrid(volume.hu.shape, np.diag([*EDGES_MM, 1.0])))
    return path


def matrix_rate() -> float:
    """Operations a second of a matrix product in fp32, at its best of five."""
    a = np.ones((3072, 3072), np.float32)
    best = np.inf
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - began)
    return float(2 * len(a) ** 3 / best)


def profile(model: Path, made: Made) -> dict[str, float]:
    """Of one patch: seconds, the share of convolutions, and how near these come to a matrix product."""
    headless = made.features[0] < len(made.labels) - 1
    network = made_leaner(read_openvino(model / "openvino" / "fp32" / "model.xml"), headless=headless)
    network.reshape([1, 1, *made.patch])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": usable_cores(), "PERF_COUNT": True}
    request = openvino_core().compile_model(network, "CPU", settings).create_infer_request()
    image = np.random.default_rng(0).normal(size=(1, 1, *made.patch)).astype(np.float32)
    for _ in range(2):
        request.infer([image], share_inputs=True, share_outputs=True)
    steps = [(step.node_type, step.real_time.total_seconds()) for step in request.profiling_info]
    whole = sum(seconds for _, seconds in steps)
    convolved = sum(seconds for kind, seconds in steps if "onvolution" in kind or kind == "Deconvolution")
    floor = 2 * _products(network) / matrix_rate()
    return {"patch_seconds": whole, "convolutions": convolved / whole, "floor_seconds": floor}


def _products(network: Any) -> float:
    """Multiplications of all convolutions."""
    total = 0.0
    for op in network.get_ordered_ops():
        weights = op.input_value(1).get_partial_shape() if "onvolution" in op.get_type_name() else None
        if weights is not None:
            turned = op.get_type_name() == "ConvolutionBackpropData"
            voxels = op.input_value(0) if turned else op.output(0)
            total += float(np.prod(weights.to_shape())) * float(np.prod(voxels.get_partial_shape().to_shape()[2:]))
    return total


def run_nnunet(python: Path, training: Path, scan: Path, out: Path) -> dict[str, Any]:
    """nnU-Net's own predictor."""
    command = [str(python), "-c", NNUNET, str(training), str(scan), str(out), str(usable_cores())]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def measure(given: argparse.Namespace, rows: Path) -> None:
    """Every row that is not there yet."""
    there = {row["row"] for row in read(rows)}
    networks = SMALL if given.small else {name: NETWORKS[name] for name in given.networks}
    for name, made in networks.items():
        training = next(iter((given.folder / name).glob("nnUNet*")), None) or write_training(given.folder / name, made)
        model = given.folder / f"model_{name}"
        if not model.exists():
            run_tomoseg("import", training, "-o", model)
        ways: dict[str, Any] = {f"{name} profile": lambda m=model, d=made: profile(m, d)}
        for slices in (24,) if given.small else given.slices:
            scan = scan_of(given.folder, slices, given.ct)
            for precision in ("fp32", *(["bf16"] if computes_bf16() else [])):
                ways[f"{name} {slices} tomoseg {precision}"] = lambda s=scan, m=model, p=precision: run_tomoseg(
                    "predict", "-i", s, "-o", given.folder / "out.nii.gz", "-m", m, "--ml", "--precision", p
                )
            if given.nnunet is not None:
                ways[f"{name} {slices} nnU-Net"] = lambda s=scan, t=training: run_nnunet(
                    given.nnunet, t, s, given.folder / "theirs"
                )
        for row, way in ways.items():
            if row not in there:
                for old in (given.folder / "out.nii.gz", given.folder / "theirs.nii.gz"):
                    old.unlink(missing_ok=True)
                found = way()
                with rows.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps({"row": row, "machine": machine()} | found) + "\n")
                print(row, found)


def read(rows: Path) -> list[dict[str, Any]]:
    """What was found so far."""
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.is_file() else []


def show(rows: list[dict[str, Any]]) -> None:
    """A table; nnU-Net's seconds over each way's."""
    theirs = {row["row"].removesuffix(" nnU-Net"): row["seconds"] for row in rows if row["row"].endswith(" nnU-Net")}
    print("| row | seconds | peak GB | times as fast as nnU-Net |\n|---|---|---|---|")
    for row in rows:
        if "seconds" in row:
            beside = theirs.get(" ".join(row["row"].split()[:2]))
            ratio = "" if beside is None else f"{beside / row['seconds']:.2f}"
            print(f"| {row['row']} | {row['seconds']:.0f} | {row['peak'] / 1e9:.2f} | {ratio} |")
        else:
            share, near = row["convolutions"], row["floor_seconds"] / row["patch_seconds"]
            what = f"{row['row']}: {share:.0%} in convolutions, {near:.0%} of matrix products"
            print(f"| {what} | {row['patch_seconds']:.1f} | | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--slices", nargs="+", type=int, default=[300, 100, 800])
    parser.add_argument("--nnunet", type=Path)
    parser.add_argument("--ct", type=Path, help="a real CT to enlarge; a phantom if omitted")
    parser.add_argument("--folder", type=Path, default=Path("build/imported"))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--again", action="store_true", help="forget what was found")
    given = parser.parse_args()
    if given.again:
        shutil.rmtree(given.folder, ignore_errors=True)
    given.folder.mkdir(parents=True, exist_ok=True)
    rows = given.folder / "rows.jsonl"
    if not given.table:
        print(machine())
        measure(given, rows)
    show(read(rows))


if __name__ == "__main__":
    main()
