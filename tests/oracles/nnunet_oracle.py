"""Trains small networks with nnU-Net's own code and predicts with them; runs where nnU-Net is installed.

`python nnunet_oracle.py SPEC.json OUT` writes into OUT: `training/` as nnU-Net leaves it, `scan.nii.gz`, and what
nnU-Net made of it: `labels.nii.gz` and its stages. Nothing of tomoseg is imported.
"""

import json
import os
import sys
from pathlib import Path

for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(name, "/nonexistent")

import nibabel
import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

TRAINING = "nnUNetTrainer__nnUNetPlans__3d_fullres"
PROPERTIES = {"mean": 40.0, "std": 250.0, "percentile_00_5": -950.0, "percentile_99_5": 900.0}


THREE = [(150, (-0.2, 0.0, 0.05), 0.2), (-600, (0.2, 0.1, -0.1), 0.17), (400, (0.05, -0.24, 0.1), 0.13)]
EIGHT = [
    (150, (-0.18, -0.18, -0.18), 0.13), (-600, (0.18, -0.18, -0.18), 0.13), (400, (-0.18, 0.18, -0.18), 0.13),
    (-800, (0.18, 0.18, -0.18), 0.13), (280, (-0.18, -0.18, 0.18), 0.13), (-400, (0.18, -0.18, 0.18), 0.13),
    (650, (-0.18, 0.18, 0.18), 0.13), (-200, (0.18, 0.18, 0.18), 0.13),
]  # fmt: skip
"""Ellipsoids: HU, where, and half of their edges, in parts of the scan's."""
NAMES = ["liver", "lung", "kidney_left", "trachea", "spleen", "stomach", "heart", "colon"]


def ellipsoids(spec):
    return EIGHT if spec.get("eight") else THREE


def make_case(spec, rng):
    """A scan and its labels along x, y and z: three ellipsoids in a body in air, or eight, and noise."""
    edges = np.array(spec["spacing_mm"])
    shape = spec["shape"]
    extent = edges * shape
    axes = [(np.arange(n) + 0.5) * e for n, e in zip(shape, edges, strict=True)]
    place = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    middle = extent / 2

    def inside(centre, radii):
        return (np.square((place - centre) / radii).sum(axis=-1)) < 1

    hu = np.full(shape, -1000.0)
    hu[inside(middle, extent * 0.47)] = 0
    labels = np.zeros(shape, np.uint8)
    for label, (value, at, radius) in enumerate(ellipsoids(spec), start=1):
        centre = middle + extent * (np.array(at) + rng.uniform(-0.04, 0.04, 3))
        where = inside(centre, extent * radius * rng.uniform(0.85, 1.15, 3))
        hu[where], labels[where] = value, label
    if spec.get("regions"):  # the third lies within the second, this within the first
        labels[:] = 0
        for label, radius in ((1, 0.3), (2, 0.2), (3, 0.12)):
            where = inside(middle + extent * rng.uniform(-0.03, 0.03, 3), extent * radius)
            labels[where], hu[where] = label, 100 * label + 50
    hu += rng.normal(0, 25, shape)
    hu = np.rint(hu).astype(np.int16)
    hu[hu == 0] = 1
    corner = spec.get("zero_corner", 0)
    hu[:corner, :corner], labels[:corner, :corner] = 0, 0
    border = spec.get("zero_border", 0)
    if border:
        keep = np.zeros(shape, bool)
        keep[border:-border, border : -border - 1, 1:-2] = True
        hu[~keep], labels[~keep] = 0, 0
    return hu, labels


def write(values, spec, path):
    """Along the file's axes that the spec asks for."""
    affine = np.diag([*spec["spacing_mm"], 1.0])
    affine[:3, 3] = [-20.0, 30.0, 7.0]
    image = nibabel.Nifti1Image(values, affine)
    codes = spec.get("orientation", "RAS")
    turned = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(affine), nibabel.orientations.axcodes2ornt(codes)
    )
    nibabel.save(image.as_reoriented(turned), path)


def plans_of(spec):
    dims = len(spec["patch"])
    stages = len(spec["features"])
    residual = spec.get("kind") == "ResidualEncoderUNet"
    configuration = {
        "data_identifier": "x", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2,
        "patch_size": spec["patch"], "spacing": spec["plan_spacing"], "median_image_size_in_voxels": spec["patch"],
        "normalization_schemes": [spec.get("scheme", "CTNormalization")],
        "use_mask_for_norm": [spec.get("masked", False)],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
        "batch_dice": False,
    }  # fmt: skip
    counts = spec.get("blocks", [2] * stages)
    decoder = spec.get("decoder_convs", [2] * (stages - 1))
    if spec.get("old"):
        configuration |= {
            "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": spec["features"][0],
            "unet_max_num_features": max(spec["features"]), "n_conv_per_stage_encoder": counts,
            "n_conv_per_stage_decoder": decoder, "num_pool_per_axis": [stages - 1] * dims,
            "pool_op_kernel_sizes": spec["strides"], "conv_kernel_sizes": spec["kernels"],
        }  # fmt: skip
    else:
        path = "dynamic_network_architectures.architectures.unet."
        configuration["architecture"] = {
            "network_class_name": path + spec.get("kind", "PlainConvUNet"),
            "arch_kwargs": {
                "n_stages": stages, "features_per_stage": spec["features"],
                "conv_op": f"torch.nn.modules.conv.Conv{dims}d", "kernel_sizes": spec["kernels"],
                "strides": spec["strides"], "n_blocks_per_stage" if residual else "n_conv_per_stage": counts,
                "n_conv_per_stage_decoder": decoder, "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }  # fmt: skip
    parent = dict(configuration)
    parent["patch_size"] = [edge * 2 for edge in spec["patch"]]
    configurations = {"3d_fullres": configuration}
    if spec.get("inherits"):
        configurations = {"parent": parent, "3d_fullres": {"inherits_from": "parent", "patch_size": spec["patch"]}}
    return {
        "dataset_name": "Dataset900_Ellipsoids", "plans_name": "nnUNetPlans",
        "transpose_forward": spec.get("transpose", [0, 1, 2]),
        "transpose_backward": np.argsort(spec.get("transpose", [0, 1, 2])).tolist(),
        "image_reader_writer": spec.get("reader", "SimpleITKIO"), "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": PROPERTIES}, "configurations": configurations,
    }  # fmt: skip


def dataset_of(spec):
    labels = {name: value for value, name in enumerate(["background", *NAMES[: len(ellipsoids(spec))]])}
    found = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 1, "file_ending": ".nii.gz"}
    if spec.get("regions"):
        found["labels"] = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "centre": 3}
        found["regions_class_order"] = [1, 2, 3]
    return found


def trained(network, data, seg, spec, seed):
    """Some hundred steps on random patches of one preprocessed case."""
    rng = np.random.default_rng(seed)
    patch = [1, *spec["patch"]] if len(spec["patch"]) == 2 else spec["patch"]
    missing = [max(0, p - n) for p, n in zip(patch, data.shape[1:], strict=True)]
    ends = [(m // 2, m - m // 2) for m in missing]
    image, target = np.pad(data[0], ends), np.pad(np.maximum(seg[0], 0), ends).astype(np.int64)
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    network.train()
    for step in range(spec["steps"]):
        for group in optimiser.param_groups:
            group["lr"] = 5e-3 * (1 - step / spec["steps"]) ** 0.9
        starts = [[rng.integers(0, n - p + 1) for n, p in zip(image.shape, patch, strict=True)] for _ in range(2)]
        cuts = [tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True)) for start in starts]
        shape = [len(cuts), 1, *spec["patch"]]
        images = torch.from_numpy(np.stack([image[cut] for cut in cuts]).reshape(shape))
        targets = torch.from_numpy(np.stack([target[cut] for cut in cuts]).reshape([2, *spec["patch"]]))
        logits = network(images.float())
        if spec.get("regions"):
            masks = torch.stack([targets >= k for k in (1, 2, 3)], dim=1).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, masks)
        else:
            weight = torch.tensor([1.0, *[3.0] * len(ellipsoids(spec))])
            loss = torch.nn.functional.cross_entropy(logits, targets, weight)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimiser.step()
    print(f"loss {loss.item():.4f}")
    return network.eval(), optimiser


def main(spec, out):
    rng = np.random.default_rng(spec.get("seed", 0))
    torch.set_num_threads(1)  # cores may be shared: two that wait for one another are slower than one
    torch.manual_seed(spec.get("seed", 0))
    training = out / "training" / TRAINING
    training.mkdir(parents=True)
    plans, dataset = plans_of(spec), dataset_of(spec)
    (training / "plans.json").write_text(json.dumps(plans))
    (training / "dataset.json").write_text(json.dumps(dataset))
    hu, labels = make_case(spec, rng)
    write(hu, spec, out / "train.nii.gz")
    write(labels, spec, out / "train_labels.nii.gz")
    write(make_case(spec, rng)[0], spec, out / "scan.nii.gz")

    manager = PlansManager(json.loads(json.dumps(plans)))
    configuration = manager.get_configuration("3d_fullres")
    preprocessor = configuration.preprocessor_class(verbose=False)
    paths = [str(out / "train.nii.gz")], str(out / "train_labels.nii.gz")
    data, seg, _ = preprocessor.run_case(*paths, manager, configuration, dataset)
    heads = manager.get_label_manager(dataset).num_segmentation_heads
    mirrored = spec.get("mirrored")
    for fold in range(spec.get("folds", 1)):
        network = get_network_from_plans(
            configuration.network_arch_class_name, configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import, 1, heads, deep_supervision=False,
        )  # fmt: skip
        network, optimiser = trained(network, np.asarray(data), np.asarray(seg), spec, fold)
        (training / f"fold_{fold}").mkdir()
        checkpoint = {
            "network_weights": network.state_dict(), "optimizer_state": optimiser.state_dict(),
            "grad_scaler_state": None, "logging": {"train_losses": [np.float32(0.5), np.float64(0.25)]},
            "_best_ema": np.float64(0.7), "current_epoch": 150,
            "init_args": {"plans": plans, "configuration": "3d_fullres", "fold": fold, "dataset_json": dataset,
                          "device": torch.device("cpu")},
            "trainer_name": "nnUNetTrainer", "inference_allowed_mirroring_axes": mirrored and tuple(mirrored),
        }  # fmt: skip
        torch.save(checkpoint, training / f"fold_{fold}" / "checkpoint_final.pth")

    predictor = nnUNetPredictor(
        tile_step_size=0.5, use_gaussian=True, use_mirroring=bool(mirrored), perform_everything_on_device=False,
        device=torch.device("cpu"), allow_tqdm=False,
    )  # fmt: skip
    predictor.initialize_from_trained_model_folder(str(training), tuple(range(spec.get("folds", 1))))
    data, _, properties = preprocessor.run_case([str(out / "scan.nii.gz")], None, manager, configuration, dataset)
    np.save(out / "preprocessed.npy", np.asarray(data)[0])
    (out / "box.json").write_text(json.dumps(np.array(properties["bbox_used_for_cropping"]).tolist()))
    data = torch.from_numpy(np.asarray(data))
    save_stages(predictor, data, properties, configuration, manager, out)
    predictor.predict_from_files_sequential([[str(out / "scan.nii.gz")]], [str(out / "labels")])


def save_stages(predictor, data, properties, configuration, manager, out):
    """Logits of the first patch, the sums over all, in 16 bits as nnU-Net has them and in 32, and these on the scan."""
    padded = pad_nd_image(data, configuration.patch_size, "constant", {"value": 0}, False, None)
    first = padded[:, 0] if len(configuration.patch_size) == 2 else padded
    first = first[(slice(None), *(slice(edge) for edge in configuration.patch_size))]
    predictor.network.load_state_dict(predictor.list_of_parameters[0])
    with torch.inference_mode():
        np.save(out / "patch.npy", first[0].numpy())
        np.save(out / "patch_logits.npy", predictor.network.eval()(first[None])[0].numpy())
    np.save(out / "sums_16.npy", predictor.predict_logits_from_preprocessed_data(data).numpy())
    half, torch.half = torch.half, torch.float32  # of the sums
    sums = predictor.predict_logits_from_preprocessed_data(data)
    torch.half = half
    np.save(out / "sums_32.npy", sums.numpy())
    spacing = [properties["spacing"][k] for k in manager.transpose_forward]
    current = configuration.spacing if len(configuration.spacing) == 3 else [spacing[0], *configuration.spacing]
    shape = properties["shape_after_cropping_and_before_resampling"]
    back = configuration.resampling_fn_probabilities(sums, shape, current, spacing)
    np.save(out / "on_scan_32.npy", np.asarray(back))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
