"""A Ray of one head and two nodes, by Ray's command line: what is lost with a node is done again elsewhere."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.cases.nodes import begin, done, environment, wait_for
from tests.workflows.predicting import make_model, run, told, write_scans

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent.parent / "clusters" / "ray.sh"
SCANS = 40


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    pytest.importorskip("ray")
    folder = Path("/tmp") / f"tomoseg-ray-{os.getpid()}"  # sockets in it need a short name
    env = environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(folder / "token"))
    try:
        subprocess.run([SCRIPT, "start", folder], check=True, env=env, timeout=200)
        yield folder, env
    finally:
        subprocess.run([SCRIPT, "stop", folder], check=True, env=env, timeout=60)


@pytest.fixture
def scans(tmp_path):
    return write_scans(tmp_path / "scans", SCANS)


def test_by_its_client_and_with_a_node_killed_in_the_middle(cluster, scans, tmp_path):
    folder, env = cluster
    model = make_model(tmp_path / "model")
    run(scans, tmp_path / "here", model, statistics=True)
    as_here = told(tmp_path / "here")

    out = tmp_path / "client"
    assert begin(scans, out, model, env, "--on", "ray://127.0.0.1:20399").wait(250) == 1  # the last is no scan
    assert told(out) == as_here

    out = tmp_path / "driver-killed"
    driver = begin(scans, out, model, env | {"RAY_ADDRESS": "127.0.0.1:6399"}, "--on", "ray")
    wait_for(out, 3)
    driver.kill()
    driver.wait()
    assert done(out) < SCANS
    assert begin(scans, out, model, env | {"RAY_ADDRESS": "127.0.0.1:6399"}, "--on", "ray").wait(250) == 1
    assert told(out) == as_here

    out = tmp_path / "node-killed"
    driver = begin(scans, out, model, env | {"RAY_ADDRESS": "127.0.0.1:6399"}, "--on", "ray")
    wait_for(out, 3)
    subprocess.run([SCRIPT, "kill", folder, "node2"], check=True, env=env)
    assert done(out) < SCANS
    assert driver.wait(250) == 1
    assert told(out) == as_here
