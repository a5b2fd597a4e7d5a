"""Networks that are told where their slices lie: in training, validation, export and use, and from either side.

The networks here say nothing of a scan but what they are told, so that masks show it: a left structure lies where the
slice is left of the body's middle, a right one where it is right of it.
"""

import numpy as np
import pytest
import torch

from tests.training.tiny import finish, make_config
from tomoseg.config import AugmentationConfig, GridConfig, NetworkConfig, TrainConfig
from tomoseg.errors import ConfigError, TrainingError
from tomoseg.grid import AIR_HU
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import on_grid, score_case
from tomoseg.inference.segment import segment
from tomoseg.labels import LabelSet
from tomoseg.models.folder import Model, ModelRecord, load_model, save_model
from tomoseg.networks.network import Network
from tomoseg.options import Compute, Request
from tomoseg.preprocessed.write import CaseInput, write_case
from tomoseg.training.augmentation import network_input
from tomoseg.training.build import build_run, drawn_slices
from tomoseg.training.listener import Listener
from tomoseg.training.sampling import Draw
from tomoseg.training.weights import fitted_to, warm_start
from tomoseg.volume import Volume, seen
from tomoseg.workflows.export import export
from tomoseg.workflows.train import train_run

PAIRED = LabelSet.from_names(["kidney_left", "kidney_right"])
SAGITTAL = GridConfig(mode="native", crop="none", view="sagittal")
CPU = Compute(engine="torch", device="cpu", precision="fp32")
WINDOWS = ((-200.0, 300.0),)
TOLD = NetworkConfig(channels=(8, 16), slices=3, position=True)
EDGE_MM = 20.0
SHAPE = (14, 8, 8)
FIRST, PAST = 3, 11
"""The body's voxels along x: its middle lies between 6 and 7, the array's too; see `moved`."""


def scan(moved=0):
    """A body in air, so many voxels farther right than the middle of the array."""
    hu = np.full(SHAPE, AIR_HU, np.int16)
    hu[FIRST + moved : PAST + moved, 1:7, :] = 40
    return Volume.from_array(np.asfortranarray(hu), np.diag([EDGE_MM, EDGE_MM, EDGE_MM, 1.0]))


def sides_of(moved):
    """What lies left of the body's middle, and what right of it."""
    right = np.zeros(SHAPE, bool)
    right[7 + moved :] = True
    return np.stack([~right, right])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preprocessed")
    moves = {"a": 2, "b": -1, "v": -3}
    for name, moved in moves.items():
        target = folder / "cases" / name
        target.mkdir(parents=True)
        masks = sides_of(moved)
        volume = scan(moved).seen("sagittal")
        given = CaseInput(name, name, volume, lambda c, m=masks: seen(m[c], "sagittal"), (0, 1), 2, "made here")
        write_case(given, target, SAGITTAL, keep_native=name == "v", threads=1)
    return finish(folder, dict.fromkeys("ab", "train") | {"v": "validation"}, PAIRED, SAGITTAL)


def knowing_model(**changes):
    """It says nothing but what it is told: left below a half, right above."""
    config = NetworkConfig(**{"channels": (8, 16), "slices": 3, "position": True, **changes})
    record = ModelRecord(PAIRED, config, SAGITTAL, WINDOWS)
    network = record.build()
    return Model(record, _Told(network))


class _Told(Network):
    """The last channel, as logits of both sides."""

    def __init__(self, network):
        super().__init__(network.in_channels, 2, network.stride, network.widths)
        self.head = network.head

    def forward(self, images):
        told = 100 * (images[:, -1:] - 0.5)
        return torch.cat([-told, told], dim=1)


@pytest.mark.parametrize("moved", [-3, 0, 2])
@pytest.mark.parametrize("flips", [False, True])
def test_a_scan_in_use_is_split_at_the_body_s_middle_whichever_way_it_is_stored(moved, flips):
    predictor = Predictor(knowing_model(), CPU)
    volume = scan(moved)
    found = segment(volume, predictor, Request(flips=flips)).result
    expected = sides_of(moved)
    for channel, name in enumerate(PAIRED.names):
        assert np.array_equal(found.mask(name), expected[channel])
    affine = np.diag([-EDGE_MM, EDGE_MM, EDGE_MM, 1.0])  # from right to left in the file
    stored = Volume.from_array(np.asfortranarray(volume.hu[::-1]), affine)
    again = segment(stored, predictor, Request(flips=flips)).result
    assert np.array_equal(again.mask("kidney_right"), expected[1])


def test_cropped_and_padded_the_middle_is_the_same():
    predictor = Predictor(knowing_model(), CPU)
    hu = scan(2).hu
    padded = np.pad(hu, ((0, 6), (2, 0), (1, 1)), constant_values=AIR_HU)
    for cut, first in ((hu[4:14], 4), (padded, 0)):
        volume = Volume.from_array(np.asfortranarray(cut), np.diag([EDGE_MM, EDGE_MM, EDGE_MM, 1.0]))
        right = segment(volume, predictor).result.mask("kidney_right").any(axis=(1, 2))
        assert np.flatnonzero(right)[0] + first == 9


def test_validation_and_single_slices_are_told_the_same(dataset):
    predictor = Predictor(knowing_model(), CPU)
    (case,) = dataset.split("validation")
    assert [s.dice for s in score_case(predictor, case).structures] == [1, 1]
    masks = predictor.grid_slices(on_grid(case), [0, 3, 4, 13], predictor.choices())
    assert {k: (bool(m[0].all()), bool(m[1].any())) for k, m in masks.items()} == {
        0: (True, False), 3: (True, False), 4: (False, True), 13: (False, True)
    }  # fmt: skip


def test_training_slices_are_told_and_their_mirror_images_the_opposite(dataset):
    off = {"move_probability": 0, "hu_shift": 0, "hu_scale": 0, "noise_hu": 0, "short_stacks": 0}
    told = {}
    for share in (0, 1):
        config = make_config(
            network=TOLD,
            windows_hu=WINDOWS,
            augmentation=AugmentationConfig(exchange_sides=share, position_mm=0, **off),
        )
        slices = drawn_slices(dataset, config, (8, 8), 1)
        batch = slices.collate([slices[Draw(0, k, (0, 0, k))] for k in (0, 8, 9, 13)])
        images, _ = network_input(batch, config, augment=True)
        assert images.shape == (4, 4, 8, 8)
        told[share] = images[:, -1, 0, 0].tolist()
        plain = make_config(network=TOLD.model_copy(update={"position": False}), windows_hu=WINDOWS)
        without, _ = network_input(batch, plain.model_copy(update={"augmentation": config.augmentation}), augment=True)
        assert torch.equal(images[:, :-1], without)
    # the body's middle is at 8.5: -170, -10, 10 and 90 mm, of 200 either way
    assert told[0] == pytest.approx([0.5 - 170 / 400, 0.475, 0.525, 0.725])
    assert told[1] == pytest.approx([0.5 + 170 / 400, 0.525, 0.475, 0.275])


def test_the_middle_is_taken_for_another_by_so_much_at_most(dataset):
    config = make_config(network=TOLD, windows_hu=WINDOWS, augmentation=AugmentationConfig(position_mm=8))
    config = config.model_copy(update={"augmentation": config.augmentation.model_copy(update={"exchange_sides": 0.0})})
    slices = drawn_slices(dataset, config, (8, 8), 1)
    batch = slices.collate([slices[Draw(0, 9, (0, 0, k))] for k in range(200)])
    images, _ = network_input(batch, config, augment=True)
    mm = (images[:, -1, 0, 0].numpy() - 0.5) * 400
    assert mm.min() >= 10 - 8
    assert mm.max() <= 10 + 8
    assert np.ptp(mm) > 14


def test_it_trains_validates_exports_and_every_engine_says_the_same(dataset, tmp_path):
    config = make_config(network=TOLD, windows_hu=WINDOWS, export=True, epochs=1, steps=None, batch_size=4)
    assert train_run(dataset.folder, tmp_path / "run", config, Listener()).finished
    model = load_model(tmp_path / "run")
    assert model.record.network.position
    export(tmp_path / "run", "onnx")
    export(tmp_path / "run", "openvino", "int8", dataset.folder)
    logits = {}
    images = model.record.input_spec.of_slices(dataset.cases[0].ct(), dataset.cases[0].positions_mm[1:-1])
    for engine, precision in (("torch", "fp32"), ("openvino", "fp32"), ("onnx", "fp32"), ("openvino", "int8")):
        predictor = Predictor(load_model(tmp_path / "run"), Compute(engine=engine, device="cpu", precision=precision))
        logits[engine, precision] = predictor.engines()[0].run(images)
        segment(scan(1), predictor)
    expected = logits["torch", "fp32"]
    for (_, precision), found in logits.items():
        error = np.abs(found - expected).max() / np.abs(expected).max()
        assert error < (1e-4 if precision == "fp32" else 0.2)


@pytest.mark.parametrize(
    "network",
    [
        {"channels": (8, 16), "residual": True, "slices": 3},
        {"kind": "swin_unetr", "channels": (12, 12), "tile": (64, 64)},
        {"kind": "unetr", "channels": (8, 32), "tile": (32, 32)},
    ],
)
def test_a_network_that_was_not_told_goes_on_as_it_was_and_can_learn_it(network):
    torch.manual_seed(0)
    old = ModelRecord(PAIRED, NetworkConfig(**network), SAGITTAL, WINDOWS)
    new = ModelRecord(PAIRED, NetworkConfig(**network, position=True), SAGITTAL, WINDOWS)
    source, target = Model(old, old.build().eval()), new.build().eval()
    assert warm_start(target, new, source) == PAIRED.names
    images = torch.rand(2, new.input_spec.channels, *(network.get("tile") or (8, 8)))
    with torch.inference_mode():
        assert torch.allclose(target(images), source.network(images[:, :-1]), atol=1e-5)
    with pytest.raises(
        TrainingError, match=r"expected network\.position as in the model to start from, true, got false"
    ):
        warm_start(old.build(), old, Model(new, target))


def test_a_warm_start_takes_the_model_s_network_and_adds_what_is_told():
    record = ModelRecord(PAIRED, NetworkConfig(channels=(8, 24)), SAGITTAL, WINDOWS)
    asked = TrainConfig(network=TrainConfig().network.model_copy(update={"position": True}))
    assert fitted_to(asked, record).network == NetworkConfig(channels=(8, 24), position=True)
    assert fitted_to(TrainConfig(), record).network == NetworkConfig(channels=(8, 24))


def test_axial_slices_are_not_told_and_of_several_views_the_others_are(dataset, tmp_path):
    config = TrainConfig(network=TOLD, views=("axial", "sagittal"))
    assert not config.of_view("axial").network.position
    assert config.of_view("sagittal").network.position
    folder = tmp_path / "cases" / "a"
    folder.mkdir(parents=True)
    axial = GridConfig(mode="native", crop="none")
    given = CaseInput("a", "a", scan(), lambda c: sides_of(0)[c], (0, 1), 2, "made here")
    write_case(given, folder, axial, keep_native=False, threads=1)
    data = finish(tmp_path, {"a": "train"}, PAIRED, axial)
    with pytest.raises(ConfigError, match=r"expected coronal or sagittal slices for network.position, got axial ones"):
        build_run(data, make_config(network=TOLD))


def test_a_model_s_folder_keeps_that_it_is_told(tmp_path):
    record = ModelRecord(PAIRED, TOLD, SAGITTAL, WINDOWS)
    save_model(Model(record, record.build()), tmp_path / "model")
    found = load_model(tmp_path / "model")
    assert found.record.network.position
    assert found.network.in_channels == 4
