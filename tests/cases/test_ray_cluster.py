"""A Ray of this machine alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases.works import Noting
from tomoseg.cases.folders import Folders
from tomoseg.cases.run import run_cases
from tomoseg.errors import ConfigError
from tomoseg.options import Spread

RAY = Spread(on="ray")
ROOT = Path(__file__).resolve().parents[2]
# Ray's own, not ours
ignored = [pytest.mark.filterwarnings(f"ignore::{name}") for name in ("ResourceWarning", "FutureWarning")]
pytestmark = [pytest.mark.slow, *ignored]  # its threads stay in the process, and draw random numbers


@pytest.fixture
def local_ray(monkeypatch):
    """Two cores of this machine; workers import what this process can."""
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT / "src", ROOT))))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init("local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield ray
    ray.shutdown()


def records(done):
    return {number: record[:2] for number, record in done}


def test_all_that_it_does(local_ray, tmp_path):
    """One test, since a Ray takes seconds to start."""
    cases, ready = [*(f"case {number}" for number in range(5)), "kills once", "kills"], []
    folders = Folders((tmp_path,), tmp_path / "results")
    done = list(run_cases(Noting(tmp_path / "a", memory=7), cases, RAY, on_ready=ready.append, folders=folders))
    found = records(done)
    assert {number: found[number] for number in range(6)} == {
        number: (case.upper(), None) for number, case in enumerate(cases[:6])
    }
    assert found[6][0] == "kills"
    assert found[6][1].startswith("expected a worker to live through it, got 3 workers that ended at it")
    assert len((tmp_path / "a" / "kills").read_text().splitlines()) == 3
    assert ready == [{"tomoseg": "1", "memory": 7, "threads": "1"}]
    assert os.getpid() not in {record[2] for _, record in done}
    assert local_ray.is_initialized()  # it was connected before
    assert list((tmp_path / "results").iterdir()) == []

    with pytest.raises(ConfigError, match="expected another setting"):
        list(run_cases(Noting(tmp_path / "b"), ["a", "refused", "b"], RAY))
    with pytest.raises(ConfigError, match=r"a node of the Ray cluster with 3 cores and 0 GPUs, got at most 2 and 0"):
        list(run_cases(Noting(tmp_path / "c"), ["a"], Spread(on="ray", cpus=3)))
    with pytest.raises(ConfigError, match=r"nowhere: expected a place that all machines share, got nothing there on "):
        list(run_cases(Noting(tmp_path / "d"), ["a"], RAY, folders=Folders((tmp_path / "nowhere",))))


ASKED_TO_END = """
import os, signal, time
from tomoseg.cases.ray_cluster import _connected
try:
    with _connected(None) as ray:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
except KeyboardInterrupt:
    assert not ray.is_initialized()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    print("interrupted")
"""


def test_a_termination_request_ends_it_as_ctrl_c_does():
    pytest.importorskip("ray")
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ASKED_TO_END], env=env, capture_output=True, text=True, timeout=120
    )
    assert (ended.returncode, ended.stdout) == (0, "interrupted\n"), ended.stderr
    assert "SIGTERM received" not in ended.stderr
