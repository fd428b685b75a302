"""What tiers still have to be told: `<state>/memory.sqlite`, written before anything is acknowledged.

A turn waits here for each tier until that tier has it, a forgotten scope until each has erased it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..database import Database
from .tier import Entry, Reader, encode, span

SCHEMA = """
CREATE TABLE IF NOT EXISTS pending (
  number INTEGER PRIMARY KEY AUTOINCREMENT, tier TEXT NOT NULL, session TEXT NOT NULL, at REAL NOT NULL,
  body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS pending_for ON pending (tier, number);
CREATE INDEX IF NOT EXISTS pending_of ON pending (session);
CREATE TABLE IF NOT EXISTS buried (
  tier TEXT NOT NULL, scope TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (tier, scope)) WITHOUT ROWID
"""
BATCH = 200
PAGE = 4096


class Journal:
    """The file; safe to share between threads and processes. Every method blocks, and raises StoreError."""

    def __init__(self, database: Database) -> None:
        self._database, self._reader = database, Reader("the journal")
        self._database.script(SCHEMA)

    def only(self, tiers: Sequence[str]) -> None:
        """Drop what waits for tiers that there are no longer: the others have it, or wait for it themselves."""
        marks = ", ".join("?" * len(tiers))
        with self._database.transaction() as db:
            for table in ("pending", "buried"):
                db.execute(f"DELETE FROM {table} WHERE tier NOT IN ({marks})", tiers)  # noqa: S608

    def put(self, session: str, entries: Sequence[Entry], tiers: Sequence[str]) -> None:
        """Keep entries for tiers, durably."""
        with self._database.transaction() as db:
            db.executemany(
                "INSERT INTO pending (tier, session, at, body) VALUES (?, ?, ?, ?)",
                [(tier, session, entry.at, encode(entry)) for tier in tiers for entry in entries],
            )

    def of(self, session: str) -> tuple[Entry, ...]:
        """Return what some tier does not have of a session yet, as far as is known here."""
        rows = self._database.rows("SELECT DISTINCT body FROM pending WHERE session = ?", [session])
        return self._reader.entries(session, [row["body"] for row in rows])

    def batch(self, tier: str) -> tuple[dict[str, tuple[Entry, ...]], int]:
        """Return the oldest that a tier waits for, by session, and the number to give to `done`; ({}, 0) for none."""
        asked = "SELECT number, session, body FROM pending WHERE tier = ? ORDER BY number LIMIT ?"
        rows = self._database.rows(asked, [tier, BATCH])
        bodies: dict[str, list[str]] = {}
        for row in rows:
            bodies.setdefault(row["session"], []).append(row["body"])
        found = {session: self._reader.entries(session, texts) for session, texts in bodies.items()}
        return found, rows[-1]["number"] if rows else 0

    def done(self, tier: str, number: int) -> None:
        """A tier has everything up to a number."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM pending WHERE tier = ? AND number <= ?", [tier, number])

    def waiting(self, tier: str) -> int:
        """Count the turns that a tier waits for."""
        row = self._database.row("SELECT count(*) AS n FROM pending WHERE tier = ?", [tier])
        return row["n"] if row else 0

    def bury(self, scope: str, at: float, tiers: Sequence[str]) -> None:
        """Keep for tiers, durably, that a scope was forgotten; what waits of it goes."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM pending WHERE session >= ? AND session < ? AND at <= ?", [*span(scope), at])
            db.executemany("REPLACE INTO buried (tier, scope, at) VALUES (?, ?, ?)", [(t, scope, at) for t in tiers])

    def buried(self, tier: str = "") -> dict[str, float]:
        """Return what a tier, or any, has not erased yet."""
        rows = self._database.rows("SELECT scope, max(at) AS at FROM buried WHERE ? IN ('', tier) GROUP BY scope", [tier])
        return {row["scope"]: row["at"] for row in rows}

    def erased(self, tier: str, scope: str, at: float) -> None:
        """A tier has erased a scope."""
        with self._database.transaction() as db:
            db.execute("DELETE FROM buried WHERE tier = ? AND scope = ? AND at <= ?", [tier, scope, at])

    def probe(self) -> None:
        """Write something and take it away again: whether there is room is not known otherwise."""
        with self._database.transaction() as db:
            db.execute("INSERT INTO pending (tier, session, at, body) VALUES ('-', '-/-/-', 0, ?)", ["-" * PAGE])
        with self._database.transaction() as db:
            db.execute("DELETE FROM pending WHERE tier = '-'")

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()
