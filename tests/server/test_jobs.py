"""Jobs are claimed by one, ended once, and never lost."""

import threading
import time

import pytest

from tomoseg.server.database import Database
from tomoseg.server.jobs import MOST_ATTEMPTS, JobStore, advice_in, new_id
from tomoseg.server.supervisor import Supervisor
from tomoseg.server.uploads import Rules, UploadStore
from tomoseg.server.worker import WorkerSettings


@pytest.fixture
def jobs(tmp_path):
    return JobStore(Database(tmp_path))


def make(jobs, *keys):
    return [jobs.make(new_id(), key, "model", {}, ["upload"]) for key in keys]


def state(jobs, job):
    return jobs.get(job, 10.0).state


def test_jobs_go_from_state_to_state_in_order_of_arrival(jobs):
    first, second = make(jobs, "a", "b")
    looked = jobs.claim("check", "w")
    assert (looked["id"], looked["state"]) == (first, "checking")
    assert jobs.claim("segment", "w") is None
    assert jobs.checked(looked["claim"])
    jobs.checked(jobs.claim("check")["claim"])
    assert [jobs.get(job, 10.0).position for job in (first, second)] == [0, 1]
    claim = jobs.claim("segment")["claim"]
    assert jobs.progress(claim, "segment", 0.5, 3.0)
    shown = jobs.get(first, 10.0)
    assert (shown.state, shown.stage, shown.share, shown.seconds_left) == ("running", "segment", 0.5, 3.0)
    assert jobs.get(second, 10.0).position == 1
    assert jobs.done(claim, "result", 7, [])
    shown = jobs.get(first, 10.0)
    assert (shown.state, shown.share, shown.expires) == ("done", None, shown.finished + 10)
    assert jobs.get(second, 10.0).position == 0


def test_the_same_key_is_the_same_job_until_that_has_failed_or_gone(jobs):
    (first,) = make(jobs, "a")
    assert make(jobs, "a") == [first]
    jobs.cancel(first)
    (second,) = make(jobs, "a")
    assert second != first
    claim = jobs.claim("check")["claim"]
    jobs.failed(claim, "expected a scan, got none; send one")
    assert jobs.get(second, 10.0).advice == "send one"
    assert make(jobs, "a") != [second]


def test_two_who_claim_at_once_never_get_one_job(jobs, tmp_path):
    made = make(jobs, *map(str, range(40)))
    taken, failures = [], []

    def work():
        own = JobStore(Database(tmp_path))
        try:
            while (row := own.claim("check")) is not None:
                taken.append(row["id"])
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert sorted(taken) == sorted(made)


@pytest.mark.parametrize("taken_by", ["cancel", "give_back", "give_back_all"])
def test_what_a_worker_says_counts_for_nothing_once_its_claim_is_void(jobs, taken_by):
    (job,) = make(jobs, "a")
    claim = jobs.claim("check")["claim"]
    if taken_by == "cancel":
        jobs.cancel(job)
    elif taken_by == "give_back":
        jobs.give_back(claim, is_counted=True)
    else:
        jobs.give_back_all()
    before = state(jobs, job)
    assert not jobs.checked(claim)
    assert not jobs.progress(claim, "segment", 0.5, None)
    assert not jobs.done(claim, "result", 1, [])
    assert not jobs.failed(claim, "x; y")
    assert not jobs.keep(claim)
    assert state(jobs, job) == before == ("cancelled" if taken_by == "cancel" else "received")


def test_a_job_that_costs_worker_after_worker_fails(jobs):
    (job,) = make(jobs, "a")
    jobs.checked(jobs.claim("check")["claim"])
    for attempt in range(MOST_ATTEMPTS):
        assert state(jobs, job) == "queued", attempt
        jobs.give_back(jobs.claim("segment")["claim"], is_counted=True)
    shown = jobs.get(job, 10.0)
    assert shown.state == "failed"
    assert shown.reason.startswith("expected the job to finish, got its worker killed 3 times")


class Dead:
    """A worker's process that has died."""

    def __init__(self, *given, **named):
        self.pid, self.stdin = 0, None

    def poll(self):
        return -9

    def kill(self):
        pass

    def wait(self):
        pass


def test_pauses_grow_while_workers_die_and_end_with_the_job_that_kills_them(jobs, tmp_path, monkeypatch):
    """Pauses of 0.5 and 1.5 s between the three attempts at each job, none between jobs; without jobs they grow."""
    monkeypatch.setattr("tomoseg.server.supervisor.subprocess.Popen", Dead)
    uploads = UploadStore(jobs.database, tmp_path / "uploads", Rules())
    settings = [WorkerSettings(str(tmp_path), "", "segment")]
    supervisor = Supervisor(jobs, uploads, Rules(), settings)
    (child,) = supervisor._children

    def pause_of(does_claim):
        supervisor._begin(child)
        if does_claim:
            assert jobs.claim("segment", child.settings.name) is not None
        supervisor._look_after(child)
        return child.pause

    for job in make(jobs, "a", "b"):
        jobs.checked(jobs.claim("check")["claim"])
        assert [pause_of(True) for _ in range(3)] == [0.5, 1.5, 0.0]
        assert state(jobs, job) == "failed"
    assert [pause_of(False) for _ in range(8)] == [0.5, 1.5, 3.5, 7.5, 15.5, 30.0, 30.0, 30.0]


def test_a_server_that_was_killed_costs_no_attempt(jobs):
    (job,) = make(jobs, "a")
    jobs.checked(jobs.claim("check")["claim"])
    for _ in range(2 * MOST_ATTEMPTS):
        assert jobs.claim("segment") is not None
        jobs.give_back_all()
    assert state(jobs, job) == "queued"


def test_the_job_of_a_worker_that_says_nothing_goes_to_another(jobs, monkeypatch):
    make(jobs, "a")
    silent = jobs.claim("check")["claim"]
    jobs.give_back_late()
    assert jobs.keep(silent)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + 61)
    jobs.give_back_late()
    assert not jobs.keep(silent)
    assert jobs.claim("check")["claim"] != silent


def test_only_what_has_not_ended_can_be_cancelled(jobs):
    (job,) = make(jobs, "a")
    assert jobs.cancel(job)
    assert not jobs.cancel(job)
    assert not jobs.cancel("none")


def test_whoever_watches_sees_each_job_that_changed_since(jobs):
    first, second = make(jobs, "a", "b")
    seen = jobs.changed_since(0)
    assert [row["id"] for row in seen] == [first, second]
    last = seen[-1]["change"]
    assert jobs.changed_since(last) == []
    claim = jobs.claim("check")["claim"]
    jobs.keep(claim)  # nothing to see
    assert [row["id"] for row in jobs.changed_since(last)] == [first]


def test_files_expire_and_jobs_are_forgotten(jobs):
    (job,) = make(jobs, "a")
    jobs.cancel(job)
    jobs.expire(time.time() + 1)
    shown = jobs.get(job, 10.0)
    assert (shown.state, shown.expires) == ("expired", None)
    jobs.forget(time.time() + 1)
    assert jobs.get(job, 10.0) is None


def test_the_worker_of_a_claim_is_known_by_its_name(jobs):
    make(jobs, "a")
    row = jobs.claim("check", "abc")
    assert [one["id"] for one in jobs.claimed_by("abc")] == [row["id"]]
    assert jobs.claimed_by("ab") == []


def test_ids_cannot_be_guessed():
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)


def test_advice_is_what_a_sentence_ends_with():
    assert advice_in("expected a, got b; do c; or d") == "or d"
    assert advice_in("no advice") is None
