"""What every answer has, and that refusals are one sentence."""

import pytest
from fastapi import APIRouter

from tests.server.running import served
from tomoseg.errors import InputError
from tomoseg.limits import OF_MEMORY, OF_THREADS
from tomoseg.server.app import SECURITY_HEADERS, create_app


@pytest.fixture
def client(tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html><title>tomoseg</title>")
    router = APIRouter()

    @router.get("/api/v1/number/{number}")
    def number(number: int) -> int:
        if number < 0:
            raise InputError("expected a number from 0 up, got a negative one; count from 0")
        if number == 507:
            raise MemoryError
        if number in {503, 500}:
            raise RuntimeError("can't start new thread" if number == 503 else "of ours, about a patient")
        return number

    with served(create_app([router], tmp_path)) as client:
        yield client


def test_the_page_is_shown_at_the_root_beside_the_interface(client):
    assert client.get("/").text.startswith("<!doctype html>")
    assert client.get("/api/v1/number/7").json() == 7


@pytest.mark.parametrize("path", ["/", "/api/v1/number/7", "/api/v1/number/-1", "/nothing"])
def test_every_answer_has_the_headers_of_safety_and_none_opens_it_to_other_origins(client, path):
    headers = client.get(path, headers={"origin": "https://elsewhere.example"}).headers
    assert {name: headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "access-control-allow-origin" not in headers
    assert "set-cookie" not in headers


def test_what_we_refuse_is_one_sentence(client):
    answer = client.get("/api/v1/number/-1")
    assert answer.status_code == 400
    text = "expected a number from 0 up, got a negative one; count from 0"
    assert answer.json() == {"detail": text, "detail_fr": text}


@pytest.mark.parametrize(("number", "status", "told"), [(507, 503, OF_MEMORY), (503, 503, OF_THREADS)])
def test_too_little_memory_is_told(client, number, status, told):
    answer = client.get(f"/api/v1/number/{number}")
    assert (answer.status_code, answer.json()["detail"]) == (status, told)


def test_a_fault_of_ours_is_told_without_its_message(client):
    answer = client.get("/api/v1/number/500")
    assert answer.status_code == 500
    assert answer.json()["detail"].startswith("expected no internal error, got RuntimeError; please report it")


def test_what_is_not_as_documented_is_one_sentence_too(client):
    answer = client.get("/api/v1/number/seven")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(
        "expected a request as /api/v1/openapi.json describes it, got: path.number"
    )


def test_the_policy_lets_nothing_come_from_elsewhere():
    policy = SECURITY_HEADERS["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy
    assert "unsafe-eval" not in policy.replace("wasm-unsafe-eval", "")
