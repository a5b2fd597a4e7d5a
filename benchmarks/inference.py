"""File to file, label map out: engines of `tomoseg predict` beside the guide's loop, on a 512 x 512 scan.

    .venv/bin/python benchmarks/inference.py --ct CT --model MODEL [--slices 300] [--folder build/benchmark]
    .venv/bin/python benchmarks/inference.py --ct CT --model MODEL --curve 100 200 400 800
    .venv/bin/python benchmarks/inference.py --ct CT --model MODEL --structures 10
    .venv/bin/python benchmarks/inference.py --ct CT --model MODEL --guide GUIDE

CT is a real scan that is enlarged and gets noise; without it a phantom is. MODEL is the guide's network with 117
structures, trained for some minutes so that its masks look like anatomy (notebook.md says how); without one, random
weights are taken, the worst case for the decisions. With --guide the loop runs that model, and MODEL may be of any
kind. Each way runs in a process of its own; seconds include imports and start-up (everything but the scan: imports,
loading, compiling), which only the first of many scans pays; so each way is compared with the guide's loop twice, both
with their start-up and both without. ms per slice are those of the stages in the record, and `network` is their share
of the wall time. The ways take turns `--runs` times, and medians are printed. The guide's loop needs more than 24 GiB
for 300 slices; `--guide-slices` gives it a shorter scan, and its ms per slice are compared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import machine, run_tomoseg, write_random_model, write_scan

from tomoseg.files.nifti import read_ct, read_label_map
from tomoseg.models.exports import find_export
from tomoseg.models.folder import load_model
from tomoseg.workflows.prediction_record import OVERLAPPING

GUIDE = """
import sys, time
import nibabel as nib, numpy as np, torch
from pathlib import Path
from tomoseg.models.folder import load_model
network = load_model(Path(sys.argv[2])).network
began = time.perf_counter()
volume = nib.load(sys.argv[1]).get_fdata()
masks = []
with torch.no_grad():
    for k in range(volume.shape[2]):
        image = (np.clip(volume[:, :, k], -200, 300) + 200) / 500
        image = torch.from_numpy(image).float()[None, None]
        image = torch.nn.functional.interpolate(image, size=(256, 256), mode="bilinear")
        mask = (torch.sigmoid(network(image)) > 0.5).float()
        masks.append(torch.nn.functional.interpolate(mask, size=volume.shape[:2], mode="nearest")[0].byte().numpy())
masks = np.stack(masks, axis=-1)
labels = np.where(masks.any(axis=0), masks.argmax(axis=0) + 1, 0).astype(np.uint8)
nib.save(nib.Nifti1Image(labels, nib.load(sys.argv[1]).affine), sys.argv[3])
print(time.perf_counter() - began)
"""

WAYS = (("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"), ("openvino", "int8"))


class Seconds(NamedTuple):
    """Seconds per scan, with and without start-up."""

    total: float
    scan: float

    def over(self, slices: int) -> Seconds:
        """Return the seconds per slice."""
        return Seconds(self.total / slices, self.scan / slices)

    def __str__(self) -> str:
        return f"{1000 * self.total:.1f} ms per slice ({1000 * self.scan:.1f} without start-up)"


def medians(runs: Sequence[Seconds]) -> Seconds:
    """Return the median of each over the runs."""
    return Seconds(*(statistics.median(values) for values in zip(*runs, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ct", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--guide", type=Path, help="the model of the guide's loop, if it is another")
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--guide-slices", type=int)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--curve", type=int, nargs="+", default=())
    parser.add_argument("--structures", type=int)
    parser.add_argument("--folder", type=Path, default=Path("build/benchmark"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    model = given.model or given.folder / "random_model"
    if not model.exists():
        write_random_model(model)
    print(machine())
    print(f"{given.model or 'random weights'}, {given.ct or 'phantom'} on 512 x 512")
    if given.curve:
        show_curve(given, model)
    elif given.structures:
        show_structures(given, model)
    else:
        show_benchmarks(given, model)


def show_benchmarks(given: argparse.Namespace, model: Path) -> None:
    """Measure the guide's loop and every available engine and precision."""
    scan = scan_of(given, given.slices)
    guide_slices = given.guide_slices or given.slices
    ways = [way for way in WAYS if way[1] != "int8" or find_export(load_model(model), "openvino", "int8")]
    guide = [
        sys.executable,
        "-c",
        GUIDE,
        str(scan_of(given, guide_slices)),
        str(given.guide or model),
        str(given.folder / "guide.nii.gz"),
    ]
    slowest: list[Seconds] = []
    found: dict[tuple[str, str], list[dict[str, Any]]] = {way: [] for way in ways}
    status = 0
    for _ in range(given.runs):
        if status == 0:
            began = time.perf_counter()
            done = subprocess.run(guide, stdout=subprocess.PIPE, text=True)
            status = done.returncode
            slowest += [Seconds(time.perf_counter() - began, float(done.stdout))] if status == 0 else []
        for way in ways:
            found[way].append(predict(given.folder, scan, model, *way))
    base = None if status else medians(slowest).over(guide_slices)
    how = str(base) if base else f"failed with status {status} (-9 is a lack of memory)"
    print(f"{given.slices} slices; the guide's loop on {guide_slices}: {how}")
    for way, runs in found.items():
        show(" ".join(way), runs, given.slices, base)
    show_agreement(given.folder, ways)
    labelled, body = shares(scan, given.folder / "openvino_fp32.nii.gz")
    print(f"labelled: {labelled:.0%} of the body's voxels; slices that hold body: {body:.0%}")


def show_curve(given: argparse.Namespace, model: Path) -> None:
    """Measure time and memory against the number of slices, with the fastest engine."""
    for slices in given.curve:
        runs = [predict(given.folder, scan_of(given, slices), model, "auto", "auto") for _ in range(given.runs)]
        volumes = 512 * 512 * slices * 3 / 2**30  # int16 in, uint8 out
        show(f"{slices} slices ({volumes:.2f} GiB of voxels)", runs, slices, None)


def show_structures(given: argparse.Namespace, model: Path) -> None:
    """Compare all structures with a few of them, with the fastest engine."""
    scan = scan_of(given, given.slices)
    names = load_model(model).record.labels.names
    few = names[:: len(names) // given.structures][: given.structures]
    ways = {"all": (), f"{len(few)} structures": ("--roi-subset", *few)}
    found = {name: [] for name in ways}
    for _ in range(given.runs):
        for name, flags in ways.items():
            found[name].append(predict(given.folder, scan, model, "auto", "auto", *flags))
    for name, runs in found.items():
        show(name, runs, given.slices, None)


def scan_of(given: argparse.Namespace, slices: int) -> Path:
    """Return the scan, made if missing."""
    path = given.folder / f"{'ct' if given.ct else 'phantom'}_{slices}.nii.gz"
    if not path.exists():
        write_scan(path, slices, given.ct)
    return path


def predict(folder: Path, scan: Path, model: Path, engine: str, precision: str, *flags: str) -> dict[str, Any]:
    """Run `tomoseg predict` once; return wall seconds, peak memory and seconds by stage."""
    out = folder / f"{engine}_{precision}.nii.gz"
    record = out.with_name(f"{engine}_{precision}.prediction.json")
    record.unlink(missing_ok=True)
    asked = ("--ml", "--engine", engine, "--device", "cpu", "--precision", precision, *flags)
    result = run_tomoseg("predict", "-i", scan, "-o", out, "-m", model, *asked)
    return json.loads(record.read_text()) | {"wall": result["seconds"], "peak": result["peak"]}


def show(name: str, runs: list[dict[str, Any]], slices: int, base: Seconds | None) -> None:
    """Print one line of medians over the runs."""
    seconds = medians([Seconds(run["wall"], run["wall"] - start_up(run)) for run in runs])
    each, total = seconds.over(slices), seconds.total
    stages = {s: statistics.median(run["seconds"][s] for run in runs) for s in runs[0]["seconds"]}
    by_stage = ", ".join(f"{stage} {1000 * taken / slices:.1f}" for stage, taken in stages.items())
    engine = " ".join((runs[0]["engine"]["name"], runs[0]["engine"]["precision"]))
    print(
        f"{name:16s} {engine:14s} {total:6.1f} s in all, start-up {total - seconds.scan:.1f} s, {each}, "
        + (f"{base.total / each.total:.1f} x ({base.scan / each.scan:.1f} x), " if base else "")
        + f"peak {max(run['peak'] for run in runs) / 2**30:.2f} GiB, network {stages['network'] / total:.0%}; "
        f"ms per slice: {by_stage}",
        flush=True,
    )


def start_up(run: dict[str, Any]) -> float:
    """Return the start-up seconds, which only the first scan takes."""
    seconds = run["seconds"]
    return run["wall"] + seconds["prepare"] - sum(taken for stage, taken in seconds.items() if stage not in OVERLAPPING)


def show_agreement(folder: Path, ways: list[tuple[str, str]]) -> None:
    """Print the agreement of the label maps of every way with those of PyTorch in fp32."""
    reference = read_label_map(folder / "torch_fp32.nii.gz")
    for engine, precision in ways[1:]:
        found = read_label_map(folder / f"{engine}_{precision}.nii.gz")
        either = int(((reference > 0) | (found > 0)).sum())
        differing = int((reference != found).sum())
        same = np.bincount(reference[reference == found], minlength=256)[1:]
        both = (np.bincount(reference.ravel(), minlength=256) + np.bincount(found.ravel(), minlength=256))[1:]
        dice = float((2 * same[both > 0] / both[both > 0]).mean())
        print(
            f"{engine} {precision} beside torch fp32: {differing} of {either} labelled voxels differ "
            f"({10_000 * differing / either:.2f} in 10 000), mean Dice {dice:.4f}, {int((both > 0).sum())} structures"
        )


def shares(scan: Path, labels: Path) -> tuple[float, float]:
    """Return the labelled share of the body, and the share of slices that contain body."""
    body = read_ct(scan).hu > -300
    return float((read_label_map(labels) > 0)[body].mean()), float((body.mean(axis=(0, 1)) > 0.02).mean())


if __name__ == "__main__":
    main()
