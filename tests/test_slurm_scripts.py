"""The scripts of the page on SLURM do what the page says; SLURM itself gets them in `cases/test_slurm_nodes.py`."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tomoseg.cli import COMMANDS
from tomoseg.options import Compute, PredictOptions

PAGE = Path(__file__).resolve().parent.parent / "docs" / "how-to" / "slurm.md"
SCRIPTS = sorted((PAGE.parent / "slurm").glob("*.sh"))


@pytest.fixture
def called(tmp_path):
    """Runs a script with programs in the place of real ones, which say how they were called."""
    for name in ("tomoseg", "srun", "scontrol"):
        said = "echo node1; echo node2" if name == "scontrol" else f'echo "{name} $* threads=$OMP_NUM_THREADS"'
        (tmp_path / name).write_text(f"#!/bin/bash\n{said}\n")
        (tmp_path / name).chmod(0o755)

    def run(script, **variables):
        env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"} | variables
        done = subprocess.run(["bash", script], env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return run


def test_the_page_shows_them():
    text = PAGE.read_text(encoding="utf-8")
    assert SCRIPTS
    assert re.findall(r"literalinclude\} (\S+)", text) == [f"slurm/{path.name}" for path in SCRIPTS]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_bash_reads_them(script):
    subprocess.run(["bash", "-n", script], check=True)
    assert os.access(script, os.X_OK)


def test_prediction(called):
    said = called(PAGE.parent / "slurm" / "predict.sh", SLURM_CPUS_PER_TASK="4", OUT="/data/out")
    assert said == "tomoseg predict -i /share/scans -o /data/out -m body-117 --device cuda --join threads=4"
    assert "predict" in COMMANDS
    assert {"join"} <= set(PredictOptions.model_fields)
    assert {"device"} <= set(Compute.model_fields)


def test_training(called):
    given = {"SLURM_JOB_ID": "123", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_JOB_NUM_NODES": "2"}
    said = called(PAGE.parent / "slurm" / "train.sh", **given, SLURM_GPUS_ON_NODE="4", SLURM_CPUS_PER_TASK="32")
    assert said == (
        "srun --kill-on-bad-exit=1 torchrun --nnodes 2 --nproc-per-node 4 --rdzv-id 123 --rdzv-backend c10d "
        "--rdzv-endpoint node1:20123 -m tomoseg train /share/preprocessed -o /share/run threads=8"
    )
