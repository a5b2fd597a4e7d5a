"""The client: sends, waits, gets; says in one sentence what is wrong."""

import http.server
import subprocess
import sys
import threading
from contextlib import contextmanager

import httpx
import pytest

from tests.server.running import started
from tomoseg.cli import main
from tomoseg.errors import InputError, ServerError
from tomoseg.options import PredictOptions
from tomoseg.server.client import Client
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


@pytest.mark.parametrize("extra", [[], ["--ml"]])
def test_predict_has_a_server_do_it(server, slices, scan, tmp_path, capfd, extra):
    (tmp_path / "one.nii.gz").symlink_to(scan)
    (tmp_path / "two").symlink_to(slices / "one")
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
    assert main([*command, *extra]) == 0, capfd.readouterr().err
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.nii.gz")}
    if extra:
        assert names == {"one.nii.gz", "two.nii.gz"}
    else:
        assert names == {f"{scan}/{name}.nii.gz" for scan in ("one", "two") for name in ("ball", "cube", "both")}
    assert "one: " in capfd.readouterr().out


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
    assert (tmp_path / "out" / "good" / "ball.nii.gz").exists()


@pytest.mark.parametrize(
    ("ask", "match"),
    [
        (lambda client: client.upload("nothing.nii.gz"), "expected a scan to send, found nothing there"),
        (lambda client: client.submit(["none"]), "expected the id of an upload"),
        (lambda client: client.job("none"), "expected the id of a job"),
        (lambda client: client.submit(["none"], model="huh"), "did you mean 'hu'"),
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
