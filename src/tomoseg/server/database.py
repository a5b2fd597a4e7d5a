"""The database of uploads and jobs: SQLite in WAL mode, so that readers never wait and a crash loses nothing.

Writers use single statements or short transactions. The file must be on a local disk.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tomoseg.errors import ConfigError
from tomoseg.files.atomic import errors_told

VERSION = 2
"""Version of the tables; other versions are refused, except those that `_SINCE` migrates."""

NAME = "jobs.sqlite3"

_WAIT_SECONDS = 30.0

_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE uploads (
    id TEXT PRIMARY KEY, created REAL NOT NULL, used REAL NOT NULL, bytes INTEGER NOT NULL, files INTEGER NOT NULL,
    suffix TEXT NOT NULL, sha256 TEXT
) STRICT;
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, key TEXT NOT NULL, state TEXT NOT NULL,
    model TEXT NOT NULL, options TEXT NOT NULL, uploads TEXT NOT NULL, bytes INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL, started REAL, finished REAL, attempts INTEGER NOT NULL DEFAULT 0, claim TEXT, lease REAL,
    stage TEXT, share REAL, seconds_left REAL, reason TEXT, advice TEXT,
    choices TEXT NOT NULL DEFAULT '[]', warnings TEXT NOT NULL DEFAULT '[]', result TEXT,
    view TEXT, view_claim TEXT, view_lease REAL, change INTEGER NOT NULL DEFAULT 0,
    corrections INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX one_job ON jobs (key) WHERE state NOT IN ('failed', 'cancelled', 'expired');
CREATE INDEX by_state ON jobs (state, number);
CREATE INDEX by_change ON jobs (change);
CREATE TABLE clock (now INTEGER NOT NULL) STRICT;
INSERT INTO clock VALUES (0);
CREATE TRIGGER job_made AFTER INSERT ON jobs BEGIN
    UPDATE clock SET now = now + 1;
    UPDATE jobs SET change = (SELECT now FROM clock) WHERE number = NEW.number;
END;
CREATE TRIGGER job_changed AFTER UPDATE OF state, stage, share, view ON jobs BEGIN
    UPDATE clock SET now = now + 1;
    UPDATE jobs SET change = (SELECT now FROM clock) WHERE number = NEW.number;
END;
"""
"""The tables. `change` increases with everything that watchers receive, so that they can resume."""


_SINCE = {1: "ALTER TABLE jobs ADD COLUMN corrections INTEGER NOT NULL DEFAULT 0;"}
"""Migrations from each version to the next."""


class Database:
    """A connection shared by threads, one statement or transaction at a time.

    Args:
        folder: Folder of the file, which is created if missing.

    Raises:
        ConfigError: If the file is not such a database, or of another version.
        OutputError: If it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = threading.RLock()
        with errors_told(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._connection = sqlite3.connect(
                self.path, timeout=_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except sqlite3.Error as error:
            raise ConfigError(
                f"{self.path}: expected a database of jobs that can be written, got: {error}; give another --folder, "
                "one on a disk of this machine that you may write to"
            ) from error

    def _prepare(self) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, VERSION, *_SINCE}:
            raise ConfigError(
                f"{self.path}: expected a database of version {VERSION}, got version {version} of another tomoseg; "
                "use that one, or give another --folder"
            )
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        if version != VERSION:
            with self.transaction() as connection:
                found = connection.execute("PRAGMA user_version").fetchone()[0]  # another process may have been faster
                scripts = [_TABLES] if found == 0 else [_SINCE[one] for one in range(found, VERSION)]
                for statement in (one for script in scripts for one in _statements(script)):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction, while no other process writes."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def all(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Return all rows of a statement.

        Args:
            statement: An SQL statement.
            values: Values of its question marks.
        """
        with self._lock:
            return self._connection.execute(statement, values).fetchall()

    def first(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of a statement; None if there is none.

        Args:
            statement: In SQL.
            values: Of its question marks.
        """
        found = self.all(statement, *values)
        return found[0] if found else None

    def change(self, statement: str, *values: Any) -> int:
        """Execute a statement, and return the number of rows that it changed.

        Args:
            statement: In SQL.
            values: Of its question marks.
        """
        with self._lock:
            return self._connection.execute(statement, values).rowcount

    def fact(self, name: str) -> str | None:
        """Return a value stored for the whole server; None if there is none.

        Args:
            name: The name of the fact.
        """
        row = self.first("SELECT value FROM facts WHERE name = ?", name)
        return None if row is None else row["value"]

    def set_fact(self, name: str, value: str) -> None:
        """Store a value for the whole server.

        Args:
            name: The name of the fact.
            value: The new value; replaces a former one.
        """
        self.change(
            "INSERT INTO facts VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value
        )

    def version_of_others(self) -> int:
        """Return a number that changes when another connection writes."""
        with self._lock:
            return self._connection.execute("PRAGMA data_version").fetchone()[0]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script: `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
