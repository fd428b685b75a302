"""The pgvector store when versions go under readers, or its server refuses, hangs or dies: one clear error each."""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import Connection
from psycopg.sql import SQL, Identifier

from infra.local import postgres
from infra.local.errors import LocalError
from infra.local.single import Server
from ragkeep.config import IndexParams
from ragkeep.errors import IndexMissing, StoreError
from ragkeep.stores import pgvector_client, pgvector_index, pgvector_search
from ragkeep.stores.pgvector import PgVectorStore
from ragkeep.stores.pgvector_index import statement
from ragkeep.types import Query
from tests import services
from tests.sizes import sizes
from tests.stores.building import DIM, build, chunk_batch
from tests.stores.databases import own_store, tables_of
from tests.stores.swapping import swap_under_readers


@pytest.fixture
def store() -> Iterator[PgVectorStore]:
    with own_store() as made:
        yield made


def test_a_server_that_is_not_there_is_named(store: PgVectorStore) -> None:
    gone = PgVectorStore(replace(store._params, url="postgresql://me@127.0.0.1:9/db"))
    with pytest.raises(StoreError, match=r"cannot be reached .Connection refused.: is it running") as error:
        gone.live("docs")
    assert "\n" not in str(error.value)


def test_a_database_that_does_not_exist_is_named(store: PgVectorStore) -> None:
    other = PgVectorStore(replace(store._params, url=store._params.url + "-other"))
    with pytest.raises(StoreError, match='database "ragkeep-other" does not exist'):
        other.live("docs")


def test_a_missing_password_is_asked_for(store: PgVectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGKEEP_PGVECTOR_PASSWORD")
    monkeypatch.setenv("PGPASSFILE", "/dev/null")
    with pytest.raises(StoreError, match="asks for a password: set RAGKEEP_PGVECTOR_PASSWORD"):
        store.live("docs")


def test_libpqs_own_password_is_used(store: PgVectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAGKEEP_PGVECTOR_PASSWORD")
    monkeypatch.setenv("PGPASSWORD", urlsplit(services.shared(postgres.SERVICE)["POSTGRES_URL"]).password or "")
    assert store.live("docs") is None


@contextmanager
def plain_database(name: str) -> Iterator[str]:
    """A database without pgvector, and a user of that name who may do little in it."""
    url = services.shared(postgres.SERVICE)["POSTGRES_URL"]
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(SQL("create database {}").format(Identifier(name)))
        session.execute(SQL("create user {} password 'secret'").format(Identifier(name)))
        yield f"postgresql://{name}@{urlsplit(url).netloc.rpartition('@')[2]}/{name}"
        session.execute(SQL("drop database {} with (force)").format(Identifier(name)))
        session.execute(SQL("drop user {}").format(Identifier(name)))


def test_a_database_without_pgvector_is_told_to_its_owner(store: PgVectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with plain_database("t-plain") as url:
        monkeypatch.setenv("RAGKEEP_PGVECTOR_PASSWORD", "secret")
        other = PgVectorStore(replace(store._params, url=url))
        with pytest.raises(StoreError, match=r"lacks pgvector .*have its owner run CREATE EXTENSION vector"):
            other.create("docs-1", dim=DIM)


def test_a_user_without_rights_is_told_which(store: PgVectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with plain_database("t-weak") as url:
        admin = urlsplit(services.shared(postgres.SERVICE)["POSTGRES_URL"])
        with psycopg.connect(admin._replace(path="/t-weak").geturl()) as session:
            session.execute("create extension vector")
        monkeypatch.setenv("RAGKEEP_PGVECTOR_PASSWORD", "secret")
        other = PgVectorStore(replace(store._params, url=url))
        with pytest.raises(StoreError, match="grant it CREATE and TEMPORARY on the database"):
            other.create("docs-1", dim=DIM)


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    with own_store(timeout_s=0.5) as store:
        build(store, "docs-1", chunk_batch(3))
        other = PgVectorStore(replace(store._params, timeout_s=30))

        def hold(session: Connection) -> None:
            session.execute(statement("lock table {chunks}", store._params.prefix, 1))
            with pytest.raises(StoreError, match=r"did not answer within 0\.5 s: look at its load, or raise"):
                store.search("docs-1", Query("word1", mode="keyword"))

        other._database.run(hold)
        other.close()


def cut(store: PgVectorStore, session: Connection) -> None:
    """End a session as an administrator or a restarted server would."""
    pid = session.info.backend_pid
    url = services.shared(postgres.SERVICE)["POSTGRES_URL"]
    with psycopg.connect(url) as admin:
        admin.execute("select pg_terminate_backend(%s, 5000)", [pid])


def test_a_connection_that_ended_while_idle_is_not_noticed(store: PgVectorStore) -> None:
    build(store, "docs-1", chunk_batch(3))
    for action in (lambda: store.swap("docs", "docs-1"), lambda: store.search("docs", Query("word1", mode="keyword")),
                   lambda: store.create("docs-2", dim=DIM), lambda: store.write("docs-2", chunk_batch(3))):  # fmt: skip
        cut(store, store._database._idle[-1])
        action()
    assert store.live("docs") == "docs-1"
    assert len(list(store.ids("docs-2"))) == 3


@pytest.mark.parametrize("action", ["insert", "build_indexes"])
def test_work_that_was_cut_off_is_done_once_more(
    store: PgVectorStore, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    store.create("docs-1", dim=DIM)
    work, cuts = getattr(pgvector_index, action), []

    def cut_once(session: Connection, *given: object) -> object:
        result = work(session, *given)
        if not cuts:
            cuts.append(cut(store, session))
        return result

    monkeypatch.setattr(pgvector_index, action, cut_once)
    assert store.write("docs-1", chunk_batch(30)) == 30
    store.finish("docs-1")
    assert len(cuts) == 1
    assert len(store.search("docs-1", Query("shared", mode="keyword", k=99))) == 30


def test_a_swap_that_was_cut_off_is_reported_and_not_repeated(store: PgVectorStore) -> None:
    build(store, "docs-1", chunk_batch(3))
    with pytest.raises(pgvector_client.Lost, match=r"was gone in the middle|was stopped in the middle"):
        store._database.run(lambda session: (cut(store, session), session.execute("select 1")), repeat=False)
    assert store.live("docs") is None


# --- dropped under readers --------------------------------------------------------------------------


@sizes(1500, 100_000)
def test_readers_see_one_whole_version_while_versions_are_swapped_and_dropped(
    store: PgVectorStore, tmp_path: Path, size: int
) -> None:
    params = IndexParams(backend="pgvector", pgvector=store._params)
    seen = swap_under_readers(store, tmp_path, params, requests=size)
    assert (seen.failed, seen.repeated, seen.empty, seen.mixed) == ([], 0, 0, 0)
    assert seen.requests >= size
    assert len(seen.versions) >= 3
    assert len(tables_of(store)) == 2


def test_a_drop_waits_for_a_search_under_way(store: PgVectorStore) -> None:
    build(store, "docs-1", chunk_batch(5))
    query = Query("", vector=chunk_batch(1).vectors[0], mode="vector")
    with ThreadPoolExecutor(1) as pool:

        def search(session: Connection) -> int:
            found = pgvector_search.find(session, store._params.prefix, "docs-1", query)
            dropping.append(pool.submit(store.drop, "docs-1"))
            time.sleep(0.7)
            assert not dropping[0].done()
            return len(pgvector_search.hits(session, store._params.prefix, found, query))

        dropping: list[object] = []
        assert store._database.run(search) == 5
    assert tables_of(store) == []


def test_a_drop_does_not_wait_for_ever_and_the_next_build_sweeps_up() -> None:
    with own_store(timeout_s=0.5) as store:
        build(store, "docs-1", chunk_batch(5))
        other = PgVectorStore(replace(store._params, timeout_s=30))
        select = statement("select from {chunks}", store._params.prefix, 1)

        def hold(session: Connection) -> None:
            session.execute(select)
            store.drop("docs-1")

        other._database.run(hold)
        other.close()
        assert tables_of(store) == ["chunks_1"]
        build(store, "docs-1", chunk_batch(5))
        assert tables_of(store) == ["chunks_2"]


# --- the whole server ------------------------------------------------------------------------------


def kill(server: Server) -> None:
    assert server.process is not None
    server.process.signal(SIGKILL)
    server.process.wait(grace_s=10)
    os.waitpid(server.process.pid, 0)  # a dead server that nobody took leave of looks alive to the next one


def start_again(server: Server) -> None:
    """Start it at the same port, once the killed one's children have noticed."""
    for _ in range(50):
        try:
            return server.up(server.port)
        except LocalError:
            time.sleep(0.2)
    raise AssertionError("it does not start again")


def write_for_ever(store: PgVectorStore, acknowledged: list[int]) -> None:
    while True:
        salt = len(acknowledged) + 1
        store.write("docs-1", chunk_batch(200, salt=salt))
        acknowledged.append(salt)


def test_nothing_acknowledged_is_lost_when_the_server_is_killed() -> None:
    with services.own_postgres() as server, own_store(server.settings()["POSTGRES_URL"]) as store:
        build(store, "docs-0", chunk_batch(10))
        store.swap("docs", "docs-0")
        store.create("docs-1", dim=DIM)
        acknowledged: list[int] = []
        for delay_s in (0.05, 0.2, 0.5):
            timer = threading.Timer(delay_s, kill, [server])
            timer.start()
            with pytest.raises(StoreError, match=r"cannot be reached|is starting or stopping|in the middle"):
                write_for_ever(store, acknowledged)
            timer.join()
            start_again(server)
            kept = set(store.ids("docs-1"))
            assert kept >= {chunk.id for salt in acknowledged for chunk in chunk_batch(200, salt=salt).chunks}
            assert store.live("docs") == "docs-0"
        assert acknowledged
        store.finish("docs-1")
        assert len(store.search("docs-1", Query("word1", mode="keyword", k=999))) >= len(acknowledged)


def test_a_server_that_stops_in_the_middle_of_searches_says_so_and_answers_again() -> None:
    with services.own_postgres() as server, own_store(server.settings()["POSTGRES_URL"]) as store:
        build(store, "docs-1", chunk_batch(10))
        query = Query("word1", mode="keyword")
        assert store.search("docs-1", query)
        server.down(wipe=False)
        with pytest.raises(StoreError, match="cannot be reached"):
            store.search("docs-1", query)
        start_again(server)
        assert len(store.search("docs-1", query)) == 1
        with pytest.raises(IndexMissing):
            store.search("docs-2", query)
