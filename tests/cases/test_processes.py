import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.cases.works import Noting
from tomoseg.cases.run import run_cases
from tomoseg.errors import ConfigError, ModelError
from tomoseg.inference.threads import thread_count
from tomoseg.options import Spread

TWO = Spread(on="processes:2")


def records(done):
    return {number: record[:2] for number, record in done}


def test_the_same_records_as_here(tmp_path):
    cases = [f"case {number}" for number in range(9)]
    told = []
    here = list(run_cases(Noting(tmp_path / "here"), cases, tell=lambda *what: told.append(what)))
    assert [number for number, _ in here] == list(range(9))
    assert told == [(case, 1, 1) for case in cases]
    apart = list(run_cases(Noting(tmp_path / "apart"), cases, TWO))
    assert records(apart) == records(here)
    workers = {record[2] for _, record in apart}
    assert len(workers) <= 2
    assert os.getpid() not in workers


def test_cores_and_memory_are_divided(tmp_path):
    ready, before = [], os.environ.get("OMP_NUM_THREADS")
    list(run_cases(Noting(tmp_path, memory=100), ["slow a", "slow b", "slow c"], TWO, on_ready=ready.append))
    assert ready == [{"tomoseg": "1", "memory": 50, "threads": str(max(1, thread_count() // 2))}]
    assert os.environ.get("OMP_NUM_THREADS") == before


def test_no_more_workers_than_cases(tmp_path):
    ready = []
    done = list(run_cases(Noting(tmp_path, memory=100), ["only"], Spread(on="processes:7"), on_ready=ready.append))
    assert records(done) == {0: ("ONLY", None)}
    assert ready[0]["memory"] == 100


def test_a_case_whose_worker_was_killed_is_done_again(tmp_path):
    done = list(run_cases(Noting(tmp_path), ["a", "kills once", "b", "c"], TWO))
    assert records(done) == {0: ("A", None), 1: ("KILLS ONCE", None), 2: ("B", None), 3: ("C", None)}
    assert len((tmp_path / "kills once").read_text().splitlines()) == 2
    assert len((tmp_path / "a").read_text().splitlines()) == 1


def test_a_case_that_kills_three_workers_is_set_aside(tmp_path):
    done = records(run_cases(Noting(tmp_path), ["a", "kills", "b"], TWO))
    assert (done[0], done[2]) == (("A", None), ("B", None))
    case, reason = done[1]
    assert case == "kills"
    assert reason.startswith(
        "expected a worker to finish it, got 3 workers that died on it (SIGKILL), most likely for lack of memory"
    )
    assert len((tmp_path / "kills").read_text().splitlines()) == 3


def test_what_is_not_of_one_case_ends_the_command(tmp_path):
    with pytest.raises(ModelError, match="expected a model, got none"):
        list(run_cases(Noting(tmp_path, broken="model"), ["a", "b"], TWO))
    with pytest.raises(ConfigError, match="expected another setting"):
        list(run_cases(Noting(tmp_path), ["a", "refused", "b"], TWO))
    with pytest.raises(ZeroDivisionError, match="nobody foresaw it") as raised:
        list(run_cases(Noting(tmp_path), ["fault"], TWO))
    assert "works.py" in raised.value.__notes__[0]


def test_workers_that_die_at_once(tmp_path):
    with pytest.raises(ConfigError, match=r"expected the worker processes to survive, got one killed,.*__main__"):
        list(run_cases(Noting(tmp_path, broken="dies"), ["a", "b"], TWO))


def test_a_worker_that_dies_before_its_first_case_is_another_s_place(tmp_path):
    """As for want of memory while all load the model at once."""
    done = list(run_cases(Noting(tmp_path, broken="dies once"), ["a", "b", "c"], TWO))
    assert records(done) == {0: ("A", None), 1: ("B", None), 2: ("C", None)}


def test_the_death_of_a_worker_that_waits_counts_against_no_case(tmp_path):
    done = {}
    for number, record in run_cases(Noting(tmp_path), ["until another began", "slow kills twice"], TWO):
        done[number] = record[:2]
        if number == 0:
            os.kill(record[2], signal.SIGKILL)  # the other one is at its case for a while
    assert done == {0: ("UNTIL ANOTHER BEGAN", None), 1: ("SLOW KILLS TWICE", None)}


def test_workers_that_compute_otherwise_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected all workers to compute alike, got tomoseg \d+ and \d+; install"):
        list(run_cases(Noting(tmp_path, broken="unlike"), [f"slow {n}" for n in range(6)], TWO))


DRIVER = """
import sys
from pathlib import Path
from tests.cases.works import Noting
from tomoseg.cases.run import run_cases
from tomoseg.options import Spread
if __name__ == "__main__":
    cases = [f"slow {n}" for n in range(50)]
    for number, record in run_cases(Noting(Path(sys.argv[1])), cases, Spread(on="processes:2")):
        print(record[2], flush=True)
"""


def test_workers_end_with_a_driver_that_was_killed(tmp_path):
    script = tmp_path / "driver.py"
    script.write_text(DRIVER)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(script), str(tmp_path / "notes")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env, cwd=Path.cwd()) as driver:
        assert driver.stdout is not None
        workers = {int(driver.stdout.readline()) for _ in range(4)}
        driver.kill()
    until = time.monotonic() + 20
    while any(map(psutil.pid_exists, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, workers))
