"""What is recorded is what a network is given: by its rules applied plainly, and by an engine that listens."""

import nibabel
import numpy as np
import pytest

from tests.nnunet_files import Made, preprocessed, write_training
from tests.training.tiny import LABELS, NATIVE
from tomoseg.config import NetworkConfig
from tomoseg.files.scan import read_scan
from tomoseg.inference.recorder import WeightedSample, draw_images
from tomoseg.inference.segment import predictor_of
from tomoseg.inference.stages import Stages
from tomoseg.models.folder import Model, ModelRecord, load_model
from tomoseg.volume import Volume
from tomoseg.workflows.import_model import import_model

AFFINE = np.diag([2.0, 2.0, 2.5, 1.0])


@pytest.fixture(autouse=True)
def no_exports(monkeypatch):
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)


def scan(shape, rng):
    values = np.kron(rng.normal(0, 400, [n // 3 + 1 for n in shape]), np.ones((3, 3, 3)))
    return values[tuple(slice(n) for n in shape)].round().astype(np.int16) | 1


def imported(folder, made):
    import_model(write_training(folder / "nn", made), folder / "model")
    return load_model(folder / "model")


def test_the_patch_of_an_imported_model_is_the_scan_as_its_rules_make_it(tmp_path, rng):
    made = Made(patch=(16, 24, 32))  # larger than the scan: one patch, with zeros around
    model = imported(tmp_path, made)
    values = scan((12, 21, 11), rng)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), tmp_path / "ct.nii.gz")
    predictor = predictor_of(model)
    (found,) = draw_images(predictor, predictor.on_grid(read_scan(tmp_path / "ct.nii.gz"), Stages()), 5)
    expected, _, _ = preprocessed(made, values.transpose(), [2.5, 2.0, 2.0])
    missing = [edge - n for edge, n in zip(made.patch, expected.shape, strict=True)]
    padded = np.pad(expected, [(m // 2, m - m // 2) for m in missing])
    np.testing.assert_allclose(found[0, 0], padded, atol=1e-4)


@pytest.mark.parametrize("structures", [3, 9])
def test_all_patches_are_offered_with_the_head_and_without(tmp_path, rng, structures):
    labels = {"background": 0} | {f"part_{n}": n for n in range(1, structures + 1)}
    model = imported(tmp_path, Made(labels=labels))  # of nine structures its six features are summed up
    volume = Volume.from_array(scan((20, 22, 13), rng), AFFINE)
    listening, recording = predictor_of(model), predictor_of(model)
    (engine,) = listening.engines()
    heard = []
    run = engine.run
    engine.run = lambda images: heard.append(images.copy()) or run(images)
    for _ in listening.slices(listening.on_grid(volume, Stages()), listening.choices()):
        pass
    found = draw_images(recording, recording.on_grid(volume, Stages()), 10**6)
    assert len(found) == len(heard) > 4
    for mine, theirs in zip(found, heard, strict=True):
        assert np.array_equal(mine, theirs)


def test_slices_of_a_model_that_was_trained_here(rng):
    record = ModelRecord(LABELS, NetworkConfig(channels=(8, 16), slices=3), NATIVE, ((-200.0, 300.0),))
    predictor = predictor_of(Model(record, record.build()))
    volume = Volume.from_array(scan((16, 20, 5), rng), np.eye(4))
    found = draw_images(predictor, predictor.on_grid(volume, Stages()), 100)
    padded = np.concatenate([volume.hu[:, :, :1], volume.hu, volume.hu[:, :, -1:]], axis=2)
    assert np.array_equal(np.concatenate(found), record.input_spec.of_slices(padded))


def test_few_are_drawn_of_many_and_none_of_one_value():
    drawn = WeightedSample(3)
    for value in (0, 0, 5, 6, 7, 8, 9):
        drawn.offer(np.array([[0, value]], np.float32))
    assert len(drawn.images) == 3
    assert all(image.max() > 0 for image in drawn.images)
    order = [int(image.max()) for image in drawn.images]
    assert order == sorted(order)
    nothing = WeightedSample(3)
    nothing.offer(np.full((1, 4), 7, np.float32))
    assert nothing.images == []


def test_what_is_spread_wider_is_drawn_as_much_oftener():
    picks = []
    for seed in range(400):
        drawn = WeightedSample(1, seed)
        for value in (1, 3):
            drawn.offer(np.array([[0, value]], np.float32))
        picks.append(int(drawn.images[0].max()))
    assert 0.68 < picks.count(3) / 400 < 0.82  # 3 of 4; four standard deviations are 0.087
