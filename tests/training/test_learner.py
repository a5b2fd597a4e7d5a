"""A network with its loss: compiled, with deep supervision, with structures that weigh differently."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.tiny import LABELS, make_config, make_dataset
from tomoseg.config import LossConfig, NetworkConfig
from tomoseg.errors import ConfigError
from tomoseg.networks.build import build_network
from tomoseg.networks.packed import pack_bits
from tomoseg.training.build import structure_weights
from tomoseg.training.learner import Learner
from tomoseg.training.losses import LossNormaliser, Targets, fused_loss
from tomoseg.workflows.train import train_run

ROOT = Path(__file__).resolve().parents[2]
STEPS = """
import json, sys
from pathlib import Path
from tests.training.tiny import make_config
from tomoseg.config import NetworkConfig, OptimizerConfig
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.recipe import epoch_draws, grouped, take_step
from tomoseg.training.build import build_run
network = NetworkConfig(channels=(8, 16), normalisation="group")
optimizer = OptimizerConfig(kind="sgd", learning_rate=0.05)
for compiled in (False, True):
    config = make_config(network=network, optimizer=optimizer, batch_size=3, accumulation=2, compile=compiled)
    run = build_run(Preprocessed(Path(sys.argv[1])), config)
    run.shared.train()
    losses = [take_step(run, parts)[0] for parts in grouped(run.loader.batches(epoch_draws(run)), 2)]
    print(json.dumps(losses + [float(p.double().norm()) for p in run.state.network.parameters()]))
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler on a CPU")
def test_a_compiled_network_learns_the_same(tmp_path):
    make_dataset(tmp_path)
    command = [sys.executable, "-c", STEPS, str(tmp_path)]  # in a process whose types are not checked
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    plain, compiled = map(json.loads, done.stdout.splitlines())
    assert len(plain) > 10
    assert compiled == pytest.approx(plain, rel=1e-3)


def make_learner(levels, dims=2):
    torch.manual_seed(0)
    network = build_network(NetworkConfig(channels=(8, 16, 16, 8), dims=dims), 1, 3)
    config = make_config(loss=LossConfig(kind="bce", deep_supervision=levels))
    return Learner(network, config, torch.float32)


def make_batch(dims=2):
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 1, *[16] * dims, generator=generator)
    masks = torch.rand(2, 3, *[16] * dims, generator=generator) < 0.3
    targets = Targets(pack_bits(masks), torch.tensor([[True, True, False], [True, True, True]]))
    return images, targets


@pytest.mark.parametrize("dims", [2, 3])
def test_deep_supervision_is_the_weighted_mean_of_the_losses_of_the_levels(dims):
    learner = make_learner(2, dims)
    images, targets = make_batch(dims)
    found = learner.train()(images, targets, LossNormaliser.of(targets))
    features = learner.network.scales(images)
    each = [
        fused_loss(
            head,
            features[level],
            targets.coarser(2**level),
            learner._config.loss,
            LossNormaliser.of(targets.coarser(2**level)),
        )
        for level, head in enumerate((learner.network.head, *learner.deep))
    ]
    assert found.item() == pytest.approx(((each[0] + each[1] / 2 + each[2] / 4) / 1.75).item(), rel=1e-6)
    found.backward()
    assert all(head.weight.grad.any() for head in learner.deep)


def test_only_training_knows_of_deep_supervision():
    images, targets = make_batch()
    deep, plain = (make_learner(levels).eval() for levels in (2, 0))
    assert deep(images, targets, LossNormaliser.of(targets)) == plain(images, targets, LossNormaliser.of(targets))
    assert deep.network.state_dict().keys() == plain.network.state_dict().keys()


def test_more_levels_than_the_network_has_are_those_that_it_has():
    images, targets = make_batch()
    many, both = (make_learner(levels).train() for levels in (9, 2))
    assert len(many.deep) == 2
    assert many(images, targets, LossNormaliser.of(targets)) == both(images, targets, LossNormaliser.of(targets))


def test_deep_supervision_survives_an_interruption(tmp_path):
    make_dataset(tmp_path / "data")
    config = make_config(loss=LossConfig(deep_supervision=1), network=NetworkConfig(channels=(8, 8, 8)), epochs=1)
    train_run(tmp_path / "data", tmp_path / "run", config)
    state = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert state["beside"].keys() == {"deep.0.weight", "deep.0.bias"}
    assert train_run(tmp_path / "data", tmp_path / "run", make_config(**dict(config, epochs=2))).finished


def test_weights_have_a_mean_of_one():
    weights = structure_weights({"ball": 4.0}, LABELS.names, torch.device("cpu"))
    assert weights.tolist() == [2.0, 0.5, 0.5]
    assert structure_weights({}, LABELS.names, torch.device("cpu")) is None
    assert structure_weights(dict.fromkeys(LABELS.names, 3.0), LABELS.names, torch.device("cpu")) is None
    with pytest.raises(ConfigError, match=r"loss.weights: .*'bal'.*ball"):
        structure_weights({"bal": 1.0}, LABELS.names, torch.device("cpu"))
    with pytest.raises(ConfigError, match=r"loss.weights: expected a structure that weighs more than 0, got none"):
        structure_weights(dict.fromkeys(LABELS.names, 0.0), LABELS.names, torch.device("cpu"))
