"""The client: sends, waits, gets; says in one sentence what is wrong."""

import http.server
import itertools
import subprocess
import sys
import threading
import zipfile
from contextlib import contextmanager

import httpx
import numpy as np
import pytest

from tests.server.running import started
from tests.training.tiny import make_scan
from tomoseg.cli import main
from tomoseg.errors import GridError, InputError, ServerError
from tomoseg.files.nifti import read_mask, write_nifti
from tomoseg.options import PredictOptions
from tomoseg.server.client import Client
from tomoseg.server.client_files import unpack_result
from tomoseg.volume import SourceGrid
from tomoseg.workflows.predict import predict


@pytest.fixture
def client(server):
    with Client(str(server.base_url)) as client:
        yield client


@contextmanager
def answering(body, status=200):
    """A server that says the same to everything."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()
        thread.join()


def test_a_scan_is_segmented_as_it_would_be_here(client, scan, model, tmp_path):
    states = []
    job = client.segment(scan, options={"format": ["nifti"]}, on_change=lambda one: states.append(one["state"]))
    assert states[-1] == "done"
    files = client.download(job, tmp_path / "there")
    predict(scan, tmp_path / "here", model, PredictOptions(statistics=True))
    assert {path.name for path in files} == {"ball.nii.gz", "cube.nii.gz", "both.nii.gz", "statistics.json"}
    for path in files:
        assert path.read_bytes() == (tmp_path / "here" / path.name).read_bytes()


def test_large_files_go_in_parts_and_go_on_where_they_were_cut(client, scan, monkeypatch):
    monkeypatch.setattr("tomoseg.server.client.CHUNK_BYTES", 1000)
    patch, calls = client._http.patch, []

    def sometimes(path, **more):
        calls.append(more["headers"]["upload-offset"])
        answer = patch(path, **more)
        if len(calls) % 2:
            raise httpx.ReadError("the connection broke after the bytes had come")
        return answer

    monkeypatch.setattr(client._http, "patch", sometimes)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    upload = client.upload(scan)
    assert client._json("GET", f"/api/v1/uploads/{upload}")["bytes"] == scan.stat().st_size
    assert client.wait(client.submit([upload]))["state"] == "done"
    assert [int(one) for one in calls] == list(range(0, scan.stat().st_size, 1000))


def test_a_folder_of_dicom_is_sent_without_its_files_names(client, slices, tmp_path):
    job = client.segment(slices / "one")
    assert client.result(job)["structures"][0]["name"] == "ball"


@pytest.mark.parametrize("extra", [["-m", "hu"], ["--ml"]])  # the second without a model: the server has a default
def test_predict_has_a_server_do_it(server, slices, scan, tmp_path, capfd, extra):
    (tmp_path / "one.nii.gz").symlink_to(scan)
    (tmp_path / "two").symlink_to(slices / "one")
    command = [
        "predict",
        "-i",
        str(tmp_path),
        "-o",
        str(tmp_path / "out"),
        "--server",
        str(server.base_url),
    ]
    assert main([*command, *extra]) == 0, capfd.readouterr().err
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.nii.gz")}
    if "--ml" in extra:
        assert names == {"one.nii.gz", "two.nii.gz"}
    else:
        assert names == {f"{scan}/{name}.nii.gz" for scan in ("one", "two") for name in ("ball", "cube", "both")}
    assert "one: " in capfd.readouterr().out


def test_a_model_that_the_server_has_not_is_refused_before_a_scan_is_sent(server, scan, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(Client, "upload", lambda *anything: pytest.fail("a scan was sent"))
    flags = ("-i", str(scan), "-o", str(tmp_path / "out"), "-m", "huh", "--server", str(server.base_url))
    assert main(["predict", *flags]) == 2
    assert "model: expected 'hu', got 'huh'; correct it" in capfd.readouterr().err


def test_a_scan_that_fails_there_is_said_and_the_others_are_done(server, scan, tmp_path, capfd):
    (tmp_path / "bad.nii.gz").write_bytes(b"no scan")
    (tmp_path / "good.nii.gz").symlink_to(scan)
    command = [
        "predict",
        "-i",
        str(tmp_path),
        "-o",
        str(tmp_path / "out"),
        "-m",
        "hu",
        "--server",
        str(server.base_url),
    ]
    assert main(command) == 1
    said = capfd.readouterr()
    assert "failed: bad: expected" in said.err
    assert said.err.splitlines()[-1] == "failed: 1 of 2 scans: bad"
    assert (tmp_path / "out" / "good" / "ball.nii.gz").exists()


def test_each_scan_is_said_when_it_ends(server, scan, tmp_path, capfd, monkeypatch):
    """What is printed while the last of three is awaited."""
    for name in "abc":
        (tmp_path / f"{name}.nii.gz").symlink_to(scan)
    said, wait = [], Client.wait

    def heard(client, job, on_change):
        said.append(capfd.readouterr().out)
        return wait(client, job, on_change)

    monkeypatch.setattr(Client, "wait", heard)
    flags = ("-i", str(tmp_path), "-o", str(tmp_path / "out"), "-m", "hu", "--server", str(server.base_url))
    assert main(["predict", *flags]) == 0
    assert [one.partition(":")[0] for one in said] == ["", "a", "b"]
    assert capfd.readouterr().out.startswith("c: ")


@pytest.fixture
def job(client, tmp_path):
    """A job that is done, of a scan of its own, flipped along x in its file."""
    hu, _ = make_scan(next(NUMBERS))
    write_nifti(tmp_path / "ct.nii.gz", hu, FLIPPED)
    return client.segment(tmp_path / "ct.nii.gz")


NUMBERS = itertools.count(91)
"""Of scans: the same one again would be the same job."""

FLIPPED = SourceGrid((24, 22, 8), np.diag([-1.0, 1.0, 1.0, 1.0]))


def drawn(path, grid=FLIPPED, value=1):
    """The file of a mask: a box at the beginning of x in RAS+."""
    mask = np.zeros(grid.canonical_shape, np.uint8)
    mask[1:4, 2:6, 3:5] = value
    write_nifti(path, mask, grid)
    return path, mask


def test_a_mask_is_corrected_listed_and_had_back(client, job, tmp_path):
    path, mask = drawn(tmp_path / "mask.nii.gz")
    assert client.corrections(job) == []
    assert client.correct(job, "ball", path, who="A. Person") == 1
    other = SourceGrid(FLIPPED.shape, np.array([[1.0, 0, 0, -23], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    again, _ = drawn(tmp_path / "again.nii.gz", other)  # the same voxels, in another order
    assert client.correct(job, "ball", again) == 2
    (first, second) = client.corrections(job)
    assert (first["structure"], first["who"], first["voxels"]) == ("ball", "A. Person", int(mask.sum()))
    assert second["version"] == 2
    files = client.download_corrected(job, tmp_path / "out")
    assert {"ball.nii.gz", "cube.nii.gz", "corrections.json", "statistics.csv"} <= {file.name for file in files}
    np.testing.assert_array_equal(read_mask(tmp_path / "out" / "ball.nii.gz", FLIPPED), mask > 0)


def test_what_is_no_correction_is_refused_before_it_is_sent(client, job, tmp_path):
    shifted = SourceGrid(FLIPPED.shape, np.diag([-1.0, 1.0, 1.0, 1.0]) + np.array([[0, 0, 0, 5]] + [[0] * 4] * 3))
    refused = {
        "expected the grid of the job's scan, got its first voxel moved": drawn(tmp_path / "a.nii.gz", shifted)[0],
        "expected only 0 and 1": drawn(tmp_path / "b.nii.gz", value=3)[0],
        "expected the file of a mask, found nothing there": tmp_path / "none.nii.gz",
    }
    for match, path in refused.items():
        with pytest.raises((InputError, GridError), match=match):
            client.correct(job, "ball", path)
    with pytest.raises(ServerError, match="'liver'"):
        client.correct(job, "liver", drawn(tmp_path / "c.nii.gz")[0])
    with pytest.raises(ServerError, match="expected a job with corrections, got one without"):
        client.download_corrected(job, tmp_path / "out")
    assert client.corrections(job) == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../x", "/x", "a\\x"])
def test_an_archive_that_leads_elsewhere_is_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "packed", "w") as archive:
        archive.writestr("good", b"x")
        archive.writestr(name, b"x")
    elsewhere = pytest.raises(ServerError, match="got one that leads elsewhere; do not trust that server")
    with (tmp_path / "packed").open("rb") as packed, elsewhere:
        unpack_result(packed, tmp_path / "out")
    (tmp_path / "packed").write_bytes(b"no zip")
    with (tmp_path / "packed").open("rb") as packed, pytest.raises(ServerError, match="expected a zip of a result"):
        unpack_result(packed, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_certificates_are_loaded_where_there_are_some(monkeypatch):
    asked = []
    monkeypatch.setattr(httpx, "Client", lambda **more: asked.append(more["verify"]))
    for url in ("http://127.0.0.1", "HTTPS://ct.example.org", "https://ct.example.org"):
        Client(url)
    assert asked == [False, True, True]


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda client: client.upload("nothing.nii.gz"), "expected a scan to send, found nothing there"),
        (lambda client: client.submit(["none"]), "expected the id of an upload"),
        (lambda client: client.job("none"), "expected the id of a job"),
        (lambda client: client.submit(["none"], model="huh"), "expected 'hu', got 'huh'"),
    ],
)
def test_what_the_server_refuses_is_said_in_its_words(client, ask, match):
    with pytest.raises((InputError, ServerError), match=match):
        ask(client)


def test_a_token_is_asked_for_and_taken_from_the_environment(tmp_path, model, monkeypatch):
    from tomoseg.server.database import Database
    from tomoseg.server.guard import make_token

    token = make_token(Database(tmp_path))
    with started(tmp_path, [model], asks_for_token=True, only_loopback=False, workers=0) as server:
        url = str(server.base_url)
        with Client(url) as client, pytest.raises(ServerError, match="expected the token of this server, got none"):
            client.info()
        with Client(url, "wrong") as client, pytest.raises(ServerError, match="got another"):
            client.info()
        monkeypatch.setenv("TOMOSEG_TOKEN", token)
        with Client(url) as client:
            assert client.info()["models"] == ["hu"]


def test_a_server_of_another_version_is_refused_at_the_first_call():
    refused = pytest.raises(ServerError, match=r"expected a server of interface 1, got 2 of tomoseg 9\.0; install")
    with answering(b'{"tomoseg": "9.0", "api": 2}') as url, Client(url) as client, refused:
        client.info()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"status": "ok"}'])
def test_another_server_is_refused(body):
    with answering(body) as url, Client(url) as client, pytest.raises(ServerError, match="got another; check the URL"):
        client.info()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "nonsense", "http://"])
def test_where_no_server_is_one_sentence_says_so(url):
    with pytest.raises(ServerError, match="expected a server"), Client(url) as client:
        client.info()


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "a\\x", ""])
def test_a_server_cannot_write_elsewhere(client, monkeypatch, tmp_path, name):
    monkeypatch.setattr(client, "result", lambda job: {"files": [{"name": name}]})
    with pytest.raises(ServerError, match="got one that leads elsewhere; do not trust that server"):
        client.download("job", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_client_loads_nothing_that_computes():
    heavy = {"numpy", "torch", "openvino", "fastapi"}
    code = f"import sys, tomoseg; tomoseg.Client; sys.exit(str({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.stderr.strip() == "set()"
