"""Who may ask: whoever has the token, or this machine alone."""

import hashlib

import pytest
from starlette.middleware import Middleware

from tests.server.running import served
from tomoseg.server.app import create_app
from tomoseg.server.database import Database
from tomoseg.server.guard import Guard, has_token, make_token, needs_token, token_digest


def app_with(**settings):
    from fastapi import APIRouter

    router = APIRouter()
    for path in ("/health", "/api/v1/jobs", "/info/"):
        router.add_api_route(path, lambda: "in", methods=["GET", "POST"])
    return create_app([router], None, middleware=[Middleware(Guard, **settings)])


@pytest.fixture
def guarded():
    digest = hashlib.sha256(b"right").hexdigest()
    with served(app_with(digest=digest, only_loopback=False)) as client:
        yield client


@pytest.fixture
def local():
    with served(app_with(digest=None, only_loopback=True)) as client:
        yield client


def test_a_token_is_stored_as_its_digest_alone(tmp_path):
    database = Database(tmp_path)
    assert not has_token(database)
    token = make_token(database)
    assert token_digest(database) == hashlib.sha256(token.encode()).hexdigest()
    database.close()
    assert all(token.encode() not in path.read_bytes() for path in tmp_path.iterdir())
    assert len(token) >= 43


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/info/"])
def test_without_the_token_nothing_is_told(guarded, path):
    none, wrong = guarded.get(path), guarded.get(path, headers={"authorization": "Bearer wrong"})
    assert none.status_code == wrong.status_code == 401
    assert none.headers["www-authenticate"] == "Bearer"
    assert none.json()["detail"].startswith("expected the token of this server, got none; send `Authorization")
    assert wrong.json()["detail"].startswith("expected the token of this server, got another")
    assert guarded.get(path, headers={"authorization": "Bearer right"}).json() == "in"


def test_a_refusal_has_the_headers_of_safety_too(guarded):
    assert "content-security-policy" in guarded.get("/api/v1/jobs").headers


def test_health_needs_no_token(guarded):
    assert guarded.get("/health").json() == "in"


@pytest.mark.parametrize(
    "path", ["/api/v1/jobs", "/api/v1//jobs", "/infer/model", "/datastore/", "/auth/token/valid", "/train/"]
)
def test_all_of_the_interface_needs_it(path):
    assert needs_token(path)


def test_a_page_of_another_site_that_leads_its_name_here_gets_nothing(local):
    answer = local.get("/api/v1/jobs", headers={"host": "evil.example:8117"})
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("expected a request to 127.0.0.1 or localhost")
    assert local.get("/api/v1/jobs", headers={"host": "localhost:8117"}).status_code == 200


def test_a_page_of_another_site_changes_nothing(local):
    answer = local.post("/api/v1/jobs", headers={"origin": "https://evil.example"})
    assert answer.status_code == 403
    own = f"http://{local.base_url.host}:{local.base_url.port}"
    assert local.post("/api/v1/jobs", headers={"origin": own}).status_code == 200


def test_a_client_of_another_version_is_told_so(local):
    answer = local.get("/api/v1/jobs", headers={"tomoseg-api": "2"})
    assert answer.status_code == 426
    assert answer.json()["detail"].startswith("expected a client for interface 1, got one for '2'; install tomoseg")
    assert local.get("/api/v1/jobs", headers={"tomoseg-api": "1"}).status_code == 200
