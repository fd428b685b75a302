"""Sessions in one SQLite file: turns are kept for `hours`, the oldest of a long session as a summary."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from ..database import Database
from ..serving.params import MemoryParams
from ..types import Message

SCHEMA = """
CREATE TABLE IF NOT EXISTS turns (
  session TEXT NOT NULL, number INTEGER PRIMARY KEY, role TEXT NOT NULL, content TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX IF NOT EXISTS turns_of ON turns (session, number);
CREATE INDEX IF NOT EXISTS turns_at ON turns (at)
"""


class SqliteMemory:
    """A Memory in one file; safe to share between tasks and processes."""

    def __init__(self, path: Path, params: MemoryParams, *, clock: Callable[[], float] = time.time) -> None:
        self._database = Database(path)
        self._database.script(SCHEMA)
        self._params, self._clock = params, clock

    async def append(self, session: str, *turns: Message) -> None:
        """Keep turns; what has outlived `hours` goes."""
        await asyncio.to_thread(self._append, session, turns)

    def _append(self, session: str, turns: tuple[Message, ...]) -> None:
        now = self._clock()
        with self._database.transaction() as db:
            db.execute("DELETE FROM turns WHERE at < ?", [now - 3600 * self._params.hours])
            db.executemany(
                "INSERT INTO turns (session, role, content, at) VALUES (?, ?, ?, ?)",
                [(session, turn.role, turn.content, now) for turn in turns],
            )

    async def recent(self, session: str) -> list[Message]:
        """Return the turns that are left."""
        return await asyncio.to_thread(self._recent, session)

    def _recent(self, session: str) -> list[Message]:
        since = self._clock() - 3600 * self._params.hours
        found = self._database.rows(
            "SELECT role, content FROM turns WHERE session = ? AND at >= ? ORDER BY number", [session, since]
        )
        return [Message(row["role"], row["content"]) for row in found]

    async def forget(self, session: str) -> None:
        """Erase a session."""
        await asyncio.to_thread(self._forget, session)

    def _forget(self, session: str) -> None:
        with self._database.transaction() as db:
            db.execute("DELETE FROM turns WHERE session = ?", [session])

    async def close(self) -> None:
        """Let go of the file."""
        self._database.close()
