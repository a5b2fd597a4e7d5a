"""The next job is read and the last is written while one is segmented; each ends as if it were alone."""

import json
import threading

import pytest

from tests.server.conftest import write_scan
from tomoseg.options import Compute
from tomoseg.server.database import Database
from tomoseg.server.jobs import JobStore, new_id
from tomoseg.server.pipeline import Pipeline
from tomoseg.server.segmenting import Models
from tomoseg.server.worker import TakenError, Worker, WorkerSettings


class Place:
    """A worker's pipeline in this process, and its jobs."""

    def __init__(self, folder, model, overlaps=True):
        self.folder = folder
        self.worker = Worker(WorkerSettings(str(folder), "w", "segment", {"hu": str(model)}))
        self.jobs = JobStore(Database(folder))
        self.scans = {}
        self.threads = {}
        models = Models({"hu": model}, Compute(engine="torch", device="cpu"))
        self.pipeline = Pipeline(self.jobs, folder / "jobs", models, self.scan, self.worker._guarded, overlaps)

    def scan(self, row):
        self.threads[row["id"]] = threading.current_thread().name
        return self.scans[row["id"]]

    def make(self, scan, **options):
        job = self.jobs.make(new_id(), new_id(), "hu", options, ["upload"])
        self.scans[job] = scan
        self.jobs.checked(self.jobs.claim("check")["claim"])
        return job

    def do(self, tell=lambda stage, share, left: None):
        row = self.jobs.claim("segment", "w")
        self.worker._claims.add(row["claim"])
        self.pipeline.do(row, tell)
        return row["id"]

    def state(self, job):
        return self.jobs.get(job, 10.0).state

    def kept(self, job):
        """What is in the result of a job, or None where the job has nothing at all."""
        place = self.folder / "jobs" / job
        if not place.exists():
            return None
        (result,) = place.iterdir()
        return json.loads((result / "result.json").read_text())["structures"]


@pytest.fixture
def place(tmp_path, model):
    return Place(tmp_path / "server", model)


@pytest.fixture
def scans(tmp_path):
    return [write_scan(tmp_path / f"{seed}.nii.gz", seed) for seed in range(4)]


def test_results_are_those_of_one_after_the_other(place, scans, tmp_path, model):
    alone = Place(tmp_path / "alone", model, overlaps=False)
    found = []
    for one in (place, alone):
        made = [one.make(scan) for scan in scans]
        assert [one.do() for _ in made] == made
        one.pipeline.finish()
        assert [one.state(job) for job in made] == ["done"] * 4
        found.append([one.kept(job) for job in made])
        assert one.worker._claims == set()
    assert found[0] == found[1]


def test_the_next_job_is_read_meanwhile_and_is_still_queued(place, scans):
    first, second = (place.make(scan) for scan in scans[:2])
    seen = []

    def tell(stage, share, left):
        if stage == "segment":
            place.pipeline._ahead.way.result()
            seen.append(place.state(second))

    place.do(tell)
    assert set(seen) == {"queued"}
    assert place.do() == second
    place.pipeline.finish()
    assert (place.state(first), place.state(second)) == ("done", "done")


def test_a_job_that_was_cancelled_after_it_was_read_leaves_nothing(place, scans):
    first, second, third = (place.make(scan) for scan in scans[:3])
    place.do()
    place.jobs.cancel(second)
    assert place.do() == third
    place.pipeline.finish()
    assert [place.state(job) for job in (first, second, third)] == ["done", "cancelled", "done"]
    assert place.kept(second) is None


def test_what_ends_one_job_ends_no_other(place, scans, tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"no scan")
    first, broken, unknown, taken, last = (
        place.make(scans[0]),
        place.make(tmp_path / "broken.nii.gz"),
        place.make(scans[1], roi_subset=["nothing"]),
        place.make(scans[2]),
        place.make(scans[3]),
    )

    def taken_away(stage, share, left):
        raise TakenError

    for tell in (None, None, None, taken_away, None):
        place.do(tell or (lambda stage, share, left: None))
    place.pipeline.finish()
    states = [place.state(job) for job in (first, broken, unknown, taken, last)]
    assert states == ["done", "failed", "failed", "running", "done"]  # who took it away says what becomes of it
    assert "expected a NIfTI" in place.jobs.get(broken, 10.0).reason
    assert "nothing" in place.jobs.get(unknown, 10.0).reason
    assert [place.kept(job) for job in (broken, unknown, taken)] == [None] * 3
    assert place.worker._claims == set()


def test_a_job_that_cost_a_worker_is_alone(place, scans):
    suspect, other = (place.make(scan) for scan in scans[:2])
    place.jobs.give_back(place.jobs.claim("segment", "v")["claim"], is_counted=True)
    place.do()
    assert place.pipeline._ahead is None
    assert place.state(suspect) == "done"  # its writing was waited for
    assert other not in place.threads
    first = place.do()
    assert first == other
    suspect, _ = place.make(scans[2]), place.make(scans[3])
    place.jobs.give_back(place.jobs.claim("segment", "v")["claim"], is_counted=True)
    place.do()
    assert place.pipeline._ahead is None


def test_an_error_that_nobody_foresaw_says_neither_names_nor_paths(place, tmp_path, monkeypatch):
    def broken(*given):
        raise ValueError(f"DOE^JANE in {tmp_path}")

    monkeypatch.setattr("tomoseg.workflows.predict.preflight", broken)
    job = place.make(write_scan(tmp_path / "ct.nii.gz", 0))
    place.do()
    place.pipeline.finish()
    text = "expected no internal error, got ValueError; run `tomoseg predict` on the scan and report what it says"
    assert place.jobs.row(job)["reason"] == text
    assert place.kept(job) is None
