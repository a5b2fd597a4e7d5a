"""Two processes that train together, started as a user starts them."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from tests.training.tiny import make_config, make_dataset
from tomoseg.config import LossConfig, NetworkConfig, OptimizerConfig, ScheduleConfig
from tomoseg.errors import TrainingError
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.settings import save_config
from tomoseg.training.build import build_run
from tomoseg.training.ranks import ALONE, Ranks
from tomoseg.workflows.train import train_run

ROOT = Path(__file__).resolve().parents[2]
SAME_EVERYWHERE = {
    "network": NetworkConfig(channels=(8, 16), normalisation="group"),
    "optimizer": OptimizerConfig(kind="sgd", learning_rate=0.05),
    "schedule": ScheduleConfig(kind="constant"),
    "loss": LossConfig(emphasis_power=0),
}
"""What depends neither on which slices are in one process nor on the length of the run, and does not make large
differences of small ones."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("preprocessed")
    make_dataset(folder)
    return folder


def launch(dataset, folder, config, *flags):
    """`torchrun` with two processes."""
    path = folder.with_suffix(".yaml")
    save_config(config, path)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    tomoseg = ["-m", "tomoseg", "train", dataset, "-o", folder, "--config", path, *flags]
    return subprocess.Popen(
        [*torchrun, *map(str, tomoseg)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def network(folder):
    return torch.load(folder / "last.pt", weights_only=True)["network"]


def test_shares_are_all_items_in_order():
    for items in ([], [1], [1, 2, 3], list(range(11))):
        shares = [Ranks(rank, 4).share(items) for rank in range(4)]
        assert [item for share in shares for item in share] == items
        assert len(shares[0]) >= max(map(len, shares))


def test_one_process_exchanges_nothing_and_needs_no_64_bits_of_its_device():
    assert ALONE.all_gather_values([0.1, 2.0], torch.device("meta")).tolist() == [[0.1, 2.0]]


def test_two_processes_train_as_one_does(dataset, tmp_path):
    # Batches of 11 and 1 of the epoch's 12 slices, in one step: the second process has no share of the last.
    config = make_config(batch_size=11, accumulation=2, epochs=3, **SAME_EVERYWHERE)
    one = train_run(dataset, tmp_path / "one", config)
    with launch(dataset, tmp_path / "two", config.model_copy(update={"epochs": 2})) as process:
        text, _ = process.communicate(timeout=240)
    assert process.returncode == 0, text
    assert text.count("epoch   1") == 1  # the first process speaks
    resumed = train_run(dataset, tmp_path / "two", config, force=True)  # by one process now
    assert [record["epoch"] for record in resumed.history] == [1, 2, 3]
    for mine, theirs in zip(one.history, resumed.history, strict=True):
        for name in ("train_loss", "validation_loss", "validation_dice"):
            assert theirs[name] == pytest.approx(mine[name], rel=1e-4)
    expected, found = network(tmp_path / "one"), network(tmp_path / "two")
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) < 1e-5
    begun = build_run(Preprocessed(dataset), config).state.network.state_dict()
    assert max(float((begun[name] - expected[name]).abs().max()) for name in expected) > 1e-2


def test_a_killed_process_ends_the_others_and_the_state_stays(dataset, tmp_path):
    config = make_config(epochs=100_000, **SAME_EVERYWHERE)
    with launch(dataset, tmp_path / "run", config) as process:
        until = time.monotonic() + 240
        while not (tmp_path / "run" / "last.pt").exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        children = psutil.Process(process.pid).children()
        assert len(children) == 2
        children[1].kill()
        text, _ = process.communicate(timeout=240)
    assert process.returncode != 0
    assert 'Traceback (most recent call last):\n  File "' + str(ROOT / "src") not in text
    done = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["counters"][0]
    resumed = train_run(dataset, tmp_path / "run", config.model_copy(update={"epochs": done + 1}))
    assert resumed.finished
    assert len(resumed.history) == done + 1


def test_a_batch_has_a_slice_for_each_process(dataset):
    with pytest.raises(
        TrainingError, match="expected a batch_size of at least one slice per process, got 4 for 5 processes"
    ):
        build_run(Preprocessed(dataset), make_config(batch_size=4), ranks=Ranks(0, 5))


def test_batch_statistics_are_not_shared_between_cpus(dataset):
    with pytest.raises(TrainingError, match=r"expected GPUs for sync_batch_norm, got cpu; use network\.normalisation"):
        build_run(Preprocessed(dataset), make_config(sync_batch_norm=True))
