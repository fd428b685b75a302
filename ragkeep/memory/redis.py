"""A tier in Redis: a sorted set for each session, by time, that expires as a whole; needs the extra [redis].

The password is in RAGKEEP_REDIS_PASSWORD and nowhere else. An entry added starts the session's time anew.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Sequence
from typing import Any

from ..database import Database
from ..errors import MissingExtra, StoreError
from ..serving.params import MemoryParams
from .tier import KEEP, REMEMBERED_S, Entry, Kept, Reader, covers, encode

PREFIX = "ragkeep:memory:"
FORGOTTEN = "ragkeep:memory-forgotten"
WHOLE = ""
"""The member whose score says, negated, since when a session is whole: it sorts before every entry."""
TIMEOUT_S = 2.0


def open_tier(*, params: MemoryParams, database: Database, name: str, ttl_s: float | None) -> RedisTier:  # noqa: ARG001
    """Open the tier; nothing is asked yet. Raises MissingExtra."""
    try:
        client = importlib.import_module("redis").Redis
    except ImportError:
        raise MissingExtra("serve.memory.redis", "redis") from None
    password = os.environ.get("RAGKEEP_REDIS_PASSWORD") or None
    options = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S, "password": password}
    return RedisTier(client.from_url(params.redis, **options), name, ttl_s=ttl_s)


class _NotOurs(StoreError):
    """A session's key holds another kind of value."""


class RedisTier:
    """See tier.Tier."""

    patience_s = 0.5

    def __init__(self, client: Any, name: str = "redis", *, ttl_s: float | None = None) -> None:
        self.name, self._ttl_s, self._client = name, ttl_s, client
        self._reader = Reader(name)
        self._refused = importlib.import_module("redis").ResponseError

    def prepare(self) -> None:
        """See tier.Tier."""
        self._client.ping()

    def add(self, session: str, entries: Sequence[Entry], *, whole_at: float = 0.0) -> None:
        """See tier.Tier."""
        scores: dict[str, float] = {encode(entry): entry.at for entry in entries}
        if whole_at:
            scores[WHOLE] = -whole_at
        if not scores:
            return
        try:
            self._write(PREFIX + session, scores)
        except _NotOurs as error:  # the other tiers still have the session
            self._reader.name(session, error)
            self._client.delete(PREFIX + session)
            self._write(PREFIX + session, scores)

    def _write(self, key: str, scores: dict[str, float]) -> None:
        with self._client.pipeline(transaction=True) as batch:
            batch.zadd(key, scores)
            batch.zremrangebyrank(key, 1, -2 - KEEP)  # the first one is the mark, or one turn more
            if self._ttl_s is not None:
                batch.pexpire(key, int(1000 * self._ttl_s))
            self._run(batch)

    def read(self, session: str) -> Kept:
        """See tier.Tier."""
        key = PREFIX + session
        with self._client.pipeline(transaction=True) as batch:
            batch.zscore(key, WHOLE)
            batch.zrange(key, -KEEP, -1)
            try:
                mark, bodies = self._run(batch)
            except _NotOurs as error:
                self._reader.name(session, error)
                return Kept()
        return Kept(self._reader.entries(session, filter(None, bodies)), -(mark or 0.0))

    def erase(self, scope: str, before: float) -> None:
        """See tier.Tier."""
        with self._client.pipeline(transaction=True) as batch:
            batch.zremrangebyscore(FORGOTTEN, "-inf", time.time() - REMEMBERED_S)
            batch.zadd(FORGOTTEN, {scope: before}, gt=True)
            self._run(batch)
        for key in (PREFIX + session for session in self._sessions(scope)):
            if self._client.type(key) in (b"zset", b"none"):
                self._client.zremrangebyscore(key, "-inf", before)
            else:
                self._client.delete(key)

    def _run(self, batch: Any) -> list[Any]:
        """Run a transaction. Raises StoreError without the command that failed: that holds what people said."""
        try:
            found: list[Any] = batch.execute()
        except self._refused as error:
            said = str(error).rpartition("caused error: ")[2]
            raise (_NotOurs if "WRONGTYPE" in said else StoreError)(said) from None
        return found

    def _sessions(self, scope: str) -> list[str]:
        if not scope.endswith("/"):
            return [scope]
        keys = self._client.scan_iter(match=f"{PREFIX}{scope}*", count=1000)
        names = {key.decode().removeprefix(PREFIX) for key in keys}
        return [name for name in names if covers(scope, name)]

    def forgotten(self, scopes: Sequence[str] = ()) -> dict[str, float]:
        """See tier.Tier."""
        if scopes:
            found = zip(scopes, self._client.zmscore(FORGOTTEN, list(scopes)), strict=True)
            return {scope: at for scope, at in found if at is not None}
        return {scope.decode(): at for scope, at in self._client.zrange(FORGOTTEN, 0, -1, withscores=True)}

    def close(self) -> None:
        """See tier.Tier."""
        self._client.close()
