import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.datasets.download.server import QUICK, FileServer, serving, web
from tomoseg.datasets.download.fetch import fetch, forget_part, part_bytes, was_fetched
from tomoseg.datasets.download.http import Web
from tomoseg.datasets.download.sources import Archive
from tomoseg.errors import DownloadError, OutputError
from tomoseg.files.asides import locked

CONTENT = bytes(range(256)) * 40
OTHER = CONTENT[::-1]


def archive_of(server, content=CONTENT, *, size=True, md5=True):
    digest = hashlib.md5(content).hexdigest()
    return Archive("scans", server.url, "scans.zip", len(content) if size else None, digest if md5 else None)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "scans.zip"


def check_refused(server, target, message, **known):
    with serving(server), pytest.raises(DownloadError, match=message):
        fetch(archive_of(server, **known), target, web())


def nothing_left(target):
    return not target.parent.exists() or list(target.parent.iterdir()) == []


def test_another_process_that_fetches_it_is_not_disturbed(target):
    target.parent.mkdir()
    part = target.with_name("scans.zip.part")
    part.write_bytes(CONTENT[:100])
    with locked(part) as is_ours:
        assert is_ours
        check_refused(FileServer(CONTENT), target, "expected no other process to download it, got one that does; wait")
        forget_part(target)
        assert part.read_bytes() == CONTENT[:100]
    forget_part(target)
    assert nothing_left(target)


class TestGood:
    @pytest.mark.parametrize(("size", "md5"), [(True, True), (False, True), (True, False), (False, False)])
    def test_in_one_go(self, target, size, md5):
        heard = []
        with serving(FileServer(CONTENT)) as server:
            fetch(archive_of(server, size=size, md5=md5), target, web(), lambda *told: heard.append(told))
        assert target.read_bytes() == CONTENT
        assert sorted(path.name for path in target.parent.iterdir()) == ["scans.zip", "scans.zip.part.json"]
        assert was_fetched(target)
        forget_part(target)
        assert [path.name for path in target.parent.iterdir()] == ["scans.zip"]
        assert not was_fetched(target)
        assert server.spans == [None]
        assert heard[-1] == ("download", 10240, 10240)

    def test_connections_that_drop_are_taken_up_again(self, target):
        told = []
        with serving(FileServer(CONTENT, drops=[1000, 0, 4000])) as server:
            fetch(archive_of(server), target, web(told))
        assert target.read_bytes() == CONTENT
        assert server.spans == [None, "bytes=1000-", "bytes=1000-", "bytes=5000-"]
        assert [headers.get("If-Range") for headers in server.asked] == [None, '"one"', '"one"', '"one"']
        assert told[0].endswith("expected 10240 bytes, got 1000 before the connection ended; trying again in 0 s")
        assert len(told) == 3

    @settings(max_examples=15)
    @given(st.lists(st.integers(0, len(CONTENT)), max_size=6), st.booleans(), st.booleans())
    def test_wherever_they_drop(self, tmp_path_factory, drops, ranges, tagged):
        target = tmp_path_factory.mktemp("drops") / "scans.zip"
        with serving(FileServer(CONTENT, drops=drops, ranges=ranges, etag='"one"' if tagged else None)) as server:
            for _ in range(4):  # a process gives up after three failures in a row
                try:
                    fetch(archive_of(server), target, web())
                    break
                except DownloadError:
                    assert target.with_name("scans.zip.part").stat().st_size < len(CONTENT)
        assert target.read_bytes() == CONTENT

    def test_another_process_goes_on(self, target):
        message = r"got 3000 before .*, 3 times in a row; check the connection"
        with serving(FileServer(CONTENT, drops=[3000, 0, 0])) as server:
            with pytest.raises(DownloadError, match=message):
                fetch(archive_of(server), target, web())
            assert part_bytes(target) == 3000
            note = json.loads((target.parent / "scans.zip.part.json").read_text())
            assert note == {"url": server.url, "validator": '"one"'}
            heard = []
            fetch(archive_of(server), target, web(), lambda *told: heard.append(told))
        assert server.spans[-1] == "bytes=3000-"
        assert heard[0] == ("check", 3000, 3000)
        assert target.read_bytes() == CONTENT

    def test_ctrl_c_keeps_what_there_is(self, target):
        def stop(stage, done, total):
            raise KeyboardInterrupt

        with serving(FileServer(CONTENT)) as server:
            with pytest.raises(KeyboardInterrupt):
                fetch(archive_of(server), target, web(), stop)
            assert part_bytes(target) == len(CONTENT)
            fetch(archive_of(server), target, web())
        assert len(server.asked) == 1
        assert target.read_bytes() == CONTENT

    def test_another_mirror_goes_on_where_the_sum_is_known(self, target):
        with serving(FileServer(CONTENT, drops=[3000, 0, 0])) as first, pytest.raises(DownloadError, match="in a row"):
            fetch(archive_of(first), target, web())
        with serving(FileServer(CONTENT, etag='"mirror"')) as second:
            fetch(archive_of(second), target, web())
        assert [(headers["Range"], headers.get("If-Range")) for headers in second.asked] == [("bytes=3000-", None)]
        assert target.read_bytes() == CONTENT

    def test_without_a_sum_another_mirror_begins_anew(self, target):
        with serving(FileServer(OTHER, drops=[3000, 0, 0])) as first, pytest.raises(DownloadError, match="in a row"):
            fetch(archive_of(first, OTHER, md5=False), target, web())
        with serving(FileServer(CONTENT)) as second:
            fetch(archive_of(second, md5=False), target, web())
        assert second.spans == [None]
        assert target.read_bytes() == CONTENT

    def test_a_server_without_ranges_begins_anew(self, target):
        with serving(FileServer(CONTENT, drops=[3000], ranges=False)) as server:
            fetch(archive_of(server), target, web())
        assert server.spans == [None, "bytes=3000-"]
        assert target.read_bytes() == CONTENT

    def test_a_tag_that_cannot_be_sent_back_is_none(self, target):
        with serving(FileServer(CONTENT, drops=[3000], etag='"caf\u00e9"')) as server:
            fetch(archive_of(server), target, web())
        assert [headers.get("If-Range") for headers in server.asked] == [None, None]
        assert target.read_bytes() == CONTENT

    def test_a_busy_server_is_asked_again(self, target):
        with serving(FileServer(CONTENT, statuses=[503, 429], headers={"Retry-After": "900"})) as server:
            fetch(archive_of(server), target, web())
        assert target.read_bytes() == CONTENT
        assert len(server.asked) == 3

    def test_an_archive_that_is_there_is_only_verified(self, target):
        target.parent.mkdir()
        target.write_bytes(CONTENT)
        with serving(FileServer(CONTENT)) as server:
            fetch(archive_of(server), target, web())
        assert server.asked == []
        target.write_bytes(OTHER)
        with pytest.raises(
            DownloadError, match=r"expected the archive scans, got another file of 10240 bytes; move it away"
        ):
            fetch(archive_of(server), target, web())
        assert target.read_bytes() == OTHER


class TestAnotherFile:
    @pytest.mark.parametrize("blind", [False, True], ids=["honours If-Range", "ignores If-Range"])
    @pytest.mark.parametrize("md5", [True, False])
    def test_it_changes_between_two_requests(self, target, blind, md5):
        with serving(FileServer(OTHER, drops=[3000, 0, 0], blind=blind)) as server:
            with pytest.raises(DownloadError, match="in a row"):
                fetch(archive_of(server, md5=md5), target, web())
            server.content, server.etag = CONTENT, '"two"'
            fetch(archive_of(server, md5=md5), target, web())
        assert target.read_bytes() == CONTENT

    def test_a_part_that_is_longer_than_the_file(self, target):
        with serving(FileServer(CONTENT, drops=[9000, 0, 0])) as server:
            with pytest.raises(DownloadError, match="in a row"):
                fetch(archive_of(server, size=False, md5=False), target, web())
            server.content = CONTENT[:5000]
            fetch(archive_of(server, size=False, md5=False), target, web())
        assert server.spans[-2:] == ["bytes=9000-", None]
        assert target.read_bytes() == CONTENT[:5000]

    def test_a_server_that_sends_another_part(self, target):
        with serving(FileServer(CONTENT, drops=[3000], shift=7)) as server:
            fetch(archive_of(server), target, web())
        assert server.spans == [None, "bytes=3000-", None]
        assert target.read_bytes() == CONTENT

    def test_another_sum(self, target):
        check_refused(FileServer(OTHER), target, r"expected the MD5 sum [0-9a-f]{32}, got [0-9a-f]{32}; .* removed")
        assert nothing_left(target)

    @pytest.mark.parametrize("length", [5000, 20000])
    def test_another_length(self, target, length):
        server = FileServer((CONTENT * 2)[:length])
        check_refused(server, target, rf"expected 10240 bytes, got {length}; the server has another")
        assert len(server.asked) == 1
        assert nothing_left(target)

    def test_more_than_was_said(self, target):
        check_refused(FileServer(CONTENT * 2, endless=True), target, "expected 10240 bytes, got more; check the URL")
        assert nothing_left(target)

    def test_less_than_the_server_says(self, target):
        message = r"expected 10340 bytes, got 10240 before the connection ended, 3 times in a row"
        check_refused(FileServer(CONTENT, longer=100, ranges=False), target, message, size=False)
        assert part_bytes(target) == 10240

    @pytest.mark.parametrize("total", ["9" * 5000, "-1", "all", "*"])
    def test_a_size_that_is_none(self, target, total):
        server = FileServer(CONTENT, statuses=[206], headers={"Content-Range": f"bytes 0-9/{total}"})
        check_refused(server, target, "expected the server to state the file's size, got none; pass --size", size=False)
        assert nothing_left(target)

    def test_no_size_at_all(self, target):
        message = r"expected the server to state the file's size, got none; pass --size"
        check_refused(FileServer(CONTENT, endless=True), target, message, size=False)
        assert nothing_left(target)


class TestRefused:
    @pytest.mark.parametrize("status", [401, 403, 404, 410])
    def test_what_does_not_pass_is_told_at_once(self, target, status):
        server = FileServer(CONTENT, statuses=[status])
        check_refused(server, target, rf"expected the file, got: {status} .*; check the URL, or take")
        assert len(server.asked) == 1
        assert nothing_left(target)

    def test_patience_ends(self, target):
        server = FileServer(CONTENT, statuses=[500] * 9)
        check_refused(server, target, r"got: 500 .*, 3 times in a row; check the connection and run the")
        assert len(server.asked) == 3
        assert nothing_left(target)

    def test_nobody_answers(self, target):
        with serving(FileServer(CONTENT)) as server:
            pass
        with pytest.raises(DownloadError, match=r"expected an answer, got: Connection refused, 3 times in a row"):
            fetch(archive_of(server), target, web())
        assert nothing_left(target)

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("http://example.org/a.zip", r"expected https, got http; use https, or pass --allow-http"),
            ("ftp://example.org/a.zip", r"expected https, got ftp; use https"),
            ("file:///etc/passwd", r"expected a URL that begins with https://, got none"),
            ("scans.zip", r"expected a URL that begins with https://, got none"),
            ("https://[::1/a.zip", r"expected a URL that begins with https://, got none"),
            ("http://localhost:1 2/a.zip", r"expected a URL, got"),
        ],
    )
    def test_urls(self, target, url, message):
        with pytest.raises(DownloadError, match=message):
            fetch(Archive("x", url, "x.zip"), target, web())
        assert nothing_left(target)

    @pytest.mark.parametrize(
        ("place", "message"),
        [
            ("http://example.org/a.zip", "expected https, got http"),
            ("file:///etc/passwd", "expected https, got file; use https"),
        ],
    )
    def test_a_redirect_leads_no_further_than_a_url(self, target, place, message):
        check_refused(FileServer(CONTENT, statuses=[302], headers={"Location": place}), target, message)
        assert nothing_left(target)

    def test_a_redirect_is_followed(self, target):
        with serving(FileServer(CONTENT)) as there, serving(FileServer(b"", statuses=[302])) as server:
            server.odd["headers"] = {"Location": there.url}
            fetch(archive_of(server), target, web())
        assert target.read_bytes() == CONTENT

    def test_redirects_that_lead_nowhere(self, target):
        server = FileServer(CONTENT, statuses=[302] * 30, headers={"Location": "?again"})
        check_refused(server, target, r"expected a URL, got: Exceeded maximum allowed redirects")
        assert nothing_left(target)

    def test_a_proxy_that_cannot_be_used(self, target, monkeypatch):
        monkeypatch.setenv("ALL_PROXY", "carrier-pigeon://example.org")
        with serving(FileServer(CONTENT)) as server, pytest.raises(DownloadError, match="expected a usable proxy, got"):
            fetch(archive_of(server), target, web())

    def test_this_machine_is_asked_without_a_proxy(self, target, monkeypatch):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        with serving(FileServer(CONTENT)) as server:
            fetch(archive_of(server), target, web())
        assert target.read_bytes() == CONTENT

    def test_too_little_space(self, target):
        class Endless(FileServer):
            def __len__(self):
                return 10**17

        message = r"expected 100000000\.00 GB of free space, got .*; free some space"
        with serving(Endless(CONTENT)) as server, pytest.raises(OutputError, match=message):
            fetch(Archive("x", server.url, "x.zip"), target, web())
        assert nothing_left(target)

    def test_a_place_that_is_no_folder(self, tmp_path):
        (tmp_path / "data").write_text("")
        with pytest.raises(OutputError, match="expected a folder to write into, got the file"):
            fetch(Archive("x", "https://example.org/x.zip", "x.zip"), tmp_path / "data" / "x.zip", Web(QUICK))
