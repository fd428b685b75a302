"""A tier in a bucket of S3, an object for each session; needs the extra [aws].

`<prefix>/sessions/<workspace>/<user>/<session>.json` holds the turns. It is written only where it is still what was read
(If-Match), so that two servers never lose each other's. `<prefix>/forgotten/<microseconds>/<scope>` notes what was
forgotten. Where the bucket keeps versions, those of forgotten sessions are deleted too.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..aws import client
from ..database import Database
from ..errors import StoreError
from ..serving.params import MemoryParams
from .tier import REMEMBERED_S, Entry, Kept, Reader, encode

PREFIX = "ragkeep-memory"
TRIES = 12
CHANGED = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}
MISSING = {"NoSuchKey", "404", "NotFound"}


def open_tier(*, params: MemoryParams, database: Database, name: str, ttl_s: float | None) -> S3Tier:  # noqa: ARG001
    """Open the tier; nothing is asked yet. Raises MissingExtra, ConfigError."""
    made = client("the memory in S3", "s3", region=params.region, read_timeout_s=5, tries=1)
    return S3Tier(made, params.bucket, name, ttl_s=ttl_s)


class S3Tier:
    """See tier.Tier; a session expires, where it does, `ttl_s` after its last turn."""

    patience_s = 1.0

    def __init__(
        self,
        s3: Any,
        bucket: str,
        name: str = "s3",
        *,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name, self._ttl_s, self._clock = name, ttl_s, clock
        self._s3, self._bucket, self._reader = s3, bucket, Reader(name)
        self._failed = s3.exceptions.ClientError

    def prepare(self) -> None:
        """See tier.Tier; a bucket is made by people."""
        self._s3.head_bucket(Bucket=self._bucket)

    def add(self, session: str, entries: Sequence[Entry], *, whole_at: float = 0.0) -> None:
        """See tier.Tier."""

        def more(bodies: list[Any], whole: float) -> tuple[list[Any], float]:
            there = [body["id"] for body in bodies if isinstance(body, dict) and "id" in body]
            new = [json.loads(encode(entry)) for entry in entries if entry.id not in there]
            return bodies + new, max(whole, whole_at)

        self._change(session, more)

    def read(self, session: str) -> Kept:
        """See tier.Tier."""
        found, _ = self._get(session)
        if self._ttl_s is not None and found.get("added_at", 0) <= self._clock() - self._ttl_s:
            return Kept()
        entries = self._reader.entries(session, map(json.dumps, found["entries"]))
        return Kept(entries, found.get("whole_at", 0.0))

    def erase(self, scope: str, before: float) -> None:
        """See tier.Tier."""
        self._put(f"{PREFIX}/forgotten/{round(before * 1e6):016d}/{scope}", b"")

        def less(bodies: list[Any], _: float) -> tuple[list[Any], float]:
            dated = (body for body in bodies if isinstance(body, dict))
            return [body for body in dated if body.get("at", 0) > before], 0.0

        for session in self._sessions(scope):
            self._change(session, less)
            self._drop_versions(_key(session))
        for key in list(self._keys(f"{PREFIX}/damaged/{scope}")):
            self._drop_versions(key, all_of_it=True)

    def forgotten(self, scopes: Sequence[str] = ()) -> dict[str, float]:
        """See tier.Tier."""
        wanted = frozenset(scopes)
        found: dict[str, float] = {}
        old = self._clock() - REMEMBERED_S
        for key in self._keys(f"{PREFIX}/forgotten/"):
            micros, _, scope = key.removeprefix(f"{PREFIX}/forgotten/").partition("/")
            at = int(micros) / 1e6
            if at < old:
                self._s3.delete_object(Bucket=self._bucket, Key=key)
            elif not wanted or scope in wanted:
                found[scope] = max(at, found.get(scope, 0.0))
        return found

    def close(self) -> None:
        """See tier.Tier."""
        self._s3.close()

    def _change(self, session: str, change: Callable[[list[Any], float], tuple[list[Any], float]]) -> None:
        """Read, change and write a session's object, again where another server was faster. Raises StoreError."""
        for tried in range(TRIES):
            found, tag = self._get(session, aside=True)
            bodies, whole = change(found["entries"], found.get("whole_at", 0.0))
            if tag and self._ttl_s is None and (bodies, whole) == (found["entries"], found.get("whole_at")):
                return
            if not bodies and not whole:
                self._drop_versions(_key(session), all_of_it=True)
                return
            content = {"entries": bodies, "whole_at": whole, "added_at": self._clock()}
            condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
            try:
                self._put(_key(session), json.dumps(content).encode(), **condition)
                return
            except self._failed as error:
                if _code(error) not in CHANGED | MISSING:
                    raise
            time.sleep(random.uniform(0, 0.05 * (tried + 1)))  # noqa: S311
        raise StoreError(f"S3: session {session} is written by others all the time")

    def _get(self, session: str, *, aside: bool = False) -> tuple[dict[str, Any], str]:
        """Return what an object holds and its tag; nothing and "" where there is none, nothing of a damaged one.

        With `aside` a damaged one is copied, for it will be overwritten.
        """
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=_key(session))
        except self._failed as error:
            if _code(error) not in MISSING:
                raise
            return {"entries": []}, ""
        data = answer["Body"].read()
        try:
            found = json.loads(data)
            if isinstance(found["entries"], list) and isinstance(found["whole_at"], int | float):
                return found, answer["ETag"]
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
        self._reader.name(session, StoreError("the object is no session that was written here"))
        if aside:
            self._put(f"{PREFIX}/damaged/{session}", data)
        return {"entries": []}, answer["ETag"]

    def _put(self, key: str, data: bytes, **condition: str) -> None:
        self._s3.put_object(Bucket=self._bucket, Key=key, Body=data, ContentType="application/json", **condition)

    def _sessions(self, scope: str) -> list[str]:
        """The sessions of a scope, also those that are damaged."""
        if not scope.endswith("/"):
            return [scope]
        root = f"{PREFIX}/sessions/"
        return [key.removeprefix(root).removesuffix(".json") for key in self._keys(root + scope)]

    def _keys(self, prefix: str) -> Iterator[str]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
            yield from (item["Key"] for item in page.get("Contents", ()))

    def _drop_versions(self, key: str, *, all_of_it: bool = False) -> None:
        """Delete earlier versions of an object, which hold what was forgotten, or all."""
        for page in self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=key):
            for item in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                if item["Key"] == key and (all_of_it or not item["IsLatest"]):
                    self._s3.delete_object(Bucket=self._bucket, Key=key, VersionId=item["VersionId"])


def _key(session: str) -> str:
    return f"{PREFIX}/sessions/{session}.json"


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
