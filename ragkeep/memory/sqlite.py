"""A tier in a SQLite file, which holds the journal too, and can hold several tiers, each by its name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ..database import Database
from ..serving.params import MemoryParams
from .tier import KEEP, REMEMBERED_S, Entry, Kept, Reader, encode, span

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
  tier TEXT NOT NULL, session TEXT NOT NULL, id TEXT NOT NULL, at REAL NOT NULL, expires REAL, body TEXT NOT NULL,
  PRIMARY KEY (tier, session, id)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS entries_expire ON entries (tier, expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS forgotten (
  tier TEXT NOT NULL, scope TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (tier, scope)) WITHOUT ROWID
"""
WHOLE = ""
"""The id of the row that says since when a session is whole; it sorts before every entry's."""


def open_tier(*, params: MemoryParams, database: Database, name: str, ttl_s: float | None) -> SqliteTier:  # noqa: ARG001
    """Open a tier in the file. Raises StoreError."""
    return SqliteTier(database, name, ttl_s=ttl_s)


class SqliteTier:
    """See tier.Tier."""

    patience_s = 30.0  # the disk that everything here waits for

    def __init__(
        self, database: Database, name: str, *, ttl_s: float | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.name, self._ttl_s, self._clock = name, ttl_s, clock
        self._database, self._reader = database, Reader(name)
        self._database.script(SCHEMA)

    def prepare(self) -> None:
        """See tier.Tier."""
        self._database.row("SELECT 1 FROM entries LIMIT 1")

    def add(self, session: str, entries: Sequence[Entry], *, whole_at: float = 0.0) -> None:
        """See tier.Tier."""
        now = self._clock()
        expires = None if self._ttl_s is None else now + self._ttl_s
        rows = [(self.name, session, entry.id, entry.at, expires, encode(entry)) for entry in entries]
        if whole_at:
            rows.append((self.name, session, WHOLE, whole_at, expires, ""))
        again = "REPLACE" if whole_at else "INSERT OR IGNORE"  # brought back: all of it lasts as long as the mark
        with self._database.transaction() as db:
            db.execute("DELETE FROM entries WHERE tier = ? AND expires <= ?", [self.name, now])
            db.executemany(
                f"{again} INTO entries (tier, session, id, at, expires, body) VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )

    def read(self, session: str) -> Kept:
        """See tier.Tier."""
        there = "FROM entries WHERE tier = ? AND session = ? AND (expires IS NULL OR expires > ?) AND id"
        asked = [self.name, session, self._clock(), WHOLE]
        mark = self._database.row(f"SELECT at {there} = ?", asked)
        rows = self._database.rows(f"SELECT body {there} > ? ORDER BY id DESC LIMIT {KEEP}", asked)
        return Kept(self._reader.entries(session, [row["body"] for row in rows]), mark["at"] if mark else 0.0)

    def erase(self, scope: str, before: float) -> None:
        """See tier.Tier."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM forgotten WHERE tier = ? AND at < ?", [self.name, self._clock() - REMEMBERED_S])
            db.execute(
                "INSERT INTO forgotten (tier, scope, at) VALUES (?, ?, ?)"
                " ON CONFLICT (tier, scope) DO UPDATE SET at = max(at, excluded.at)",
                [self.name, scope, before],
            )
            db.execute(
                "DELETE FROM entries WHERE tier = ? AND session >= ? AND session < ? AND at <= ?",
                [self.name, *span(scope), before],
            )

    def forgotten(self, scopes: Sequence[str] = ()) -> dict[str, float]:
        """See tier.Tier."""
        only = f" AND scope IN ({', '.join('?' * len(scopes))})" if scopes else ""
        asked = f"SELECT scope, at FROM forgotten WHERE tier = ?{only}"  # noqa: S608
        return {row["scope"]: row["at"] for row in self._database.rows(asked, [self.name, *scopes])}

    def close(self) -> None:
        """See tier.Tier; the file is closed by who opened it."""
