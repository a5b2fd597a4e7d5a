"""Imported models against the same rules applied plainly to whole arrays."""

import nibabel
import numpy as np
import pytest

from tests.nnunet_files import FLAT, REGIONS, Made, label_map, weights_of, write_training
from tests.training.tiny import add_case, finish
from tomoseg.config import GridConfig
from tomoseg.errors import ConfigError, InputError
from tomoseg.files.scan import read_scan
from tomoseg.inference.score_cases import on_grid
from tomoseg.inference.segment import open_predictor, segment, segment_on_grid
from tomoseg.options import Compute, Request
from tomoseg.volume import SourceGrid, Volume
from tomoseg.workflows.import_model import import_model

FP32 = Compute(device="cpu", engine="torch", precision="fp32")
ISOTROPIC = np.diag([2.0, 2.0, 2.5, 1.0])
THICK = np.diag([1.1, 1.1, 5.0, 1.0])
LPS = np.diag([-2.0, -2.0, 2.5, 1.0])
SIDEWAYS = np.array([[0, 0, 2.5, 0], [2.0, 0, 0, 0], [0, -2.0, 0, 0], [0, 0, 0, 1.0]])
"""The file's first axis runs to anterior, its second to inferior, its third to the right."""


@pytest.fixture(autouse=True)
def no_exports(monkeypatch):
    """An export takes seconds."""
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)


MANY = {"background": 0} | {f"part_{number}": number for number in range(1, 10)}
"""More structures than two networks of four features have: these are summed up, and the head comes after."""
RESIDUAL = {"kind": "ResidualEncoderUNet"}
CASES = {
    "plain": (Made(), ISOTROPIC, (17, 22, 13)),
    "residual": (Made(**RESIDUAL), ISOTROPIC, (17, 22, 13)),
    "old plans": (Made(features=(6, 12, 20), old=True), ISOTROPIC, (17, 22, 13)),
    "native voxels": (Made(spacing=(2.5, 2.0, 2.0)), ISOTROPIC, (19, 20, 15)),
    "thick slices": (Made(spacing=(2.5, 1.5, 1.5)), THICK, (24, 22, 7)),
    "thick patches": (Made(spacing=(6.0, 1.5, 1.5)), ISOTROPIC, (20, 18, 30)),
    "smaller than a patch": (Made(patch=(16, 24, 32)), ISOTROPIC, (12, 21, 11)),
    "file axes": (Made(), LPS, (17, 22, 13)),
    "sideways": (Made(), SIDEWAYS, (17, 14, 22)),
    "thick sideways": (Made(spacing=(3.0, 2.5, 2.0)), SIDEWAYS * [[1], [1], [0.3], [1]], (17, 60, 9)),
    "transposed": (Made(top={"transpose_forward": [1, 2, 0]}, spacing=(2.0, 2.0, 2.0)), ISOTROPIC, (17, 22, 13)),
    "slices": (Made(**FLAT), ISOTROPIC, (21, 20, 5)),
    "slices from the side": (Made(**FLAT, top={"transpose_forward": [2, 0, 1]}), LPS, (5, 23, 19)),
    "regions": (Made(labels=REGIONS), ISOTROPIC, (17, 22, 13)),
    "more structures than features": (Made(features=(4, 8, 10), labels=MANY), LPS, (17, 22, 13)),
    "slices of more structures": (Made(**FLAT | {"features": (4, 8, 10)}, labels=MANY), ISOTROPIC, (21, 20, 5)),
}


def scan_of(shape, affine, seed=0, border=0):
    rng = np.random.default_rng(seed)
    coarse = rng.normal(0, 400, [n // 3 + 1 for n in shape])
    values = np.kron(coarse, np.ones((3, 3, 3)))[tuple(slice(n) for n in shape)] + rng.normal(0, 60, shape)
    values = np.rint(np.where(np.rint(values) == 0, 1, values)).astype(np.int16)
    if border:
        values[:border], values[:, -border:], values[:, :, :1] = 0, 0, 0
    return values, nibabel.Nifti1Image(values, affine)


def compared(tmp_path, made, affine, shape, folds=("0",), mirrored=(), border=0, flips=False):
    """Our label map along the file's axes in reverse order, nnU-Net's, and the margin by which that is decided."""
    import_model(write_training(tmp_path / "nn", made, folds), tmp_path / "model")
    values, image = scan_of(shape, affine, border=border)
    nibabel.save(image, tmp_path / "ct.nii.gz")
    volume = read_scan(tmp_path / "ct.nii.gz")
    found = segment(volume, tmp_path / "model", Request(ml=True, flips=flips), compute=FP32).result.values
    transpose = tuple(made.top.get("transpose_forward", (0, 1, 2)))
    weights = [weights_of(made, number) for number in range(len(folds))]
    spacing = [float(edge) for edge in image.header.get_zooms()[::-1]]
    expected, logits = label_map(made, weights, values.transpose(), spacing, transpose, mirrored)
    return volume.source.from_canonical(found).transpose(), expected, logits


@pytest.mark.parametrize("name", CASES)
def test_labels_are_those_of_the_rules(tmp_path, name):
    made, affine, shape = CASES[name]
    found, expected, _ = compared(tmp_path, made, affine, shape)
    assert len(np.unique(expected)) > 2
    assert (found != expected).sum() <= 2  # ties in the last digit of 32 bits


def test_what_is_outside_of_the_voxels_that_are_not_0_is_background(tmp_path):
    found, expected, _ = compared(tmp_path, Made(), ISOTROPIC, (17, 22, 13), border=3)
    assert (found != expected).sum() <= 2
    assert not found[:, :, :3].any()
    assert not found[0].any()


def test_folds_are_averaged(tmp_path):
    found, expected, _ = compared(tmp_path, Made(), ISOTROPIC, (17, 18, 9), folds=("0", "1"))
    assert (found != expected).sum() <= 2
    assert (tmp_path / "model" / "fold_1" / "weights.safetensors").is_file()


def test_mirror_images_are_averaged_if_they_are_asked_for(tmp_path):
    made = Made(mirrored=(0, 2))
    found, expected, _ = compared(tmp_path, made, LPS, (17, 18, 9), mirrored=(0, 2), flips=True)
    assert (found != expected).sum() <= 2


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imported")
    import_model(write_training(folder / "nn"), folder / "model")
    return folder / "model"


def volume_of(shape=(15, 16, 9)):
    return Volume.from_array(scan_of(shape, ISOTROPIC)[0], ISOTROPIC)


def test_masks_are_those_of_the_label_map(imported):
    volume, predictor = volume_of(), open_predictor(imported, FP32)
    labels = segment(volume, predictor, Request(ml=True)).result
    masks = segment(volume, predictor).result
    for name in labels.labels.names:
        assert labels.mask(name).any()
        assert (masks.mask(name) == labels.mask(name)).all()


def test_a_structure_alone_is_as_among_all(imported):
    volume, predictor = volume_of(), open_predictor(imported, FP32)
    every = segment(volume, predictor).result
    for request in (Request(roi_subset=("spleen",)), Request(roi_subset=("spleen",), ml=True)):
        some = segment(volume, predictor, request).result
        assert some.labels.names == ("spleen",)
        assert (some.mask("spleen") == every.mask("spleen")).all()


def test_probabilities_add_up_to_at_most_1_and_agree_with_the_masks(imported):
    found = segment(volume_of(), open_predictor(imported, FP32), Request(confidence=True))
    names = found.labels.names
    maps = np.stack([found.confidence.map(name) for name in names]).astype(int)
    masks = np.stack([found.mask(name) for name in names])
    assert maps.sum(0).max() <= 256
    assert (masks[maps > 128]).all()
    assert not masks[maps < 60].any()  # of four a winner has a quarter at least


def test_probabilities_are_those_of_a_softmax(tmp_path):
    made = Made(spacing=(2.5, 2.0, 2.0))
    import_model(write_training(tmp_path / "nn", made), tmp_path / "model")
    values, _ = scan_of((15, 16, 9), ISOTROPIC)
    found = segment(Volume.from_array(values, ISOTROPIC), tmp_path / "model", Request(confidence=True), compute=FP32)
    _, logits = label_map(made, [weights_of(made)], values.transpose(), (2.5, 2.0, 2.0))
    shares = np.exp(logits - logits.max(0))
    shares = shares / shares.sum(0)
    mine = np.stack([found.confidence.map(name).transpose() for name in found.labels.names])
    assert np.abs(mine - 255 * shares[1:]).max() < 0.51


def test_the_rating_is_of_the_masks_though_no_probability_reaches_a_half(tmp_path):
    made = Made(spacing=(2.5, 2.0, 2.0))  # the scan's own voxels
    import_model(write_training(tmp_path / "nn", made), tmp_path / "model")
    values, _ = scan_of((15, 16, 9), ISOTROPIC)
    volume = Volume.from_array(values, ISOTROPIC)
    expected, logits = label_map(made, [weights_of(made)], values.transpose(), (2.5, 2.0, 2.0))
    shares = np.exp(logits - logits.max(0))
    shares = shares / shares.sum(0)
    assert ((expected > 0) & (shares.max(0) < 0.5)).any()
    rating = segment(volume, open_predictor(tmp_path / "model", FP32), Request(triage=True)).self_rating
    for name, number in (("liver", 1), ("spleen", 2), ("kidney_left", 3)):
        mask, share = expected == number, shares[number]
        dice = 2 * share[mask].sum() / (share.sum() + mask.sum())
        assert rating.structures[name] == pytest.approx(dice, rel=1e-3)


def test_engines_agree(imported):
    volume = volume_of()
    masks = [
        segment(
            volume, imported, Request(ml=True), compute=Compute(engine=e, device="cpu", precision="fp32")
        ).result.values
        for e in ("torch", "openvino")
    ]
    assert (masks[0] != masks[1]).sum() <= 2


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_less_than_32_bits_is_for_who_asks_for_it(imported, engine, monkeypatch):
    monkeypatch.setattr("tomoseg.inference.device._bf16_pays", lambda training: True)
    monkeypatch.setattr("tomoseg.inference.openvino_engine.fastest_float", lambda: "bf16")
    (found,) = open_predictor(imported, Compute(device="cpu", engine=engine)).engines()
    assert found.precision == "fp32"


def test_slices_alone(imported):
    hu = volume_of().hu.transpose(2, 0, 1)[:2]
    found = open_predictor(imported, FP32).predict_batch(hu, (2.0, 2.0))
    assert found.shape == (2, 3, 15, 16)
    assert found.sum(axis=1).max() == 1


def test_cases_of_a_preprocessed_dataset_are_segmented_as_their_scans(imported, tmp_path):
    """They are kept on their own voxels, cropped to the body."""
    values = np.full((17, 16, 9), -1000, np.int16)
    values[3:14, 2:13] = scan_of((11, 11, 9), ISOTROPIC)[0] // 8
    grid = GridConfig(mode="native", crop="body", body_margin_mm=2.0)
    add_case(tmp_path, "a", values, np.zeros((3, *values.shape), bool), grid, spacing_mm=(2.0, 2.0, 2.5))
    (case,) = finish(tmp_path, {"a": "validation"}, grid=grid).split("validation")
    assert not case.record.placement.is_whole(values.shape)
    predictor = open_predictor(imported, FP32)
    found = segment_on_grid(on_grid(case), predictor, predictor.choices(Request()), Request(ml=True)).result
    box = case.record.placement.box()
    alone = SourceGrid(values[box].shape, ISOTROPIC)
    expected = segment(Volume(values[box], alone), predictor, Request(ml=True)).result
    assert expected.values.any()
    assert (found.values[box] == expected.values).all()
    assert np.count_nonzero(found.values) == np.count_nonzero(expected.values)
    choices = predictor.choices(Request())
    slices = predictor.grid_slices(on_grid(case), [0, 4], choices)
    assert list(slices) == [0, 4]
    for k, masks in slices.items():
        assert (masks == [expected.values[:, :, k] == value for value in choices.labels.ids]).all()


def test_cases_on_other_voxels_are_refused(imported, tmp_path):
    grid = GridConfig(mode="spacing", spacing_mm=3.0, crop="none")
    add_case(tmp_path, "a", volume_of().hu, np.zeros((3, 15, 16, 9), bool), grid)
    (case,) = finish(tmp_path, {"a": "validation"}, grid=grid).split("validation")
    predictor = open_predictor(imported, FP32)
    with pytest.raises(ConfigError, match=r"own voxels for an imported model.* preprocess with --grid\.mode native"):
        segment_on_grid(on_grid(case), predictor, predictor.choices(Request()))


def test_memory_is_bounded(imported):
    with pytest.raises(InputError, match="raise --max-memory"):
        segment(volume_of(), imported, compute=Compute(device="cpu", engine="torch", max_memory="1MB"))


@pytest.mark.parametrize(
    ("request_", "words"),
    [({"flips": True}, "trained on mirror images"), ({"threshold": ("0.4",)}, "no thresholds")],
)
def test_what_it_cannot_do_is_refused(imported, request_, words):
    with pytest.raises(ConfigError, match=words):
        segment(volume_of(), open_predictor(imported, FP32), Request(**request_))
