"""What a version looks like in PostgreSQL, and chunks on their way into one.

    versions, aliases, counts   of all versions; `counts` says how many chunks a workspace has with each value of a filter
    chunks_<build>              what is searched: id, filters, vector with its graph
    texts_<build>               the rows that a hit shows
    words_<build>               every chunk's words, until the version is sealed
    postings_<build>            every word of a workspace: its weight, the chunks that hold it, and what it counts in each

A build has a number of its own, never used again, so a version that is dropped and built anew is another one. Words are
cut here, by our own analysis; PostgreSQL's own (tsvector) knows neither identifiers nor word statistics.
"""

from __future__ import annotations

import struct
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..analysis import K1, B, terms
from ..errors import StoreError
from ..types import Chunk, EmbeddedBatch, content_id
from .pgvector_client import Unit
from .segment import pack

if TYPE_CHECKING:
    from psycopg.sql import Composed

    from .pgvector_client import Session

FORMAT = 1
"""Raise it when the tables change: indexes are built anew."""
MAX_DIM = 2000
"""The longest vectors that pgvector builds a graph of."""
TABLES = ("chunks", "texts", "words", "postings")
COUNTED = ("workspace", "source", "language", "kind")
"""Columns of few values, which `counts` counts; the others choose few chunks anyway."""
_MAX_WORD = 120
_TEXT_OID = 25
_INT_OID = 23
_LOCK = 0x7261676B656570
_ORPHANS = """
select substr(t.tablename, 8)::int from pg_tables t where t.schemaname = %s and t.tablename ~ '^chunks_[0-9]+$'
and not exists (select from {versions} v where t.tablename = 'chunks_' || v.build)
"""

_SHARED = """
create schema if not exists {schema};
create table if not exists {versions} (
    build int generated always as identity primary key, name text collate "C" not null unique, dim int not null,
    analysis text not null, format int not null, finished bool not null default false, receipt jsonb,
    made_at timestamptz not null default now());
create table if not exists {aliases} (name text collate "C" primary key, version text collate "C" not null);
create table if not exists {counts} (
    build int not null references {versions} on delete cascade, workspace text collate "C" not null,
    name text not null, value text collate "C" not null, chunks int not null);
create index if not exists counts_build on {counts} (build, workspace);
"""
_VERSION = """
create table {chunks} (
    row int generated always as identity unique, id text collate "C" primary key,
    workspace text collate "C" not null, source text collate "C" not null, language text collate "C" not null,
    kind text collate "C" not null, uri text collate "C" not null, document_id text collate "C" not null,
    vector vector({dim}) not null) with (toast_tuple_target = 8160);
create table {texts} (row int primary key, chunk bytea not null);
create table {words} (row int, workspace text collate "C" not null, words text[] not null, counts int[] not null,
    length int not null);
create table {postings} (workspace text collate "C", word text collate "C", idf float8 not null, rows int[] not null,
    saturations real[] not null, primary key (workspace, word));
alter table {postings} alter rows set storage external, alter saturations set storage external;
"""
_INCOMING = """
create temp table if not exists incoming (id text collate "C", workspace text, source text, language text, kind text,
    uri text, document_id text, vector vector, chunk bytea, words text[], counts int[], length int)
on commit delete rows
"""
_WRITE = """
with new as (
    insert into {chunks} (id, workspace, source, language, kind, uri, document_id, vector)
    select id, workspace, source, language, kind, uri, document_id, vector from incoming
    on conflict (id) do nothing returning row, id
), texts as (insert into {texts} select row, chunk from new join incoming using (id)),
words as (insert into {words} select row, workspace, words, counts, length from new join incoming using (id))
select count(*) from new
"""
_POSTINGS = """
with means as (
    select workspace, count(*)::float8 as chunks, greatest(1, avg(length))::float8 as length from {words} group by 1
), listed as (
    select workspace, word, w.row, m.chunks,
        count * (%(k1)s + 1) / (count + %(k1)s * (1 - %(b)s + %(b)s * w.length / m.length)) as saturation
    from {words} w join means m using (workspace), unnest(words, counts) c (word, count)
)
insert into {postings}
select workspace, word, ln(1 + (chunks - count(*) + 0.5) / (count(*) + 0.5)),
    array_agg(row), array_agg(saturation::real)
from listed group by workspace, word, chunks
"""
_COUNTS = """
insert into {counts}
select %(build)s, workspace, name, value, count(*)
from {chunks}, lateral (values ('workspace', workspace), ('source', source), ('language', language), ('kind', kind))
    f (name, value)
group by workspace, name, value
"""
_LOOKUPS = {
    "source": "(workspace, source, row)",
    "language": "(workspace, language, row)",
    "kind": "(workspace, kind, row)",
    "uri": "using hash (uri)",
    "document": "using hash (document_id)",
}


def prepare(session: Session, prefix: str) -> None:
    """Make what all versions share, where it is missing. Raises StoreError where pgvector is missing or too old."""
    found = session.execute(
        "select (select extversion from pg_extension where extname = 'vector'), to_regclass(%s), "
        "current_setting('server_encoding')",
        [f'"{prefix}".counts'],
    ).fetchone()
    assert found is not None
    extension, shared, encoding = found
    if encoding != "UTF8":
        raise StoreError(f"the database keeps text as {encoding}: create one with encoding UTF8 for the index")
    if extension is None or shared is None:
        _make(session, prefix, extension=extension is None)
    if extension is not None and tuple(map(int, extension.split(".")[:2])) < (0, 8):
        raise StoreError(f"pgvector {extension} cannot search on under a filter: update it to 0.8 or later")


def _make(session: Session, prefix: str, *, extension: bool) -> None:
    from psycopg import Error

    with session.transaction():
        session.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        session.execute("set local client_min_messages = error")
        try:
            if extension:
                with session.transaction():
                    session.execute("create extension if not exists vector")
        except Error as error:
            said = " ".join(str(error.diag.message_primary or error).split())
            raise StoreError(
                f"the database lacks pgvector ({said}): have its owner run CREATE EXTENSION vector"
            ) from None
        session.execute(statement(_SHARED, prefix))


@lru_cache(maxsize=1024)
def statement(text: str, prefix: str, build: int = 0, **numbers: int) -> Composed:
    """Put the names of tables into a statement, quoted; values never go this way."""
    from psycopg.sql import SQL, Identifier, Literal

    names = {table: Identifier(prefix, f"{table}_{build}") for table in TABLES}
    names |= {table: Identifier(prefix, table) for table in ("versions", "aliases", "counts")}
    values = {name: Literal(value) for name, value in numbers.items()}
    return SQL(text).format(schema=Identifier(prefix), **names, **values)


def create_tables(session: Session, prefix: str, build: int, dim: int) -> None:
    """Make the tables of a version."""
    session.execute(statement(_VERSION, prefix, build, dim=dim))


def orphans(session: Session, prefix: str) -> list[int]:
    """Number the builds whose tables are there and whose version is not."""
    return [row[0] for row in session.execute(statement(_ORPHANS, prefix), [prefix])]


def drop_tables(session: Session, prefix: str, build: int, *, wait_ms: int) -> None:
    """Remove the tables of a version, once nobody reads them. Raises Refused when somebody still does after wait_ms.

    The wait must be shorter than PostgreSQL's before it looks for deadlocks (1 s): then a search is never the one that
    gives way.
    """
    session.execute(f"set local lock_timeout = {wait_ms}")
    session.execute(statement("lock table {chunks} in access exclusive mode", prefix, build))
    session.execute(statement("drop table if exists {chunks}, {texts}, {words}, {postings}", prefix, build))


def insert(session: Session, prefix: str, build: int, batch: EmbeddedBatch) -> int:
    """Add what is not there yet; return how many were new."""
    session.execute("set local client_min_messages = error")
    session.execute(_INCOMING)
    with session.cursor() as cursor, cursor.copy("copy incoming from stdin (format binary)") as copy:
        copy.write(_HEADER)
        copy.write(b"".join(_rows(batch)))
        copy.write(b"\xff\xff")
    found = session.execute(statement(_WRITE, prefix, build)).fetchone()
    assert found is not None
    return int(found[0])


def build_indexes(session: Session, prefix: str, build: int, dim: int) -> None:
    """Make the graph, the lookups, the postings and the counts from what was written; what an earlier try made goes."""
    session.execute("set local statement_timeout = 0")
    found = session.execute(statement("select count(*) from {chunks}", prefix, build)).fetchone()
    assert found is not None
    session.execute("set local work_mem = '256MB'")
    session.execute(f"set local maintenance_work_mem = '{_memory_mb(found[0], dim)}MB'")
    session.execute(f"set local max_parallel_maintenance_workers = {0 if found[0] < 50_000 else 2}")
    for name, columns in _LOOKUPS.items():
        _index(session, prefix, build, name, columns)
    graph = "using hnsw (vector vector_ip_ops) with (m = 16, ef_construction = 100)"
    _index(session, prefix, build, "graph", graph)
    session.execute(statement("truncate {postings}", prefix, build))
    session.execute(statement(_POSTINGS, prefix, build), {"k1": K1, "b": B})
    session.execute(statement("delete from {counts} where build = %s", prefix), [build])
    session.execute(statement(_COUNTS, prefix, build), {"build": build})
    session.execute(statement("analyze {chunks}, {texts}, {postings}", prefix, build))


def _memory_mb(chunks: int, dim: int) -> int:
    # a graph that does not fit is built on disk, many times slower; measured: about dim * 4 + 500 bytes a chunk
    return max(64, min(2048, chunks * (dim * 4 + 600) // 2**20 + 16))


def _index(session: Session, prefix: str, build: int, name: str, columns: str) -> None:
    from psycopg.sql import SQL, Identifier

    index = Identifier(prefix, f"{name}_{build}")
    session.execute(SQL("drop index if exists {}").format(index))
    made = SQL("create index {} on {} " + columns)
    session.execute(made.format(Identifier(f"{name}_{build}"), Identifier(prefix, f"chunks_{build}")))


def searched(word: str) -> str:
    """The word as it is kept: a very long one as its hash, since an index takes no more than 2,700 bytes."""
    return word if len(word) <= _MAX_WORD else content_id(word)


# --- rows as COPY takes them in binary: every field with its length before it, numbers big-endian -------------------

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_FIELDS = struct.pack(">h", 12)


def _rows(batch: EmbeddedBatch) -> list[bytes]:
    vectors = np.ascontiguousarray(batch.vectors, ">f4")
    found = {chunk.id: (chunk, row) for row, chunk in reversed(list(enumerate(batch.chunks)))}
    return [_row(chunk, vectors[row]) for chunk, row in found.values()]


def _row(chunk: Chunk, vector: NDArray[Any]) -> bytes:
    counts = Counter(word for piece in chunk.embed_text.split() for word in _words(piece))
    try:
        texts = [_text(chunk, name) for name in _COPIED]
        row = pack(chunk)
    except (TypeError, UnicodeEncodeError) as error:
        raise StoreError(f"chunk {chunk.id} of {chunk.uri!r} cannot be written: {error}") from None
    words = _array(_TEXT_OID, [_word(word) for word in counts])
    times = _array(_INT_OID, [_number(times) for times in counts.values()])
    fields = [*texts, unit(vector).data, row, words, times, struct.pack(">i", counts.total())]
    return _FIELDS + b"".join(map(_field, fields))


_COPIED = ("id", "workspace", "source", "language", "kind", "uri", "document_id")


def _text(chunk: Chunk, name: str) -> bytes:
    data: bytes = getattr(chunk, name).encode()
    if b"\0" in data:
        raise TypeError(f"its {name} holds a NUL character")
    return data


def unit(vector: NDArray[Any]) -> Unit:
    """A vector of shape (dim,) as PostgreSQL takes it."""
    return Unit(struct.pack(">hh", len(vector), 0) + np.ascontiguousarray(vector, ">f4").tobytes())


@lru_cache(maxsize=1 << 17)
def _words(piece: str) -> tuple[str, ...]:
    # no term spans a space, so a text's terms are those of its pieces; most pieces come again
    return tuple(map(searched, terms(piece)))


@lru_cache(maxsize=1 << 17)
def _word(word: str) -> bytes:
    return _field(word.encode())


@lru_cache(maxsize=1 << 12)
def _number(number: int) -> bytes:
    return _field(struct.pack(">i", number))


def _array(oid: int, items: list[bytes]) -> bytes:
    head = struct.pack(">iii", int(bool(items)), 0, oid)
    return head + (struct.pack(">ii", len(items), 1) + b"".join(items) if items else b"")


def _field(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data
