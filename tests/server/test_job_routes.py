"""From an upload to a result, over HTTP, with real workers."""

import csv
import io
import json
import time
import zipfile

import nibabel
import numpy as np
import pytest

from tests.server.conftest import write_scan, zipped
from tests.server.running import ENDS, ended, make_job, send, started
from tomoseg.options import PredictOptions
from tomoseg.server.records import AskedJob, Job, Upload
from tomoseg.workflows.predict import predict

API = "/api/v1"


@pytest.fixture(scope="module")
def done(server, scan):
    """A job that is done."""
    job = make_job(server, send(server, ("ct.nii.gz", scan.read_bytes())), format=["nifti", "nrrd"])
    return ended(server, job["id"])


def events_of(server, job, **headers):
    with server.stream("GET", f"{API}/jobs/{job}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = answer.read().decode()
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if "data" in block
    ]
    return [(int(one["id"]), json.loads(one["data"])) for one in blocks]


def test_masks_are_those_that_predict_writes_bit_for_bit(server, done, scan, model, tmp_path):
    assert done["state"] == "done", done["reason"]
    predict(scan, tmp_path, model, PredictOptions(format=("nifti", "nrrd")))
    files = server.get(f"{API}/jobs/{done['id']}/result").json()["files"]
    assert {one["name"] for one in files} == {
        *("ball.nii.gz", "cube.nii.gz", "both.nii.gz", "segmentation.seg.nrrd", "statistics.json"),
    }
    for name in ("ball.nii.gz", "cube.nii.gz", "both.nii.gz"):
        got = server.get(f"{API}/jobs/{done['id']}/files/{name}")
        assert got.headers["content-type"] == "application/octet-stream"
        assert got.content == (tmp_path / name).read_bytes()


def test_a_result_says_of_each_structure_what_a_page_shows(server, done):
    structures = {one["name"]: one for one in server.get(f"{API}/jobs/{done['id']}/result").json()["structures"]}
    ball = structures["ball"]
    content = server.get(f"{API}/jobs/{done['id']}/files/{ball['file']}").content
    mask = np.asarray(nibabel.Nifti1Image.from_bytes(_unpacked(content)).dataobj)
    assert ball["volume_ml"] == pytest.approx(mask.sum() / 1000)
    assert (ball["id"], ball["group"], ball["present"], len(ball["colour"])) == (1, "solid", True, 3)
    assert (structures["both"]["present"], structures["both"]["volume_ml"]) == (False, None)


def test_statistics_are_had_as_json_and_as_a_table(server, done):
    rows = server.get(f"{API}/jobs/{done['id']}/statistics.json").json()
    table = list(csv.DictReader(io.StringIO(server.get(f"{API}/jobs/{done['id']}/statistics.csv").text)))
    assert [row["structure"] for row in table] == [row["structure"] for row in rows] == ["ball", "cube", "both"]
    assert float(table[0]["volume_ml"]) == rows[0]["volume_ml"]
    assert (float(table[0]["x_mm"]), table[2]["x_mm"]) == (rows[0]["centroid_mm"][0], "")


def test_all_of_it_is_had_as_a_zip(server, done):
    archive = zipfile.ZipFile(io.BytesIO(server.get(f"{API}/jobs/{done['id']}/download").content))
    assert archive.testzip() is None
    ball = server.get(f"{API}/jobs/{done['id']}/files/ball.nii.gz").content
    assert archive.read("ball.nii.gz") == ball
    assert {"statistics.csv", "result.json"} <= set(archive.namelist())


def test_events_end_with_the_job_and_go_on_where_they_were(server, tmp_path):
    path = write_scan(tmp_path / "ct.nii.gz", 3)
    job = make_job(server, send(server, ("ct.nii.gz", path.read_bytes())))
    seen = events_of(server, job["id"])
    numbers, states = [one[0] for one in seen], [one[1]["state"] for one in seen]
    assert numbers == sorted(numbers)
    assert states[-1] == "done"
    order = ("received", "checking", "queued", "running", "done")
    assert [order.index(state) for state in states] == sorted(order.index(state) for state in states)
    assert events_of(server, job["id"], **{"last-event-id": str(numbers[-1])}) == []
    assert [one[1]["state"] for one in events_of(server, job["id"], **{"last-event-id": str(numbers[-1] - 1)})] == [
        "done"
    ]


def test_the_same_upload_model_and_options_are_the_same_job(server, scan, done):
    again = send(server, ("another name.nii.gz", scan.read_bytes()))
    answer = server.post(f"{API}/jobs", json={"uploads": [again], "options": {"format": ["nifti", "nrrd"]}})
    assert (answer.status_code, answer.json()["id"]) == (200, done["id"])
    other = server.post(f"{API}/jobs", json={"uploads": [again], "options": {"format": ["nifti"], "smoothing": 1.0}})
    assert (other.status_code, other.json()["id"] != done["id"]) == (201, True)
    ended(server, other.json()["id"])


@pytest.mark.parametrize("how", ["zip", "files", "single uploads"])
def test_dicom_comes_as_a_zip_or_as_files(server, slices, how):
    paths = sorted((slices / "one").iterdir())
    if how == "zip":
        uploads = [send(server, ("study.zip", zipped(slices / "one")))]
    elif how == "files":
        uploads = [send(server, *((path.name, path.read_bytes()) for path in paths))]
    else:
        uploads = [send(server, (path.name, path.read_bytes())) for path in paths]
    job = ended(server, make_job(server, *uploads, format=["dicom-seg"])["id"])
    assert job["state"] == "done", job["reason"]
    assert server.get(f"{API}/jobs/{job['id']}/files/segmentation.seg.dcm").content[128:132] == b"DICM"


def test_of_two_series_one_is_to_be_chosen(server, slices):
    upload = send(server, ("study.zip", zipped(slices)))
    job = ended(server, make_job(server, upload)["id"])
    assert job["state"] == "failed"
    assert job["reason"] == "expected one scan, got 2 series; choose one with the option `series`"
    assert job["advice"] == "choose one with the option `series`"
    assert [one["series"] for one in job["choices"]] == [1, 2]
    assert job["choices"][0]["text"].startswith("axial, 8 images of 24 x 22")
    chosen = ended(server, make_job(server, upload, series=2)["id"])
    assert chosen["state"] == "done", chosen["reason"]


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("ct.nii.gz", b"no scan at all", "expected"),
        ("ct.nii", b"", "expected"),
        ("study.zip", b"PK\x03\x04 damaged", "expected"),
        ("IM0001", b"\0" * 128 + b"DICM damaged", "expected"),
        ("ct.nrrd", b"NRRD0004\ntype: short\n", "expected"),
    ],
)
def test_what_is_no_scan_fails_with_one_sentence_and_the_worker_goes_on(server, name, data, reason):
    job = ended(server, make_job(server, send(server, (name, data)))["id"])
    assert job["state"] == "failed"
    assert job["reason"].startswith(reason)
    assert "/" not in job["reason"].split(";")[0]
    assert job["advice"]


def test_a_job_is_cancelled_and_removed(server, tmp_path):
    upload = send(server, ("ct.nii.gz", write_scan(tmp_path / "ct.nii.gz", 4).read_bytes()))
    job = make_job(server, upload)["id"]
    answer = server.post(f"{API}/jobs/{job}/cancel")
    assert answer.json()["state"] == "cancelled"
    again = server.post(f"{API}/jobs/{job}/cancel")
    assert again.status_code == 409
    assert again.json()["detail"].startswith("expected a job that has not ended, got one that is cancelled")
    assert server.get(f"{API}/jobs/{job}/result").status_code == 409
    assert server.delete(f"{API}/jobs/{job}").status_code == 204
    assert server.get(f"{API}/jobs/{job}").status_code == 404
    assert server.get(f"{API}/uploads/{upload}").status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "detail"),
    [
        ({"uploads": []}, 422, "expected the ids of one or more uploads"),
        ({"uploads": ["none"]}, 404, "expected the id of an upload, got one that does not exist"),
        (
            {"uploads": ["x"], "model": "huh"},
            404,
            "model: expected 'hu', got 'huh'; correct it",
        ),
        (
            {"uploads": ["x"], "options": {"roi_subset": ["bal"]}},
            422,
            "roi_subset: expected one of 3 known names, got 'bal'",
        ),
        ({"uploads": ["x"], "options": {"format": ["jpeg"]}}, 400, "format"),
        (
            {"uploads": ["x"], "options": {"threshold": ["2,5"]}},
            400,
            "expected a threshold between 0 and 1 such as 0.4",
        ),
        ({"uploads": ["x"], "options": {"nonsense": 1}}, 400, "nonsense"),
        ({"uploads": ["x"], "options": {"part": "1/2"}}, 422, "part: expected options for one scan"),
        ({"uploads": ["x"], "options": {"on": "processes:2"}}, 422, "on: expected options for one scan"),
        ({"uploads": ["x"], "nonsense": 1}, 422, "expected a request as /api/v1/openapi.json describes it"),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(server, asked, status, detail):
    answer = server.post(f"{API}/jobs", json=asked)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


@pytest.mark.parametrize(
    "name", ["../../jobs.sqlite3", "%2e%2e/result.json", "result.json", "prediction.json", "/etc/passwd"]
)
def test_only_what_a_result_lists_can_be_had(server, done, name):
    assert server.get(f"{API}/jobs/{done['id']}/files/{name}").status_code == 404


def test_jobs_are_listed_the_newest_first(server, done):
    listed = server.get(f"{API}/jobs", params={"limit": 2}).json()["jobs"]
    numbers = [one["number"] for one in listed]
    assert numbers == sorted(numbers, reverse=True)
    older = server.get(f"{API}/jobs", params={"before": numbers[-1]}).json()["jobs"]
    assert all(one["number"] < numbers[-1] for one in older)
    assert all(one["state"] in ENDS for one in older)


def test_the_interface_describes_itself(server):
    described = server.get(f"{API}/openapi.json").json()
    assert {"/health", f"{API}/jobs", f"{API}/uploads", f"{API}/tus/", f"{API}/jobs/{{job}}/events"} <= set(
        described["paths"]
    )
    assert described["components"]["schemas"]["Job"]["properties"]["position"]["description"].startswith(
        "Number of jobs before it"
    )


def test_what_is_offered_is_said(server):
    info = server.get(f"{API}/info").json()
    assert (info["api"], info["models"], info["default_model"]) == (1, ["hu"], "hu")
    assert "rtstruct" in {one["name"] for one in info["formats"]}
    assert info["limits"]["upload_bytes"] == 4_000_000_000
    (model,) = server.get(f"{API}/models").json()
    assert [one["name"] for one in model["structures"]] == ["ball", "cube", "both"]
    assert len(model["sha256"]) == 64


def test_nothing_of_what_was_sent_is_in_names_on_the_disk(server, scan, tmp_path_factory):
    send(server, ("DOE^JANE 19620229.nii.gz", scan.read_bytes()))
    (root,) = [path for path in tmp_path_factory.getbasetemp().iterdir() if (path / "jobs.sqlite3").exists()][:1]
    assert not [path for path in root.rglob("*") if "DOE" in path.name]
    assert b"JANE" not in b"".join(path.read_bytes() for path in root.glob("jobs.sqlite3*"))


def _unpacked(content):
    import gzip

    return gzip.decompress(content)


def test_who_watches_a_queued_job_is_told_of_its_place(tmp_path, model, scan):
    with started(tmp_path, [model], workers=0) as server:
        upload = send(server, ("ct.nii.gz", scan.read_bytes()))
        jobs = [make_job(server, upload, smoothing=0.5 + n)["id"] for n in range(3)]
        until = time.monotonic() + 60
        while {server.get(f"{API}/jobs/{job}").json()["state"] for job in jobs} != {"queued"}:
            assert time.monotonic() < until
            time.sleep(0.05)
        told = []
        with server.stream("GET", f"{API}/jobs/{jobs[2]}/events") as events:
            for line in events.iter_lines():
                if line.startswith("data: "):
                    told.append(json.loads(line.removeprefix("data: ")))
                    for job in jobs[len(told) - 1 : len(told)]:
                        server.post(f"{API}/jobs/{job}/cancel")
    assert [(one["state"], one["position"]) for one in told] == [
        ("queued", 2),
        ("queued", 1),
        ("queued", 0),
        ("cancelled", None),
    ]
    assert {**told[0], "position": 1} == told[1]


@pytest.mark.parametrize("shape", [AskedJob, Job, Upload])
def test_examples_in_the_description_are_such_answers(server, shape):
    described = server.get(f"{API}/openapi.json").json()["components"]["schemas"][shape.__name__]
    (example,) = described["examples"]
    whole = dict.fromkeys(shape.model_fields) | example  # FastAPI leaves out what is null
    assert shape(**whole).model_dump() == whole
