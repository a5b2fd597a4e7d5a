import os
from pathlib import Path

import pytest

from tomoseg.cases.folders import Folders, Seen, seen_by_all
from tomoseg.errors import ConfigError, OutputError


def test_a_worker_that_sees_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    with seen_by_all(Folders((Path("in"),), Path("out"))) as seen:
        os.chdir("/")
        seen.check()
        assert Path.cwd() == tmp_path
    assert list((tmp_path / "out").iterdir()) == []


def test_what_others_have_there_stays(tmp_path):
    (tmp_path / ".work").mkdir()
    (tmp_path / ".work" / "job.json").touch()
    with seen_by_all(Folders((), tmp_path)):
        pass
    assert [path.name for path in (tmp_path / ".work").iterdir()] == ["job.json"]


def test_a_worker_that_does_not(tmp_path):
    with seen_by_all(Folders((tmp_path / "in",), tmp_path / "out")) as seen:
        with pytest.raises(ConfigError, match=r"in: expected a path that all machines share, got nothing there on \S+"):
            seen.check()
        assert seen.mark is not None
        elsewhere = Seen(tmp_path, (), tmp_path / "other" / ".work" / seen.mark.name)
        with pytest.raises(ConfigError, match=r"other: expected a path that all machines share, got nothing there"):
            elsewhere.check()
        (tmp_path / "other").mkdir()
        with pytest.raises(ConfigError, match=r"other: .* got another folder of that name on \S+; put scans"):
            elsewhere.check()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"choose a folder, not a file"), seen_by_all(Folders((), tmp_path / "file")):
        pass
