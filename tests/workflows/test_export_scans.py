"""int8 from scans without masks, and engines compared on them, of imported models and of our own."""

import json

import nibabel
import numpy as np
import pytest

from tests.nnunet_files import Made, write_training
from tests.training.tiny import LABELS, NATIVE, add_case, finish, make_scan
from tests.workflows.test_export import save
from tomoseg.cli import main
from tomoseg.config import NetworkConfig
from tomoseg.errors import ConfigError, InputError
from tomoseg.files.scan import read_scan
from tomoseg.inference import openvino_engine
from tomoseg.inference.choose import choose_engine
from tomoseg.inference.segment import segment
from tomoseg.models.exports import load_exports, set_trusted
from tomoseg.models.folder import Model, ModelRecord, load_model, save_model
from tomoseg.options import Compute
from tomoseg.workflows import time_engines as timing
from tomoseg.workflows.agreement import FEW_VOXELS
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.export import export
from tomoseg.workflows.import_model import import_model
from tomoseg.workflows.measure_engines import MEASURED, measure_engines
from tomoseg.workflows.unlabelled import Unlabelled

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])
LOW = Compute(device="cpu", engine="openvino", precision="int8")
PLAIN = Compute(device="cpu", engine="openvino", precision="fp32")


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", 1)
    monkeypatch.setattr(timing, "STABLE", 100.0)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for seed in range(2):
        rng = np.random.default_rng(seed)
        values = np.kron(rng.normal(0, 400, (6, 7, 5)), np.ones((3, 3, 3))) + rng.normal(0, 30, (18, 21, 15))
        nibabel.save(nibabel.Nifti1Image(values.round().astype(np.int16) | 1, AFFINE), folder / f"scan_{seed}.nii.gz")
    return folder


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    import_model(write_training(folder / "nn", Made(), ("0", "1")), folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def exported(imported, scans):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "ROUNDS", 1)
        patch.setattr(timing, "STABLE", 100.0)
        assert main(["export", str(imported), "--precision", "int8", "--calibrate", str(scans)]) == 0
    return imported


def test_every_fold_has_int8_and_says_what_stayed_in_floating_point(exported):
    for fold in ("fold_0", "fold_1"):
        made = load_exports(exported / fold)["openvino/int8"].made
        assert made["kept_in_floating_point"][0] == "head"
        assert made["calibrated_with"] == ["scan_0", "scan_1"]
        assert made["images"] + made["checked_with"] > 8


def test_agreement_is_that_of_the_masks(exported, scans):
    fold = exported / "fold_0"
    written = json.loads((fold / MEASURED).read_text())
    assert (written["scans"], written["cases"]) == (scans.name, 2)
    plain, low = written["ways"]
    assert [(way["engine"], way["precision"]) for way in (plain, low)] == [("openvino", "fp32"), ("openvino", "int8")]
    volumes = [read_scan(path) for path in sorted(scans.iterdir())]
    found = [[segment(one, load_model(fold), compute=how) for one in volumes] for how in (PLAIN, LOW)]
    names, voxels = found[0][0].labels.names, 0
    for name in names:
        mine, theirs = (np.concatenate([one.mask(name).ravel() for one in of]) for of in found)
        assert low["dice"][name] == pytest.approx(2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()))
        assert low["dice"][name] > 0.8
        assert (name in low["few"]) == (mine.sum() < FEW_VOXELS)
        voxels += (mine & ~theirs).sum() + (theirs & ~mine).sum()
    assert voxels / 2 <= low["differing"] <= voxels  # a voxel that goes from one structure to another counts once
    assert plain["differing"] == 0
    assert all(value == 1 for value in plain["dice"].values())
    trusted = load_exports(fold)["openvino/int8"].trusted
    lost = [1 - value for name, value in low["dice"].items() if name not in low["few"]]
    assert trusted == (np.mean(lost) <= 0.01 and max(lost) <= 0.03)


def test_int8_is_taken_by_itself_only_where_it_agrees_and_pays(exported, monkeypatch):
    fold = exported / "fold_1"
    for trusted, pays, precision in ((True, True, "int8"), (True, False, "fp32"), (False, True, "fp32")):
        set_trusted(fold, "openvino/int8", trusted)
        monkeypatch.setattr(openvino_engine, "int8_pays", lambda dims, pays=pays: pays and dims == 3)
        assert choose_engine(load_model(fold), "auto", "cpu").precision == precision
    assert choose_engine(load_model(fold), "auto", "cpu", "int8").precision == "int8"


def test_folds_predict_in_int8(exported, scans, tmp_path):
    output = tmp_path / "masks.nii.gz"
    flags = ["-m", str(exported), "--ml", "--precision", "int8"]
    assert main(["predict", "-i", str(scans / "scan_0.nii.gz"), "-o", str(output), *flags]) == 0
    mine = np.asarray(nibabel.load(output).dataobj)
    plain = segment(scans / "scan_0.nii.gz", exported, compute=PLAIN)
    assert (mine > 0).sum() > 0
    for number, name in enumerate(plain.labels.names, start=1):
        theirs, ours = plain.mask(name), mine == number
        assert 2 * (ours & theirs).sum() > 0.8 * (ours.sum() + theirs.sum())


def test_all_engines_are_compared_on_scans(exported, scans, capsys):
    assert main(["export", str(exported / "fold_0"), "--measure", str(scans)]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("ms per patch", "s per scan", "Dice against torch fp32", "openvino fp32", "openvino int8"):
        assert words in printed


def test_masks_give_the_dice_of_imported_models_too(exported, tmp_path):
    folder = tmp_path / "preprocessed"
    hu, masks = make_scan(3)
    add_case(folder, "v", hu, masks, native=True)
    finish(folder, {"v": "validation"})
    model = tmp_path / "model"
    labels = {"background": 0} | {name: number for number, name in enumerate(LABELS.names, start=1)}
    import_model(write_training(tmp_path / "nn", Made(labels=labels)), model)
    index = json.loads((folder / "preprocessed.json").read_text())
    index["grid"] = load_model(model).record.grid.model_dump(mode="json")
    (folder / "preprocessed.json").write_text(json.dumps(index))
    ways = {f"{way.engine} {way.precision}": way for way in measure_engines(model, folder)}
    expected = evaluate(model, folder, compute=Compute(engine="torch", device="cpu", precision="fp32")).summary
    assert ways["torch fp32"].dice == {row.structure: row.dice for row in expected.structures}
    assert ways["openvino fp32"].seconds_a_scan is None


def test_our_own_models_are_calibrated_with_scans_as_well(scans, tmp_path):
    model = save(tmp_path / "model")
    made = export(model, "openvino", "int8", scans).made
    assert made["kept_in_floating_point"][0] == "head"
    assert made["images"] + made["checked_with"] == 2 * 15  # every slice of both
    plain, low = measure_engines(model, scans, ways=[("openvino", "fp32"), ("openvino", "int8")])
    assert 0.9 < low.mean_dice <= plain.mean_dice == 1


def test_a_scan_that_cannot_be_read_is_named_and_the_rest_is_done(imported, scans, tmp_path, capsys):
    folder = tmp_path / "some"
    folder.mkdir()
    (folder / "broken.nii.gz").write_bytes((scans / "scan_0.nii.gz").read_bytes()[:500])
    (folder / "good.nii.gz").write_bytes((scans / "scan_1.nii.gz").read_bytes())
    flags = ["--precision", "int8", "--calibrate", str(folder)]
    assert main(["export", str(imported / "fold_1"), *flags]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "failed: broken:" in told
    assert load_exports(imported / "fold_1")["openvino/int8"].made["calibrated_with"] == ["good"]


def test_without_any_scan_nothing_is_written(imported, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    model = str(imported / "fold_0")
    assert main(["export", model, "--precision", "int8", "--calibrate", str(tmp_path / "empty")]) == 2
    assert "expected DICOM, NIfTI, NRRD or MetaImage files" in capsys.readouterr().err
    (tmp_path / "empty" / "a.nii.gz").write_bytes(b"nothing")
    scans = Unlabelled(tmp_path / "empty" / "a.nii.gz")
    with pytest.raises(InputError, match="expected a scan that can be read, got none of 1: "):
        list(scans.some(3))


def test_scans_of_one_value_tell_nothing(imported, tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.full((18, 21, 15), 40, np.int16), AFFINE), tmp_path / "flat.nii.gz")
    with pytest.raises(
        InputError, match="expected scans with different values to calibrate with, got uniform ones; use"
    ):
        export(imported / "fold_0", "openvino", "int8", tmp_path / "flat.nii.gz")


def test_a_network_that_cannot_be_traced_is_refused_before_a_scan_is_read(scans, tmp_path, monkeypatch):
    record = ModelRecord(LABELS, NetworkConfig(kind="swin_unetr", channels=(12, 24)), NATIVE, ((-200.0, 300.0),))
    save_model(Model(record, record.build()), tmp_path / "model")
    monkeypatch.setattr("tomoseg.workflows.unlabelled.read_scan", lambda _: pytest.fail("it was read"))
    with pytest.raises(ConfigError, match=r"expected network\.tile for an export of swin_unetr"):
        export(tmp_path / "model", "openvino", "int8", scans)


def test_many_scans_are_taken_evenly(scans, tmp_path):
    for number in range(7):
        (tmp_path / f"s{number}.nii.gz").write_bytes((scans / "scan_0.nii.gz").read_bytes())
    assert [name for name, _ in Unlabelled(tmp_path).some(3)] == ["s0", "s3", "s6"]
