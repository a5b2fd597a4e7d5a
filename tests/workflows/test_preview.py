"""What the sheet shows is what training takes."""

import numpy as np
import pytest
import torch

from tests.training.tiny import LABELS, finish, make_config, make_dataset
from tomoseg.config import AugmentationConfig, CurriculumConfig, GridConfig, NetworkConfig
from tomoseg.errors import DatasetError
from tomoseg.pictures.samples import words_of_change
from tomoseg.preprocessed.write import CaseInput, write_case
from tomoseg.training.augmentation import network_input
from tomoseg.training.build import build_run
from tomoseg.training.changes import draw_change
from tomoseg.training.recipe import epoch_draws
from tomoseg.training.sides import sides_of
from tomoseg.volume import Volume, seen
from tomoseg.workflows import preview as module
from tomoseg.workflows.preview import preview

STRONG = AugmentationConfig(exchange_sides=0.5, rotation_degrees=40, cut=0.5, gamma=0.5)
WINDOWS = ((-200.0, 300.0), (-1000.0, 0.0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("preprocessed"))


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn, as the keyword arguments and positions of the call."""
    calls = []
    monkeypatch.setattr(module, "draw_samples", lambda *given, lang: calls.append((*given, lang)))
    return calls


def test_the_first_slices_of_training_as_training_takes_them(dataset, tmp_path, drawn):
    config = make_config(augmentation=STRONG, windows_hu=WINDOWS, batch_size=12, seed=3)
    assert preview(dataset.folder, tmp_path / "a.png", config) == 16
    ((samples, labels, path, title, details, lang),) = drawn
    assert (labels, path) == (LABELS, tmp_path / "a.png")
    assert title == f"Training slices of {dataset.folder.name}"
    assert details == "24 × 22 pixels, window -200 to 300 HU"
    assert lang == "en"
    run = build_run(dataset, config)
    assert run.size == (24, 22)
    draws = epoch_draws(run)  # 12 of 3 cases; the others are of the next epoch
    run.state.epoch = 1
    draws += epoch_draws(run)[:4]
    assert [s.name for s in samples] == [f"{run.cases[d.case].name}, z = {d.slice}" for d in draws]
    sides = sides_of(LABELS, "axial", config)
    for sample, draw in zip(samples, draws, strict=True):
        mirrored = ("sides exchanged",) if sides.drawn(draw.key) else ()
        assert sample.changes == (*mirrored, *words_of_change(draw_change(draw.key, STRONG), (24, 22)))
    assert 0 < sum("sides exchanged" in sample.changes for sample in samples) < 16
    batch = next(run.loader.batches(draws))
    images, packed = network_input(batch, config, augment=True)
    for n in range(12):
        assert np.array_equal(samples[n].grey, np.rint(images[n, 0].numpy() * 255).astype(np.uint8))
        assert np.array_equal(samples[n].packed, packed[n].numpy())
    assert {s.spacing_mm for s in samples} == {(1.0, 1.0)}


@pytest.mark.parametrize("network", [{"slices": 5}, {"dims": 3, "tile": (16, 16, 4)}])
def test_of_neighbours_and_blocks_the_middle_is_shown(dataset, tmp_path, drawn, network):
    config = make_config(
        augmentation=STRONG, windows_hu=WINDOWS, batch_size=12, network=NetworkConfig(channels=(8, 16), **network)
    )
    preview(dataset.folder, tmp_path / "a.png", config)
    samples = drawn[0][0]
    run = build_run(dataset, config)
    images, packed = network_input(next(run.loader.batches(epoch_draws(run))), config, augment=True)
    if images.ndim == 5:
        images, packed = images[..., 2], packed[..., 2]
    middle = 2 if "slices" in network else 0  # of five; of the first window
    for n in range(12):
        assert np.array_equal(samples[n].grey, np.rint(images[n, middle].numpy() * 255).astype(np.uint8))
        assert np.array_equal(samples[n].packed, packed[n].numpy())


def test_a_curriculum_begins_with_its_easiest_slices(dataset, tmp_path, drawn):
    config = make_config(curriculum=CurriculumConfig(enabled=True, start_share=0.3), batch_size=12, seed=3)
    preview(dataset.folder, tmp_path / "a.png", config)
    run = build_run(dataset, config)
    first = [f"{run.cases[d.case].name}, z = {d.slice}" for d in epoch_draws(run)]
    assert [s.name for s in drawn[0][0]][: len(first)] == first
    preview(dataset.folder, tmp_path / "a.png", config.model_copy(update={"curriculum": CurriculumConfig()}))
    assert [s.name for s in drawn[1][0]] != [s.name for s in drawn[0][0]]


def test_without_augmentation_the_slices_as_they_are(dataset, tmp_path, drawn):
    config = make_config(augmentation=AugmentationConfig(enabled=False))
    preview(dataset.folder, tmp_path / "a.png", config)
    ((samples, *_, details, _),) = drawn
    assert details.startswith("augmentation is off, ")
    assert {s.changes for s in samples} == {("as it is",)}
    case, z = samples[0].name.split(", z = ")
    hu = next(c for c in dataset.cases if c.name == case).ct_slice(int(z)).astype(float)
    expected = np.rint(np.clip((hu + 200) / 500, 0, 1) * 255)
    assert np.abs(samples[0].grey - expected).max() <= 1  # a half may round either way


def test_of_coronal_slices_the_height_of_short_ones_and_where_each_lies(tmp_path, drawn):
    grid = GridConfig(mode="native", crop="none", view="coronal")
    hu = np.zeros((6, 8, 100), np.int16)
    hu[:, :, ::2] = 100  # a stripe an axial slice
    masks = np.zeros((3, *hu.shape), bool)
    masks[:, 2:4, 2:6, 40:60] = True
    coronal = Volume.from_array(hu, np.diag([2.0, 2.0, 4.0, 1.0])).seen("coronal")
    target = tmp_path / "data" / "cases" / "a"
    target.mkdir(parents=True)
    given = CaseInput("a", "a", coronal, lambda c: seen(masks[c], "coronal"), (0, 1, 2), 3, "made here")
    write_case(given, target, grid, keep_native=False, threads=1)
    finish(tmp_path / "data", {"a": "train"}, grid=grid)
    off = {"move_probability": 0, "hu_shift": 0, "hu_scale": 0, "noise_hu": 0, "elastic_probability": 0}
    off |= {"blur_probability": 0, "low_resolution_probability": 0, "cut_probability": 0, "gamma_probability": 0}
    augmentation = AugmentationConfig(short_stacks=0.5, exchange_sides=0, **off)
    preview(tmp_path / "data", tmp_path / "a.png", make_config(augmentation=augmentation, batch_size=12))
    samples = drawn[0][0]
    assert {sample.view for sample in samples} == {"coronal"}
    assert {sample.name.split(" = ")[0] for sample in samples} == {"a, y"}
    heights = set()
    for sample in samples:
        shown = int((sample.grey > 0).any(axis=0).sum())  # rows of the patient; the others are air
        heights.add(shown)
        said = ("as it is",) if shown == 100 else (f"cut to a height of {4 * shown} mm",)
        assert sample.changes == said
    assert 100 in heights
    assert all(10 <= height <= 40 or height == 100 for height in heights)
    assert len(heights) > 3


def test_it_says_it_in_french(dataset, tmp_path, drawn):
    preview(dataset.folder, tmp_path / "a.png", make_config(augmentation=STRONG, seed=3, lang="fr"))
    ((samples, _, _, title, details, lang),) = drawn
    assert (title, lang) == (f"Coupes d'entraînement de {dataset.folder.name}", "fr")
    assert details == "24 × 22 pixels, fenêtre de -200 à 300 UH"
    words = " ".join(word for sample in samples for word in sample.changes)
    assert "tournée de" in words
    assert "côtés échangés" in words
    assert "turned" not in words


def test_the_sheet_is_the_same_for_the_same_settings(dataset, tmp_path):
    pictures = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(pictures))
        preview(dataset.folder, tmp_path / "a.png", make_config(seed=seed))
        pictures.append((tmp_path / "a.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0] != pictures[2]


def test_no_training_cases_are_refused(tmp_path):
    make_dataset(tmp_path / "data", splits={"v": "validation"})
    with pytest.raises(DatasetError, match="expected cases in split 'train', got"):
        preview(tmp_path / "data", tmp_path / "a.png", make_config())
    with pytest.raises(DatasetError, match="expected a preprocessed dataset"):
        preview(tmp_path / "none", tmp_path / "a.png", make_config())
    assert not (tmp_path / "a.png").exists()
