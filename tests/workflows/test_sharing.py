"""`predict --join`: workers that share an output folder and know nothing else of each other; `status` of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from tests.workflows.predicting import run, told, write_scans
from tomoseg.cases import leases as leases_module
from tomoseg.cases.leases import Leases
from tomoseg.cli import main
from tomoseg.errors import ConfigError, InputError, OutputError
from tomoseg.workflows import sharing
from tomoseg.workflows.sharing import ActiveScan, status


@pytest.fixture
def scans(tmp_path):
    return write_scans(tmp_path / "scans", 4)


@pytest.fixture(autouse=True)
def in_no_time(monkeypatch):
    monkeypatch.setattr(leases_module, "LOOK_SECONDS", 0.05)


def join(scans, out, model, **options):
    return run(scans, out, model, join=True, **options)


def test_one_alone_gives_the_same(scans, model, tmp_path, as_here):
    done = join(scans, tmp_path / "out", model, statistics=True, triage=True)
    assert [one.state for one in done] == ["done"] * 4 + ["failed"]
    assert told(tmp_path / "out") == as_here
    found = status(tmp_path / "out")
    assert (found.scans, found.done, list(found.failed), found.at_work, found.waiting) == (5, 4, ["s4"], (), 0)
    assert found.seconds_left == 0
    again = join(
        scans, tmp_path / "out", model, statistics=True, triage=True
    )  # a new round: what failed is tried again
    assert [one.state for one in again] == ["done before"] * 4 + ["failed"]


def test_who_finds_all_done_by_another_tells_of_all(scans, model, tmp_path, as_here):
    join(scans, tmp_path / "out", model, statistics=True, triage=True)
    other = Leases(tmp_path / "out")
    other.forget(["s1"])
    assert other.claim("s1")  # the round is not over: somebody is at it
    (tmp_path / "out" / "predictions.json").unlink()
    end_it = sharing.share

    def share(leases, names, **named):
        other.end("s1", {"error": None})
        yield from end_it(leases, names, 0.01, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sharing, "share", share)
        done = join(scans, tmp_path / "out", model, statistics=True, triage=True)
    assert [one.scan.name for one in done] == ["s0", "s1", "s2", "s3", "s4"]
    assert told(tmp_path / "out") == as_here


def test_others_that_do_it_otherwise_are_refused(scans, model, tmp_path, monkeypatch):
    join(scans, tmp_path / "out", model)
    other = Leases(tmp_path / "out")
    other.forget(["s1"])
    other.claim("s1")
    with pytest.raises(ConfigError, match=r"expected all workers to compute alike, got ml not given and true; ins"):
        join(scans, tmp_path / "out", model, ml=True)
    job = tmp_path / "out" / ".work" / "job.json"
    job.write_text(job.read_text().replace('"tomoseg": "', '"tomoseg": "9.'))
    with pytest.raises(
        ConfigError, match=r"got tomoseg 9\.\S+ and \d\S*; install the same version of tomoseg on all machines"
    ):
        join(scans, tmp_path / "out", model)
    other.close()
    assert {one.state for one in join(scans, tmp_path / "out", model)} == {"done before", "failed"}


def test_what_cannot_be_shared(scans, model, tmp_path):
    with pytest.raises(ConfigError, match="expected a folder of scans to share, got one scan; leave --join off"):
        join(scans / "s0.nii.gz", tmp_path / "out", model)
    with pytest.raises(ConfigError, match="expected --join or --part, got both"):
        join(scans, tmp_path / "out", model, part="1/2")
    with pytest.raises(ConfigError, match="expected --join or --on, got both"):
        join(scans, tmp_path / "out", model, on="processes:2")
    with pytest.raises(InputError, match="found no list of scans in it; name the --output of that command"):
        status(tmp_path / "out")


def test_a_killed_worker_s_scans_are_done_by_another(scans, model, tmp_path, as_here):
    """SIGKILL in the middle; who comes then goes on at once, since it is the same machine."""
    flags = ["-i", str(scans), "-o", str(tmp_path / "out"), "-m", str(model), "--device", "cpu", "--precision", "fp32"]
    command = [sys.executable, "-m", "tomoseg", "predict", *flags, "--statistics", "--triage", "--join"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        until = time.monotonic() + 200
        while not list((tmp_path / "out").glob(".work/leases/*")) and time.monotonic() < until:
            time.sleep(0.005)
        os.kill(worker.pid, signal.SIGKILL)
    begun = len(list((tmp_path / "out").glob(".work/leases/*")))
    assert begun
    join(scans, tmp_path / "out", model, statistics=True, triage=True)
    for left_over in (tmp_path / "out").rglob(".*.part"):
        left_over.unlink()
    assert told(tmp_path / "out") == as_here


STOPS = """
import importlib, signal, sys
from tomoseg.cases import leases
from tomoseg.cli import main
leases.BEAT_SECONDS, leases.LOOK_SECONDS, leases.LEASE_SECONDS = 0.1, 0.05, float("inf")
module, name = importlib.import_module(sys.argv[1]), sys.argv[2]
go_on = getattr(module, name)
def stop(*given, **named):
    setattr(module, name, go_on)
    signal.raise_signal(signal.SIGSTOP)
    return go_on(*given, **named)
setattr(module, name, stop)
raise SystemExit(main(sys.argv[3:]))
"""
STOPS_BEFORE = (
    ("tomoseg.workflows.predict", "segment"),
    ("tomoseg.files.atomic", "_move_into_place"),
    ("tomoseg.workflows.predict", "write_record"),
)


@contextmanager
def stopped_workers(scans, out, model, places):
    """Workers that are stopped by SIGSTOP, each at another place; none of their leases expires in their own eyes."""
    flags = ["-i", str(scans), "-o", str(out), "-m", str(model), "--device", "cpu", "--precision", "fp32"]
    words = ["predict", *flags, "--statistics", "--triage", "--join"]
    workers = [subprocess.Popen([sys.executable, "-c", STOPS, *place, *words]) for place in places]
    try:
        while {psutil.Process(one.pid).status() for one in workers} != {"stopped"}:  # however long a busy machine takes
            assert [one.poll() for one in workers] == [None] * len(workers)
            time.sleep(0.02)
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def expire(out):
    """Make all leases as old as those of workers that have not answered for long."""
    for lease in (out / ".work" / "leases").iterdir():
        then = lease.stat().st_mtime - leases_module.LEASE_SECONDS
        os.utime(lease, (then, then))


def scans_of(workers, out):
    """The scan that each worker is at; that it was touched long ago does not count."""
    leases = Leases(out)
    begun = {leases.last(name) for name in ("s0", "s1", "s2", "s3")} - {None}
    return {one.name: one.pid for one in begun if one.pid in {worker.pid for worker in workers}}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_workers_that_are_stopped_for_longer_than_their_leases_and_go_on(scans, model, tmp_path, as_here):
    """By SIGSTOP, each at another point of its scan, until another worker has done all; then they write it again."""
    out = tmp_path / "out"
    with stopped_workers(scans, out, model, STOPS_BEFORE) as workers:
        began = scans_of(workers, out)
        assert set(began.values()) == {one.pid for one in workers}
        expire(out)
        join(scans, out, model, statistics=True, triage=True)
        files, records = told(out)
        assert records == as_here[1]
        assert {name: content for name, content in files.items() if ".part/" not in name} == as_here[0]
        assert {Leases(out).last(scan).number for scan in began} == {2}
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
        assert [worker.wait() for worker in workers] == [1] * 3  # the last scan is none
    assert told(out) == as_here
    found = status(out)
    assert (found.done, list(found.failed), found.at_work) == (4, ["s4"], ())


STOPS_LATE = (
    *STOPS_BEFORE,
    ("tomoseg.workflows.predict", "remove_file"),  # the record of an earlier result
    ("tomoseg.workflows.sharing", "_end_of"),
)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shares", [True, False])
@pytest.mark.parametrize("places", [STOPS_LATE[:3], STOPS_LATE[3:]])
def test_workers_that_go_on_after_another_command_with_other_options(scans, model, tmp_path, capfd, shares, places):
    """They write nothing over what is newer, and give nobody's scan back."""
    out, newer = tmp_path / "out", tmp_path / "newer"
    with stopped_workers(scans, out, model, places) as workers:
        began = scans_of(workers, out)
        expire(out)
        for place in (out, newer):
            run(scans, place, model, join=shares, statistics=True, triage=True, threshold=("0.9",))
        leases = told_of(out)
        for worker in workers:
            worker.send_signal(signal.SIGCONT)
        ends = [worker.wait() for worker in workers]
    if shares:
        assert (told_of(out), told(out)) == (leases, told(newer))
        assert ends == [2] * len(workers)
        assert "another one with other options began while" in capfd.readouterr().err
    else:  # they know nothing of it, and go on with the scans that they have not begun
        for found, expected in zip(told(out), told(newer), strict=True):
            assert [_of(scan, found) for scan in began] == [_of(scan, expected) for scan in began]
        assert ends == [1] * len(workers)
        assert "another command with other options has written" in capfd.readouterr().err


def _of(scan, contents):
    return {name: content for name, content in contents.items() if name.startswith(scan)}


def told_of(out):
    """What the folder of leases holds, without when they were touched."""
    return {path.name: path.read_text() for path in out.glob(".work/*/*")}


def test_what_a_worker_that_died_meanwhile_left_is_removed_at_the_end(scans, model, tmp_path, as_here, monkeypatch):
    def share(leases, names, **named):
        (tmp_path / "out" / ".s1.0123456789ab.part").mkdir()
        yield from leases_module.share(leases, names, 0.01, **named)

    monkeypatch.setattr(sharing, "share", share)
    join(scans, tmp_path / "out", model, statistics=True, triage=True)
    assert not (tmp_path / "out" / ".s1.0123456789ab.part").exists()
    assert told(tmp_path / "out") == as_here


def test_a_time_limit_gives_scans_back(scans, model, tmp_path, monkeypatch):
    """A cluster's SIGTERM is no fault of the scan: it counts as no try, and another goes on at once."""

    def one(self, scan):
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("tomoseg.workflows.predict._Batch.one", one)
    flags = ["-i", str(scans), "-o", str(tmp_path / "out"), "-m", str(model), "--device", "cpu", "--join"]
    for _ in range(4):
        assert main(["predict", *flags]) == 130
    leases = Leases(tmp_path / "out")
    assert leases.at_work() == []
    begun = {path.name.rpartition(".")[0] for path in leases.folder.glob("leases/*")}
    assert [leases.spent(name) for name in begun] == [None] * len(begun)
    assert not (tmp_path / "out" / "predictions.json").exists()


class TestStatus:
    @pytest.fixture
    def out(self, tmp_path):
        leases = Leases(tmp_path)
        leases.folder.mkdir()
        (leases.folder / "job.json").write_text(json.dumps({"asked": {}, "scans": [f"s{n}" for n in range(10)]}))
        for number in range(4):
            leases.claim(f"s{number}")
        now = leases.now()
        for number, error in enumerate([None, None, "s2: expected a scan, got none; look"]):
            leases.end(f"s{number}", {"error": error})
            state = "done" if error is None else "failed"
            os.utime(leases.folder / "ends" / f"s{number}.{state}", (now - 60 + 20 * number,) * 2)
        return tmp_path

    def test_what_is_known(self, out):
        found = status(out)
        assert (found.scans, found.done, found.waiting) == (10, 2, 6)
        assert found.failed == {"s2": "s2: expected a scan, got none; look"}
        assert found.at_work == (ActiveScan("s3", leases_module.socket.gethostname(), os.getpid(), 1),)
        assert found.per_hour == pytest.approx(2 / 60 * 3600, rel=0.05)  # after the first end, in a minute
        assert found.seconds_left == pytest.approx(7 * 30, rel=0.05)

    def test_nothing_is_written(self, out):
        before = {path: path.stat().st_mtime_ns for path in (out, *out.rglob("*"))}
        time.sleep(0.02)
        status(out)
        assert {path: path.stat().st_mtime_ns for path in (out, *out.rglob("*"))} == before

    def test_as_a_table(self, out, capsys):
        assert main(["status", str(out)]) == 1
        shown = capsys.readouterr()
        assert "10 scans: 2 done, 1 failed, 1 in progress, 6 waiting" in shown.out
        assert "scans an hour, 0:03:" in shown.out
        assert "In progress" in shown.out
        assert "s2: expected a scan, got none; look" in shown.err

    def test_as_json(self, out, capsys):
        assert main(["status", str(out), "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert (found["done"], found["waiting"], found["at_work"][0]["scan"]) == (2, 6, "s3")


def test_a_hundred_thousand(tmp_path):
    leases = Leases(tmp_path)
    names = [f"s{number}" for number in range(100_000)]
    for folder in ("leases", "ends"):
        (leases.folder / folder).mkdir(parents=True)
    (leases.folder / "job.json").write_text(json.dumps({"asked": {}, "scans": names}))
    for name in names[:60_000]:
        os.close(os.open(leases.folder / "leases" / f"{name}.1", os.O_CREAT))
        os.close(os.open(leases.folder / "ends" / f"{name}.done", os.O_CREAT))
    began = time.process_time()
    found = status(tmp_path)
    assert time.process_time() - began < 2
    assert (found.scans, found.done, found.waiting) == (100_000, 60_000, 40_000)


@pytest.mark.parametrize(
    "content",
    ["[1]", '[["a", 1]]', "{}", '{"asked": {}}', '{"asked": {}, "scans": 5}', '{"asked": 1, "scans": [[1]]}', "\x00"],
)
def test_a_damaged_list_of_scans(tmp_path, content):
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / "job.json").write_text(content)
    with pytest.raises(InputError, match="found no list of scans in it"):
        status(tmp_path)


def test_a_scan_that_failed_and_was_done_is_done(tmp_path):
    """By a worker that was thought dead, and another."""
    leases = Leases(tmp_path)
    leases.end("a", {"error": "why"})
    leases.end("a", {"error": None})
    (leases.folder / "job.json").write_text(json.dumps({"asked": {}, "scans": ["a", "b"]}))
    found = status(tmp_path)
    assert (found.done, found.failed, found.waiting) == (1, {}, 1)


def test_two_that_begin_at_once_and_do_it_otherwise_do_not_both_go_on(scans, model, tmp_path, monkeypatch):
    """Each has seen nobody at work before it claims its first scan."""
    other = Leases(tmp_path / "out", "another")
    agree = sharing._agree

    def agree_at_once(*given):
        agree(*given)
        assert other.claim("s1")

    monkeypatch.setattr(sharing, "_agree", agree_at_once)
    with pytest.raises(ConfigError, match="expected all workers to compute alike, got one that began at the same time"):
        join(scans, tmp_path / "out", model)
    assert [one.scan for one in status(tmp_path / "out").at_work] == ["s1"]  # its own scan is given back


def test_who_is_just_writing_what_it_claims_is_not_refused(scans, model, tmp_path, monkeypatch):
    """Its lease is there, and empty yet: what it will do is not known, and it looks after us once it has written."""
    lease, looks = tmp_path / "out" / ".work" / "leases" / "s1.1", []
    refuse = sharing._refuse_unlike

    def refuse_beside_one(leases):
        lease.touch()
        looks.append([one.mark for one in leases.at_work()])
        refuse(leases)
        lease.unlink()

    monkeypatch.setattr(sharing, "_refuse_unlike", refuse_beside_one)
    monkeypatch.setattr(
        sharing, "share", lambda leases, names, **named: (name for name in ["s0"] if leases.claim(name))
    )
    assert join(scans, tmp_path / "out", model)[0].state == "done"
    assert sorted(looks[0])[0] == ""
    assert len(looks[0]) == 2


def test_what_was_cleared_meanwhile_is_not_told_as_done(scans, model, tmp_path, monkeypatch):
    join(scans, tmp_path / "out", model)
    end_it = sharing.share

    def share(leases, names, **named):
        yield from end_it(leases, names, 0.01, **named)
        leases.forget(names)

    monkeypatch.setattr(sharing, "share", share)
    Leases(tmp_path / "out").forget(["s1"])
    done = join(scans, tmp_path / "out", model)
    assert done[1].state == "done before"
    assert all("expected to find what became of it, found nothing" in done[n].error for n in (0, 2, 3, 4))


def test_a_folder_that_is_removed_meanwhile_is_not_half_made_again(scans, model, tmp_path, monkeypatch):
    out, claim = tmp_path / "out", Leases.claim
    claimed = []

    def claim_then_lose(leases, name):
        is_ours = claim(leases, name)
        claimed.append(name)
        if len(claimed) == 2:
            shutil.rmtree(out)
        return is_ours

    monkeypatch.setattr(Leases, "claim", claim_then_lose)
    with pytest.raises(OutputError, match="found no list of them: the folder was removed or cleared"):
        join(scans, out, model)
    assert not [path for path in out.rglob("*") if path.is_file()]
    assert not (out / ".work").exists()
    with pytest.raises(InputError, match="found no list of scans in it"):
        status(out)
    monkeypatch.undo()
    assert [one.state for one in join(scans, out, model)] == ["done"] * 4 + ["failed"]
