"""A Ray of one head and two nodes, by Ray's command line: what is lost with a node is done again elsewhere."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflows.datasets import GRID, scan
from tests.workflows.predicting import make_model, run, told
from tomoseg.files.nifti import write_nifti

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent.parent / "clusters" / "ray.sh"
SCANS = 40


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("ray")
    folder = Path("/tmp") / f"tomoseg-ray-{os.getpid()}"  # sockets in it need a short name
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join((str(Path("src").absolute()), str(Path().absolute()))),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
    }
    subprocess.run([SCRIPT, "start", folder], check=True, env=env, timeout=200)
    yield folder, env
    subprocess.run([SCRIPT, "stop", folder], check=True, env=env, timeout=60)


@pytest.fixture
def scans(tmp_path):
    (tmp_path / "scans").mkdir()
    for number in range(SCANS):
        write_nifti(tmp_path / "scans" / f"s{number:02}.nii.gz", scan(number), GRID)
    (tmp_path / "scans" / "s99.nii.gz").write_bytes(b"no scan")
    return tmp_path / "scans"


def begin(scans, out, model, env, *flags):
    flags = ("-i", scans, "-o", out, "-m", model, "--device", "cpu", "--precision", "fp32", "--statistics", *flags)
    return subprocess.Popen([sys.executable, "-m", "tomoseg", "predict", *map(str, flags)], env=env)


def wait_for(out, count):
    until = time.monotonic() + 200
    while len(list(out.rglob("*prediction.json"))) < count and time.monotonic() < until:
        time.sleep(0.05)


def test_by_its_client_and_with_a_node_killed_in_the_middle(cluster, scans, tmp_path):
    folder, env = cluster
    model = make_model(tmp_path / "model")
    run(scans, tmp_path / "here", model, statistics=True)
    as_here = told(tmp_path / "here")

    out = tmp_path / "client"
    assert begin(scans, out, model, env, "--on", "ray://127.0.0.1:20399").wait(250) == 1  # s99 is no scan
    assert told(out) == as_here

    out = tmp_path / "driver-killed"
    driver = begin(scans, out, model, env | {"RAY_ADDRESS": "127.0.0.1:6399"}, "--on", "ray")
    wait_for(out, 3)
    driver.kill()
    driver.wait()
    assert len(list(out.rglob("*prediction.json"))) < SCANS
    assert begin(scans, out, model, env | {"RAY_ADDRESS": "127.0.0.1:6399"}, "--on", "ray").wait(250) == 1
    assert told(out) == as_here

    out = tmp_path / "node-killed"
    driver = begin(scans, out, model, env | {"RAY_ADDRESS": "127.0.0.1:6399"}, "--on", "ray")
    wait_for(out, 3)
    subprocess.run([SCRIPT, "kill", folder, "node2"], check=True, env=env)
    assert len(list(out.rglob("*prediction.json"))) < SCANS
    assert driver.wait(250) == 1
    assert told(out) == as_here
