"""Exports: what they compute against PyTorch, what they are calibrated with, what is measured, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.training.tiny import LABELS, NATIVE, add_case, finish, make_dataset, make_scan
from tomoseg.config import NetworkConfig
from tomoseg.errors import ConfigError, DatasetError, ModelError
from tomoseg.files.nifti import write_nifti
from tomoseg.inference.choose import choose_engine
from tomoseg.models.exports import EXPORTS, find_export, load_exports
from tomoseg.models.folder import Model, ModelRecord, load_model, restrict_structures, save_model
from tomoseg.networks.images import NetworkInput
from tomoseg.options import Compute, Spread
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.volume import SourceGrid
from tomoseg.workflows import measure_engines as measuring
from tomoseg.workflows import time_engines as timing
from tomoseg.workflows.calibration import calibration_slices, network_image
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.export import check_request, export
from tomoseg.workflows.measure_engines import MEASURED, EngineBenchmark, engines_and_precisions, measure_engines
from tomoseg.workflows.predict import predict

WINDOWS = ((-200.0, 300.0), (-1000.0, 0.0))
EXPORTED = [("openvino", "fp32"), ("openvino", "int8"), ("onnx", "fp32"), ("onnx", "int8")]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preprocessed")
    make_dataset(folder, splits={"a": "train", "b": "train", "v": "validation"})
    return folder


def save(folder, seed=0):
    torch.manual_seed(seed)
    record = ModelRecord(LABELS, NetworkConfig(channels=(16, 32, 64)), NATIVE, WINDOWS)
    network = record.build()
    with torch.no_grad():
        network.head.weight *= 10
    save_model(Model(record, network), folder)
    return folder


@pytest.fixture(scope="module")
def exported(dataset, tmp_path_factory):
    folder = save(tmp_path_factory.mktemp("models") / "model")
    for to, precision in EXPORTED:
        export(folder, to, precision, dataset if precision == "int8" else None)
    return folder


def logits_of(model, dataset, engine, precision):
    case = Preprocessed(dataset).split("validation")[0]
    images = model.record.input_spec.of_slices(case.ct()[:, :, ::5])
    return choose_engine(model, engine, "cpu", precision).run(images)


@pytest.mark.parametrize(("to", "precision"), EXPORTED)
def test_an_export_computes_what_the_model_does(exported, dataset, to, precision):
    model = load_model(exported)
    expected, found = (logits_of(model, dataset, *way) for way in (("torch", "fp32"), (to, precision)))
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error < 1e-5 if precision == "fp32" else 1e-4 < error < 0.1


@pytest.mark.parametrize(("to", "precision"), EXPORTED)
def test_fewer_structures_of_an_export_are_the_same_channels(exported, dataset, to, precision):
    model = load_model(exported)
    whole = logits_of(model, dataset, to, precision)
    some = logits_of(restrict_structures(model, ("both", "ball")), dataset, to, precision)
    channels = [LABELS.channel(name) for name in LABELS.subset(("both", "ball")).names]
    assert np.array_equal(some, whole[:, channels])


def test_int8_files_are_smaller_and_the_last_layer_stays(exported):
    exports = load_exports(exported)
    sizes = {
        name: sum((exported / f).stat().st_size for f in e.files if f.endswith(("bin", "onnx")))
        for name, e in exports.items()
    }
    for to in ("openvino", "onnx"):
        assert sizes[f"{to}/int8"] < 0.5 * sizes[f"{to}/fp32"]
        assert len(exports[f"{to}/int8"].made["kept_in_floating_point"]) == 1
    assert exports["onnx/fp32"].made["difference_from_torch"] < 1e-5


def test_slices_to_calibrate_with_are_spread_over_structures_and_cases(dataset):
    cases = Preprocessed(dataset).split("train")
    chosen = calibration_slices(cases, 3, 12)
    assert 5 <= [case.name for case, _ in chosen].count("a") <= 7  # of 12; a structure may be in one case only
    for number, (case, k) in enumerate(chosen):
        assert k in case.record.slices_of(number % 3)
    assert chosen == calibration_slices(cases, 3, 12)
    with pytest.raises(DatasetError, match="expected cases with structures to calibrate"):
        calibration_slices(cases, 0, 12)


def test_exports_of_other_weights_are_not_used(dataset, tmp_path):
    model = save(tmp_path / "model")
    export(model, "onnx", "fp32")
    assert find_export(load_model(model), "onnx", "fp32") is not None
    other = save(tmp_path / "other", seed=1)
    (model / "weights.safetensors").write_bytes((other / "weights.safetensors").read_bytes())
    (model / "model.json").write_bytes((other / "model.json").read_bytes())
    assert find_export(load_model(model), "onnx", "fp32") is None


def test_masks_of_another_export_are_made_again(dataset, tmp_path):
    model = save(tmp_path / "model")
    hu = Preprocessed(dataset).split("validation")[0].ct()
    write_nifti(tmp_path / "ct.nii.gz", hu, SourceGrid(hu.shape, np.eye(4)))
    noisy = tmp_path / "other"
    for seed, (name, split) in enumerate({"a": "train", "v": "validation"}.items(), start=5):
        hu, masks = make_scan(seed)
        add_case(noisy, name, np.clip(3 * hu, -1024, 3000).astype(np.int16), masks, native=split != "train")
    finish(noisy, {"a": "train", "v": "validation"})
    skipped = []
    for calibrated_with in (dataset, None, noisy):
        if calibrated_with is not None:
            export(model, "openvino", "int8", calibrated_with)
        compute = Compute(engine="openvino", device="cpu", precision="int8")
        (done,) = predict(tmp_path / "ct.nii.gz", tmp_path / "out", model, compute=compute)
        skipped.append(done.skipped)
    assert skipped == [False, True, False]


def test_an_altered_export_is_refused(exported, tmp_path):
    import shutil

    model = tmp_path / "model"
    shutil.copytree(exported, model)
    with (model / "onnx/fp32/model.onnx").open("ab") as stream:
        stream.write(b"x")
    (model / "openvino/int8/model.bin").unlink()
    with pytest.raises(ModelError, match=r"model\.onnx: expected SHA-256 \w+ as exports.json says, got \w+; export"):
        choose_engine(load_model(model), "onnx", "cpu", "fp32")
    with pytest.raises(ModelError, match=r"model\.bin: expected SHA-256 \w+ as exports.json says, got none; export"):
        choose_engine(load_model(model), "openvino", "cpu", "int8")
    (model / EXPORTS).write_text("{}x", encoding="utf-8")
    with pytest.raises(ModelError, match=r"expected a record of exports, got: .*; delete it and export again"):
        load_exports(model)


def test_what_cannot_be_exported_is_refused(dataset, tmp_path, monkeypatch):
    model = save(tmp_path / "model")
    with pytest.raises(ConfigError, match="expected precision fp32 or int8 for onnx, got bf16"):
        export(model, "onnx", "bf16")
    with pytest.raises(ConfigError, match="expected scans or a preprocessed dataset to calibrate int8 with, got none"):
        export(model, "openvino", "int8")
    with pytest.raises(
        ConfigError,
        match=r"expected a model with an openvino export in int8.*run: tomoseg export .*"
        r" --to openvino --precision int8 --calibrate SCANS",
    ):
        choose_engine(load_model(model), "auto", "cpu", "int8")
    with pytest.raises(ConfigError, match="expected precision fp32, bf16, fp16 for engine torch, got int8"):
        choose_engine(load_model(model), "torch", "cpu", "int8")
    monkeypatch.setattr("tomoseg.packages.is_installed", lambda name: name != "onnx")
    with pytest.raises(ConfigError, match=r'expected onnx, found none; run: pip install "tomoseg\[export\]"'):
        export(model, "onnx", "fp32")
    assert sorted(path.name for path in model.iterdir()) == ["model.json", "weights.safetensors"]


def test_what_is_measured_is_what_evaluation_says_and_decides_what_auto_takes(exported, dataset, monkeypatch):
    told = []
    monkeypatch.setattr(timing, "ROUNDS", 1)
    monkeypatch.setattr(timing, "STABLE", 100.0)
    ways = {
        f"{w.engine} {w.precision}": w for w in measure_engines(exported, dataset, on_case=lambda *t: told.append(t))
    }
    assert next(iter(ways)) == "torch fp32"
    assert {"openvino fp32", "openvino int8", "onnx fp32", "onnx int8"} <= set(ways)
    assert told == [(name, 1, 1) for name in ways]
    for name in ("torch fp32", "openvino int8", "onnx fp32"):
        engine, precision = name.split()
        summary = evaluate(exported, dataset, compute=Compute(engine=engine, device="cpu", precision=precision)).summary
        assert ways[name].dice == {row.structure: row.dice for row in summary.structures}
        assert ways[name].ms_per_slice > 0
        assert (ways[name].rounds, ways[name].is_stable) == (2, True)
    written = json.loads((exported / MEASURED).read_text(encoding="utf-8"))
    assert [f"{w['engine']} {w['precision']}" for w in written["ways"]] == list(ways)
    exports = load_exports(exported)
    assert exports["openvino/int8"].trusted == ways["openvino int8"].is_close_to(ways["torch fp32"])
    for limit, precisions in ((-1.0, ("fp32", "bf16")), (1.0, ("int8",))):
        monkeypatch.setattr(measuring, "MEAN_LOSS", limit)
        monkeypatch.setattr(measuring, "STRUCTURE_LOSS", limit)
        measure_engines(exported, dataset)
        assert choose_engine(load_model(exported), "auto", "cpu").precision in precisions
    apart = measure_engines(
        exported, dataset, ways=[("torch", "fp32"), ("onnx", "fp32")], spread=Spread(on="processes:2")
    )
    assert [way.dice for way in apart] == [ways["torch fp32"].dice, ways["onnx fp32"].dice]


def test_a_network_without_a_trace_is_measured_in_torch_alone():
    record = ModelRecord(LABELS, NetworkConfig(kind="swin_unetr", channels=(12, 24)), NATIVE, WINDOWS)
    assert engines_and_precisions(Model(record, record.build())) == [("torch", "fp32")]


def test_a_packaged_model_is_not_measured_into(dataset):
    with pytest.raises(ModelError, match="expected your own model folder, got a packaged model; copy the folder"):
        measure_engines(Path("head-neck/axial"), dataset, on_case=lambda *told: pytest.fail("it measured"))


def test_a_loss_counts_in_the_mean_and_in_every_structure():
    def way(*dice):
        return EngineBenchmark(
            "openvino", "int8", 1.0, 1.0, dict(zip("abcd", dice, strict=True)), float(np.mean(dice[:3]))
        )

    reference = way(0.5, 0.6, 0.7, None)
    assert way(0.5, 0.6, 0.671, None).is_close_to(reference)
    assert not way(0.5, 0.6, 0.669, None).is_close_to(reference)  # 0.031 in one
    assert not way(0.489, 0.589, 0.689, None).is_close_to(reference)  # 0.011 in the mean
    assert way(0.9, 0.9, 0.9, None).is_close_to(reference)
    assert reference.losses(reference) == {"a": 0, "b": 0, "c": 0}


def test_a_network_of_blocks_is_given_the_block_around_a_slice(dataset):
    case = Preprocessed(dataset).split("validation")[0]
    input_spec = NetworkInput(((-1000.0, 1000.0),), NetworkConfig(dims=3, channels=(8, 16), tile=(8, 8, 4)))
    x, y = ((edge - 8) // 2 for edge in case.shape[:2])
    for k, first in ((0, 0), (case.slices // 2, case.slices // 2 - 2), (case.slices - 1, case.slices - 4)):
        image = network_image(input_spec, case, k)
        expected = case.ct()[x : x + 8, y : y + 8, first : first + 4].clip(-1000, 1000) / 2000 + 0.5
        np.testing.assert_allclose(image[0, 0], expected, atol=1e-6)


def test_others_score_only_the_cases_of_a_dataset(tmp_path):
    for measure in (None, tmp_path):
        with pytest.raises(
            ConfigError, match="a preprocessed dataset with --measure when --on is processes:2, got none"
        ):
            check_request("onnx", "fp32", None, measure, Spread(on="processes:2"))
