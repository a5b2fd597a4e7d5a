import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import psutil
import pytest

from tomoseg.cases import leases as module
from tomoseg.cases.leases import Leases, share


@pytest.fixture
def leases(tmp_path):
    return Leases(tmp_path)


def grow_old(folder, name, seconds=1000):
    """A lease that was last touched so long ago, by the file system's own times."""
    path = folder / ".work" / "leases" / name
    old = path.stat().st_mtime - seconds
    os.utime(path, (old, old))


def of_a_dead_process(folder, name):
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    path = folder / ".work" / "leases" / name
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": int(done.stdout)}))


def test_only_one_gets_a_case(tmp_path):
    got, begin = [], threading.Barrier(8)

    def try_it():
        mine = Leases(tmp_path)
        begin.wait()
        got.extend(name for name in map(str, range(50)) if mine.claim(name))

    threads = [threading.Thread(target=try_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got, key=int) == [str(number) for number in range(50)]


def test_a_lease_expires_by_the_file_systems_clock_alone(leases, tmp_path, monkeypatch):
    other = Leases(tmp_path)
    assert leases.claim("a")
    for hours in (-5, 5):  # another clock of this machine changes nothing
        monkeypatch.setattr(time, "time", lambda h=hours: 3600.0 * h)
        assert not other.claim("a")
    grow_old(tmp_path, "a.1", module.LEASE_SECONDS - 20)
    assert not other.claim("a")
    grow_old(tmp_path, "a.1", 40)
    assert other.claim("a")
    assert [(one.name, one.number) for one in leases.at_work()] == [("a", 2)]
    assert not leases.claim("a")


def test_a_lease_is_kept_while_its_worker_lives(leases, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.02)
    leases.claim("a")
    grow_old(tmp_path, "a.1")
    with leases.kept():
        until = time.monotonic() + 10
        while not leases.at_work() and time.monotonic() < until:
            time.sleep(0.02)
        assert [one.name for one in leases.at_work()] == ["a"]


def test_a_dead_process_of_this_machine_need_not_be_waited_for(leases, tmp_path):
    leases.claim("a")
    of_a_dead_process(tmp_path, "a.1")
    assert leases.at_work() == []
    assert Leases(tmp_path).claim("a")


CLAIMS = """
import signal, sys
from pathlib import Path
from tomoseg.cases.leases import Leases
Leases(Path(sys.argv[1])).claim("a")
if sys.argv[2:]:
    signal.raise_signal(signal.SIGSTOP)
"""


@contextmanager
def claimed_by_another(folder, state, *words):
    """A process that claims a case and is then in that state; its parent, this process, takes no note of its end."""
    with subprocess.Popen([sys.executable, "-c", CLAIMS, str(folder), *words]) as process:
        until = time.monotonic() + 60
        while psutil.Process(process.pid).status() != state and time.monotonic() < until:
            time.sleep(0.01)
        yield process
        process.kill()


def test_a_dead_process_whose_parent_takes_no_note_need_not_be_waited_for(leases, tmp_path):
    with claimed_by_another(tmp_path, psutil.STATUS_ZOMBIE):
        assert leases.last("a").number == 1
        assert leases.at_work() == []
        assert leases.claim("a")


def test_a_stopped_process_may_go_on_and_has_its_lease_until_it_expires(leases, tmp_path):
    with claimed_by_another(tmp_path, psutil.STATUS_STOPPED, "and stops") as process:
        assert [one.pid for one in leases.at_work()] == [process.pid]
        assert not leases.claim("a")
        grow_old(tmp_path, "a.1")
        assert leases.claim("a")


def test_a_case_that_was_given_back_counts_as_no_try(leases, tmp_path):
    for _ in range(5):
        assert leases.claim("a")
        leases.release("a")
    assert leases.spent("a") is None
    assert leases.claim("a")


def test_three_tries(leases, tmp_path):
    for number in (1, 2, 3):
        assert leases.claim("kills")
        assert leases.spent("kills") is None
        grow_old(tmp_path, f"kills.{number}")
    assert not leases.claim("kills")
    assert leases.spent("kills") == 3
    assert list(share(leases, ["kills"], 0.01)) == []
    assert leases.ended("failed") == {"kills"}
    assert "expected a worker to finish it, got 3 workers that died on it" in leases.end_of("kills")["error"]


def test_what_has_ended(leases, tmp_path):
    leases.claim("s0.5mm")
    leases.end("s0.5mm", {"error": None})
    leases.claim("b")
    leases.end("b", {"error": "damaged"})
    assert (leases.ended(), leases.ended("done"), leases.ended("failed")) == ({"s0.5mm", "b"}, {"s0.5mm"}, {"b"})
    assert leases.end_of("b") == {"error": "damaged"}
    assert leases.end_of("c") is None
    assert len(leases.end_times()) == 2
    assert not Leases(tmp_path).claim("b")
    leases.forget(["b", "never"])
    assert leases.ended() == {"s0.5mm"}
    assert leases.claim("b")


def test_a_reason_that_was_lost(leases, tmp_path):
    for name, error in (("a", None), ("b", "damaged")):
        leases.end(name, {"error": error})
    for path in (tmp_path / ".work" / "ends").iterdir():
        path.write_text("")
    assert leases.end_of("a") == {"error": None}
    assert leases.end_of("b")["error"].startswith("expected the reason why it failed, got none")


def test_what_is_being_written_is_somebodys(leases, tmp_path):
    leases.claim("a")
    (tmp_path / ".work" / "leases" / "a.1").write_text("")
    assert not Leases(tmp_path).claim("a")


def test_who_leaves_gives_back(leases, tmp_path):
    leases.claim("a")
    leases.close()
    assert not list((tmp_path / ".work").glob("clock*"))
    assert Leases(tmp_path).claim("a")


def test_two_share_all(leases, tmp_path):
    names, done = [f"s{number}" for number in range(40)], {"one": [], "two": []}

    def work(who):
        mine = Leases(tmp_path)
        for name in share(mine, names, 0.01):
            time.sleep(0.002)
            done[who].append(name)
            mine.end(name, {"error": None})

    threads = [threading.Thread(target=work, args=(who,)) for who in done]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done["one"] + done["two"]) == sorted(names)
    assert all(done.values())


def test_a_lease_takes_less_than_5_ms(leases):
    names = [str(number) for number in range(200)]
    began = time.perf_counter()
    for name in names:
        leases.claim(name)
    assert (time.perf_counter() - began) / len(names) < 0.05  # ten times that, for a machine that others load


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'"x"', b"\xff\xfe", b'{"pid": "x", "host": 5}', b'{"pid": -5}', b"[" * 100_000]
)
def test_a_damaged_lease_is_somebodys_until_it_expires(leases, tmp_path, content):
    assert leases.claim("a")
    (tmp_path / ".work" / "leases" / "a.1").write_bytes(content)
    assert [one.name for one in leases.at_work()] == ["a"]
    assert not Leases(tmp_path).claim("a")
    grow_old(tmp_path, "a.1")
    assert Leases(tmp_path).claim("a")


def test_a_lease_that_cannot_be_read_is_somebodys_until_it_expires(leases, tmp_path):
    """As of another user, who lets nobody read it; a folder stands for it, since root may read all files."""
    (tmp_path / ".work" / "leases" / "a.1").mkdir(parents=True)
    assert not leases.claim("a")
    grow_old(tmp_path, "a.1")
    assert leases.claim("a")


def test_a_lease_of_the_future_expires_too(leases, tmp_path):
    """The file system's clock may have been set back."""
    assert leases.claim("a")
    grow_old(tmp_path, "a.1", 20 - module.LEASE_SECONDS)
    assert not Leases(tmp_path).claim("a")
    grow_old(tmp_path, "a.1", -module.LEASE_SECONDS)
    assert Leases(tmp_path).claim("a")


def test_a_process_of_another_machine_of_the_same_name_is_not_looked_for_here(leases, tmp_path):
    """So it is in containers and on machines that were copied, of which all are called alike."""
    leases.claim("a")
    of_a_dead_process(tmp_path, "a.1")
    path = tmp_path / ".work" / "leases" / "a.1"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"counted_by": "another"}))
    assert [one.name for one in leases.at_work()] == ["a"]
    assert not Leases(tmp_path).claim("a")


def test_files_of_others_are_passed_over(leases, tmp_path):
    assert leases.claim("a")
    for folder in ("leases", "ends"):
        (tmp_path / ".work" / folder).mkdir(exist_ok=True)
        for name in ("junk", "a.copy", ".nfs0000", "a.1~", "1"):
            (tmp_path / ".work" / folder / name).touch()
    assert [one.name for one in leases.at_work()] == ["a"]
    assert leases.ended() == set()
    assert leases.end_times() == []


def test_a_name_that_is_hidden(leases):
    assert leases.claim(".a")
    leases.end(".a", {"error": None})
    assert leases.ended("done") == {".a"}
    assert list(share(leases, [".a"], 0.01)) == []


@pytest.mark.parametrize("content", [b"[]", b"{}", b"\xff", b'{"error": null}'])
def test_a_damaged_reason(leases, tmp_path, content):
    leases.end("a", {"error": "why"})
    (tmp_path / ".work" / "ends" / "a.failed").write_bytes(content)
    assert leases.end_of("a")["error"].startswith("expected the reason why it failed, got none")


def test_a_case_that_another_command_has_begun_anew_is_no_longer_held(tmp_path, monkeypatch):
    """As after this worker was stopped: it neither renews nor gives back what is another's."""
    monkeypatch.setattr(module, "BEAT_SECONDS", 0.02)
    stopped, other = Leases(tmp_path), Leases(tmp_path)
    assert stopped.claim("a")
    assert stopped.claim("b")
    other.forget(["a", "b"])
    assert other.claim("a")
    grow_old(tmp_path, "a.1")
    path = tmp_path / ".work" / "leases" / "a.1"
    before = path.read_text(), path.stat().st_mtime_ns
    with stopped.kept():
        time.sleep(0.2)
    stopped.close()
    assert (path.read_text(), path.stat().st_mtime_ns) == before
    assert [one.name for one in path.parent.iterdir()] == ["a.1"]


def test_what_killed_workers_left_goes_when_the_cases_are_begun_anew(leases, tmp_path):
    leases.claim("a")
    leases.end("a", {"error": None})
    old, new = [".0123456789ab", ".nfs0000"], [".ba9876543210"]
    for name in (*old, *new):
        (tmp_path / ".work" / "ends" / name).touch()
    (tmp_path / ".work" / "clock-other-1-00000000").touch()
    past = leases.now() - 2 * module.LEASE_SECONDS
    for path in (tmp_path / ".work" / "clock-other-1-00000000", *(tmp_path / ".work" / "ends" / name for name in old)):
        os.utime(path, (past, past))
    leases.forget(["a"])
    assert sorted(path.name for path in (tmp_path / ".work" / "ends").iterdir()) == [*new, ".nfs0000"]
    assert [path.name for path in (tmp_path / ".work").glob("clock*")] == [leases._clock.name]
