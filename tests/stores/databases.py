"""A real PostgreSQL for tests: each asks for a store whose schema nobody else uses, and cleans up after itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from infra.local import postgres
from ragkeep.backends import STORES, load
from ragkeep.config import IndexParams, PgVectorParams
from ragkeep.stores.pgvector import PgVectorStore
from tests import services


@contextmanager
def own_store(url: str = "", **settings: Any) -> Iterator[PgVectorStore]:
    """Open a store under a prefix of its own, on the session's server or the one at `url`; it is deleted in the end."""
    url = url or services.shared(postgres.SERVICE)["POSTGRES_URL"]
    prefix = f"t-{uuid4().hex[:12]}"
    params = PgVectorParams(**{"url": without_password(url), "prefix": prefix, **settings})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAGKEEP_PGVECTOR_PASSWORD", unquote(urlsplit(url).password or ""))
        store = load(STORES, "pgvector", path=None, params=IndexParams(pgvector=params))
        try:
            yield store
        finally:
            store.close()
            with psycopg.connect(url, options="-c client_min_messages=error") as session:
                session.execute(SQL("drop schema if exists {} cascade").format(Identifier(prefix)))


def without_password(url: str) -> str:
    """As it may stand in params.yaml."""
    return url.replace(f":{urlsplit(url).password}@", "@")


def tables_of(store: PgVectorStore) -> list[str]:
    """One table of each version that has any."""
    select = "select tablename from pg_tables where schemaname = %s and tablename like 'chunks%%' order by 1"
    rows = store._database.run(lambda session: session.execute(select, [store._params.prefix]).fetchall())
    return [row[0] for row in rows]
