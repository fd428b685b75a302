"""Sessions of the page: a cookie that stands for an API key without holding it, and codes that open one, once.

A session or code is 256 random bits and kept as a SHA-256; it ends with its key, and after `LASTS_S`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from ..database import Database
from ..errors import Unauthorized
from .keys import Keys, hashed
from .principal import Principal

SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
  hash BLOB PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, expires_at REAL NOT NULL)
"""
LASTS_S = {"session": 30 * 86_400.0, "code": 86_400.0}
OVER = "this session is over: open the page again by the link the server printed, or with ?key=<an API key>"


class Sessions:
    """Open sessions, by the hash of what the browser keeps."""

    def __init__(self, database: Database, keys: Keys, *, clock: Callable[[], float] = time.time) -> None:
        database.script(SCHEMA)
        self.database, self.keys, self.clock = database, keys, clock

    def code(self, key_id: str) -> str:
        """Make a code that opens one session as this key: what a printed link holds instead of the key."""
        return "rl_" + self._keep("code", key_id)

    def open(self, secret: str) -> str:
        """Open a session by an API key or a code, which is then used up. Raises Unauthorized."""
        if not secret.startswith("rl_"):
            return self._keep("session", self.keys.principal(secret).key)
        with self.database.transaction() as db:
            sql = "DELETE FROM sessions WHERE hash = ? AND kind = 'code' AND expires_at > ? RETURNING key"
            found = db.execute(sql, (hashed(secret[3:]), self.clock())).fetchall()
        if not found:
            raise Unauthorized("this link was used or is too old: start the server again, or open ?key=<an API key>")
        return self._keep("session", self.keys.principal_of(found[0]["key"]).key)

    def principal(self, session: str) -> Principal:
        """Tell whose session this is. Raises Unauthorized when it or its key has ended."""
        sql = "SELECT key FROM sessions WHERE hash = ? AND kind = 'session' AND expires_at > ?"
        row = self.database.row(sql, (hashed(session), self.clock()))
        if row is None:
            raise Unauthorized(OVER)
        return self.keys.principal_of(row["key"])

    def close(self, session: str) -> None:
        """End a session; one that is over already is no error."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM sessions WHERE hash = ?", (hashed(session),))

    def _keep(self, kind: str, key_id: str) -> str:
        made = secrets.token_urlsafe(32)
        with self.database.transaction() as db:
            db.execute("DELETE FROM sessions WHERE expires_at <= ?", (self.clock(),))
            row = (hashed(made), kind, key_id, self.clock() + LASTS_S[kind])
            db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?)", row)
        return made
