"""Trainings in the layout of nnU-Net v2, with random weights, and what its rules make of a scan, written plainly.

Nothing here shares code with what is tested: networks are functions of their tensors, grids are whole arrays.
"""

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage.transform import resize
from torch.nn import functional as F

NAME = "nnUNetTrainer__nnUNetPlans__3d_fullres"
LABELS = {"background": 0, "liver": 1, "spleen": 2, "kidney_left": 3}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "centre": 3}
PROPERTIES = {"mean": 40.0, "std": 250.0, "percentile_00_5": -950.0, "percentile_99_5": 900.0}


@dataclass
class Made:
    """What a training is made of; `changes` are put over its configuration, `top` over its plans."""

    kind: str = "PlainConvUNet"
    patch: tuple = (8, 16, 16)
    spacing: tuple = (3.0, 2.0, 2.0)
    features: tuple = (6, 8, 10)
    kernels: tuple = ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    strides: tuple = ((1, 1, 1), (1, 2, 2), (2, 2, 2))
    blocks: tuple = (2, 1, 2)
    decoder: tuple = (1, 2)
    labels: dict = field(default_factory=lambda: LABELS)
    mirrored: tuple | None = None
    old: bool = False
    changes: dict = field(default_factory=dict)
    top: dict = field(default_factory=dict)
    dataset: dict = field(default_factory=dict)
    checkpoint: dict = field(default_factory=dict)

    @property
    def dims(self):
        return len(self.patch)

    @property
    def heads(self):
        return len(self.labels) - (1 if self.regions else 0)

    @property
    def regions(self):
        return any(isinstance(value, list) for value in self.labels.values())


FLAT = {"patch": (16, 16), "spacing": (2.0, 2.0), "kernels": ((3, 3),) * 3, "strides": ((1, 1), (2, 2), (2, 1))}


def plans_of(made):
    resampling = "resample_data_or_seg_to_shape"
    configuration = {
        "preprocessor_name": "DefaultPreprocessor",
        "patch_size": list(made.patch),
        "spacing": list(made.spacing),
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": resampling,
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
        "resampling_fn_seg": resampling,
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
        "resampling_fn_probabilities": resampling,
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
    }
    if made.old:
        configuration |= {
            "UNet_class_name": made.kind,
            "UNet_base_num_features": made.features[0],
            "unet_max_num_features": made.features[-1],
            "n_conv_per_stage_encoder": list(made.blocks),
            "n_conv_per_stage_decoder": list(made.decoder),
            "pool_op_kernel_sizes": [list(edges) for edges in made.strides],
            "conv_kernel_sizes": [list(edges) for edges in made.kernels],
        }
    else:
        counts = "n_conv_per_stage" if made.kind == "PlainConvUNet" else "n_blocks_per_stage"
        configuration["architecture"] = {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{made.kind}",
            "arch_kwargs": {
                "n_stages": len(made.features),
                "features_per_stage": list(made.features),
                "conv_op": f"torch.nn.modules.conv.Conv{made.dims}d",
                "kernel_sizes": [list(edges) for edges in made.kernels],
                "strides": [list(edges) for edges in made.strides],
                counts: list(made.blocks),
                "n_conv_per_stage_decoder": list(made.decoder),
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{made.dims}d",
                "norm_op_kwargs": {"eps": 1e-5, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }
    return {
        "dataset_name": "Dataset900_Made",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": PROPERTIES},
        "configurations": {"3d_fullres": configuration | made.changes},
    } | made.top


def dataset_of(made):
    found = {"channel_names": {"0": "CT"}, "labels": made.labels, "numTraining": 3, "file_ending": ".nii.gz"}
    if made.regions:
        found["regions_class_order"] = [1, 2, 3]
    return found | made.dataset


def weights_of(made, seed=0):
    """A state dict as nnU-Net's networks have it, once each."""
    generator = torch.Generator().manual_seed(seed)
    found = {}

    def conv(name, source, width, kernel, bias=True, norm=True, turned=False):
        shape = (source, width) if turned else (width, source)
        scale = (2 / (source * np.prod(kernel))) ** 0.5
        found[f"{name}.conv.weight" if norm else f"{name}.weight"] = scale * torch.randn(
            *shape, *kernel, generator=generator
        )
        if bias:
            found[f"{name}.conv.bias" if norm else f"{name}.bias"] = 0.1 * torch.randn(width, generator=generator)
        if norm:
            found[f"{name}.norm.weight"] = 1 + 0.2 * torch.randn(width, generator=generator)
            found[f"{name}.norm.bias"] = 0.2 * torch.randn(width, generator=generator)

    source, one = 1, (1,) * made.dims
    if made.kind == "ResidualEncoderUNet":
        conv("encoder.stem.convs.0", 1, made.features[0], made.kernels[0])
        source = made.features[0]
    for stage, (width, kernel, count) in enumerate(zip(made.features, made.kernels, made.blocks, strict=True)):
        for number in range(count):
            if made.kind == "PlainConvUNet":
                conv(f"encoder.stages.{stage}.0.convs.{number}", source, width, kernel)
            else:
                block = f"encoder.stages.{stage}.blocks.{number}"
                conv(f"{block}.conv1", source, width, kernel)
                conv(f"{block}.conv2", width, width, kernel)
                if source != width:
                    strided = number == 0 and max(made.strides[stage]) > 1
                    conv(f"{block}.skip.{int(strided)}", source, width, one, bias=False)
            source = width
    _decoder(made, conv)
    found[f"decoder.seg_layers.{len(made.features) - 2}.weight"] *= 4
    return found


def _decoder(made, conv):
    one = (1,) * made.dims
    for number in range(len(made.features) - 1):
        deep, width = made.features[-1 - number], made.features[-2 - number]
        conv(f"decoder.transpconvs.{number}", deep, width, made.strides[-1 - number], norm=False, turned=True)
        for k in range(made.decoder[number]):
            conv(f"decoder.stages.{number}.convs.{k}", 2 * width if k == 0 else width, width, made.kernels[-2 - number])
        conv(f"decoder.seg_layers.{number}", width, made.heads, one, norm=False)


def with_copies(weights):
    """The same tensors under all the names that nnU-Net's modules have them by."""
    found = dict(weights)
    for name, tensor in weights.items():
        for part, number in ((".conv.", 0), (".norm.", 1)):
            if part in name:
                found[name.replace(part, f".all_modules.{number}.")] = tensor
    return found | {f"decoder.{name}": tensor for name, tensor in found.items() if name.startswith("encoder.")}


def write_training(folder, made=None, folds=("0",), name=NAME, file="checkpoint_final.pth"):
    """A training folder; each fold has weights of its own."""
    made = made or Made()
    place = Path(folder) / name
    place.mkdir(parents=True)
    (place / "plans.json").write_text(json.dumps(plans_of(made)))
    (place / "dataset.json").write_text(json.dumps(dataset_of(made)))
    for number, fold in enumerate(folds):
        (place / f"fold_{fold}").mkdir()
        content = {
            "network_weights": with_copies(weights_of(made, number)),
            "optimizer_state": {"state": {0: {"momentum_buffer": torch.ones(3)}}},
            "grad_scaler_state": None,
            "logging": {"train_losses": [np.float32(0.5), np.float64(0.25)]},
            "_best_ema": np.float64(0.7),
            "current_epoch": 3,
            "init_args": {"configuration": "3d_fullres", "fold": number, "device": torch.device("cpu")},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": made.mirrored,
        } | made.checkpoint
        torch.save(content, place / f"fold_{fold}" / file)
    return place


def logits_of(made, weights, image):
    """Logits `(heads, ...)` of one patch, by functions of tensors."""
    conv = F.conv3d if made.dims == 3 else F.conv2d
    mean = F.avg_pool3d if made.dims == 3 else F.avg_pool2d
    up = F.conv_transpose3d if made.dims == 3 else F.conv_transpose2d

    def block(name, x, stride=1, rectify=True):
        weight = weights[f"{name}.conv.weight"]
        padding = [(edge - 1) // 2 for edge in weight.shape[2:]]
        x = conv(x, weight, weights.get(f"{name}.conv.bias"), stride, padding)
        axes = tuple(range(2, x.ndim))
        x = (x - x.mean(axes, keepdim=True)) / (x.var(axes, keepdim=True, unbiased=False) + 1e-5).sqrt()
        shape = (1, -1, *[1] * made.dims)
        x = x * weights[f"{name}.norm.weight"].view(shape) + weights[f"{name}.norm.bias"].view(shape)
        return torch.where(x > 0, x, 0.01 * x) if rectify else x

    x, skips = torch.as_tensor(image)[None, None], []
    if made.kind == "ResidualEncoderUNet":
        x = block("encoder.stem.convs.0", x)
    for stage, count in enumerate(made.blocks):
        for number in range(count):
            stride = made.strides[stage] if number == 0 else (1,) * made.dims
            if made.kind == "PlainConvUNet":
                x = block(f"encoder.stages.{stage}.0.convs.{number}", x, stride)
                continue
            name, skip = f"encoder.stages.{stage}.blocks.{number}", x
            y = block(f"{name}.conv2", block(f"{name}.conv1", x, stride), rectify=False)
            strided = max(stride) > 1
            skip = mean(skip, stride, stride) if strided else skip
            if f"{name}.skip.{int(strided)}.conv.weight" in weights:
                skip = block(f"{name}.skip.{int(strided)}", skip, rectify=False)
            x = F.leaky_relu(y + skip, 0.01)
        skips.append(x)
    for number, count in enumerate(made.decoder):
        name = f"decoder.transpconvs.{number}"
        x = up(x, weights[f"{name}.weight"], weights[f"{name}.bias"], made.strides[-1 - number])
        x = torch.cat([x, skips[-2 - number]], dim=1)
        for k in range(count):
            x = block(f"decoder.stages.{number}.convs.{k}", x)
    last = f"decoder.seg_layers.{len(made.decoder) - 1}"
    return conv(x, weights[f"{last}.weight"], weights[f"{last}.bias"])[0].numpy()


def preprocessed(made, array, spacing):
    """What the network sees: cropped, normalised, resampled; and the box."""
    there = np.argwhere(array != 0)
    low, high = (there.min(0), there.max(0) + 1) if len(there) else (np.zeros(3, int), np.array(array.shape))
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    values = np.clip(array[box].astype(np.float32), PROPERTIES["percentile_00_5"], PROPERTIES["percentile_99_5"])
    values = (values - np.float32(PROPERTIES["mean"])) / np.float32(PROPERTIES["std"])
    target = [spacing[0], *made.spacing] if made.dims == 2 else made.spacing
    shape = [round(a / b * n) for a, b, n in zip(spacing, target, values.shape, strict=True)]
    return _resampled(values, shape, spacing, target, 3).astype(np.float32), box, target


def _resampled(values, shape, old, new, order):
    if list(values.shape) == list(shape):
        return values
    values = values.astype(float)
    for edges in (old, new):
        longest = np.flatnonzero(np.array(edges) == max(edges))
        if max(edges) / min(edges) > 3 and len(longest) == 1:
            return _in_slices(values, shape, int(longest[0]), order)
        if max(edges) / min(edges) > 3:
            break
    return resize(values, shape, order, mode="edge", anti_aliasing=False)


def _in_slices(values, shape, axis, order):
    flat = [n for k, n in enumerate(shape) if k != axis]
    slices = [
        resize(np.take(values, k, axis), flat, order, mode="edge", anti_aliasing=False)
        for k in range(values.shape[axis])
    ]
    made = np.stack(slices, axis)
    scale = values.shape[axis] / shape[axis]
    at = np.meshgrid(
        *[scale * (np.arange(n) + 0.5) - 0.5 if k == axis else np.arange(n) for k, n in enumerate(shape)], indexing="ij"
    )
    return ndimage.map_coordinates(made, at, order=0, mode="nearest")


def whole_logits(made, folds, image, mirrored=()):
    """Logits of the whole grid: padded, in patches that overlap by half, weighed, and cut back."""
    patch = (1, *made.patch) if made.dims == 2 else made.patch
    missing = [max(0, p - n) for p, n in zip(patch, image.shape, strict=True)]
    ends = [(m // 2, m - m // 2) for m in missing]
    padded = np.pad(image, ends)
    weight = np.zeros(made.patch)
    weight[tuple(edge // 2 for edge in made.patch)] = 1
    weight = ndimage.gaussian_filter(weight, [edge / 8 for edge in made.patch], mode="constant")
    weight = np.float16(10 * weight / weight.max())
    weight = np.float64(np.where(weight == 0, weight[weight > 0].min(), weight)).reshape(patch)
    starts = []
    for n, p in zip(padded.shape, patch, strict=True):
        count = int(np.ceil((n - p) / (p * 0.5))) + 1 if p > 1 else n
        starts.append([round(k * (n - p) / max(1, count - 1)) for k in range(count)])
    total, whole = np.zeros((made.heads, *padded.shape)), np.zeros(padded.shape)
    for start in itertools.product(*starts):
        cut = tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True))
        total[(slice(None), *cut)] += weight * _mean(made, folds, padded[cut], mirrored).reshape(-1, *patch)
        whole[cut] += weight
    inner = tuple(slice(low, n - high) for (low, high), n in zip(ends, padded.shape, strict=True))
    return (total / whole)[(slice(None), *inner)]


def _mean(made, folds, block, mirrored):
    image = np.ascontiguousarray(block.reshape(made.patch))
    combinations = [c for n in range(len(mirrored) + 1) for c in itertools.combinations(mirrored, n)]
    found = []
    for weights, axes in itertools.product(folds, combinations):
        logits = logits_of(made, weights, np.flip(image, axes).copy())
        found.append(np.flip(logits, [1 + axis for axis in axes]))
    return np.mean(found, axis=0)


def label_map(made, folds, array, spacing, transpose=(0, 1, 2), mirrored=()):
    """nnU-Net's label map of a scan along its file's axes in reverse order, and its logits on the scan."""
    turned, edges = array.transpose(transpose), [spacing[k] for k in transpose]
    image, box, target = preprocessed(made, turned, edges)
    logits = whole_logits(made, folds, image, mirrored)
    inside = turned[box].shape
    back = np.stack([_resampled(one, inside, target, edges, 1) for one in logits])
    out = np.zeros(turned.shape, np.uint8)
    if made.regions:
        for channel, value in enumerate((1, 2, 3)):
            out[box][back[channel] > 0] = value
    else:
        out[box] = back.argmax(0)
    return out.transpose(np.argsort(transpose)), back
