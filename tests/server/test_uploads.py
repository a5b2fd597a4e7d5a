"""Uploads lie under names of ours, within limits, as long as somebody needs them."""

import hashlib
import json
import shutil
import time

import pytest

from tomoseg.server.database import Database
from tomoseg.server.jobs import JobStore, new_id
from tomoseg.server.refusals import RefusalError
from tomoseg.server.uploads import Rules, UploadStore, digest_of, suffix_of


@pytest.fixture
def store(tmp_path):
    (tmp_path / "uploads").mkdir()
    return UploadStore(Database(tmp_path), tmp_path / "uploads", Rules(upload_bytes=100, quota_bytes=250))


def add(store, data=b"scan", suffix=".nii"):
    upload = store.begin(suffix, len(data))
    store.file(upload, 1, suffix).write_bytes(data)
    store.complete(upload, hashlib.sha256(data).hexdigest(), len(data), 1, suffix)
    return upload


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("ct.nii.gz", ".nii.gz"),
        ("CT.NRRD", ".nrrd"),
        ("IM0001", ".dcm"),
        ("../../etc/passwd", ".dcm"),
        ("<img src=x onerror=alert(1)>.zip", ".zip"),
        ("", ".dcm"),
        ("Doe^John.nii.gz\x00.exe", ".dcm"),
    ],
)
def test_of_a_name_the_ending_alone_is_used(name, suffix):
    assert suffix_of(name) == suffix


def test_the_order_of_files_makes_no_other_upload():
    assert digest_of(["a", "b"]) == digest_of(["b", "a"]) == hashlib.sha256(b"a\nb").hexdigest()
    assert digest_of(["a"]) == "a"


def test_more_than_one_may_have_is_refused_before_it_is_sent(store):
    with pytest.raises(RefusalError, match=r"at most 0.0001 MB, got 0.000101 MB; send a part") as refusal:
        store.begin(".nii", 101)
    assert refusal.value.status == 413


def test_more_than_is_left_of_the_quota_is_refused(store):
    for _ in range(2):
        store.begin(".nii", 100)
    assert store.used_bytes() == 200
    with pytest.raises(RefusalError, match=r"which is left of 0.00025 MB, got 6e-05 MB; remove finished jobs"):
        store.begin(".nii", 60)
    store.begin(".nii", 50)


def test_a_full_disk_is_said(store, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(RefusalError, match="expected 500 MB of free disk space, got less") as refusal:
        store.begin(".nii", 1)
    assert refusal.value.status == 507


def test_an_upload_that_is_on_its_way_cannot_be_used(store):
    upload = store.begin(".nii", 4)
    assert not store.shown(store.row(upload)).complete
    with pytest.raises(RefusalError, match="got one of which bytes are missing"):
        store.use([upload])
    with pytest.raises(RefusalError, match="got one that does not exist"):
        store.use(["none"])


def test_one_file_is_a_file_and_several_are_a_folder(store, tmp_path):
    one, other = add(store), add(store, b"more")
    assert store.scan_of([one], tmp_path / "input").read_bytes() == b"scan"
    both = store.scan_of([one, other], tmp_path / "input")
    assert [path.name for path in sorted(both.iterdir())] == ["000001.nii", "000002.nii"]
    assert store.scan_of([one, other], tmp_path / "input") == both  # a second attempt


def test_what_a_job_needs_is_not_removed_alone(store):
    upload = add(store)
    jobs = JobStore(store.database)
    jobs.make(new_id(), "key", "model", {}, [upload])
    with pytest.raises(RefusalError, match="got one in use; remove its jobs first"):
        store.remove(upload)
    store.remove_if_unused(upload)
    assert store.row(upload)["bytes"] == 4


def test_what_nobody_uses_goes_after_its_time(store, monkeypatch):
    upload = add(store)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + store.rules.keep_seconds - 5)
    store.sweep()
    assert store.row(upload)
    monkeypatch.setattr("time.time", lambda: now + store.rules.keep_seconds + 5)
    store.sweep()
    assert not list(store.folder.iterdir())
    with pytest.raises(RefusalError, match="got one that does not exist or was removed"):
        store.row(upload)


def test_corrected_label_maps_and_their_images_are_kept_for_good(store):
    image, label, other = add(store), add(store, b"label"), add(store, b"other")
    store.database.set_fact(f"label:{image}:1a2b", json.dumps({"upload": label, "tag": "final", "params": {}}))
    store.database.change("UPDATE uploads SET used = 0")
    store.sweep()
    for one in (image, label):
        store.remove_if_unused(one)
        assert store.file(one, 1, ".nii").is_file()
    assert not store.file(other, 1, ".nii").exists()


def test_what_a_killed_server_left_goes_and_what_can_be_resumed_stays(store):
    resumable = store.begin(".nii", 50)
    cut = store.begin(".dcm", 50, 0)
    (store.folder / "stray").mkdir()
    whole = add(store)
    store.sweep_strays()
    assert {path.name for path in store.folder.iterdir()} == {resumable, whole}
    with pytest.raises(RefusalError, match="does not exist"):
        store.row(cut)
