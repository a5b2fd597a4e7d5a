"""What a browser is told of a run while it trains."""

import asyncio
import json

import pytest

from tests.server.running import served
from tests.workflows.test_watched_run import make_run
from tomoseg.options import ViewOptions
from tomoseg.server import run_viewing, until_closed
from tomoseg.server.run_viewing import RunViewing
from tomoseg.server.until_closed import run_until_closed
from tomoseg.workflows.watched_run import find_run


def line(epoch, **more):
    return (
        json.dumps({"epoch": epoch, "train_loss": 1 / epoch, "minutes": float(epoch), "minutes_left": 1.0, **more})
        + "\n"
    )


def viewing_of(folder, **options):
    return RunViewing(find_run(folder), ViewOptions(open=False, **options))


def news(text):
    (found,) = json.loads(text.removeprefix("data: "))
    return found


def test_each_epoch_is_told_as_it_comes(tmp_path, monkeypatch):
    monkeypatch.setattr(run_viewing, "LOOK_SECONDS", 0.01)
    path = make_run(tmp_path) / "metrics.jsonl"
    viewing = viewing_of(tmp_path)

    async def watch():
        told = viewing.news()
        first = news(await anext(told))
        assert (first["part"], first["state"], first["epochs"], first["structures"]) == (0, "waiting", [], [])
        path.write_text(line(1) + line(2)[:-9])
        second = news(await anext(told))
        assert (second["state"], second["first"], [one["epoch"] for one in second["epochs"]]) == ("running", 0, [1])
        path.write_text(line(1) + line(2) + line(3, dice={"liver": 0.5, "spleen": None}, validation_dice=0.5))
        third = news(await anext(told))
        assert (third["first"], [one["epoch"] for one in third["epochs"]]) == (1, [2, 3])
        assert third["epochs"][0]["train_loss"] == 0.5
        assert [one["title"]["fr"] for one in third["structures"]] == ["rate", "foie"]  # in the order of the 117
        path.write_text(line(1) + line(2) + line(3, train_loss=9.0))  # gone on with from before its end
        fourth = news(await anext(told))
        assert (fourth["first"], len(fourth["epochs"]), fourth["epochs"][2]["train_loss"]) == (0, 3, 9.0)
        viewing.guests.closing = True
        assert [text async for text in told] == []

    asyncio.run(asyncio.wait_for(watch(), 60))


def test_a_run_that_says_nothing_new_says_that_it_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(run_viewing, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(run_viewing, "BEAT_SECONDS", 0.02)
    viewing = viewing_of(make_run(tmp_path, line(1)))

    async def watch():
        told = viewing.news()
        await anext(told)
        assert await anext(told) == ": nothing new\n\n"
        await told.aclose()

    asyncio.run(asyncio.wait_for(watch(), 60))


def test_all_is_under_the_secret_address_and_nothing_is_written(tmp_path):
    make_run(tmp_path / "run", views=("axial", "sagittal"))
    make_run(tmp_path / "run" / "axial", line(1, dice={"liver": float("nan")}) + line(2, minutes_left=0))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    viewing = viewing_of(tmp_path / "run", lang="fr")
    with served(viewing.app()) as client:
        place = f"/{viewing.secret}"
        assert client.get(f"{place}/session").json() == {
            "kind": "run",
            "title": "run",
            "language": "fr",
            "parts": ["axial", "sagittal"],
        }
        axial, sagittal = client.get(f"{place}/run").json()
        assert (axial["name"], axial["state"], axial["written"]) == ("axial", "finished", 1000)
        assert axial["epochs"][0]["dice"] == {"liver": None}
        assert (sagittal["name"], sagittal["state"], sagittal["epochs"]) == ("sagittal", "waiting", [])
        with client.stream("GET", f"{place}/run/events") as stream:
            text = next(one for one in stream.iter_text() if one.startswith("data: "))
        assert [one["part"] for one in json.loads(text.removeprefix("data: "))] == [0, 1]
        assert client.get(f"{place}/").text.startswith("<!doctype html>")
        for other in ("/run", "/run/events", "/session", f"{place}x/run", f"{place}/cases/0"):
            assert client.get(other).status_code == 404
        assert client.get(f"{place}/run", headers={"host": "attacker.example"}).status_code == 400
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_pictures_are_told_and_sent_and_nothing_else_is(tmp_path):
    run = make_run(tmp_path / "run", line(1))
    (run / "secret.png").write_bytes(b"secret")
    for name in ("liver/0012.png", "liver/0003.png", "liver/12.png", "liver/x.png", "odd.png"):
        (run / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (run / "pictures" / name).write_bytes(name.encode())
    viewing = viewing_of(run)
    with served(viewing.app()) as client:
        place = f"/{viewing.secret}/run"
        assert client.get(place).json()[0]["pictures"] == {"liver": [3, 12]}
        answer = client.get(f"{place}/0/pictures/liver/12")
        assert (answer.content, answer.headers["content-type"]) == (b"liver/0012.png", "image/png")
        for other in ("0/pictures/liver/4", "1/pictures/liver/12", "-1/pictures/liver/12", "0/pictures/%2E%2E/12"):
            assert client.get(f"{place}/{other}").status_code in {400, 404}
        assert "expected a picture of this run" in client.get(f"{place}/0/pictures/liver/4").json()["detail"]


@pytest.mark.parametrize(("host", "ends"), [("127.0.0.1", True), ("0.0.0.0", False)])
def test_for_other_machines_it_stays_when_a_page_is_closed(tmp_path, monkeypatch, host, ends):
    monkeypatch.setattr(until_closed, "GONE_SECONDS", 0.0)
    viewing = viewing_of(make_run(tmp_path), host=host)
    assert viewing.ends_with_page is ends
    if ends:
        viewing.guests.last_left = 0.0  # somebody was there
        run_until_closed(viewing, lambda address: None)
