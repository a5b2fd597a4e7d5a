"""A release of small networks in the layout of TotalSegmentator's, and what TotalSegmentator itself finds with them.

`python totalseg_oracle.py release FOLDER` trains a network for each part on FOLDER/train.nii.gz and its labels, and
writes FOLDER/release/TAG/DATASET.zip. `python totalseg_oracle.py predict FOLDER` writes FOLDER/found/RUN.nii.gz for
each run of `RUNS`, and FOLDER/found_32/RUN.nii.gz with sums over patches in 32 bits where it has 16. Runs where
TotalSegmentator is installed; nothing of tomoseg is imported.
"""

import json
import os
import sys
import zipfile
from pathlib import Path

FOLDER = Path(sys.argv[2]).absolute() if len(sys.argv) > 2 else Path("/nonexistent")
os.environ["TOTALSEG_HOME_DIR"] = str(FOLDER / "home")
os.environ["TOTALSEG_WEIGHTS_PATH"] = str(FOLDER / "weights")
for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ[variable] = str(FOLDER / "weights")

import nibabel
import numpy as np
import torch
from nnunet_oracle import PROPERTIES, plans_of
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from totalsegmentator.map_tasks_config import TASK_CONFIGS, TASK_ID_WEIGHTS_CONFIGS
from totalsegmentator.map_to_binary import class_map, class_map_5_parts, map_taskid_to_partname_ct
from totalsegmentator.resampling import change_spacing

STEPS = {16: 800, 32: 120}
"""By the edge of a patch: small ones take less time."""
LIVER = 5
"""Of the 117."""

RUNS = {
    "total": {"task": "total"},
    "total-3mm": {"task": "total", "fast": True},
    "total-6mm": {"task": "total", "fastest": True},
    "body-6mm": {"task": "body", "fast": True},
    "liver_segments": {"task": "liver_segments"},
    "liver_vessels": {"task": "liver_vessels"},
    "subset": {"task": "total", "roi_subset": ["liver", "stomach", "rib_left_7"]},
    "subset-3mm": {"task": "total", "fast": True, "roi_subset": ["heart"]},
}


def parts():
    """For each dataset: voxels, edges of a patch, trainer, configuration, names, and its labels from the 117."""
    total = {name: number for number, name in class_map["total"].items()}
    modes = TASK_CONFIGS["total"]["sub_modes"]
    for number in modes["default"]["task_id"]:
        names = list(class_map_5_parts[map_taskid_to_partname_ct[number]].values())
        yield number, (1.5,) * 3, 32, modes["default"]["trainer"], "3d_fullres", names, _chosen(total[n] for n in names)
    for mode, edge in (("fast", 32), ("fastest", 16)):
        of_mode, names = modes[mode], list(total)
        voxels = (of_mode["resample"],) * 3
        yield of_mode["task_id"], voxels, edge, of_mode["trainer"], "3d_fullres", names, _chosen(total.values())
    yield 300, (6.0,) * 3, 16, "nnUNetTrainer", "3d_fullres", ["body_trunc", "body_extremities"], _body
    segments = TASK_CONFIGS["liver_segments"]
    names = list(class_map["liver_segments"].values())
    yield 570, tuple(segments["resample"]), 32, segments["trainer"], "3d_fullres", names, _octants
    yield 8, (1.0, 1.0, 2.5), 32, "nnUNetTrainer", "3d_fullres", ["liver_vessels", "liver_tumor"], _halves


def _chosen(numbers):
    table = np.zeros(256, np.uint8)
    for channel, number in enumerate(numbers, start=1):
        table[number] = channel
    return lambda hu, labels: table[labels]


def _body(hu, labels):
    """The body; its lowest tenth are the extremities."""
    inside = hu > -300
    out = inside.astype(np.uint8)
    filled = np.flatnonzero(inside.any(axis=(0, 1)))
    legs = filled[0] + (filled[-1] - filled[0]) // 10
    out[:, :, :legs][inside[:, :, :legs]] = 2
    return out


def _octants(hu, labels):
    """The liver in eight, by where it lies beside its middle."""
    places = np.argwhere(labels == LIVER)
    above = places > np.median(places, axis=0)
    out = np.zeros(labels.shape, np.uint8)
    out[tuple(places.T)] = 1 + above @ np.array([1, 2, 4])
    return out


def _halves(hu, labels):
    """The liver's right and left half."""
    return np.minimum(2, (_octants(hu, labels) + 1) % 2 + (labels == LIVER)).astype(np.uint8)


def release():
    torch.set_num_threads(1)
    scan, labels = nibabel.load(FOLDER / "train.nii.gz"), nibabel.load(FOLDER / "train_labels.nii.gz")
    for number, voxels, edge, trainer, configuration, names, choose in parts():
        info = TASK_ID_WEIGHTS_CONFIGS[number]
        archive = FOLDER / "release" / info["version"] / f"{info['foldername']}.zip"
        if archive.is_file():
            continue
        torch.manual_seed(number)
        hu = np.asarray(change_spacing(scan, list(voxels), order=1, dtype=np.int32).dataobj)
        seg = np.asarray(change_spacing(labels, list(voxels), order=0, dtype=np.uint8).dataobj)
        target = choose(hu, seg)
        stages = 2 if edge == 16 else 3
        spec = {
            "features": [16, 32] if edge == 16 else [8, 16, 24], "kernels": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1], *[[2, 2, 2]] * (stages - 1)],
            "patch": [edge] * 3, "plan_spacing": list(voxels[::-1]),
        }  # fmt: skip
        plans = plans_of(spec)
        dataset = {
            "channel_names": {"0": "CT"}, "labels": {"background": 0} | {n: k for k, n in enumerate(names, start=1)},
            "numTraining": 1, "file_ending": ".nii.gz",
        }  # fmt: skip
        checkpoint = trained(plans, dataset, trainer, configuration, hu, target)
        place = f"{info['foldername']}/{trainer}__nnUNetPlans__{configuration}"
        archive.parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, FOLDER / "checkpoint.pth")
        with zipfile.ZipFile(archive.with_suffix(".part"), "w") as written:
            written.writestr(f"{place}/plans.json", json.dumps(plans))
            written.writestr(f"{place}/dataset.json", json.dumps(dataset))
            written.write(FOLDER / "checkpoint.pth", f"{place}/fold_0/checkpoint_final.pth")
        archive.with_suffix(".part").rename(archive)
        print(number, len(np.unique(target)) - 1, "structures", flush=True)


def trained(plans, dataset, trainer, configuration, hu, target):
    """A checkpoint after some steps on patches around voxels of each structure in turn."""
    manager = PlansManager(json.loads(json.dumps(plans)))
    found = manager.get_configuration(configuration)
    heads = manager.get_label_manager(dataset).num_segmentation_heads
    network = get_network_from_plans(
        found.network_arch_class_name, found.network_arch_init_kwargs, found.network_arch_init_kwargs_req_import,
        1, heads, deep_supervision=False,
    )  # fmt: skip
    image = np.clip(hu, PROPERTIES["percentile_00_5"], PROPERTIES["percentile_99_5"]).astype(np.float32)
    image = ((image - PROPERTIES["mean"]) / PROPERTIES["std"]).transpose(2, 1, 0)
    target = target.transpose(2, 1, 0).astype(np.int64)
    edge = found.patch_size[0]
    steps = STEPS[edge]
    ends = [(edge // 2, edge // 2)] * 3
    image, target = np.pad(image, ends), np.pad(target, ends)
    present = [number for number in np.unique(target) if number > 0]
    places = {number: np.argwhere(target == number) for number in present}
    counts = np.bincount(target.ravel(), minlength=heads).astype(float)
    weight = torch.tensor(np.clip((counts[0] / np.maximum(counts, 1)) ** 0.3, 1, 12), dtype=torch.float32)
    rng = np.random.default_rng(0)
    optimiser = torch.optim.AdamW(network.parameters(), 6e-3)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 6e-3 * (1 - step / steps) ** 0.9
        around = places[present[step % len(present)]]
        centre = around[rng.integers(len(around))] + rng.integers(-edge // 4, edge // 4 + 1, 3)
        low = [int(np.clip(c - edge // 2, 0, n - edge)) for c, n in zip(centre, image.shape, strict=True)]
        cut = tuple(slice(start, start + edge) for start in low)
        logits = network(torch.from_numpy(image[cut][None, None].copy()))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(target[cut][None].copy()), weight)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimiser.step()
    print(f"loss {loss.item():.3f}", end=" ")
    return {
        "network_weights": network.state_dict(), "optimizer_state": {}, "grad_scaler_state": None,
        "logging": {"train_losses": [np.float32(0.5)]}, "_best_ema": np.float64(0.7), "current_epoch": steps,
        "init_args": {"plans": plans, "configuration": configuration, "fold": 0, "dataset_json": dataset},
        "trainer_name": trainer, "inference_allowed_mirroring_axes": None,
    }  # fmt: skip


def predict():
    torch.set_num_threads(1)  # cores may be shared: two that wait for one another are slower than one
    torch.set_num_threads = lambda count: None  # which it calls with all that there are
    (FOLDER / "home").mkdir(exist_ok=True)
    settings = {"totalseg_id": "none", "send_usage_stats": False, "statistics_disclaimer_shown": True}
    (FOLDER / "home" / "config.json").write_text(json.dumps(settings | {"prediction_counter": 0}))
    for place in ("found", "found_32"):
        (FOLDER / place).mkdir(exist_ok=True)
    for archive in (FOLDER / "release").rglob("*.zip"):
        if not (FOLDER / "weights" / archive.stem).is_dir():
            zipfile.ZipFile(archive).extractall(FOLDER / "weights")
    from totalsegmentator.python_api import totalsegmentator

    half = torch.half
    for name, asked in RUNS.items():
        for place, of_sums in (("found", half), ("found_32", torch.float32)):
            torch.half = of_sums
            target = FOLDER / place / f"{name}.nii.gz"
            if target.is_file():
                continue
            made = totalsegmentator(
                FOLDER / "scan.nii.gz", None, ml=True, device="cpu", nr_thr_saving=1, quiet=True, **asked
            )
            values = np.asarray(made.dataobj).astype(np.uint8)
            nibabel.save(nibabel.Nifti1Image(values, made.affine), target)
            print(name, len(np.unique(values)) - 1, flush=True)


if __name__ == "__main__":
    {"release": release, "predict": predict}[sys.argv[1]]()
