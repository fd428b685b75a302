"""Tiers and memories for tests, over real servers; every one has names of its own."""

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from ragkeep.database import Database
from ragkeep.memory import dynamodb, redis, s3, sqlite
from ragkeep.memory.tier import Entry, Tier
from ragkeep.serving.params import MemoryParams

BACKENDS = {"sqlite": sqlite, "redis": redis, "dynamodb": dynamodb, "s3": s3}


def new() -> str:
    return f"memory-{uuid.uuid4().hex}"


OPENED: list[Database] = []


def database(path: Path) -> Database:
    """Open a file that `close_databases` closes."""
    OPENED.append(Database(path))
    return OPENED[-1]


@pytest.fixture(autouse=True)
def close_databases() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


@contextmanager
def setting(settings: Mapping[str, str]) -> Iterator[None]:
    """The environment that a client of a server reads."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield


def tier(backend: str, settings: Mapping[str, str], folder: Path, **given: object) -> Tier:
    """Open a tier as a server does, with tables and buckets of its own unless `given` names them."""
    names = {"table": new(), "bucket": new(), "redis": settings.get("REDIS_URL", ""), **given}
    ttl_s = names.pop("ttl_s", None)
    with setting(settings):
        if backend == "s3" and "bucket" not in given:
            boto3.Session().client("s3").create_bucket(Bucket=names["bucket"])
        params = MemoryParams(**names)
        return BACKENDS[backend].open_tier(
            params=params, database=Database(folder / "memory.sqlite"), name=backend, ttl_s=ttl_s
        )  # type: ignore[no-any-return]


def settings_for(backend: str, request: pytest.FixtureRequest) -> dict[str, str]:
    """Start the backend's server if need be; sqlite has none."""
    return {} if backend == "sqlite" else request.getfixturevalue(backend)


def entry(n: int, text: str = "", *, role: str = "user") -> Entry:
    """The n-th turn, said at second n."""
    return Entry(f"{n:016d}", float(n), role, text or f"turn {n}")


def spoil(one: Tier, session: str) -> None:
    """Put rubbish where a backend keeps a session."""
    if isinstance(one, sqlite.SqliteTier):
        with one._database.transaction() as db:
            db.execute("INSERT INTO entries VALUES (?, ?, 'x', 1, NULL, '{\"id\": 3')", [one.name, session])
    elif isinstance(one, redis.RedisTier):
        one._client.zadd(redis.PREFIX + session, {b"\xff{": 1.0})
    elif isinstance(one, dynamodb.DynamoTier):
        workspace, prefix = dynamodb._key(session)
        item = {"workspace": workspace, "entry": f"{prefix}x", "at": 1, "body": b"\xff"}
        one._dynamodb.put_item(TableName=one._table, Item=item)
    elif isinstance(one, s3.S3Tier):
        found, tag = one._get(session)
        found["entries"].append(["rubbish"])
        content = json.dumps({"whole_at": 0.0, **found}).encode()
        one._put(s3._key(session), content, **({"IfMatch": tag} if tag else {}))
