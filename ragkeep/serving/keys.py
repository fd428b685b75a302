"""API keys: 256 random bits, shown once, kept as a SHA-256. They are random, so that a slow hash would protect nothing.

A key reads `rk_<id>_<secret>`; `rk_<id>` is what people recognise it by. What is revoked or expired counts for nothing
at the next request, whichever process gets it: every request reads the row.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..database import Database, utc
from ..errors import ConfigError, Forbidden, NotFound, Unauthorized
from .principal import ALL, LOCAL, ROLES, SCOPES, Principal, WorkspaceRole, check_roles, check_scopes

SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL, scopes TEXT NOT NULL, made_by TEXT NOT NULL,
  created_at REAL NOT NULL, expires_at REAL, revoked_at REAL);
CREATE TABLE IF NOT EXISTS grants (
  user TEXT NOT NULL, workspace TEXT NOT NULL, role TEXT NOT NULL, PRIMARY KEY (user, workspace))
"""
TOKEN = re.compile(r"rk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
REFUSED = "this API key does not count: it is unknown, revoked or expired; ask for a new one"
NOBODY = bytes(32)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is known of a key; its secret is not. Times are UTC in ISO 8601, "" where there is none."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    roles: dict[str, WorkspaceRole]
    made_by: str
    created_at: str
    expires_at: str = ""
    revoked_at: str = ""


class Keys:
    """The keys of one server. `by` is always who asks: nobody sees, makes or revokes more than they are admin of."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        database.script(SCHEMA)
        self.database = database
        self.clock = clock

    def create(
        self,
        name: str,
        *,
        roles: Mapping[str, WorkspaceRole],
        scopes: Iterable[str],
        by: Principal,
        expires_at: float | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key; the second value is the key itself, which cannot be had again. `expires_at`: seconds since 1970.

        Raises Forbidden where `by` may not give that much, ConfigError on what is malformed.
        """
        rooms, allowed = check_roles(roles), check_scopes(scopes)
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise ConfigError("a key needs a name of 1-100 printable characters, so that people know what it is for")
        if expires_at is not None and expires_at <= self.clock():
            raise ConfigError("a key cannot have expired already: give a later time, or none")
        if not by.may_give(rooms, allowed):
            raise Forbidden("you can only give roles in workspaces that you are admin of, and scopes that you have")
        id_ = secrets.token_hex(6)
        token = f"rk_{id_}_{secrets.token_urlsafe(32)}"
        row = (id_, name.strip(), hashed(token), json.dumps(sorted(allowed)), by.user, self.clock(), expires_at)
        with self.database.transaction() as db:
            db.execute("INSERT INTO keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", row)
            db.executemany("INSERT INTO grants VALUES (?, ?, ?)", [(f"key:{id_}", *one) for one in rooms.items()])
        return self._of(id_), token

    def principal(self, token: str) -> Principal:
        """Tell whose key this is. Raises Unauthorized, in the same words for whatever is wrong with it."""
        found = TOKEN.fullmatch(token)
        row = self._row(found[1]) if found else None
        same = hmac.compare_digest(row["hash"] if row else NOBODY, hashed(token))
        if not (row and same):
            raise Unauthorized(REFUSED)
        return self._principal(row)

    def principal_of(self, id_: str) -> Principal:
        """What a key may do, by its id: for sessions. Raises Unauthorized."""
        row = self._row(id_)
        if row is None:
            raise Unauthorized(REFUSED)
        return self._principal(row)

    def listed(self, *, by: Principal) -> list[ApiKey]:
        """List the keys, also revoked ones, that only reach into workspaces `by` is admin of; newest first."""
        rows = self.database.rows("SELECT * FROM keys ORDER BY created_at DESC, id")
        return [key for key in map(self._known, rows) if _governs(by, key)]

    def revoke(self, id_: str, *, by: Principal) -> None:
        """End a key at once; again is no error. Raises NotFound, also for a key that is none of the caller's business."""
        row = self._row(id_)
        if row is None or not _governs(by, self._known(row)):
            raise NotFound("there is no such key: GET /v1/keys lists those you may revoke")
        with self.database.transaction() as db:
            db.execute("UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (self.clock(), id_))

    def grant(self, user: str, workspace: str, role: WorkspaceRole) -> None:
        """Give a user or key (`Principal.user`) a role in one workspace, instead of the one it has there."""
        ((workspace, role),) = check_roles({workspace: role}).items()
        with self.database.transaction() as db:
            db.execute("INSERT OR REPLACE INTO grants VALUES (?, ?, ?)", (user, workspace, role))

    def forget_workspace(self, workspace: str) -> None:
        """Take everybody's role in a workspace that is deleted."""
        with self.database.transaction() as db:
            db.execute("DELETE FROM grants WHERE workspace = ?", (workspace,))

    def grants(self, user: str) -> dict[str, WorkspaceRole]:
        """The roles kept here for a user or key."""
        rows = self.database.rows("SELECT workspace, role FROM grants WHERE user = ?", (user,))
        return {row["workspace"]: row["role"] for row in rows if row["role"] in ROLES}

    def _row(self, id_: str) -> sqlite3.Row | None:
        return self.database.row("SELECT * FROM keys WHERE id = ?", (id_,))

    def _of(self, id_: str) -> ApiKey:
        (row,) = self.database.rows("SELECT * FROM keys WHERE id = ?", (id_,))
        return self._known(row)

    def _known(self, row: sqlite3.Row) -> ApiKey:
        times = {name: utc(row[name]) if row[name] else "" for name in ("created_at", "expires_at", "revoked_at")}
        roles = self.grants(f"key:{row['id']}")
        prefix = f"rk_{row['id']}"
        return ApiKey(row["id"], row["name"], prefix, tuple(json.loads(row["scopes"])), roles, row["made_by"], **times)

    def _principal(self, row: sqlite3.Row) -> Principal:
        if row["revoked_at"] is not None or (row["expires_at"] is not None and row["expires_at"] <= self.clock()):
            raise Unauthorized(REFUSED)
        user = f"key:{row['id']}"
        return Principal(user, self.grants(user), frozenset(json.loads(row["scopes"])), row["id"])


def hashed(token: str) -> bytes:
    """The SHA-256 of a random token: all that is kept of it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def local_key(keys: Keys) -> tuple[ApiKey, str | None]:
    """Return the key of this machine's owner, admin of everything; its secret only where it had to be made."""
    live = [
        key for key in keys.listed(by=LOCAL) if key.name == "local" and key.roles == {ALL: "admin"} and not key.revoked_at
    ]
    return (live[0], None) if live else keys.create("local", roles={ALL: "admin"}, scopes=SCOPES, by=LOCAL)


def _governs(by: Principal, key: ApiKey) -> bool:
    return by.may("admin", ALL) or (bool(key.roles) and all(by.may("admin", workspace) for workspace in key.roles))
