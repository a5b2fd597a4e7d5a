"""Every kind of network learns balls and cubes, and is then the same in use."""

import pytest

from tests.training.tiny import make_config, make_dataset
from tomoseg.config import AugmentationConfig, LossConfig, NetworkConfig, OptimizerConfig, SamplingConfig
from tomoseg.evaluation.summary import summarise
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.score_cases import score_cases
from tomoseg.models.folder import load_model
from tomoseg.options import Compute
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.workflows.train import train_run

NETWORKS = {
    "neighbours": {"slices": 3},
    "blocks": {"dims": 3, "tile": (16, 16, 4)},
    "whole blocks": {"dims": 3},
    "attention": {"attention": True},
    "residual": {"residual": True, "normalisation": "group"},
    "residual blocks": {"residual": True, "dims": 3, "tile": (16, 16, 4)},
    "swin": {"kind": "swin_unetr", "channels": (12, 12), "tile": (64, 32)},
    "unetr": {"kind": "unetr", "channels": (8, 32), "tile": (16, 16)},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("preprocessed")
    make_dataset(folder)
    return folder


FAST = ["neighbours", "residual"]
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in NETWORKS if name not in FAST]


OTHER_LOSSES = [
    *({"kind": kind} for kind in ("dice", "focal", "tversky", "boundary", "lovasz")),
    {"weights": {"ball": 3.0, "both": 0.5}},
]


@pytest.mark.parametrize("name", FAST + SLOW)
def test_it_learns(name, dataset, tmp_path):
    check_it_learns(NetworkConfig(**{"channels": (8, 16), **NETWORKS[name]}), LossConfig(), dataset, tmp_path)


@pytest.mark.parametrize(
    "loss",
    [{"deep_supervision": 2}, *(pytest.param(loss, marks=pytest.mark.slow) for loss in OTHER_LOSSES)],
)
def test_every_loss_teaches(loss, dataset, tmp_path):
    check_it_learns(NetworkConfig(channels=(8, 16, 16)), LossConfig(**loss), dataset, tmp_path)


def check_it_learns(network, loss, dataset, tmp_path):
    config = make_config(
        network=network,
        loss=loss,
        steps=120,
        epochs=None,
        validate_every=100,
        optimizer=OptimizerConfig(learning_rate=3e-3 if network.kind != "unet" else 2e-2),
        sampling=SamplingConfig(slices_per_case=8),
        augmentation=AugmentationConfig(enabled=False),
    )
    data = Preprocessed(dataset)
    outcome = train_run(dataset, tmp_path / "run", config)
    assert outcome.finished
    assert outcome.best_dice > 0.8
    predictor = Predictor(load_model(tmp_path / "run"), Compute(engine="torch", device="cpu", precision="fp32"))
    scores = score_cases(predictor, data.split("validation"))
    assert summarise(scores, data.labels).dice == pytest.approx(outcome.best_dice, abs=1e-6)
