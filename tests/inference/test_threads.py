"""How many threads compute, and the threads that decide, after a fork too."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from tomoseg.inference.threads import in_rows, thread_count


def count_in_a_process(threads=None, first=""):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    if threads is not None:
        environment["OMP_NUM_THREADS"] = threads
    count = (
        "import sys\nfrom tomoseg.inference.threads import thread_count\nprint(thread_count(), 'torch' in sys.modules)"
    )
    code = f"{first}\n{count}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    count, torch = done.stdout.split()
    return int(count), torch == "True"


@pytest.mark.parametrize(("asked", "count"), [("1", 1), ("3", 3), ("57", 57)])
def test_as_many_as_are_asked_for(asked, count):
    assert count_in_a_process(asked) == (count, False)


@pytest.mark.parametrize("asked", [None, "", "0", "-2", "many", "2,1"])
def test_else_the_cores_that_the_process_may_use(asked):
    count, _ = count_in_a_process(asked)
    assert 1 <= count <= os.cpu_count()
    assert count_in_a_process("1")[0] == 1


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_one_core_is_one_thread():
    assert count_in_a_process(None, "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})") == (1, False)


def test_of_pytorch_where_it_is_loaded():
    assert count_in_a_process("2", "import torch; torch.set_num_threads(3)") == (3, True)


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 8, 9, 1000])
def test_every_row_once(rows):
    seen = np.zeros(rows, int)

    def work(begin, end):
        assert begin < end <= rows
        seen[begin:end] += 1

    in_rows(work, rows)
    assert (seen == 1).all()


def test_ranges_are_several_a_thread(monkeypatch):
    monkeypatch.setattr("tomoseg.inference.threads.thread_count", lambda: 3)
    ranges, lock = [], threading.Lock()

    def work(begin, end):
        with lock:
            ranges.append((begin, end, threading.current_thread().name))

    in_rows(work, 100)
    assert len(ranges) == 12  # 9 rows each but the last
    assert sorted(ranges)[0][:2] == (0, 9)
    assert sorted(ranges)[-1][:2] == (99, 100)
    assert all(name.startswith("tomoseg-decide") for _, _, name in ranges)


def test_an_error_of_the_work_is_raised():
    with pytest.raises(ZeroDivisionError):
        in_rows(lambda begin, end: 1 // 0, 5)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_threads_of_its_own():
    """Those of its parent are not there: to wait for them would never end."""
    code = """if True:
        import os, signal, warnings
        warnings.simplefilter("ignore")
        from tomoseg.inference.threads import in_rows
        done = []
        in_rows(lambda begin, end: done.append(end - begin), 10)
        assert sum(done) == 10
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            done.clear()
            in_rows(lambda begin, end: done.append(end - begin), 7)
            os._exit(sum(done))
        _, status = os.waitpid(child, 0)
        print(os.WIFEXITED(status) and os.WEXITSTATUS(status))
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("7\n", "")


def test_here_it_is_that_of_pytorch():
    import torch

    assert thread_count() == torch.get_num_threads()
