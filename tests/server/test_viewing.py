import asyncio
import gzip
import json
import socket
import threading

import httpx
import numpy as np
import pytest

from tests.example_files import body, write_example_files
from tests.server.running import served
from tomoseg.errors import ConfigError
from tomoseg.options import ViewOptions
from tomoseg.server import until_closed
from tomoseg.server.guests import Guests
from tomoseg.server.until_closed import run_until_closed
from tomoseg.server.viewing import KEPT_SCENES, Viewing
from tomoseg.workflows.view import find_views
from tomoseg.workflows.view_cases import ViewCase, Views


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_example_files(folder)
    return folder


@pytest.fixture
def viewing(files):
    return Viewing(find_views(files / "ct.nii.gz", [files / "masks"]), ViewOptions(open=False, lang="fr"))


def test_the_address_holds_a_secret_and_leads_to_all_of_it(viewing, files):
    with served(viewing.app()) as client:
        place = f"/{viewing.secret}"
        assert client.get(f"{place}/").text.startswith("<!doctype html>")
        assert client.get(f"{place}/session").json()["language"] == "fr"
        case = client.get(f"{place}/cases/0").json()
        hu = np.frombuffer(client.get(f"{place}/cases/0/hu").content, "<i2").reshape(case["shape"], order="F")
        np.testing.assert_array_equal(hu, body(0)[0])
        cells = np.frombuffer(client.get(f"{place}/cases/0/cells").content, np.uint8).reshape(case["shape"], order="F")
        names = [one["name"] for one in case["structures"]]
        for name, mask in body(0)[1].items():
            number = names.index(name)
            np.testing.assert_array_equal(np.array([number in one for one in case["cells"]])[cells], mask)
        assert case["structures"][names.index("liver")]["title"] == {"en": "liver", "fr": "foie"}
        json.dumps(case, allow_nan=False)
        for other in ("/", "/session", "/index.html", f"/{viewing.secret[:-1]}/session", f"{place}/../session"):
            assert client.get(other).status_code == 404


def test_another_name_for_this_machine_is_refused(viewing):
    with served(viewing.app()) as client:
        answer = client.get(f"/{viewing.secret}/session", headers={"host": "attacker.example"})
        assert answer.status_code == 400


def test_what_is_not_there_is_told(viewing):
    with served(viewing.app()) as client:
        answer = client.get(f"/{viewing.secret}/cases/7")
        assert (answer.status_code, answer.json()["detail"]) == (
            400,
            "expected a case below 1, got 7; reload the page",
        )
        assert "got one without" in client.get(f"/{viewing.secret}/cases/0/reference").json()["detail"]


@pytest.mark.parametrize(
    ("structure", "body", "words"),
    [
        ("heart", b"", "expected one of 2 known names, got 'heart'"),
        ("liver", b"no gzip", "expected a mask compressed with gzip"),
        ("liver", gzip.compress(bytes(10)), "expected a mask of the scan's 23040 voxels, got another one"),
        ("liver", gzip.compress(bytes(23041)), "expected a mask of the scan's 23040 voxels, got another one"),
        ("liver", gzip.compress(bytes(23040))[:-9], "expected a mask of the scan's 23040 voxels, got another one"),
        ("liver", gzip.compress(b"\2" * 23040), "expected a mask of 0 and 1, got 2"),
    ],
    ids=["structure", "no gzip", "few", "more", "cut", "values"],
)
def test_what_is_no_correction_is_refused_and_leaves_nothing(viewing, tmp_path, structure, body, words):
    viewing.corrections = tmp_path / "corrections"
    with served(viewing.app()) as client:
        address = f"/{viewing.secret}/cases/0/corrections"
        answer = client.post(address, params={"structure": structure, "who": "me"}, content=body)
        assert answer.status_code == 400
        assert words in answer.json()["detail"]
    assert not viewing.corrections.exists()


def test_read_only(viewing, tmp_path):
    viewing.corrections = tmp_path / "corrections"
    viewing.options = ViewOptions(read_only=True)
    with served(viewing.app()) as client:
        place = f"/{viewing.secret}"
        assert client.get(f"{place}/session").json()["reviewer"] is None
        mask = gzip.compress(bytes(23040))
        answers = [
            client.post(f"{place}/cases/0/corrections", params={"structure": "liver"}, content=mask),
            client.post(f"{place}/cases/0/verdict", json={"verdict": "right"}),
        ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert "leave --read-only off" in answers[0].json()["detail"]
    assert not viewing.corrections.exists()


def test_few_cases_are_kept_in_memory(files):
    cases = tuple(ViewCase(f"case{n}", files / "ct.nii.gz") for n in range(4))
    viewing = Viewing(Views("all", cases, files), ViewOptions())
    first = viewing.scene(0)
    assert viewing.scene(0) is first
    for number in range(1, 4):
        viewing.scene(number)
    assert len(viewing._scenes) == KEPT_SCENES
    assert viewing.scene(0) is not first


def test_pages_are_counted():
    async def come_and_go():
        guests = Guests()
        one, other = guests.stay(), guests.stay()
        assert not guests.have_left(0)
        await anext(one)
        await anext(other)
        assert guests.now == 2
        await one.aclose()
        assert not guests.have_left(0)
        await other.aclose()
        assert guests.have_left(0)
        assert not guests.have_left(60)
        again = guests.stay()
        await anext(again)
        assert not guests.have_left(0)
        guests.closing = True
        assert [text async for text in again] == []

    asyncio.run(come_and_go())


def test_the_command_ends_when_the_page_is_closed(viewing, monkeypatch):
    monkeypatch.setattr(until_closed, "GONE_SECONDS", 0.2)
    told = []

    def visit(address):
        told.append(address)

        def look():
            with httpx.stream("GET", f"{address}open") as stream:
                next(stream.iter_text())
                assert httpx.get(f"{address}session").status_code == 200

        threading.Thread(target=look).start()

    run_until_closed(viewing, visit)
    assert told[0].startswith("http://127.0.0.1:")
    assert told[0].endswith(f"/{viewing.secret}/")


def test_a_port_in_use_and_an_address_of_another_machine(viewing):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        viewing.options = ViewOptions(port=taken.getsockname()[1], open=False)
        with pytest.raises(ConfigError, match=r"expected a free port, got one in use; give another --port"):
            run_until_closed(viewing, lambda address: None)
    viewing.options = ViewOptions(host="203.0.113.7", open=False)
    with pytest.raises(ConfigError, match=r"203\.0\.113\.7:0: expected an address of this machine, got: "):
        run_until_closed(viewing, lambda address: None)


def test_options_that_cannot_be():
    with pytest.raises(ConfigError, match="port"):
        ViewOptions(port=70000)
    with pytest.raises(ConfigError, match="series"):
        ViewOptions(series=0)
