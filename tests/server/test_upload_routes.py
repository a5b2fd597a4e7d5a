"""Scans that come as a form sends them, and by tus, cut anywhere."""

import base64
import hashlib
import socket
import threading
import time

import pytest

from tests.server.running import send, started
from tomoseg.server.uploads import Rules

API = "/api/v1"
TUS = {"tus-resumable": "1.0.0"}
BYTES = {**TUS, "content-type": "application/offset+octet-stream"}
DATA = bytes(range(256)) * 40


def begin(server, size, name="ct.nii.gz", **headers):
    metadata = f"filename {base64.b64encode(name.encode()).decode()},filetype"
    answer = server.post(
        f"{API}/tus/", headers={**TUS, "upload-length": str(size), "upload-metadata": metadata, **headers}
    )
    assert answer.status_code == 201, answer.text
    assert "/" not in answer.headers["location"]  # a proxy may put the server anywhere
    return answer.headers["location"]


def offset(server, upload):
    answer = server.head(f"{API}/tus/{upload}", headers=TUS)
    assert answer.status_code == 200
    return int(answer.headers["upload-offset"])


def append(server, upload, at, data):
    headers = {**BYTES, "upload-offset": str(at)}
    return server.patch(f"{API}/tus/{upload}", headers=headers, content=data)


def whole(server, upload, data=DATA):
    shown = server.get(f"{API}/uploads/{upload}").json()
    assert (shown["complete"], shown["bytes"], shown["received"]) == (True, len(data), len(data))
    assert shown["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_form_sends_a_file(server):
    whole(server, send(server, ("ct.nii.gz", DATA)))


def test_the_digest_of_several_files_does_not_depend_on_their_order(server):
    uploads = [send(server, ("a", DATA), ("b", b"b")), send(server, ("b", b"b"), ("c", DATA))]
    one, other = (server.get(f"{API}/uploads/{upload}").json() for upload in uploads)
    assert one["sha256"] == other["sha256"]
    assert (one["files"], one["bytes"]) == (2, len(DATA) + 1)


@pytest.mark.parametrize(
    ("content", "kind", "status", "detail"),
    [
        (b"x", "application/json", 415, "expected a multipart body with parts `file`, got another"),
        (b"rubbish", "multipart/form-data; boundary=b", 400, "got a damaged one"),
        (
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf',
            *("multipart/form-data; boundary=b", 400, "got one that is cut; send it again"),
        ),
        (
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\nhalf\r\n--b--\r\n',
            *("multipart/form-data; boundary=b", 422, "expected a part `file` with a file name, got none"),
        ),
    ],
)
def test_a_body_that_is_none_is_refused_and_leaves_nothing(server, content, kind, status, detail):
    before = server.get(f"{API}/info").json()["limits"]["used_bytes"]
    answer = server.post(f"{API}/uploads", content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    assert server.get(f"{API}/info").json()["limits"]["used_bytes"] == before


def test_several_volumes_are_no_scan(server):
    files = [("file", ("a.nii", b"a")), ("file", ("b.nii", b"b"))]
    answer = server.post(f"{API}/uploads", files=files)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("expected one file, or the DICOM files of one scan")


def test_an_upload_is_removed(server):
    upload = send(server, ("a", b"a"))
    assert server.delete(f"{API}/uploads/{upload}").status_code == 204
    assert server.get(f"{API}/uploads/{upload}").status_code == 404
    assert server.delete(f"{API}/uploads/{upload}").status_code == 404


def test_tus_says_what_it_speaks(server):
    headers = server.options(f"{API}/tus/").headers
    assert (headers["tus-version"], headers["tus-max-size"]) == ("1.0.0", "4000000000")
    assert "creation" in headers["tus-extension"]


@pytest.mark.parametrize("parts", [(len(DATA),), (1, len(DATA) - 1), (100, 0, 5000, len(DATA) - 5100)])
def test_an_upload_comes_in_parts(server, parts):
    upload, at = begin(server, len(DATA)), 0
    for part in parts:
        answer = append(server, upload, at, DATA[at : at + part])
        at += part
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(at))
        assert offset(server, upload) == at
    whole(server, upload)


def test_the_first_bytes_may_come_with_the_beginning(server):
    answer = server.post(f"{API}/tus/", headers={**BYTES, "upload-length": str(len(DATA))}, content=DATA[:50])
    upload = answer.headers["location"]
    assert answer.headers["upload-offset"] == "50"
    append(server, upload, 50, DATA[50:])
    whole(server, upload)


def test_an_empty_file_is_whole_at_once(server):
    whole(server, begin(server, 0), b"")


@pytest.mark.parametrize("cut", [0, 1, 4095, 4096, len(DATA) - 1])
def test_a_connection_that_breaks_at_any_byte_is_gone_on_with(server, cut):
    upload = begin(server, len(DATA))
    with socket.create_connection((server.base_url.host, server.base_url.port)) as connection:
        headers = {"host": "127.0.0.1", "content-length": len(DATA), "upload-offset": 0} | BYTES
        head = f"PATCH {API}/tus/{upload} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        connection.sendall(head.encode() + b"\r\n" + DATA[:cut])
    for _ in range(100):
        here = offset(server, upload)
        answer = append(server, upload, here, DATA[here:])
        if answer.status_code == 204:
            break
        assert answer.status_code in {409, 423}  # the server has not noticed yet
    assert here <= cut
    whole(server, upload)


def cut_off(server, head, data):
    """Send a request of which the rest does not come."""
    with socket.create_connection((server.base_url.host, server.base_url.port)) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode() + data)


def test_an_upload_that_is_cut_at_each_of_its_bytes_is_gone_on_with(server):
    data = DATA[:80]
    uploads = [begin(server, len(data)) for _ in range(len(data))]
    for cut, upload in enumerate(uploads):
        head = (
            f"PATCH {API}/tus/{upload} HTTP/1.1\nhost: 127.0.0.1\ncontent-length: {len(data)}\nupload-offset: 0\n"
            "tus-resumable: 1.0.0\ncontent-type: application/offset+octet-stream\n\n"
        )
        cut_off(server, head, data[:cut])
    for cut, upload in enumerate(uploads):
        for _ in range(100):
            here = offset(server, upload)
            answer = append(server, upload, here, data[here:])
            if answer.status_code == 204:
                break
            assert answer.status_code in {409, 423}  # the server has not noticed yet
        assert here <= cut
        whole(server, upload, data)


def test_a_form_that_is_cut_at_any_byte_leaves_nothing(server):
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nbytes\r\n--b--\r\n'
    head = (
        f"POST {API}/uploads HTTP/1.1\nhost: 127.0.0.1\ncontent-length: {len(body)}\n"
        "content-type: multipart/form-data; boundary=b\n\n"
    )
    used = server.get(f"{API}/info").json()["limits"]["used_bytes"]
    for cut in range(len(body)):
        cut_off(server, head, body[:cut])
    for _ in range(100):
        if server.get(f"{API}/info").json()["limits"]["used_bytes"] == used:
            break
        time.sleep(0.05)
    assert server.get(f"{API}/info").json()["limits"]["used_bytes"] == used


@pytest.mark.parametrize(
    ("headers", "data", "status", "detail"),
    [
        ({"upload-offset": "7"}, b"x", 409, "expected the bytes from 0 on, got those from 7 on"),
        ({"upload-offset": "0"}, DATA + b"x", 413, "expected 10240 bytes in all, as Upload-Length said, got more"),
        (
            {"upload-offset": "0", "content-type": "text/plain"},
            b"x",
            415,
            "expected content of type application/offset",
        ),
        ({"upload-offset": "0", "tus-resumable": "0.2.2"}, b"x", 412, "expected a header `Tus-Resumable: 1.0.0`"),
        ({}, b"x", 422, "header.upload-offset"),
    ],
)
def test_bytes_that_do_not_fit_are_refused(server, headers, data, status, detail):
    upload = begin(server, len(DATA))
    answer = server.patch(f"{API}/tus/{upload}", headers={**BYTES, **headers}, content=data)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]
    append(server, upload, offset(server, upload), DATA[offset(server, upload) :])
    whole(server, upload)


def test_two_do_not_write_at_once(server):
    upload = begin(server, len(DATA))
    go = threading.Event()

    def slowly():
        yield DATA[:10]
        go.wait(60)
        yield DATA[10:]

    headers = {**BYTES, "upload-offset": "0", "content-length": str(len(DATA))}
    thread = threading.Thread(target=lambda: server.patch(f"{API}/tus/{upload}", headers=headers, content=slowly()))
    thread.start()
    try:
        refused = False
        for _ in range(400):  # until the first has begun
            time.sleep(0.05)
            if refused := append(server, upload, len(DATA), b"").status_code == 423:
                break
        answer = append(server, upload, 0, b"")
    finally:
        go.set()
        thread.join()
    assert refused
    assert answer.json()["detail"].startswith("expected one request that writes to an upload, got two")
    whole(server, upload)


def test_an_upload_is_given_up(server):
    upload = begin(server, 10)
    assert server.delete(f"{API}/tus/{upload}", headers=TUS).status_code == 204
    assert server.head(f"{API}/tus/{upload}", headers=TUS).status_code == 404


def test_limits_are_said_before_anything_is_sent(tmp_path, model):
    rules = Rules(upload_bytes=1000, quota_bytes=1500)
    with started(tmp_path, [model], rules=rules, workers=0) as server:
        limits = server.get(f"{API}/info").json()["limits"]
        assert (limits["upload_bytes"], limits["quota_bytes"], limits["used_bytes"]) == (1000, 1500, 0)
        answer = server.post(f"{API}/tus/", headers={**TUS, "upload-length": "1001"})
        assert answer.status_code == 413
        assert answer.json()["detail"].startswith("expected an upload of at most 0.001 MB, got 0.001")
        answer = server.post(f"{API}/uploads", files=[("file", ("a", bytes(2000)))])
        assert answer.status_code == 413
        begin(server, 800)
        answer = server.post(f"{API}/tus/", headers={**TUS, "upload-length": "900"})
        assert answer.status_code == 413
        assert "which is left of" in answer.json()["detail"]
