"""Masks corrected over HTTP: each a new version, on the scan's own voxels, and had back in the result's formats."""

import gzip
import io
import json
import sqlite3
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest

from tests.server.conftest import write_scan
from tests.server.running import ended, make_job, send, started
from tomoseg.server.database import NAME, Database
from tomoseg.server.guard import make_token
from tomoseg.server.uploads import Rules

API = "/api/v1"


def packed(mask):
    """A mask as the page sends it."""
    return gzip.compress(mask.astype(np.uint8).tobytes(order="F"))


def correct(client, job, mask, structure="ball", who="A. Person"):
    return client.post(
        f"{API}/jobs/{job}/corrections", params={"structure": structure, "who": who}, content=packed(mask)
    )


def shown(client, job):
    """What the page shows of a job: its description, and the mask of each structure."""
    until = time.monotonic() + 60
    while (answer := client.get(f"{API}/jobs/{job}/view/case.json")).status_code == 202:
        assert time.monotonic() < until
        time.sleep(0.05)
    case = answer.json()
    cells = np.frombuffer(client.get(f"{API}/jobs/{job}/view/cells").content, np.uint8)
    table, shape = case["cells"], case["shape"]
    names = [one["name"] for one in case["structures"]]
    masks = {name: np.isin(cells, [c for c, inside in enumerate(table) if n in inside]) for n, name in enumerate(names)}
    return case, {name: mask.reshape(shape, order="F") for name, mask in masks.items()}


def archive_of(client, job):
    answer = client.get(f"{API}/jobs/{job}/corrections/download")
    assert answer.status_code == 200, answer.text
    return zipfile.ZipFile(io.BytesIO(answer.content))


def values_in(archive, name):
    return np.asarray(nibabel.Nifti1Image.from_bytes(gzip.decompress(archive.read(name))).dataobj)


def box(shape, low):
    mask = np.zeros(shape, bool)
    mask[low : low + 3, 2:5, 1:4] = True
    return mask


@pytest.fixture
def job(server, tmp_path):
    """A job that is done, of a scan of its own."""
    path = write_scan(tmp_path / "ct.nii.gz", time.time_ns() % 1_000_000)
    return ended(server, make_job(server, send(server, ("ct.nii.gz", path.read_bytes())))["id"])["id"]


def test_each_correction_is_a_new_version_that_is_shown_and_downloaded(server, job):
    case, before = shown(server, job)
    shape = before["ball"].shape
    assert [one["version"] for one in case["structures"]] == [None, None, None]
    for number, low in enumerate((2, 9), start=1):
        answer = correct(server, job, box(shape, low))
        assert (answer.status_code, answer.json()) == (201, {"version": number})
    case, after = shown(server, job)
    np.testing.assert_array_equal(after["ball"], box(shape, 9))
    np.testing.assert_array_equal(after["cube"], before["cube"])
    assert case["structures"][0]["version"] == 2
    versions = server.get(f"{API}/jobs/{job}/corrections").json()["corrections"]
    assert [(one["structure"], one["version"], one["who"], one["voxels"]) for one in versions] == [
        ("ball", 1, "A. Person", 27),
        ("ball", 2, "A. Person", 27),
    ]
    assert versions[0]["when"].endswith("+00:00")
    assert server.get(f"{API}/jobs/{job}").json()["corrections"] == 2

    archive = archive_of(server, job)
    assert archive.testzip() is None
    assert {"result.json", "statistics.csv", "statistics.json", "corrections.json"} <= set(archive.namelist())
    np.testing.assert_array_equal(values_in(archive, "ball.nii.gz"), box(shape, 9))
    np.testing.assert_array_equal(values_in(archive, "cube.nii.gz"), before["cube"])
    ball = json.loads(archive.read("result.json"))["structures"][0]
    assert (ball["volume_ml"], ball["centroid_mm"]) == (0.027, [10.0, 3.0, 2.0])
    original = zipfile.ZipFile(io.BytesIO(server.get(f"{API}/jobs/{job}/download").content))
    np.testing.assert_array_equal(values_in(original, "ball.nii.gz"), before["ball"])  # never over the old


def test_a_label_map_has_a_corrected_mask_over_what_was_there(server, tmp_path):
    path = write_scan(tmp_path / "ct.nii.gz", 77)
    upload = send(server, ("ct.nii.gz", path.read_bytes()))
    job = ended(server, make_job(server, upload, ml=True, format=["nifti", "nrrd"])["id"])["id"]
    _, before = shown(server, job)
    drawn = before["cube"].copy()
    drawn[:, :, 3:] = False  # half of the cube is the ball's now, as somebody says
    assert correct(server, job, drawn).status_code == 201
    archive = archive_of(server, job)
    values = values_in(archive, "segmentation.nii.gz")
    np.testing.assert_array_equal(values == 1, drawn)
    np.testing.assert_array_equal(values == 5, before["cube"] & ~drawn)
    assert {"segmentation.seg.nrrd", "segmentation.labels.json"} <= set(archive.namelist())


def test_a_dicom_segmentation_has_what_was_drawn_on_the_slices_of_the_scan(server, slices):
    uploads = [send(server, (path.name, path.read_bytes())) for path in sorted((slices / "two").iterdir())]
    job = ended(server, make_job(server, *uploads, format=["dicom-seg"], roi_subset=["ball"])["id"])["id"]
    _, before = shown(server, job)
    assert correct(server, job, box(before["ball"].shape, 4)).status_code == 201
    _, after = shown(server, job)
    np.testing.assert_array_equal(after["ball"], box(before["ball"].shape, 4))
    archive = archive_of(server, job)
    read = highdicom.seg.Segmentation.from_dataset(pydicom.dcmread(io.BytesIO(archive.read("segmentation.seg.dcm"))))
    assert read.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert int(read.pixel_array.sum()) == 27


def test_several_corrections_at_once_are_versions_of_their_own(server, job):
    _, before = shown(server, job)
    with ThreadPoolExecutor(3) as threads:
        answers = list(threads.map(lambda low: correct(server, job, box(before["ball"].shape, low)), (2, 6, 10)))
    assert sorted(one.json()["version"] for one in answers) == [1, 2, 3]


def test_what_is_no_correction_of_the_job_is_refused_and_nothing_is_kept(server, job, tmp_path):
    _, before = shown(server, job)
    good = box(before["ball"].shape, 2)
    place = f"{API}/jobs/{job}/corrections"
    refused = {
        "expected a mask of the scan's": correct(server, job, good[:-1]),
        "'liver'": correct(server, job, good, structure="liver"),
        "got '../ball'": correct(server, job, good, structure="../ball"),
        "expected a mask compressed with gzip": server.post(f"{place}?structure=ball", content=b"no mask"),
        "expected a mask of 0 and 1, got 2": server.post(f"{place}?structure=ball", content=packed(good * np.uint8(2))),
        "structure: Field required": server.post(place, content=packed(good)),
    }
    for words, answer in refused.items():
        assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text
        assert "/" not in answer.json()["detail"].replace("/api/v1/openapi.json", "").replace("'../ball'", "")
    assert server.get(place).json() == {"corrections": []}
    answer = server.get(f"{place}/download")
    assert (answer.status_code, "expected a job with corrections, got one without" in answer.text) == (404, True)


def test_a_mask_that_is_too_large_is_refused(server, job, monkeypatch):
    monkeypatch.setattr("tomoseg.server.correction_routes.MOST_MASK_BYTES", 100)
    answer = server.post(f"{API}/jobs/{job}/corrections?structure=ball", content=bytes(200))
    assert (answer.status_code, "expected a mask of at most 100 bytes" in answer.text) == (413, True)


def test_only_a_job_that_is_done_and_there_is_corrected(server, tmp_path):
    (tmp_path / "text.nii.gz").write_text("no scan")
    failed = ended(server, make_job(server, send(server, ("a.nii.gz", b"no scan")))["id"])["id"]
    for job, status, words in ((failed, 409, "got one that is failed"), ("0" * 32, 404, "expected the id of a job")):
        answer = correct(server, job, np.zeros((2, 2, 2)))
        assert (answer.status_code, words in answer.json()["detail"]) == (status, True)
        assert server.get(f"{API}/jobs/{job}/corrections").status_code == status
        assert server.get(f"{API}/jobs/{job}/corrections/download").status_code == status


def test_corrections_outlive_a_restart_count_in_the_quota_and_go_with_their_job(tmp_path, model, scan):
    folder = tmp_path / "server"
    with started(folder, [model]) as server:
        job = ended(server, make_job(server, send(server, ("ct.nii.gz", scan.read_bytes())))["id"])["id"]
        _, before = shown(server, job)
        used = server.get(f"{API}/info").json()["limits"]["used_bytes"]
        drawn = box(before["ball"].shape, 3)
        assert correct(server, job, drawn).status_code == 201
        assert server.get(f"{API}/info").json()["limits"]["used_bytes"] > used
    with started(folder, [model]) as server:
        _, after = shown(server, job)
        np.testing.assert_array_equal(after["ball"], drawn)
        assert (folder / "jobs" / job / "corrections" / "0001" / "ball.nii.gz").is_file()
        assert server.delete(f"{API}/jobs/{job}").status_code == 204
        assert not (folder / "jobs" / job).exists()
        assert correct(server, job, drawn).status_code == 404


def test_a_correction_that_the_quota_has_no_room_for_is_refused(tmp_path, model, scan):
    size = scan.stat().st_size
    with started(tmp_path / "server", [model]) as server:
        job = ended(server, make_job(server, send(server, ("ct.nii.gz", scan.read_bytes())))["id"])["id"]
        _, before = shown(server, job)
    drawn = np.random.default_rng(0).random(before["ball"].shape) > 0.5  # which hardly can be compressed
    with started(tmp_path / "server", [model], rules=Rules(quota_bytes=size), workers=0) as server:
        answer = correct(server, job, drawn)
        assert (answer.status_code, "start the server with a larger --quota" in answer.text) == (413, True)
        assert server.get(f"{API}/jobs/{job}/corrections").json() == {"corrections": []}


def test_of_a_job_that_expired_nothing_is_corrected_and_its_corrections_are_gone(tmp_path, model, scan):
    with started(tmp_path, [model]) as server:
        job = ended(server, make_job(server, send(server, ("ct.nii.gz", scan.read_bytes())))["id"])["id"]
        _, before = shown(server, job)
        assert correct(server, job, box(before["ball"].shape, 3)).status_code == 201
    with started(tmp_path, [model], rules=Rules(keep_seconds=0.0), workers=0) as server:
        until = time.monotonic() + 60
        while server.get(f"{API}/jobs/{job}").json()["state"] != "expired":
            assert time.monotonic() < until
            time.sleep(0.05)
        place = f"{API}/jobs/{job}/corrections"
        answers = [correct(server, job, before["ball"]), server.get(place), server.get(f"{place}/download")]
        for answer in answers:
            assert (answer.status_code, "got one that expired; send it again" in answer.text) == (410, True)
        while (tmp_path / "jobs" / job).exists():
            assert time.monotonic() < until
            time.sleep(0.05)


def test_corrections_need_the_token(tmp_path, model):
    make_token(Database(tmp_path))
    with started(tmp_path, [model], asks_for_token=True, only_loopback=False, workers=0) as server:
        place = f"{API}/jobs/{'0' * 32}/corrections"
        for method, path in (("POST", f"{place}?structure=ball"), ("GET", place), ("GET", f"{place}/download")):
            for headers in ({}, {"authorization": "Bearer wrong"}):
                answer = server.request(method, path, headers=headers, content=b"x" if method == "POST" else None)
                assert (answer.status_code, "expected the token of this server" in answer.text) == (401, True)


HOSTILE = [
    "../../ball",
    "ball/../../x",
    "/etc/passwd",
    "ball\0",
    "<img src=x>",
    "ball.nii.gz",
    " ",
    "ball%2f..",
    "a" * 5000,
]


def test_names_of_structures_and_of_people_become_no_paths_and_no_lines(server, job):
    _, before = shown(server, job)
    mask = box(before["ball"].shape, 2)
    for name in HOSTILE:
        assert correct(server, job, mask, structure=name).status_code in {422, 400}, name
    assert server.get(f"{API}/jobs/{job}/corrections").json() == {"corrections": []}
    who = '<script>x</script>"\r\nset-cookie: a=b\t' + "x" * 300
    answer = correct(server, job, mask, who=who)
    assert (answer.status_code, "set-cookie" in answer.headers) == (201, False)
    (one,) = server.get(f"{API}/jobs/{job}/corrections").json()["corrections"]
    assert one["who"] == who[:100]
    archive = archive_of(server, job)
    assert all("script" not in name and ".." not in name for name in archive.namelist())
    for path in (f"{API}/jobs/..%2f{job}/corrections", f"{API}/jobs/{job}%2f..%2fx/corrections"):
        assert server.get(path).status_code == 404


def test_a_file_of_jobs_from_before_there_were_corrections_is_brought_up_to_them(tmp_path):
    Database(tmp_path).close()
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute("ALTER TABLE jobs DROP COLUMN corrections")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    rows = Database(tmp_path).all("SELECT name FROM pragma_table_info('jobs') WHERE name = 'corrections'")
    assert len(rows) == 1
    assert Database(tmp_path).first("PRAGMA user_version")[0] == 2
