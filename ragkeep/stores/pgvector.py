"""The store for who has PostgreSQL already: pgvector's graph and an inverted index in tables, one set of them a version.

    <prefix>.versions      name, dimension, text analysis, format, whether it is finished and, once sealed, its receipt
    <prefix>.aliases       which version is live
    <prefix>.chunks_<n>    and other tables of the version with number n

`index.pgvector` in params.yaml says where the database is. How it is asked: pgvector_client.py; what a version looks
like: pgvector_index.py; how it is searched: pgvector_search.py. Why so, and the figures: docs/adr/0006-pgvector.md.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import orjson

from ..analysis import VERSION
from ..config import IndexParams, PgVectorParams, is_id
from ..errors import IndexExists, IndexLive, IndexMissing, ReceiptMismatch, StoreError
from ..types import EmbeddedBatch, Hit, IndexVersion, Legs, Query, ids_digest
from . import pgvector_index as tables
from . import pgvector_search as searching
from .pgvector_client import Database, Refused
from .pgvector_index import FORMAT, MAX_DIM, statement
from .reading import check_batch, check_query

if TYPE_CHECKING:
    from psycopg import Cursor

    from .pgvector_client import Session

_STALE_S = 7 * 86_400  # a build this old without a receipt has no builder any more
_PAGE, _LOCK_MS = 10_000, 200
_NO_TABLE, _TAKEN, _LOCKED = "42P01", "23505", "55P03"

T = TypeVar("T")


class _Version(NamedTuple):
    build: int
    dim: int
    finished: bool
    sealed: bool


def open_store(path: Path, params: IndexParams | None = None) -> PgVectorStore:  # noqa: ARG001 - every store's factory
    """Open the store that `index.pgvector` names; nothing is asked before it is needed."""
    return PgVectorStore((params or IndexParams()).pgvector)


class PgVectorStore:
    """See `ports.VectorStore`. Safe from any thread and process; one process builds a version."""

    def __init__(self, params: PgVectorParams) -> None:
        self._params, self._prefix = params, params.prefix
        self._database = Database(params, partial(tables.prepare, prefix=params.prefix))

    # --- building -----------------------------------------------------------------------------

    def create(self, index: str, *, dim: int) -> None:
        """See `ports.VectorStore.create`; sweeps away builds that were given up a week ago."""
        if not is_id(index):
            raise _no_index(index)
        if dim > MAX_DIM:
            raise StoreError(f"pgvector's graph takes vectors of up to {MAX_DIM} numbers, not {dim}: use another store")
        self._sweep()

        def work(session: Session) -> None:
            insert = "insert into {versions} (name, dim, analysis, format) values (%s, %s, %s, %s)"
            self._execute(session, insert, [index, dim, VERSION, FORMAT])
            tables.create_tables(session, self._prefix, self._version(session, index).build, dim)

        try:
            self._database.run(work, repeat=False)
        except Refused as error:
            if error.state != _TAKEN:
                raise
            raise IndexExists(f"index {index} exists in PostgreSQL: choose another name, or drop it first") from None

    def carry(self, index: str, *, base: str, rows: Mapping[str, str]) -> set[str]:  # noqa: ARG002 - see below
        """See `ports.VectorStore.carry`; takes nothing over: most of the work is the graph, made by finish()."""
        held = self._database.run(lambda session: self._version(session, base))
        if not held.sealed:
            raise IndexMissing(f"no sealed index {base} in PostgreSQL: carry from one that was sealed")
        self.create(index, dim=held.dim)
        return set()

    def write(self, index: str, batch: EmbeddedBatch) -> int:
        """See `ports.VectorStore.write`; after a lost connection and a second try, what the first wrote is not new."""

        def work(session: Session) -> int:
            version = self._version(session, index, "for no key update")
            if version.sealed:
                raise StoreError(f"index {index} is sealed: build a new version instead of writing to it")
            check_batch(batch, index, version.dim)
            new = tables.insert(session, self._prefix, version.build, batch)
            if new and version.finished:
                self._execute(session, "update {versions} set finished = false where name = %s", [index])
            return new

        return self._database.run(work)

    def finish(self, index: str) -> None:
        """See `ports.VectorStore.finish`."""

        def work(session: Session) -> int | None:
            version = self._version(session, index, "for no key update")
            if version.finished:
                return None
            tables.build_indexes(session, self._prefix, version.build, version.dim)
            self._execute(session, "update {versions} set finished = true where build = %s", [version.build])
            return version.build

        build = self._database.run(work)
        if build is not None:
            # notes which pages are visible to all, so that lookups by index alone need not read them
            self._database.alone(statement("vacuum {chunks}", self._prefix, build))

    def ids(self, index: str) -> Iterable[str]:
        """See `ports.VectorStore.ids`."""
        version = self._database.run(lambda session: self._version(session, index))
        return self._ids(index, version.build)

    def _ids(self, index: str, build: int) -> Iterator[str]:
        select = statement("select id from {chunks} where id > %s order by id limit %s", self._prefix, build)
        last = [""]
        while last:
            page = self._page(select, last[-1], index)
            yield from page
            last = page[-1:]

    def _page(self, select: Any, after: str, index: str) -> list[str]:
        try:
            rows = self._database.run(lambda session: session.execute(select, [after, _PAGE]).fetchall())
        except Refused as error:
            if error.state != _NO_TABLE:
                raise
            raise IndexMissing(f"index {index} was dropped while it was read: ask again") from None
        return [row[0] for row in rows]

    def seal(self, version: IndexVersion) -> None:
        """See `ports.VectorStore.seal`; no write comes between comparing the ids and recording the receipt."""

        def work(session: Session) -> None:
            held = self._version(session, version.name, "for update")
            if not held.finished:
                raise StoreError(f"index {version.name} cannot be sealed before finish(): it could not be searched")
            rows = session.execute(statement("select id from {chunks}", self._prefix, held.build)).fetchall()
            digest = ids_digest(row[0] for row in rows)
            if len(rows) != version.chunks or digest != version.digest:
                raise ReceiptMismatch(
                    f"index {version.name} holds {len(rows)} chunks with digest {digest}, its receipt says "
                    f"{version.chunks} with {version.digest}: drop it and build again"
                )
            receipt = orjson.dumps(dataclasses.asdict(version)).decode()
            self._execute(session, "update {versions} set receipt = %s where build = %s", [receipt, held.build])
            session.execute(statement("truncate {words}", self._prefix, held.build))  # no postings are made any more

        self._database.run(work)

    def close(self) -> None:
        """Close the connections."""
        self._database.close()

    # --- aliases and versions -----------------------------------------------------------------

    def swap(self, alias: str, index: str | None) -> str | None:
        """See `ports.VectorStore.swap`: one transaction, and one at a time."""
        if not is_id(alias):
            raise StoreError(f"alias {alias!r} must be 1-64 of a-z, 0-9 and '-'")

        def work(session: Session) -> str | None:
            self._execute(session, "lock table {aliases} in share row exclusive mode", [])
            if index is not None and not self._version(session, index, "for share").sealed:
                raise IndexMissing(f"no sealed index {index} in PostgreSQL: build and seal it before it goes live")
            before = self._behind(session, alias)
            self._execute(session, "delete from {aliases} where name = %s", [alias])
            if index is not None:
                self._execute(session, "insert into {aliases} values (%s, %s)", [alias, index])
            return before

        return self._database.run(work, repeat=False)

    def live(self, alias: str) -> str | None:
        """See `ports.VectorStore.live`."""
        return self._database.run(lambda session: self._behind(session, alias)) if is_id(alias) else None

    def versions(self, alias: str) -> list[IndexVersion]:
        """See `ports.VectorStore.versions`."""

        def work(session: Session) -> tuple[list[Any], str | None]:
            select = "select receipt from {versions} where receipt->>'alias' = %s and analysis = %s and format = %s"
            rows = self._execute(session, select, [alias, VERSION, FORMAT]).fetchall()
            return rows, self._behind(session, alias)

        if not is_id(alias):
            return []
        rows, live = self._database.run(work)
        found = sorted((IndexVersion(**row[0]) for row in rows), key=lambda v: (v.built_at, v.name), reverse=True)
        return sorted(found, key=lambda version: version.name != live)

    def drop(self, index: str) -> None:
        """See `ports.VectorStore.drop`; the name is free at once, the tables go when the last search has read them."""
        if not is_id(index):
            return

        def work(session: Session) -> int | None:
            try:
                version = self._version(session, index, "for update")
            except IndexMissing:
                return None
            aliases = self._execute(session, "select name from {aliases} where version = %s", [index]).fetchall()
            if aliases and version.sealed:
                names = ", ".join(sorted(row[0] for row in aliases))
                raise IndexLive(f"index {index} is live as {names}: swap the alias first")
            self._execute(session, "delete from {versions} where build = %s", [version.build])
            return version.build

        build = self._database.run(work)
        if build is not None:
            self._drop_tables(build)

    def _drop_tables(self, build: int) -> None:
        """Remove a version's tables; those still read after a search's longest time are left to a later sweep."""
        until = time.monotonic() + self._params.timeout_s
        while True:
            try:
                self._database.run(lambda session: tables.drop_tables(session, self._prefix, build, wait_ms=_LOCK_MS))
            except Refused as error:
                if error.state == _LOCKED and time.monotonic() < until:
                    time.sleep(_LOCK_MS / 1000)  # searches that came meanwhile go first
                    continue
                if error.state not in (_LOCKED, _NO_TABLE):
                    raise
            return

    def _sweep(self) -> None:
        """Remove builds that were given up long ago, and tables whose version is gone."""

        def work(session: Session) -> tuple[list[Any], list[int]]:
            stale = "select name from {versions} where receipt is null and made_at < now() - make_interval(secs => %s)"
            return self._execute(session, stale, [_STALE_S]).fetchall(), tables.orphans(session, self._prefix)

        stale, orphans = self._database.run(work)
        for (index,) in stale:
            self.drop(index)
        for build in orphans:
            self._drop_tables(build)

    # --- searching ----------------------------------------------------------------------------

    def search(self, index: str, query: Query) -> list[Hit]:
        """See `ports.Searcher.search`."""
        check_query(query, needs_vector=query.mode != "keyword")

        def work(session: Session) -> list[Hit]:
            found = searching.find(session, self._prefix, index, query)
            return searching.hits(session, self._prefix, found, query)

        return self._searched(index, work)

    def legs(self, index: str, query: Query) -> Legs:
        """See `ports.VectorStore.legs`."""
        check_query(query, needs_vector=True)
        both = dataclasses.replace(query, mode="hybrid")
        return self._searched(
            index,
            lambda session: searching.legs(searching.find(session, self._prefix, index, both), query.candidates),
        )

    def _searched(self, index: str, work: Callable[[Session], T]) -> T:
        """Search; once more where the version was dropped in the middle, for then the alias points at another."""
        if not is_id(index):
            raise _no_index(index)
        for _ in range(2):
            try:
                return self._database.run(work)
            except Refused as error:
                if error.state != _NO_TABLE:
                    raise
        raise IndexMissing(f"index {index} was dropped while it was searched: ask again")

    # --- what is known of versions ------------------------------------------------------------

    def _version(self, session: Session, index: str, lock: str = "") -> _Version:
        if not is_id(index):
            raise _no_index(index)
        sealed = "receipt is not null and analysis = %s and format = %s"  # of another format: as if it were lost
        select = f"select build, dim, finished, {sealed} from {{versions}} where name = %s {lock}"  # noqa: S608
        row = self._execute(session, select, [VERSION, FORMAT, index]).fetchone()
        if row is None:
            raise IndexMissing(f"no index {index} in PostgreSQL: create it first")
        return _Version(*row)

    def _behind(self, session: Session, alias: str) -> str | None:
        row = self._execute(session, "select version from {aliases} where name = %s", [alias]).fetchone()
        return row[0] if row else None

    def _execute(self, session: Session, text: str, values: list[Any]) -> Cursor[tuple[Any, ...]]:
        """Run a statement on the tables that all versions share."""
        return session.execute(statement(text, self._prefix), values)


def _no_index(index: str) -> IndexMissing:
    return IndexMissing(f"no index {index!r}: names are 1-64 of a-z, 0-9 and '-'")
