"""File to file, label map out: engines of `tomoseg predict` beside the guide's loop, on a 512 x 512 scan.

    .venv/bin/python benchmarks/inference.py [--model MODEL] [--slices 60] [--folder build/benchmark]

The model should have been trained with the guide's network on 117 structures for some minutes, so that its masks look
like anatomy; without one, random weights are taken, the worst case for the decisions. Each way runs in a process of
its own; seconds include imports and start-up, and ms a slice are those of the stages in the record.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from common import machine, run_tomoseg, seconds, write_random_model, write_scan

GUIDE = """
import sys
import nibabel as nib, numpy as np, torch
from pathlib import Path
from tomoseg.models.folder import load_model
network = load_model(Path(sys.argv[2])).network
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
"""

WAYS = (("torch", "fp32"), ("torch", "bf16"), ("openvino", "fp32"), ("openvino", "bf16"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--slices", type=int, default=60)
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
    print(f"{given.slices} slices of 512 x 512, {given.model or 'random weights'}")
    guide = [sys.executable, "-c", GUIDE, str(scan), str(model), str(given.folder / "guide.nii.gz")]
    slowest = seconds(lambda: subprocess.run(guide, check=True))
    print(f"the guide's loop      {slowest:7.1f} s in all")
    for engine, precision in WAYS:
        out = given.folder / f"{engine}_{precision}.nii.gz"
        record = out.with_name(f"{engine}_{precision}.prediction.json")
        record.unlink(missing_ok=True)
        flags = ("--ml", "--engine", engine, "--device", "cpu", "--precision", precision)
        result = run_tomoseg("predict", "-i", scan, "-o", out, "-m", model, *flags)
        stages = json.loads(record.read_text())["seconds"]
        by_stage = ", ".join(f"{stage} {1000 * taken / given.slices:.1f}" for stage, taken in stages.items())
        print(
            f"{engine:8s} {precision}         {result['seconds']:7.1f} s in all, {slowest / result['seconds']:5.1f} x, "
            f"peak {result['peak'] / 2**30:.2f} GiB; ms a slice: {by_stage}"
        )


if __name__ == "__main__":
    main()
