"""OHIF behind one address with the server, and a PACS behind both: what the plug-in of MONAI Label asks for."""

import json

import numpy as np
import pytest
from fastapi import FastAPI, Request, Response

from tests.server.conftest import write_series
from tests.server.running import served, started
from tomoseg.errors import ConfigError
from tomoseg.server.database import Database
from tomoseg.server.dicomweb import LOGIN, Pacs
from tomoseg.server.guard import make_token
from tomoseg.server.uploads import Rules

SERIES, STUDY = "1.2.3.11", "1.2.3.4"
PARAMS = {
    "params": (None, json.dumps({"result_extension": ".nrrd", "result_dtype": "uint8", "result_compress": False}))
}


class MadePacs:
    """A PACS that has one series, and says what it was asked for.

    Attributes:
        app: What answers.
        asked: Paths and queries, with what was to be accepted.
        instances: How many it says that the series has.
        kind: How it calls the files of a series.
        login: What it asks for; None for nothing.
    """

    def __init__(self, files):
        self.app, self.files, self.asked = FastAPI(), files, []
        self.instances, self.kind, self.login = len(files), 'multipart/related; type="application/dicom"', None
        self.app.add_api_route("/dicom-web/{path:path}", self.answer)

    def answer(self, path: str, request: Request) -> Response:
        self.asked.append((path, request.url.query, request.headers["accept"]))
        if self.login is not None and request.headers.get("authorization") != self.login:
            return Response(status_code=401)
        if path == "series" and request.query_params.get("SeriesInstanceUID") == SERIES:
            found = {"0020000D": {"vr": "UI", "Value": [STUDY]}, "00201209": {"vr": "IS", "Value": [self.instances]}}
            return Response(json.dumps([found]), media_type="application/dicom+json")
        if path == f"studies/{STUDY}/series/{SERIES}":
            parts = [b"--b\r\nContent-Type: application/dicom\r\n\r\n" + one + b"\r\n" for one in self.files]
            return Response(b"".join(parts) + b"--b--\r\n", media_type=f"{self.kind}; boundary=b")
        if path == "studies":
            return Response("[]", media_type="application/dicom+json")
        return Response(status_code=204 if path == "series" else 404)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = write_series(tmp_path_factory.mktemp("pacs")) / "one"
    return [path.read_bytes() for path in sorted(folder.iterdir())]


@pytest.fixture
def pacs(files):
    made = MadePacs(files)
    with served(made.app) as client:
        made.url = f"{client.base_url}/dicom-web"
        yield made


def test_ohif_looks_at_a_series_through_the_server_and_has_it_segmented(tmp_path, model, pacs):
    with started(tmp_path, [model], dicomweb=pacs.url) as server:
        listed = server.get("/proxy/dicom/qido/studies?limit=101&offset=0&includefield=00081030")
        assert (listed.json(), listed.headers["content-type"]) == ([], "application/dicom+json")
        frames = "multipart/related; type=application/dicom"
        images = server.get(f"/proxy/dicom/wado/studies/{STUDY}/series/{SERIES}", headers={"accept": frames})
        assert images.headers["content-type"].endswith("boundary=b")
        assert images.content.count(b"DICM") == len(pacs.files)
        answer = server.post(f"/infer/hu?image={SERIES}&output=image", files=PARAMS)
        assert answer.status_code == 200, answer.text
        header, body = answer.content.split(b"\n\n", 1)
        assert b"sizes: 24 22 8" in header
        assert set(np.unique(np.frombuffer(body, np.uint8))) <= {0, 1, 2, 3}
        before = len(pacs.asked)
        assert server.post(f"/infer/hu?image={SERIES}&output=image", files=PARAMS).content == answer.content
        assert len(pacs.asked) == before  # it is here
        for job in server.get("/api/v1/jobs").json()["jobs"]:
            assert server.delete(f"/api/v1/jobs/{job['id']}").status_code == 204
        assert server.post(f"/infer/hu?image={SERIES}&output=image", files=PARAMS).content == answer.content
        assert [path for path, _, _ in pacs.asked[before:]] == ["series", f"studies/{STUDY}/series/{SERIES}"]
    assert pacs.asked[0] == ("studies", "limit=101&offset=0&includefield=00081030", "*/*")
    assert pacs.asked[1] == (f"studies/{STUDY}/series/{SERIES}", "", frames)
    assert not [path for path in tmp_path.rglob("*") if SERIES in path.name]


def test_what_a_pacs_says_otherwise_is_told_and_nothing_is_kept(tmp_path, model, pacs):
    def asked(server, image=SERIES):
        answer = server.post(f"/infer/hu?image={image}&output=image", files=PARAMS)
        assert image not in answer.json()["detail"]
        return answer.status_code, answer.json()["detail"]

    rules = Rules(quota_bytes=4_000_000)
    with started(tmp_path, [model], dicomweb=pacs.url, workers=0, rules=rules) as server:
        status, text = asked(server, "1.2.3.99")
        assert (status, "expected the identifier of a series in the PACS" in text) == (404, True)
        pacs.instances = 9
        status, text = asked(server)
        assert (status, "expected 9 files of the series, got 8" in text) == (502, True)
        pacs.instances, pacs.kind = 8, "multipart/mixed"
        status, text = asked(server)
        assert (status, "expected DICOM files as DICOMweb sends them" in text) == (502, True)
        pacs.login = "Basic dXNlcjpwYXNzd29yZA=="
        status, text = asked(server)
        assert (status, f"set {LOGIN}" in text) == (502, True)
        assert server.get("/api/v1/info").json()["limits"]["used_bytes"] == 0
        assert list((tmp_path / "uploads").iterdir()) == []


def test_the_pacs_is_logged_into_with_what_the_environment_says(tmp_path, model, pacs, monkeypatch):
    monkeypatch.setenv(LOGIN, "user:password")
    pacs.login = "Basic dXNlcjpwYXNzd29yZA=="
    with started(tmp_path, [model], dicomweb=pacs.url, workers=0) as server:
        assert server.get("/proxy/dicom/qido/studies").status_code == 200


def test_a_pacs_that_is_not_there_is_said(tmp_path, model):
    with started(tmp_path, [model], dicomweb="http://127.0.0.1:9/dicom-web", workers=0) as server:
        for answer in (
            server.get("/proxy/dicom/qido/studies"),
            server.post(f"/infer/hu?image={SERIES}&output=image", files=PARAMS),
        ):
            assert (answer.status_code, "expected a PACS that answers" in answer.text) == (502, True)


@pytest.mark.parametrize(
    "path",
    [
        "qido/../../instances",
        "wado/system",
        "wado/studies/../tools",
        "qido/http://evil.example/studies",
        "stow/studies",
    ],
)
def test_nothing_else_of_the_pacs_is_reached(tmp_path, model, pacs, path):
    with started(tmp_path, [model], dicomweb=pacs.url, workers=0) as server:
        answer = server.get(f"/proxy/dicom/{path}".replace("..", "%2e%2e"))
        assert answer.status_code in {404, 422}
    assert pacs.asked == []


def test_a_token_is_asked_for_before_the_pacs_is(tmp_path, model, pacs):
    make_token(Database(tmp_path))
    settings = {"dicomweb": pacs.url, "asks_for_token": True, "only_loopback": False}
    with started(tmp_path, [model], workers=0, **settings) as server:
        assert server.get("/proxy/dicom/qido/studies").status_code == 401
    assert pacs.asked == []


@pytest.mark.parametrize("url", ["", "pacs.example", "file:///etc/passwd", "http://"])
def test_what_is_no_address_is_refused_at_the_start(url):
    with pytest.raises(ConfigError, match="dicomweb: expected the address of a DICOMweb"):
        Pacs(url)
