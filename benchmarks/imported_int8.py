"""Loss of accuracy of an imported network in int8, by the layers in 8 bits: a small network trained here.

    .venv/bin/python benchmarks/imported_int8.py [--steps 700] [--folder build/imported_int8]

A plain network of three stages learns eight ellipsoids in six made scans, is imported, and quantised with five others:
as NNCF would by itself, with each group of layers in floating point, and as `tomoseg export` does it. Printed is the
share of the labelled voxels that differ from fp32, in patches kept aside. Then `tomoseg export MODEL --precision int8
--calibrate SCANS` runs. Takes three to four minutes of one core; what was trained is kept in the folder.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import machine
from torch.nn.functional import cross_entropy, one_hot

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.nnunet_files import PROPERTIES, Made, write_training  # noqa: E402  # from the folder above
from tomoseg.cli import main as tomoseg  # noqa: E402
from tomoseg.files.nifti import write_nifti  # noqa: E402
from tomoseg.inference.kinds import Calibration  # noqa: E402
from tomoseg.inference.sensitive import (  # noqa: E402
    decide_exclusive,
    decisions,
    groups_of,
    in_floating_point,
    share_differing,
)
from tomoseg.models.conversion import convert_to_openvino  # noqa: E402
from tomoseg.models.folder import Model, load_model  # noqa: E402
from tomoseg.models.leaner import join_normalisations  # noqa: E402
from tomoseg.models.quantise import convolutions, quantise  # noqa: E402
from tomoseg.networks.nnunet import NnunetUNet  # noqa: E402
from tomoseg.volume import SourceGrid  # noqa: E402
from tomoseg.workflows.calibration import calibration_of, opened  # noqa: E402
from tomoseg.workflows.import_model import import_model  # noqa: E402

NAMES = ("liver", "lung_left", "kidney_left", "trachea", "spleen", "stomach", "heart", "colon")
HU = (150, -600, 400, -800, 280, -400, 650, -200)
CORNERS = [(0.18 * x, 0.18 * y, 0.18 * z) for z in (-1, 1) for y in (-1, 1) for x in (-1, 1)]
EDGE = 32
MADE = Made(
    patch=(EDGE,) * 3,
    spacing=(3.0,) * 3,
    features=(8, 16, 32),
    kernels=((3, 3, 3),) * 3,
    strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
    blocks=(2,) * 3,
    decoder=(2,) * 2,
    labels={"background": 0} | {name: number for number, name in enumerate(NAMES, start=1)},
)


def scan(seed: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return HU and labels: a body of 0 HU in air, with an ellipsoid in each of its corners, and noise."""
    rng = np.random.default_rng(seed)
    place = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n - 0.5 for n in shape], indexing="ij"), axis=-1)
    hu, labels = np.full(shape, -1000.0), np.zeros(shape, np.int64)
    hu[np.square(place / 0.47).sum(axis=-1) < 1] = 0
    for number, (value, corner) in enumerate(zip(HU, CORNERS, strict=True), start=1):
        centre, radius = np.array(corner) + rng.uniform(-0.04, 0.04, 3), 0.13 * rng.uniform(0.85, 1.25, 3)
        inside = np.square((place - centre) / radius).sum(axis=-1) < 1
        hu[inside], labels[inside] = value, number
    hu = np.rint(hu + rng.normal(0, 40, shape)).astype(np.int16)
    return np.where(hu == 0, 1, hu).astype(np.int16), labels


def train(network: NnunetUNet, steps: int) -> None:
    """Train on patches of six scans with cross-entropy and Dice, on one thread."""
    torch.set_num_threads(1)
    data, rng = [scan(seed, (48, 48, 48)) for seed in range(6)], np.random.default_rng(0)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-2)
    for step in range(steps):
        drawn = [_patch(*data[rng.integers(len(data))], rng) for _ in range(2)]
        images, truth = (torch.tensor(np.stack(part)) for part in zip(*drawn, strict=True))
        logits = network(images[:, None])
        known = one_hot(truth, len(NAMES) + 1).movedim(-1, 1).float()
        probabilities, axes = logits.softmax(1), (0, 2, 3, 4)
        both, either = (probabilities * known).sum(axes), probabilities.sum(axes) + known.sum(axes)
        loss = cross_entropy(logits, truth) + 1 - ((2 * both + 1) / (either + 1))[1:].mean()
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * max(0.02, (1 - step / steps) ** 0.9)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimiser.step()
    print(f"loss after {steps} steps: {loss.item():.3f}")


def _patch(hu: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    start = [rng.integers(0, n - EDGE + 1) for n in hu.shape]
    cut = tuple(slice(first, first + EDGE) for first in start)
    values = np.clip(hu[cut].astype(np.float32), PROPERTIES["percentile_00_5"], PROPERTIES["percentile_99_5"])
    return ((values - PROPERTIES["mean"]) / PROPERTIES["std"]).transpose(2, 1, 0), labels[cut].transpose(2, 1, 0)


def write_trained(folder: Path, steps: int) -> Path:
    """Return the trained network as an imported model, with scans next to it."""
    training = write_training(folder / "nn", MADE)
    import_model(training, folder / "untrained")
    network = NnunetUNet(len(NAMES) + 1, load_model(folder / "untrained").record.network)
    shutil.rmtree(folder / "untrained")
    train(network, steps)
    path = training / "fold_0" / "checkpoint_final.pth"
    content = torch.load(path, weights_only=False)
    found, head = network.state_dict(), f"decoder.seg_layers.{len(MADE.features) - 2}"
    for name in content["network_weights"]:
        ours = name.removeprefix("decoder.") if name.startswith("decoder.encoder.") else name
        ours = ours.replace(".all_modules.0.", ".conv.").replace(".all_modules.1.", ".norm.").replace(head, "head")
        if ours in found:
            content["network_weights"][name] = found[ours].clone()
    torch.save(content, path)
    (folder / "scans").mkdir(exist_ok=True)
    for number in range(5):
        hu, _ = scan(100 + number, (60, 56, 70))
        grid = SourceGrid(hu.shape, np.diag([2.5, 2.5, 2.2, 1.0]))
        write_nifti(folder / "scans" / f"scan_{number}.nii.gz", np.asfortranarray(hu), grid)
    import_model(training, folder / "model")
    return folder / "model"


def compare(model: Model, calibration: Calibration) -> None:
    """Compare the ways to quantise."""
    plain = convert_to_openvino(model.network, model.record.input_spec)
    joined = plain.clone()
    join_normalisations(joined)
    last = [convolutions(plain)[-1]]
    expected = decisions(plain, calibration.checked, decide_exclusive)

    def tell(what: str, network: Any) -> None:
        found = decisions(network, calibration.checked, decide_exclusive)
        print(f"| {what} | {share_differing(found, expected):.2%} |", flush=True)

    print("| in 8 bits | differ |\n|---|---|")
    tell("all that NNCF chooses", quantise(plain, calibration.images, last))
    tell("the same, normalisations as one operation", quantise(joined, calibration.images, last))
    tell("what all convolutions read", quantise(joined, calibration.images, [], alone=True))
    low = quantise(joined, calibration.images, last, alone=True)
    tell("what all but the last read", low)
    for group in groups_of(joined, model.network.state_dict(), calibration.checked[0].shape):
        changed = in_floating_point(low, joined, set(group.ops))
        tell(f"without {group.name} ({group.share:.0%} of the multiplications)", changed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--folder", type=Path, default=Path("build/imported_int8"))
    given = parser.parse_args()
    print(machine())
    place = given.folder / f"steps_{given.steps}"
    model = place / "model"
    if not model.exists():
        shutil.rmtree(place, ignore_errors=True)
        write_trained(place, given.steps)
    loaded = load_model(model)
    compare(loaded, calibration_of(loaded, opened(place / "scans"))[0])
    tomoseg(["export", str(model), "--precision", "int8", "--calibrate", str(place / "scans")])


if __name__ == "__main__":
    main()
