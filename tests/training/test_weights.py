"""Warm starts and running means of weights."""

import shutil
from dataclasses import replace

import pytest
import torch

from tests.training.tiny import LABELS, NATIVE, make_config, make_dataset
from tomoseg.config import NetworkConfig, OptimizerConfig, TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.labels import LabelSet, Structure
from tomoseg.models.folder import Model, ModelRecord, save_model
from tomoseg.nnunet import NnunetNetwork
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.build import build_run
from tomoseg.training.listener import Listener
from tomoseg.training.weights import average_of, fitted_to, warm_start
from tomoseg.workflows.train import train_run

WINDOWS = ((-200.0, 300.0),)
OTHERS = LabelSet((Structure(2, "cone"), Structure(5, "cube", "solid"), Structure(6, "ball", "solid")))


def make_model(labels, seed, **changes):
    torch.manual_seed(seed)
    network = NetworkConfig(**{"channels": (8, 16), **changes})
    record = ModelRecord(labels, network, NATIVE, WINDOWS)
    return Model(record, record.build())


def test_shared_structures_keep_their_last_layer_and_others_do_not():
    source, target = make_model(OTHERS, 1), make_model(LABELS, 2)
    before = {name: value.clone() for name, value in target.network.state_dict().items()}
    assert warm_start(target.network, target.record, source) == ("ball", "cube")
    theirs, mine = source.network.state_dict(), target.network.state_dict()
    for name in ("head.weight", "head.bias"):
        assert torch.equal(mine[name][:2], theirs[name][[2, 1]])  # ball, cube
        assert torch.equal(mine[name][2], before[name][2])
        assert not torch.equal(mine[name][0], before[name][0])
    assert all(torch.equal(mine[name], theirs[name]) for name in mine if not name.startswith("head"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (8, 24)}, r"expected network\.channels as in the model to start from, \[8, 24\], got \[8, 16\]"),
        (
            {"normalisation": "group"},
            r"expected network\.normalisation as in the model to start from, group, got batch",
        ),
    ],
)
def test_another_architecture_is_refused(changes, message):
    target = make_model(LABELS, 2)
    with pytest.raises(TrainingError, match=message):
        warm_start(target.network, target.record, make_model(LABELS, 1, **changes))


def test_a_run_starts_warm(tmp_path):
    make_dataset(tmp_path / "data")
    source = make_model(OTHERS, 1)
    save_model(source, tmp_path / "model")
    run = build_run(Preprocessed(tmp_path / "data"), make_config(warm_start=tmp_path / "model"))
    head = run.state.network.state_dict()["head.weight"]
    assert torch.equal(head[:2], source.network.state_dict()["head.weight"][[2, 1]])


def test_a_warm_started_run_goes_on_without_what_it_started_from(tmp_path):
    make_dataset(tmp_path / "data")
    save_model(make_model(OTHERS, 1), tmp_path / "model")
    config = make_config(warm_start=tmp_path / "model", optimizer=OptimizerConfig(kind="sgd"))
    whole = train_run(tmp_path / "data", tmp_path / "whole", config)
    assert not train_run(tmp_path / "data", tmp_path / "run", config, Listener(should_stop=lambda: True)).finished
    shutil.rmtree(tmp_path / "model")
    resumed = train_run(tmp_path / "data", tmp_path / "run", config)
    assert resumed.finished
    assert [r["train_loss"] for r in resumed.history] == [r["train_loss"] for r in whole.history]


def test_a_mean_by_hand():
    network = make_model(LABELS, 0).network
    average = average_of(network, 0.5)
    for steps, value in enumerate((1.0, 2.0, 6.0)):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.fill_(value)
        average.update_parameters(network)
        # The first is taken whole, after that 2/11 and 3/12 stay, not yet a half.
        expected = (1.0, 1 * 2 / 11 + 2 * 9 / 11, (1 * 2 / 11 + 2 * 9 / 11) * 3 / 12 + 6 * 9 / 12)[steps]
        assert next(average.module.parameters()).flatten()[0].item() == pytest.approx(expected)
    buffers = dict(average.module.named_buffers())
    assert all(buffers[name].dtype == value.dtype for name, value in network.named_buffers())


def test_settings_take_over_the_network_to_start_from_unless_they_have_their_own(tmp_path):
    record = make_model(LABELS, 0).record
    taken = fitted_to(TrainConfig(minutes=3), record)
    assert (taken.network, taken.windows_hu, taken.minutes) == (record.network, record.windows_hu, 3)
    own = TrainConfig(network=NetworkConfig(channels=(8, 16, 24)))
    assert fitted_to(own, record) == own


def test_settings_do_not_take_over_an_imported_network(tmp_path):
    edges = {"kernels": ((3, 3), (3, 3)), "strides": ((1, 1), (2, 2)), "blocks": (1, 1), "decoder_convs": (1,)}
    imported = NnunetNetwork(kind="plain_conv_unet", channels=(4, 8), **edges)
    record = replace(make_model(LABELS, 0).record, network=imported)
    for config in (TrainConfig(), TrainConfig(network=NetworkConfig(channels=(8, 16, 24)))):
        with pytest.raises(
            TrainingError, match="model of tomoseg's own to start from, got an imported one; start from scr"
        ):
            fitted_to(config, record)
