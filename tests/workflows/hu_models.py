"""Models that hand on the HU, so that what they find can be told by hand, alone and as the folds of a run."""

from pathlib import Path

import torch

from tests.training.tiny import LABELS, NATIVE
from tomoseg.config import NetworkConfig
from tomoseg.models.folder import Model, ModelRecord, save_model
from tomoseg.models.folds import Folds, part_of, save_folds
from tomoseg.models.views import Fusion, save_fusion


def make_model(folder, grid=NATIVE, gain=40.0, doubt=0.0):
    """A network that hands on the HU: `ball` is above 190 HU, `cube` above 70, `both` never."""
    torch.manual_seed(0)
    record = ModelRecord(LABELS, NetworkConfig(channels=(8, 8), prior_bias=False), grid, ((-100.0, 300.0),))
    network = record.build().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for block, source in ((network.encoder[0], 0), (network.decoder[0], 8)):
            for number, place in ((0, source), (3, 0)):
                block[number].weight[0, place, 1, 1] = 1
                block[number + 1].weight[0] = 1
        network.head.weight[:2, 0] = gain
        network.head.bias[:] = torch.tensor([-gain * 0.725 - doubt, -gain * 0.425 - doubt, -9.0])
    save_model(Model(record, network), folder)
    return folder


def make_run(folder: Path, folds: dict[str, int], doubts: tuple[float, ...]) -> Path:
    """A run of folds, each of which is sure of less than the one before.

    Args:
        folder: The run folder.
        folds: The fold of each case.
        doubts: Of each fold.
    """
    for fold, doubt in enumerate(doubts, start=1):
        make_model(part_of(folder, fold) / "best", doubt=doubt)
    save_folds(Folds(len(doubts), folds), folder)
    save_fusion(Fusion(tuple(f"fold-{fold}/best" for fold in range(1, len(doubts) + 1)), ()), folder)
    return folder
