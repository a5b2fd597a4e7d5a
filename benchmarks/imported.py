"""Imported networks of real size beside nnU-Net's own predictor and TotalSegmentator: the same weights, scan, machine.

    .venv/bin/python benchmarks/imported.py --nnunet PYTHON --ct CT [--networks 3mm part] [--slices 100 300 800]
    .venv/bin/python benchmarks/imported.py --nnunet PYTHON --ct CT --rows "3mm 300 tomoseg int8" ...   some rows
    .venv/bin/python benchmarks/imported.py --list                       the names of all rows
    .venv/bin/python benchmarks/imported.py --small --nnunet PYTHON      the way through, in some minutes
    .venv/bin/python benchmarks/imported.py --table                      what was found so far

Networks have the sizes of TotalSegmentator's, `3mm` (112x112x128, 5 stages, 117 structures) and `part` (one of five at
1.5 mm: 128x128x128, 6 stages, 24 structures), with weights made here. With plainly random ones every voxel would be
another structure's, the worst case for what decides and compresses masks (`--noise`); so the decoders' kernels are
almost flat, skip connections damped and the background favoured, and masks are pieces of some centimetres, with about
two thirds of the voxels left to none. The scan is a real CT enlarged to 512x512 pixels of 0.8 mm and slices of 1.5 mm.
nnU-Net and tomoseg overlap patches by half and mirror nothing. TotalSegmentator (`total` at 3 mm alone: of a part it
has no command) overlaps by a fifth; beside it tomoseg does too, in rows of that name. Every row is a process of its own
with its imports, file to file; seconds are of the wall, memory is the highest resident of that process or its largest
child.

int8 has its own scales of four patches, all layers but the last in 8 bits: of weights that learned nothing every
decision is near a tie, so that layers are not looked for. The row `profile` has the share of one patch's time in
convolutions, and how near they come to the machine's rate of matrix products, each in fp32.

The others' runs end by `--limit-gb` of address space and `--limit-minutes`; that is a row then. Rows that are in
`--folder` already are not run again, so that a run that was stopped goes on. `--nnunet` names a Python that has what
`tests/oracles/requirements-nnunet.txt` says.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine, run_tomoseg, usable_cores, write_scan

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.nnunet_files import Made, write_training  # noqa: E402  # from the folder above
from tomoseg.files.nifti import read_ct, write_nifti  # noqa: E402
from tomoseg.inference.engines import ENGINES  # noqa: E402
from tomoseg.inference.kinds import Calibration  # noqa: E402
from tomoseg.inference.segment import predictor_of  # noqa: E402
from tomoseg.inference.stages import Stages  # noqa: E402
from tomoseg.models.exports import add_export, find_export  # noqa: E402
from tomoseg.models.folder import load_model  # noqa: E402
from tomoseg.models.leaner import made_leaner  # noqa: E402
from tomoseg.models.openvino import computes_bf16, openvino_core, read_openvino  # noqa: E402
from tomoseg.models.quantise import convolving, multiplications  # noqa: E402
from tomoseg.volume import SourceGrid  # noqa: E402
from tomoseg.workflows.calibration import draw_some  # noqa: E402

WIDTHS = (32, 64, 128, 256, 320, 320)
EDGES_MM = (0.8, 0.8, 1.5)


def made_of(stages: int, patch: tuple[int, ...], spacing: float, structures: int) -> Made:
    """Return a plain network as in nnU-Net's plans."""
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

TOTALSEGMENTATOR = """
import json, os, resource, sys, time
began = time.perf_counter()
from pathlib import Path
weights, scan, out, threads = sys.argv[1:]
os.environ["TOTALSEG_HOME_DIR"], os.environ["TOTALSEG_WEIGHTS_PATH"] = str(Path(weights).parent / "home"), weights
Path(os.environ["TOTALSEG_HOME_DIR"]).mkdir(exist_ok=True)
settings = {"totalseg_id": "none", "send_usage_stats": False, "statistics_disclaimer_shown": True}
settings["prediction_counter"] = 0
(Path(os.environ["TOTALSEG_HOME_DIR"]) / "config.json").write_text(json.dumps(settings))
for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[name] = weights
import torch
torch.set_num_threads(int(threads))
from totalsegmentator.python_api import totalsegmentator
totalsegmentator(scan, out, ml=True, fast=True, device="cpu", nr_thr_saving=1, quiet=True)
peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) * 1024
print(json.dumps({"seconds": time.perf_counter() - began, "peak": peak}))
"""

THEIR_FOLDER = "Dataset297_TotalSegmentator_total_3mm_1559subj"
THEIR_TRAINING = "nnUNetTrainer_4000epochs_NoMirroring__nnUNetPlans__3d_fullres"
BACKGROUND = 9.0
"""Offset of the background logit; logits of random weights have a standard deviation of 4."""

BY_A_FIFTH = 0.8
"""Step between TotalSegmentator's patches, as a fraction of their edge."""


def scan_of(folder: Path, slices: int, ct: Path | None) -> Path:
    """Return the scan with `slices` slices; made once."""
    path = folder / f"scan_{slices}.nii.gz"
    if not path.exists():
        write_scan(path, slices, ct)
        volume = read_ct(path)
        write_nifti(path, volume.hu, SourceGrid(volume.hu.shape, np.diag([*EDGES_MM, 1.0])))
    return path


def matrix_rate() -> float:
    """Return the operations per second of a matrix product in fp32, best of five."""
    a = np.ones((3072, 3072), np.float32)
    best = np.inf
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - began)
    return float(2 * len(a) ** 3 / best)


def profile(model: Path, made: Made) -> dict[str, float]:
    """Return for one patch the seconds, the share of convolutions, and their rate relative to a matrix product."""
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
    floor = 2 * sum(map(multiplications, convolving(network))) / matrix_rate()
    return {"patch_seconds": whole, "convolutions": convolved / whole, "floor_seconds": floor}


def run_theirs(program: str, given: argparse.Namespace, *arguments: object) -> dict[str, Any]:
    """Run nnU-Net's own predictor or TotalSegmentator within limits; a limit that ends it is recorded."""
    command = [str(given.nnunet), "-c", program, *map(str, arguments), str(usable_cores())]
    limit = int(given.limit_gb * 2**30)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    try:
        out, told = process.communicate(timeout=60 * given.limit_minutes)
    except subprocess.TimeoutExpired:
        return {"ended": f"by the time limit of {given.limit_minutes:g} minutes"}
    finally:
        _end(process)
    if process.returncode == 0:
        return dict(json.loads(out.strip().splitlines()[-1]))
    last = (told.strip().splitlines() or [f"status {process.returncode}"])[-1]
    words = ("memory", "bad_alloc", "killed", "died")
    why = (
        f"by the memory limit of {given.limit_gb:g} GiB" if any(word in told.lower() for word in words) else "by itself"
    )
    return {"ended": f"{why}: {last[:160]}"}


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and its children, which may wait for one another forever."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def add_int8(model: Path, scan: Path) -> dict[str, Any]:
    """Add the export in int8, with scales from four patches."""
    began, loaded = time.perf_counter(), load_model(model)
    if find_export(loaded, "openvino", "int8") is None:
        predictor = predictor_of(loaded)
        images = draw_some(predictor, iter([predictor.on_grid(read_ct(scan), Stages())]), 4)
        engine = ENGINES["openvino"].conversion
        assert engine is not None  # OpenVINO has files of its own
        made = engine.convert(loaded, Calibration(images))
        add_export(loaded, "openvino", "int8", engine.suffix, made.made, made.write)
    return {"seconds": time.perf_counter() - began, "peak": 0}


def by_a_fifth(model: Path) -> Path:
    """Return the same model with patches that overlap like TotalSegmentator's."""
    other = model.with_name(f"{model.name}_by_a_fifth")
    if not other.exists():
        shutil.copytree(model, other)
        record = json.loads((other / "model.json").read_text(encoding="utf-8"))
        record["plan"]["step"] = BY_A_FIFTH
        (other / "model.json").write_text(json.dumps(record), encoding="utf-8")
    return other


def rows_of(given: argparse.Namespace) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return every row by name, as a function that runs it."""
    ways: dict[str, Callable[[], dict[str, Any]]] = {}
    precisions = ("fp32", *(["bf16"] if computes_bf16() else []), "int8")
    for name, made in (SMALL if given.small else {name: NETWORKS[name] for name in given.networks}).items():
        ways[f"{name} profile"] = lambda n=name, m=made: profile(model_of(given, n, m), m)
        least = min(given.slices)
        ways[f"{name} export int8"] = lambda n=name, m=made, s=least: add_int8(
            model_of(given, n, m), scan_of(given.folder, s, given.ct)
        )
        for slices in given.slices:
            for precision in precisions:
                ways[f"{name} {slices} tomoseg {precision}"] = lambda n=name, m=made, s=slices, p=precision: run_ours(
                    given, model_of(given, n, m), s, p
                )
            if given.nnunet is not None:
                ways[f"{name} {slices} nnU-Net"] = lambda n=name, m=made, s=slices: run_theirs(
                    NNUNET,
                    given,
                    training_of(given, n, m),
                    scan_of(given.folder, s, given.ct),
                    given.folder / "theirs",
                )
            if name != "part":
                for precision in precisions:
                    ways[f"{name} {slices} by-a-fifth {precision}"] = lambda n=name, m=made, s=slices, p=precision: (
                        run_ours(given, by_a_fifth(model_of(given, n, m)), s, p)
                    )
            if given.nnunet is not None and name == "3mm":
                ways[f"{name} {slices} TotalSegmentator"] = lambda n=name, m=made, s=slices: run_theirs(
                    TOTALSEGMENTATOR,
                    given,
                    training_of(given, n, m).parent.parent,
                    scan_of(given.folder, s, given.ct),
                    given.folder / "theirs.nii.gz",
                )
    return ways


def training_of(given: argparse.Namespace, name: str, made: Made) -> Path:
    """Return the training folder of a network, where TotalSegmentator looks for it; written once."""
    place = given.folder / f"weights_{name}" / THEIR_FOLDER
    if not (place / THEIR_TRAINING).exists():
        write_training(place, made, name=THEIR_TRAINING)
        if not given.noise:
            in_pieces(place / THEIR_TRAINING / "fold_0" / "checkpoint_final.pth", len(made.features) - 1)
    return (place / THEIR_TRAINING).absolute()


def in_pieces(checkpoint: Path, stages: int) -> None:
    """Change random weights so that what they segment hangs together.

    Args:
        checkpoint: As nnU-Net writes it.
        stages: Of the decoder.
    """
    content = torch.load(checkpoint, weights_only=False)
    weights: dict[str, torch.Tensor] = content["network_weights"]

    def change(name: str, how: Callable[[torch.Tensor], torch.Tensor]) -> None:
        for path in (name, name.replace(".conv.", ".all_modules.0.")):
            if path in weights:
                weights[path] = how(weights[path].clone()).contiguous()

    for stage in range(stages):
        change(f"decoder.transpconvs.{stage}.weight", lambda kernel: flat(kernel, 0.0))
        change(f"decoder.stages.{stage}.convs.0.conv.weight", lambda kernel: flat(damped(kernel), 0.1))
        change(f"decoder.stages.{stage}.convs.1.conv.weight", lambda kernel: flat(kernel, 0.1))
    background = torch.zeros_like(weights[f"decoder.seg_layers.{stages - 1}.bias"])
    background[0] = BACKGROUND
    change(f"decoder.seg_layers.{stages - 1}.bias", lambda bias: bias + background)
    torch.save(content, checkpoint)


def flat(kernel: torch.Tensor, own: float) -> torch.Tensor:
    """Return a kernel blended with its mean, `own` being the share of its own shape, at its former magnitude."""
    places = kernel[0, 0].numel()
    return own * kernel + (1 - own) * kernel.mean(dim=(2, 3, 4), keepdim=True) * places**0.5


def damped(kernel: torch.Tensor) -> torch.Tensor:
    """Return a kernel with the skip connection, the latter half of the channels, scaled by 0.1."""
    kernel[:, kernel.shape[1] // 2 :] *= 0.1
    return kernel


def model_of(given: argparse.Namespace, name: str, made: Made) -> Path:
    """Return the imported model; made once."""
    model: Path = given.folder / f"model_{name}"
    if not model.exists():
        run_tomoseg("import", training_of(given, name, made), "-o", model)
    return model


def run_ours(given: argparse.Namespace, model: Path, slices: int, precision: str) -> dict[str, Any]:
    """`tomoseg predict`, with the seconds that its record gives to the network."""
    if precision == "int8":
        add_int8(model, scan_of(given.folder, min(given.slices), given.ct))
    scan, out = scan_of(given.folder, slices, given.ct), given.folder / "out.nii.gz"
    found = run_tomoseg(
        "predict", "-i", scan, "-o", out, "-m", model, "--ml", "--engine", "openvino", "--precision", precision
    )
    record = json.loads((given.folder / "out.prediction.json").read_text(encoding="utf-8"))
    return found | {"network_seconds": record["seconds"]["network"]}


def measure(given: argparse.Namespace, rows: Path) -> None:
    """Run every requested row that is missing."""
    there = {row["row"] for row in read(rows)}
    ways = rows_of(given)
    for unknown in set(given.rows or ()) - ways.keys():
        sys.exit(f"no such row: {unknown}; --list names them")
    for row, way in ways.items():
        if row in there or (given.rows and row not in given.rows):
            continue
        for old in (given.folder / "out.nii.gz", given.folder / "theirs.nii.gz"):
            old.unlink(missing_ok=True)
        found = way()
        with rows.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"row": row, "machine": machine()} | found) + "\n")
        print(row, found, flush=True)


def read(rows: Path) -> list[dict[str, Any]]:
    """Return the results so far."""
    return [json.loads(line) for line in rows.read_text(encoding="utf-8").splitlines()] if rows.is_file() else []


def show(rows: list[dict[str, Any]]) -> None:
    """Print a table with the speed-up over nnU-Net, or over TotalSegmentator in rows of its overlap."""
    seconds = {row["row"]: row["seconds"] for row in rows if "seconds" in row}
    print("| row | seconds | peak GB | times as fast |\n|---|---|---|---|")
    for row in rows:
        name = row["row"]
        if "ended" in row:
            print(f"| {name} | ended {row['ended']} | | |")
        elif "seconds" in row:
            theirs = "TotalSegmentator" if "by-a-fifth" in name else "nnU-Net"
            beside = seconds.get(" ".join([*name.split()[:2], theirs]))
            ratio = "" if beside is None else f"{beside / row['seconds']:.2f}"
            print(f"| {name}{share_of(row, rows)} | {row['seconds']:.0f} | {row['peak'] / 1e9:.2f} | {ratio} |")
        else:
            share, near = row["convolutions"], row["floor_seconds"] / row["patch_seconds"]
            what = f"{name}: {share:.0%} in convolutions, {near:.0%} of matrix products"
            print(f"| {what} | {row['patch_seconds']:.1f} | | |")


def share_of(row: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return what share of a whole run in fp32 convolutions take: that of the network, times theirs of a patch."""
    network = row["row"].split()[0]
    shares = [other["convolutions"] for other in rows if other["row"] == f"{network} profile"]
    if not shares or "network_seconds" not in row or not row["row"].endswith("fp32"):
        return ""
    return f", {shares[-1] * row['network_seconds'] / row['seconds']:.0%} of it in convolutions"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--slices", nargs="+", type=int, default=[300, 100, 800])
    parser.add_argument("--nnunet", type=Path)
    parser.add_argument("--ct", type=Path, help="a real CT to enlarge; a phantom if omitted")
    parser.add_argument("--folder", type=Path, default=Path("build/imported"))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--noise", action="store_true", help="plainly random weights (in a folder of its own)")
    parser.add_argument("--rows", nargs="+", help="only these")
    parser.add_argument("--list", action="store_true", help="name the rows and do nothing")
    parser.add_argument("--limit-gb", type=float, default=21.0, help="address space of the others' runs, in GiB")
    parser.add_argument("--limit-minutes", type=float, default=60.0, help="of the others' runs")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--again", action="store_true", help="forget what was found")
    given = parser.parse_args()
    given.slices = [24] if given.small else given.slices
    if given.list:
        print("\n".join(rows_of(given)))
        return
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
