"""Imports and downloads that are killed at every step that they take on the disk: the same command then ends right."""

import itertools
import os
import signal
import sys
import warnings
import zipfile

import pytest

from tests.nnunet_files import Made, write_training
from tests.workflows.test_fetch_model import ONE, TRAINING, WEB, Release, archive_of, left, serving, sized
from tomoseg.models.fetched import data_folder, fetched_models, models_folder
from tomoseg.models.folder import load_model
from tomoseg.workflows.fetch_model import fetch_model
from tomoseg.workflows.import_model import import_model

SMALL = {"features": (4, 4, 4), "blocks": (1, 1, 1), "decoder": (1, 1)}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.user_data_path", lambda name: tmp_path / "data")
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)  # an export takes seconds


def is_killed_at(last, folder, command):
    """Whether a command, in a process of its own, was killed just before a step below a folder; else it ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside other threads, which only serve files
        child = os.fork()
    if child == 0:
        steps = itertools.count(1)

        def step(event, given):
            writes = event == "open" and isinstance(given[2], int) and given[2] & WRITING
            changes = event in ("os.rename", "os.mkdir", "os.remove", "os.rmdir")
            if (writes or changes) and str(folder) in str(given[0]) and next(steps) == last:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(step)
            command()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def seen(folder):
    """What anybody finds in a folder."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


@pytest.mark.parametrize("packed", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_import_that_is_killed_is_made_anew(packed, tmp_path):
    source = training = write_training(tmp_path / "nn", Made(**SMALL), name=TRAINING)
    if packed:
        source = tmp_path / "nn.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in training.rglob("*"):
                archive.write(path, path.relative_to(training.parent))
    import_model(source, tmp_path / "expected")
    expected = load_model(tmp_path / "expected").sha256
    for last in itertools.count(1):
        place = tmp_path / "out" / str(last)
        place.mkdir(parents=True)
        if not is_killed_at(last, place, lambda place=place: import_model(source, place / "model")):
            break
        if seen(place):  # then it is whole: what was left to do is to remove what lay aside
            assert load_model(place / "model").sha256 == expected
        else:
            import_model(source, place / "model")
            assert [path.name for path in place.iterdir()] == ["model"]
        assert load_model(place / "model").sha256 == expected
    assert last > 5
    assert load_model(place / "model").sha256 == expected


@pytest.mark.slow
def test_a_model_that_is_fetched_and_killed_is_there_after_the_same_command(tmp_path, monkeypatch):
    one = archive_of(tmp_path, 117)
    sized(monkeypatch, "total-3mm", one)
    with serving(Release({ONE: one})) as release:
        for last in itertools.count(1):
            data = tmp_path / f"data{last}"
            monkeypatch.setattr("platformdirs.user_data_path", lambda name, data=data: data)

            def command():
                return fetch_model("total-3mm", url=release.url, web=WEB)

            killed = is_killed_at(last, data, command)
            assert seen(models_folder()) == list(fetched_models())
            for name in fetched_models():
                load_model(name)  # whole
            command()
            assert data_folder() == data
            whole = ["archives.json", "models/total-3mm/model.json", "models/total-3mm/weights.safetensors"]
            assert [name for name in left() if not name.split("/")[-1].startswith(".")] == whole
            assert all((data / name).stat().st_size < 1000 for name in left() if name not in whole)  # notes alone
            load_model("total-3mm")
            if not killed:
                break
    assert last > 8


def test_a_download_that_is_killed_goes_on(tmp_path, monkeypatch):
    one = bytes(400_000) + archive_of(tmp_path, 117)  # what comes before is no part of a ZIP file's content
    sized(monkeypatch, "total-3mm", one)

    def killing(stage, done, total):
        if done >= total // 2:
            os.kill(os.getpid(), signal.SIGKILL)

    with serving(Release({ONE: one})) as release:
        assert is_killed_at(0, tmp_path, lambda: fetch_model("total-3mm", url=release.url, web=WEB, on_bytes=killing))
        assert fetched_models() == {}
        there = next(path.stat().st_size for path in data_folder().rglob("*.part"))
        fetch_model("total-3mm", url=release.url, web=WEB)
    assert 0 < there < len(one)
    assert release.asked[-1] == (ONE, f"bytes={there}-")
    load_model("total-3mm")
