"""A compiled network learns what the network itself does."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.tiny import make_dataset

ROOT = Path(__file__).resolve().parents[2]
STEPS = """
import json, sys
from pathlib import Path
from tests.training.tiny import make_config
from tomoseg.config import NetworkConfig, OptimizerConfig
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.recipe import epoch_draws, grouped, take_step
from tomoseg.training.run import Run
network = NetworkConfig(channels=(8, 16), normalisation="group")
optimizer = OptimizerConfig(kind="sgd", learning_rate=0.05)
for compiled in (False, True):
    config = make_config(network=network, optimizer=optimizer, batch_size=3, accumulation=2, compile=compiled)
    run = Run(Preprocessed(Path(sys.argv[1])), config)
    run.shared.train()
    losses = [take_step(run, parts) for parts in grouped(run.loader.batches(epoch_draws(run)), 2)]
    print(json.dumps(losses + [float(p.double().norm()) for p in run.network.parameters()]))
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
