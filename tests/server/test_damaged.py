"""Damaged uploads of every kind, and a disk that is full: the server lives, and each job ends with one sentence.

The long version, 10,000 uploads in four parts, is `pytest -m slow tests/server/test_damaged.py`.
"""

import contextlib
import gzip
import os
import random
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.fuzz.seeds import seeds
from tests.server.conftest import write_scan
from tests.server.running import ENDS, make_job, send, started
from tomoseg.server.uploads import Rules

READERS = {"nifti": ".nii.gz", "nrrd": ".nrrd", "mha": ".mha", "dicom": ".dcm", "zip": ".zip"}
IN_FLIGHT = 8


def damaged(chance):
    """A name's ending and bytes: a small valid file of some kind, cut, changed, or called something else."""
    reader, suffix = chance.choice(list(READERS.items()))
    data = bytearray(chance.choice(list(seeds(reader).values())))
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(data) or 1)
        how = chance.randrange(4)
        if how == 0:
            del data[at:]
        elif how == 1:
            data[at : at + 4] = chance.randbytes(4)
        elif how == 2:
            data[at : at + chance.randrange(64)] = b"\xff" * chance.randrange(64)
        else:
            data[at:at] = data[: chance.randrange(200)]
    if reader == "nifti" and chance.random() < 0.5:
        data = bytearray(gzip.compress(bytes(data), 1))
    return chance.choice(list(READERS.values())) if chance.random() < 0.1 else suffix, bytes(data)


@pytest.mark.parametrize(
    ("uploads", "part"), [(25, 0), *(pytest.param(2500, part, marks=pytest.mark.slow) for part in range(1, 5))]
)
@pytest.mark.timeout(3600)
def test_damaged_uploads_end_their_jobs_alone(tmp_path, model, uploads, part):
    chance = random.Random(20261129 + part)
    good = write_scan(tmp_path / "ct.nii.gz", 0).read_bytes()
    with started(tmp_path / "server", [model]) as server:

        def sent(one):
            suffix, data = one
            return make_job(server, send(server, (f"DOE^JANE{suffix}", data)))["id"]

        with ThreadPoolExecutor(IN_FLIGHT) as threads:
            made = set(threads.map(sent, [damaged(chance) for _ in range(uploads)]))
        found = _all_ended(server, made, 60 + uploads)
        for job in found:
            assert job["state"] in {"done", "failed"}
            if job["state"] == "failed":
                assert "expected" in job["reason"], job["reason"]
                assert str(tmp_path) not in job["reason"]
                assert "expected no internal error" not in job["reason"], job["reason"]
        assert sum(job["state"] == "failed" for job in found) > 0.3 * len(found)
        # a decoder of compressed pixels may abort its process on a damaged stream: that ends the job alone, too
        assert sum("got its worker killed" in (job["reason"] or "") for job in found) <= uploads // 1000
        whole = make_job(server, send(server, ("ct.nii.gz", good)))["id"]
        assert _all_ended(server, {whole}, 120)[0]["state"] == "done"
        assert server.get("/health").status_code == 200


def _all_ended(server, made, seconds):
    """The jobs, once all have ended."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found, asked = {}, {"limit": 1000}
        while page := server.get("/api/v1/jobs", params=asked).json()["jobs"]:
            found |= {job["id"]: job for job in page}
            asked["before"] = page[-1]["number"]
        if all(found[job]["state"] in ENDS for job in made):
            return [found[job] for job in made]
        time.sleep(0.3)
    raise AssertionError({job["state"] for job in found.values()})


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of a few megabytes, where one may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.name != "posix" or os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("needs to mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_loses_nothing_and_is_said(tmp_path, model, monkeypatch):
    monkeypatch.setattr("tomoseg.server.uploads.SPARE_BYTES", 0)
    scans = [write_scan(tmp_path / f"{seed}.nii.gz", seed).read_bytes() for seed in range(2)]
    with small_disk(tmp_path / "disk", "4m") as disk, started(disk / "server", [model], rules=Rules()) as server:
        first = make_job(server, send(server, ("ct.nii.gz", scans[0])))["id"]
        assert _all_ended(server, {first}, 120)[0]["state"] == "done"
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))
        refused = [
            server.post("/api/v1/uploads", files=[("file", ("ct.nii.gz", scans[1]))]),
            server.post("/api/v1/tus/", headers={"tus-resumable": "1.0.0", "upload-length": "100000"}),
        ]
        for answer in refused:
            assert answer.status_code == 507, answer.text
            assert answer.json()["detail"].startswith("expected")
        assert server.get("/health").status_code == 200
        assert server.get(f"/api/v1/jobs/{first}/download").status_code == 200
        filler.unlink()
        second = make_job(server, send(server, ("ct.nii.gz", scans[1])))["id"]
        assert _all_ended(server, {second}, 120)[0]["state"] == "done"
        assert not list((disk / "server").rglob("*.part"))
