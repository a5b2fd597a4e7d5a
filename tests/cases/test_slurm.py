"""Jobs as threads of this process, in place of SLURM; SLURM itself is in `test_slurm_nodes.py`."""

import json
import os
import pickle
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.cases.works import Noting
from tomoseg.cases import leases as leases_module
from tomoseg.cases import slurm as module
from tomoseg.cases.folders import Folders, Seen
from tomoseg.cases.leases import Leases
from tomoseg.cases.run import run_cases
from tomoseg.cases.slurm import parameters_of
from tomoseg.cases.slurm_job import ERROR, FOLDER, ORDER, READY, RECORDS, Serving
from tomoseg.errors import ConfigError
from tomoseg.options import Spread

SLURM = Spread(on="slurm:2")


class Queue:
    """SLURM as far as the command sees it: jobs that run at once, and who asks for them."""

    def __init__(self, job=lambda output: Serving(output)()):
        self.job, self.threads, self.cancelled = job, [], []

    def submit(self, output, jobs, spread):
        self.threads = [threading.Thread(target=self.job, args=(output,)) for _ in range(jobs)]
        for thread in self.threads:
            thread.start()
        return "17"

    def run(self, command, **_):
        if command[0] == "scancel":
            self.cancelled.append(command[1])
        is_left = any(thread.is_alive() for thread in self.threads)
        told = "slurm_load_jobs error: Invalid job id specified"
        return subprocess.CompletedProcess(command, 0 if is_left else 1, "17_0" if is_left else "", told)


@pytest.fixture
def queue(monkeypatch):
    pytest.importorskip("submitit")
    found = Queue()
    monkeypatch.setattr(module, "_submit", found.submit)
    monkeypatch.setattr(module.subprocess, "run", found.run)
    monkeypatch.setattr(module.shutil, "which", lambda name: f"/bin/{name}")
    for name, seconds in (("LOOK_SECONDS", 0.01), ("QUEUE_SECONDS", 0.05)):
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(leases_module, "LOOK_SECONDS", 0.01)
    return found


def records(done):
    return {number: record[:2] for number, record in done}


def do(work, cases, tmp_path, **given):
    return list(run_cases(work, cases, SLURM, folders=Folders((tmp_path,), tmp_path / "out"), **given))


def test_the_same_records_as_here(queue, tmp_path):
    cases, ready = [f"case {number}" for number in range(9)], []
    here = list(run_cases(Noting(tmp_path / "here"), cases))
    done = do(Noting(tmp_path / "apart"), cases, tmp_path, on_ready=ready.append)
    assert sorted(records(done).items()) == sorted(records(here).items())
    assert len(ready) == 1
    assert json.loads((tmp_path / "out" / ".work" / "job.json").read_text())["scans"] == cases  # `status` reads it
    assert Leases(tmp_path / "out").ended("done") == set(cases)
    again = do(Noting(tmp_path / "apart"), cases, tmp_path)  # a new round
    assert records(again) == records(here)
    assert len((tmp_path / "apart" / "case 0").read_text().splitlines()) == 2


def test_a_case_that_ends_three_jobs_is_set_aside(queue, tmp_path):
    leases = Leases(tmp_path / "out")

    def job(output):
        for _ in range(3):
            assert leases.claim("kills")
            _grow_old(output)
        Serving(output)()

    queue.job = job
    one, folders = Spread(on="slurm:1"), Folders((), tmp_path / "out")
    done = records(run_cases(Noting(tmp_path / "notes"), ["a", "kills"], one, folders=folders))
    assert done[0] == ("A", None)
    assert done[1][1].startswith("expected a worker to finish it, got 3 workers that died on it (its lease expired)")


def _grow_old(output):
    for path in (output / ".work" / "leases").iterdir():
        old = path.stat().st_mtime - 1000
        os.utime(path, (old, old))


def test_what_is_not_of_one_case_ends_the_command_and_the_jobs(queue, tmp_path):
    with pytest.raises(ConfigError, match="expected another setting"):
        do(Noting(tmp_path / "notes"), ["a", "refused", "b"], tmp_path)
    assert queue.cancelled == ["17"]


def test_another_version_on_a_node(queue, tmp_path):
    queue.job = lambda output: Serving(output, "0.0.1")()
    with pytest.raises(
        ConfigError, match=r"expected tomoseg 0\.0\.1 on all machines, got \S+ on \S+; install the same"
    ):
        do(Noting(tmp_path / "notes"), ["a", "b"], tmp_path)


def test_a_folder_that_a_node_does_not_see(queue, tmp_path):
    folders = Folders((tmp_path / "nowhere",), tmp_path / "out")
    with pytest.raises(ConfigError, match=r"nowhere: expected a path that all machines share, got nothing there on "):
        list(run_cases(Noting(tmp_path / "notes"), ["a"], SLURM, folders=folders))


def test_nodes_that_compute_otherwise(queue, tmp_path):
    work = Noting(tmp_path / "notes", broken="unlike each time")
    with pytest.raises(ConfigError, match=r"expected all workers to compute alike, got tomoseg \d+ and \d+; install"):
        do(work, ["slow a", "slow b", "slow c"], tmp_path)


def test_no_job_is_left(queue, tmp_path):
    queue.job = lambda output: None
    with pytest.raises(
        ConfigError, match=r"jobs 17 to finish all scans, got 2 of 2 unfinished by jobs none of which started"
    ):
        do(Noting(tmp_path / "notes"), ["a", "b"], tmp_path)


def test_the_same_command_looks_on_at_jobs_that_go_on(queue, tmp_path):
    cases = [f"slow {number}" for number in range(6)]
    first = run_cases(Noting(tmp_path / "notes"), cases, SLURM, folders=Folders((tmp_path,), tmp_path / "out"))
    next(first)
    first.close()  # the command has ended, its jobs have not
    with pytest.raises(
        ConfigError, match=r"expected no other jobs writing to it, got jobs 17 of another command; wait for"
    ):
        do(Noting(tmp_path / "notes", memory=1), cases, tmp_path)
    assert queue.cancelled == []
    assert records(do(Noting(tmp_path / "notes"), cases, tmp_path)) == {
        n: (c.upper(), None) for n, c in enumerate(cases)
    }
    assert all(len((tmp_path / "notes" / case).read_text().splitlines()) == 1 for case in cases)


def test_who_joins_by_hand_is_not_disturbed(queue, tmp_path):
    Leases(tmp_path / "out").claim("a")
    with pytest.raises(ConfigError, match=r"expected no other jobs writing to it, got 1 at work; wait for them"):
        do(Noting(tmp_path / "notes"), ["a", "b"], tmp_path)


def test_what_it_needs(queue, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="expected an output folder that all nodes share, got none; name one with"):
        list(run_cases(Noting(tmp_path), ["a"], SLURM))
    assert list(run_cases(Noting(tmp_path), [], SLURM, folders=Folders((), tmp_path))) == []
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="expected SLURM on this machine, found no sbatch; run it where jobs are"):
        do(Noting(tmp_path), ["a"], tmp_path)


def test_what_sbatch_is_asked_for():
    found = parameters_of(3, Spread(on="slurm", cpus=4, gpus=1, hours=1.5, sbatch=("partition=gpu", "exclusive")))
    assert found["time"] == 90
    assert found["cpus_per_task"] == 4
    assert found["gpus_per_node"] == 1
    assert found["additional_parameters"] == {"requeue": True, "partition": "gpu", "exclusive": True}
    assert found["setup"] == ["export OMP_NUM_THREADS=4"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"on": "slurm:0"}, r"expected here, processes:4 \(for 4 processes\), ray, ray://HOST:PORT or slurm:8 \(for 8"),
        ({"on": "ray://head"}, "expected here, processes:4"),
        ({"on": "here", "cpus": 2}, "expected --on ray or slurm with --cpus, got --on here; correct"),
        ({"on": "processes:2", "gpus": 1}, "expected --on ray or slurm with --gpus, got --on processes:2"),
        ({"on": "ray", "hours": 1}, "expected --on slurm with --hours, got --on ray; correct"),
        ({"on": "ray", "sbatch": ("mem=1G",)}, "expected --on slurm with --sbatch, got --on ray"),
        ({"on": "slurm", "gpus": 0.5}, "expected whole GPUs with --on slurm, got --gpus 0.5"),
        ({"on": "slurm", "sbatch": ("--mem=1G",)}, "expected an option of sbatch such as partition=gpu or exclusive"),
    ],
)
def test_what_does_not_go_together(given, told):
    with pytest.raises(ConfigError, match=told):
        Spread(**given)


def test_a_job_that_goes_on_after_another_command_has_begun_leaves_that_its_cases(tmp_path):
    """It was stopped for longer than its lease, and SLURM no longer knows it: it ends, and writes and tells nothing."""
    out, case = tmp_path / "out", "until another began"
    folder = out / FOLDER
    for name in (READY, RECORDS):
        (folder / name).mkdir(parents=True)
    (folder / ORDER).write_bytes(pickle.dumps((Seen(Path.cwd(), (), None), Noting(tmp_path / "notes"), [case])))
    job = threading.Thread(target=Serving(out))
    job.start()
    while not (tmp_path / "notes" / case).exists():
        time.sleep(0.01)
    other = Leases(out, "the other")
    (folder / ORDER).unlink()
    other.forget([case])
    assert other.claim(case)
    (tmp_path / "notes" / "another").touch()
    job.join()
    assert [one.mark for one in other.at_work()] == ["the other"]
    assert other.ended() == set()
    assert list((folder / RECORDS).iterdir()) == []
    assert not (folder / ERROR).exists()
