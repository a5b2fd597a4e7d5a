"""A SLURM of one controller and two nodes, of Debian's packages; as root, where they are installed."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases.nodes import begin, done, environment, wait_for
from tests.training.tiny import make_config, make_dataset
from tests.workflows.predicting import make_model, run, told, write_scans
from tomoseg.settings import save_config

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent.parent / "clusters" / "slurm.sh"
PAGES = Path(__file__).parent.parent.parent / "docs" / "how-to"
SCANS = 30
WITHOUT_GPUS = ("--gpus-per-node=0", "--cpus-per-task=1", "--mem=0")
JOBS = ("--on", "slurm:4", "--hours", "0.2", "--sbatch", "partition=all")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("submitit")
    if not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))) or os.geteuid():
        pytest.skip("needs slurm-wlm and munge, and to be root")
    folder = tmp_path_factory.mktemp("slurm")
    env = environment(SLURM_CONF=str(folder / "slurm.conf"))
    subprocess.run([SCRIPT, "start", folder], check=True, env=env, timeout=60)
    yield folder, env
    subprocess.run([SCRIPT, "stop", folder], check=True, env=env, timeout=60)


@pytest.fixture
def scans(tmp_path):
    return write_scans(tmp_path / "scans", SCANS)


def test_the_same_as_here_with_a_node_and_a_driver_killed(cluster, scans, tmp_path):
    folder, env = cluster
    model = make_model(tmp_path / "model")
    run(scans, tmp_path / "here", model, statistics=True)
    as_here = told(tmp_path / "here")
    out = tmp_path / "out"
    driver = begin(scans, out, model, env, *JOBS)
    wait_for(out, 2)
    driver.kill()
    driver.wait()
    before = done(out)
    wait_for(out, before + 2)  # the jobs go on
    assert before + 2 <= done(out)
    subprocess.run([SCRIPT, "kill", folder, "node2"], check=True, env=env)
    assert begin(scans, out, model, env, *JOBS).wait(280) == 1
    assert told(out) == as_here
    shown = subprocess.run(
        [sys.executable, "-m", "tomoseg", "status", out, "--json"], env=env, capture_output=True, text=True
    )
    assert (json.loads(shown.stdout)["done"], list(json.loads(shown.stdout)["failed"])) == (SCANS, [f"s{SCANS}"])
    subprocess.run([SCRIPT, "start-node", folder, "node2"], check=True, env=env)


def test_what_slurm_does_not_take(cluster, scans, tmp_path, capfd):
    _, env = cluster
    model = make_model(tmp_path / "model")
    assert begin(scans, tmp_path / "out", model, env, "--on", "slurm", "--sbatch", "partition=none").wait(100) == 2
    assert "expected SLURM to accept 8 jobs, got:" in capfd.readouterr().err


@pytest.mark.parametrize("script", ["predict.sh", "train.sh"])
def test_slurm_reads_the_scripts_of_the_page(cluster, script):
    _, env = cluster
    command = ["sbatch", "--test-only", *WITHOUT_GPUS, str(PAGES / "slurm" / script)]
    said = subprocess.run(command, env=env, capture_output=True, text=True)
    assert re.search(r"sbatch: Job \d+ to start at ", said.stderr), said.stderr


def submit(script, env, folder, *flags):
    """Submit a script of the page with other numbers, and wait for its end."""
    command = ["sbatch", "--wait", *WITHOUT_GPUS, *flags, str(PAGES / "slurm" / script)]
    subprocess.run(command, env=env, cwd=folder, check=True, timeout=280)
    return "\n".join(path.read_text() for path in folder.glob("*.log"))


def test_the_script_for_prediction(cluster, scans, tmp_path):
    _, env = cluster
    (scans / f"s{SCANS}.nii.gz").unlink()  # else jobs end with exit status 1
    model = make_model(tmp_path / "model")
    where = {"SCANS": str(scans), "OUT": str(tmp_path / "out"), "MODEL": str(model), "DEVICE": "cpu"}
    logs = submit("predict.sh", env | where, tmp_path, "--array=1-3")
    assert len(list((tmp_path / "out").rglob("*prediction.json"))) == SCANS, logs


def test_the_script_for_training(cluster, tmp_path):
    _, env = cluster
    make_dataset(tmp_path / "preprocessed")
    save_config(make_config(epochs=2), tmp_path / "train.yaml")
    where = {
        "PREPROCESSED": str(tmp_path / "preprocessed"),
        "RUN": str(tmp_path / "run"),
        "PROCESSES": "1",
        "RENDEZVOUS": f"127.0.0.1:{20000 + os.getpid() % 20000}",  # the names of its nodes are no addresses
        "TRAIN_FLAGS": f"--config {tmp_path / 'train.yaml'}",
    }
    logs = submit("train.sh", env | where, tmp_path)
    assert (tmp_path / "run" / "last.pt").is_file(), logs
