"""The memory estimate against what training really takes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.training.tiny import add_case, finish, make_config, make_scan
from tomoseg.config import NetworkConfig, SamplingConfig
from tomoseg.errors import TrainingError
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training import plan as plan_module
from tomoseg.training.plan import PROBES, plan_batches

ROOT = Path(__file__).resolve().parents[2]
MEASURE = """
import sys
from pathlib import Path
import torch
from tests.training.test_plan import WIDE
from tests.training.tiny import make_config
from tomoseg.inference.memory import peak_memory_bytes
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.plan import plan_batches
from tomoseg.training.recipe import epoch_draws, take_step
from tomoseg.training.build import build_run
torch.set_num_threads(2)
data = Preprocessed(Path(sys.argv[1]))
if sys.argv[2] == "plan":
    print(plan_batches(data, make_config(batch_size=16, **WIDE)).bytes_of(16))
else:
    run = build_run(data, make_config(batch_size=16, **WIDE))
    batch = next(run.loader.batches(epoch_draws(run)))
    run.shared.train()
    for _ in range(3):
        take_step(run, [batch])
    print(peak_memory_bytes())
"""
WIDE = {"network": NetworkConfig(channels=(32, 64)), "sampling": SamplingConfig(slices_per_case=6)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Slices of 256 x 256, so that batches are what takes the memory."""
    folder = tmp_path_factory.mktemp("wide")
    for seed, name in enumerate("abc"):
        hu, masks = make_scan(seed, (256, 256, 8))
        add_case(folder, name, hu, masks)
    finish(folder, dict.fromkeys("abc", "train"))
    return folder


def in_a_process(dataset, what):
    command = [sys.executable, "-c", MEASURE, str(dataset), what]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_estimate_is_within_a_fifth_of_the_measured_peak(dataset):
    estimate, measured = (in_a_process(dataset, what) for what in ("plan", "measure"))
    assert estimate == pytest.approx(measured, rel=0.2)


@pytest.fixture
def hundred_a_slice(monkeypatch):
    """Training that takes 1000 bytes and 100 for each slice."""
    monkeypatch.setattr(plan_module, "_measured", lambda data, config, slices: 1000 + 100 * slices)
    assert len(PROBES[0]) == 2


@pytest.mark.parametrize(
    ("limit", "batch_size", "accumulation"), [(10_000, 8, 2), (1800, 8, 2), (1799, 7, 3), (1350, 3, 6), (1100, 1, 16)]
)
def test_what_fits_makes_steps_of_what_was_asked_for(dataset, hundred_a_slice, limit, batch_size, accumulation):
    config = make_config(batch_size=8, accumulation=2)
    plan = plan_batches(Preprocessed(dataset), config, limit)
    assert (plan.batch_size, plan.accumulation) == (batch_size, accumulation)
    assert plan.bytes_of(batch_size) <= limit
    assert plan.batch_size * plan.accumulation >= 16


@pytest.mark.parametrize(("room", "fits"), [(2, True), (1, False)])
def test_a_gpu_too_small_for_what_is_measured_first(dataset, monkeypatch, room, fits):
    def measured(data, config, slices):
        if slices > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 1000 + 100 * slices

    monkeypatch.setattr(plan_module, "_measured", measured)
    if fits:
        assert plan_batches(Preprocessed(dataset), make_config(batch_size=8), 1350).batch_size == 3
    else:
        with pytest.raises(TrainingError, match=r"expected a GPU that trains with 2 slices or blocks .* use fewer"):
            plan_batches(Preprocessed(dataset), make_config(batch_size=8), 1350)


def test_too_little_for_one_slice_is_an_error(dataset, hundred_a_slice):
    with pytest.raises(TrainingError, match=r"for training with one slice at a time.*network\.channels"):
        plan_batches(Preprocessed(dataset), make_config(), 1099)
