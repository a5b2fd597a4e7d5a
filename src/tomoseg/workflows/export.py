"""`tomoseg export`: a model in the format of another runtime, int8 included, checked before it counts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from tomoseg.errors import ConfigError, DatasetError, ModelError
from tomoseg.models.exports import Export, Format, add_export
from tomoseg.models.folder import Model, load_model
from tomoseg.models.onnx import INPUT, convert_to_onnx, onnx_session, run_onnx, write_onnx
from tomoseg.models.openvino import convert_network, write_openvino
from tomoseg.models.quantise import convolutions, quantise
from tomoseg.networks.images import NetworkInput, neighbours
from tomoseg.preprocessed.fits import check_fits
from tomoseg.preprocessed.read import Preprocessed, PreprocessedCase

CALIBRATION_SLICES = 128
LARGEST_DIFFERENCE = 1e-3
"""Of an fp32 export's logits from PyTorch's, as a share of the largest logit."""


def export(model: Path, to: Format, precision: str = "fp32", calibrate: Path | None = None) -> Export:
    """Write a model in another format into its own folder.

    Args:
        model: A model folder or a run folder.
        to: `openvino` or `onnx`.
        precision: `fp32`, `bf16` (OpenVINO only: the fp32 file, computed in bf16 when it is run) or `int8`.
        calibrate: A preprocessed dataset whose training slices give int8 its scales.

    Raises:
        ConfigError: If the format has no such precision, int8 has no dataset, or a package is missing.
        DatasetError: If the dataset has other structures or another grid than the model.
        ModelError: If the model cannot be loaded, or the export does not compute what the model does.
    """
    if to == "onnx" and precision == "bf16":
        raise ConfigError("expected precision fp32 or int8 for onnx, got bf16; bf16 is for openvino")
    if precision == "int8" and calibrate is None:
        raise ConfigError(
            "expected a preprocessed dataset to calibrate int8 with, got none; add --calibrate PREPROCESSED"
        )
    loaded = load_model(model)
    images: list[Float32[np.ndarray, "1 w *xyz"]] = []
    made: dict[str, Any] = {}
    if precision == "int8" and calibrate is not None:
        data = Preprocessed(calibrate)
        check_fits(loaded.record.labels.names, loaded.record.grid, data)
        chosen = calibration_slices(data.split("train"), len(data.labels))
        images = [network_image(loaded.record.reads, case, k) for case, k in chosen]
        made["calibrated_with"] = [f"{case.name}:{k}" for case, k in chosen]
    return (_to_openvino if to == "openvino" else _to_onnx)(loaded, images, made)


def calibration_slices(
    cases: Sequence[PreprocessedCase], structures: int, count: int = CALIBRATION_SLICES, seed: int = 0
) -> list[tuple[PreprocessedCase, int]]:
    """Slices spread over structures and cases: each structure in turn, in the case that was drawn from least so far.

    Args:
        cases: Where they are drawn from.
        structures: How many structures the dataset has.
        count: How many slices.
        seed: Of the draws.

    Raises:
        DatasetError: If no case holds any structure.
    """
    random = np.random.default_rng(seed)
    order = [cases[k] for k in random.permutation(len(cases))]
    holding = {c: [case for case in order if case.record.occurrence.get(c)] for c in range(structures)}
    present = [c for c, found in holding.items() if found]
    if not present:
        raise DatasetError("expected cases that hold structures to calibrate with, got none; use another dataset")
    drawn = dict.fromkeys((case.name for case in order), 0)
    chosen: list[tuple[PreprocessedCase, int]] = []
    for k in range(count):
        channel = present[k % len(present)]
        case = min(holding[channel], key=lambda case: drawn[case.name])
        drawn[case.name] += 1
        chosen.append((case, int(random.choice(case.record.slices_of(channel)))))
    return chosen


def network_image(reads: NetworkInput, case: PreprocessedCase, k: int) -> Float32[np.ndarray, "1 w *xyz"]:
    """What the network is given to segment a slice: with its neighbours, or the block around it.

    Args:
        reads: What the network reads of a scan.
        case: Of a preprocessed dataset.
        k: The slice; a tile that is smaller than it is taken from its middle.
    """
    tile = reads.tile(case.record.placement.shape)
    x, y = (
        slice((edge - part) // 2, (edge - part) // 2 + part)
        for edge, part in zip(case.shape[:2], tile[:2], strict=True)
    )
    if len(tile) == 3:
        first = min(max(k - tile[2] // 2, 0), case.slices - tile[2])
        return reads.of_block(case.ct_block(first, first + tile[2])[x, y])
    near = [case.ct_slice(j) for j in neighbours(k, reads.reach, case.slices)]
    return reads.of_slices(np.stack(near, axis=2)[x, y])


def _to_openvino(model: Model, images: Sequence[Float32[np.ndarray, "1 w *xyz"]], made: dict[str, Any]) -> Export:
    network = convert_network(model.network, model.record.reads)
    if images:
        kept = [convolutions(network)[-1]]
        network = quantise(network, images, kept)
        made["kept_in_floating_point"] = kept
    return add_export(model, "openvino", "int8" if images else "fp32", made, lambda path: write_openvino(network, path))


def _to_onnx(model: Model, images: Sequence[Float32[np.ndarray, "1 w *xyz"]], made: dict[str, Any]) -> Export:
    network = convert_to_onnx(model.network, model.record.reads)
    if images:
        kept = [convolutions(network)[-1]]
        network = quantise(network, [{INPUT: image} for image in images], kept)
        made["kept_in_floating_point"] = kept

    def write(path: Path) -> None:
        write_onnx(network, path)
        made["difference_from_torch"] = difference = onnx_difference(model, path)
        if not images and difference > LARGEST_DIFFERENCE:
            raise ModelError(
                f"expected ONNX Runtime to compute what PyTorch does, got logits that differ by {difference:.2g} of "
                "the largest; use engine torch or openvino"
            )

    return add_export(model, "onnx", "int8" if images else "fp32", made, write)


def onnx_difference(model: Model, path: Path) -> float:
    """How far ONNX Runtime's logits are from PyTorch's on a slice of noise, at most, over the largest logit."""
    reads = model.record.reads
    free = [model.network.stride * (5 - n) for n in range(model.network.dims)]
    shape = (1, reads.channels, *(reads.padded(reads.fixed) if reads.fixed else free))
    image = np.random.default_rng(0).random(shape, np.float32)
    with torch.inference_mode():
        expected = model.network.cpu().eval()(torch.from_numpy(image)).numpy()
    found = run_onnx(onnx_session(path, torch.get_num_threads()), image)
    return float(np.abs(found - expected).max() / np.abs(expected).max())
