"""One SQLite file that threads and processes share: `<state>/serving.sqlite`, with keys, budgets, documents, the queue.

WAL with synchronous=FULL: a commit that returned survives a power cut, and readers never wait for a writer. There is
one connection for reading and one for writing, each behind a lock: a reader is not held up by another thread's fsync.
"""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .errors import StoreError

BUSY_S = 30.0
"""How long to wait for another process's commit."""


class Database:
    """An open file; safe to share between threads. Every method raises StoreError where the file cannot be used."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self.path = path
        self._writing, self._reading = threading.Lock(), threading.Lock()
        self._write, self._read = self._connect(), self._connect()
        weakref.finalize(self, _close, self._write, self._read)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return what a SELECT finds among what is committed."""
        with self._reading, self._named():
            return self._read.execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        """Return the first row of a SELECT."""
        found = self.rows(sql, values)
        return found[0] if found else None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that alone may write; committed durably at the end, rolled back on an error."""
        with self._writing, self._named():
            self._write.execute("BEGIN IMMEDIATE")
            try:
                yield self._write
                self._write.execute("COMMIT")
            except BaseException:
                if self._write.in_transaction:
                    self._write.execute("ROLLBACK")
                raise

    def script(self, sql: str) -> None:
        """Run CREATE ... IF NOT EXISTS statements, separated by semicolons."""
        with self.transaction() as db:
            for statement in filter(str.strip, sql.split(";")):
                db.execute(statement)

    def close(self) -> None:
        """Let go of the file."""
        with self._writing, self._reading:
            _close(self._write, self._read)

    def _connect(self) -> sqlite3.Connection:
        with self._named():
            db = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
            db.row_factory = sqlite3.Row
            _use_wal(db)
            db.execute("PRAGMA synchronous = FULL")
            return db

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise  # the caller's to interpret
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}: check the disk's room and the file's permissions") from error


def _close(*connections: sqlite3.Connection) -> None:
    for connection in connections:
        connection.close()


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to WAL; when several processes open a new file at once, SQLite answers "locked" without waiting."""
    for _ in range(100):
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(0.05)
    db.execute("PRAGMA journal_mode = WAL")


def utc(seconds: float) -> str:
    """Write seconds since 1970 as UTC in ISO 8601 with microseconds; such texts sort as the times do."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
