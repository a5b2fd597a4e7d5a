"""Workers and the server are killed at any moment: no job is lost, none is done twice, no half file is left.

The long version, 100 jobs, is `pytest -m slow tests/server/test_faults.py`.
"""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import psutil
import pytest

from tests.server.conftest import write_scan
from tests.server.running import ENDS
from tests.training.tiny import make_scan
from tomoseg.files.nifti import write_nifti
from tomoseg.server.client import Client
from tomoseg.server.database import Database
from tomoseg.volume import SourceGrid


class Killed:
    """A server in a process of its own, which can be killed and started again."""

    def __init__(self, folder, model):
        self.command = [
            sys.executable,
            "-m",
            "tomoseg",
            "serve",
            "--model",
            str(model),
            "-o",
            str(folder),
            "--port",
            "0",
        ]
        self.process = None
        self.url = ""
        self.client = None

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        line = self.process.stdout.readline()
        found = re.search(r"http://[^\s;]+", line)
        if not found:
            self.process.kill()
        assert found, line + self.process.stdout.read()
        self.url = found[0]
        self.close()
        self.client = Client(self.url)
        return self.client

    def close(self):
        if self.client is not None:
            self.client.close()

    def workers(self):
        return psutil.Process(self.process.pid).children()

    def kill(self, sent=signal.SIGKILL):
        os.kill(self.process.pid, sent)
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def killed(tmp_path, model):
    server = Killed(tmp_path / "server", model)
    yield server
    if server.process is not None and server.process.poll() is None:
        server.kill()
    server.close()


@pytest.mark.parametrize(
    ("jobs", "server_kills", "worker_kills"), [(4, 1, 1), pytest.param(100, 8, 25, marks=pytest.mark.slow)]
)
@pytest.mark.timeout(3000)
def test_nothing_is_lost_and_nothing_is_done_twice(killed, tmp_path, jobs, server_kills, worker_kills):
    chance = random.Random(20260101)
    client = killed.start()
    made = []
    for seed in range(jobs):
        scan = write_scan(tmp_path / f"ct{seed}.nii.gz", seed)
        made.append(client.submit([client.upload(scan)])["id"])
    faults = ["server"] * server_kills + ["worker"] * worker_kills
    chance.shuffle(faults)
    for fault in faults:
        time.sleep(chance.uniform(0.0, 3.0))
        if fault == "server":
            killed.kill()
            client = killed.start()
        else:
            with contextlib.suppress(psutil.Error, IndexError):
                chance.choice(killed.workers()).kill()
    ended = _all_ended(client, made)
    # a job whose workers were killed again and again has said so; chance does that to hardly any of so many
    assert {job["state"] for job in ended} <= {"done", "failed"}
    assert all("got its worker killed 3 times" in job["reason"] for job in ended if job["state"] == "failed")
    assert sum(job["state"] == "done" for job in ended) >= 0.9 * jobs
    for job in ended:
        if job["state"] == "done":
            for file in client.result(job)["files"]:
                assert (
                    len(client._ask("GET", f"/api/v1/jobs/{job['id']}/files/{file['name']}").content) == file["bytes"]
                )
    killed.kill(signal.SIGINT)
    killed.start()  # it tidies
    _is_tidy(tmp_path / "server", {job["id"] for job in ended})


def _all_ended(client, made):
    until = time.monotonic() + 2000
    while time.monotonic() < until:
        shown = [client.job(job) for job in made]
        if all(job["state"] in ENDS for job in shown):
            return shown
        time.sleep(0.3)
    raise AssertionError([job["state"] for job in shown])


def _is_tidy(folder, jobs):
    """One folder of results for each job that is done, whole, and nothing else."""
    database = Database(folder)
    rows = {row["id"]: row for row in database.all("SELECT * FROM jobs")}
    assert set(rows) == jobs
    for name, row in rows.items():
        kept = [path.name for path in (folder / "jobs" / name).iterdir()] if (folder / "jobs" / name).exists() else []
        assert kept == ([row["result"]] if row["state"] == "done" else [])
    assert not [path for path in folder.rglob("*") if path.name.endswith(".part")]
    for row in rows.values():
        if row["state"] == "done":
            result = json.loads((folder / "jobs" / row["id"] / row["result"] / "result.json").read_text())
            assert {one["name"] for one in result["structures"]} == {"ball", "cube", "both"}
    database.close()


def write_long_scan(path):
    """A scan that takes seconds: between two looks at the workers a small one is begun and done."""
    hu = np.tile(make_scan(0)[0], (5, 5, 12))
    write_nifti(path, hu, SourceGrid(hu.shape, np.eye(4)))
    return path


def test_a_worker_that_takes_too_long_ends_its_job_alone(tmp_path, model):
    from tests.server.running import ended, make_job, send, started
    from tomoseg.server.uploads import Rules

    scan = write_long_scan(tmp_path / "ct.nii.gz")
    with started(tmp_path / "server", [model], rules=Rules(job_seconds=0.0)) as server:
        job = ended(server, make_job(server, send(server, ("ct.nii.gz", scan.read_bytes())))["id"])
        assert job["state"] == "failed"
        assert job["reason"].startswith("expected a scan that takes at most 0 min, got one that takes longer")
        assert httpx.get(f"{server.base_url}/health").json()["status"] == "ok"


def test_a_worker_that_takes_too_much_memory_ends_its_job_alone(tmp_path, model):
    from tests.server.running import ended, make_job, send, started
    from tomoseg.server.uploads import Rules

    scan = write_long_scan(tmp_path / "ct.nii.gz")
    with started(tmp_path / "server", [model], rules=Rules(job_memory_bytes=60_000_000)) as server:
        job = ended(server, make_job(server, send(server, ("ct.nii.gz", scan.read_bytes())))["id"], 250)
        assert job["state"] == "failed"
        assert "got one that takes more" in job["reason"] or "got its worker killed" in job["reason"]
