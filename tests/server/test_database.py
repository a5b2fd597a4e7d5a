"""The file of jobs: made once, of one version, whole whatever is killed."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tomoseg.errors import ConfigError, OutputError
from tomoseg.server.database import NAME, VERSION, Database


def test_it_is_in_wal_mode_and_keeps_facts(tmp_path):
    database = Database(tmp_path)
    assert database.first("PRAGMA journal_mode")[0] == "wal"
    database.set_fact("a", "1")
    database.set_fact("a", "2")
    assert Database(tmp_path).fact("a") == "2"
    assert database.fact("b") is None


def test_one_of_another_version_is_refused(tmp_path):
    Database(tmp_path).close()
    with sqlite3.connect(tmp_path / NAME) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(
        ConfigError, match=f"expected a database of version {VERSION}, got version {VERSION + 1}"
    ) as error:
        Database(tmp_path)
    assert error.tb  # what it holds is not left to the garbage collector
    assert [file.path for file in psutil.Process().open_files() if tmp_path in Path(file.path).parents] == []


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(
        ConfigError, match="expected a database of jobs that can be written, got: file is not a database"
    ):
        Database(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose a folder, not a file"):
        Database(tmp_path / "file")


def test_a_transaction_is_all_or_nothing(tmp_path):
    database = Database(tmp_path)

    def fail():
        with database.transaction() as connection:
            connection.execute("INSERT INTO facts VALUES ('a', '1')")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert database.fact("a") is None


def test_what_was_committed_outlives_a_process_that_is_killed(tmp_path):
    code = f"""if True:
        import os, pathlib, signal
        from tomoseg.server.database import Database
        Database(pathlib.Path({str(tmp_path)!r})).set_fact("a", "1")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == -9
    assert Database(tmp_path).fact("a") == "1"


def test_others_are_seen_to_write(tmp_path):
    one, other = Database(tmp_path), Database(tmp_path)
    before = one.version_of_others()
    assert one.version_of_others() == before
    other.set_fact("a", "1")
    assert one.version_of_others() != before
