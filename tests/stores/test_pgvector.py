"""The pgvector store against a real server: what the contract does not ask of every store."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ragkeep.config import load_params
from ragkeep.errors import ConfigError, IndexExists, IndexMissing, StoreError
from ragkeep.stores import pgvector, pgvector_search
from ragkeep.stores.memory import MemoryStore
from ragkeep.stores.pgvector import PgVectorStore
from ragkeep.stores.pgvector_index import statement
from ragkeep.stores.segment import FILTERS
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, IndexVersion, Query, content_id, ids_digest
from tests.stores.building import DIM, build, chunk_batch
from tests.stores.databases import own_store, tables_of


@pytest.fixture
def store() -> Iterator[PgVectorStore]:
    with own_store() as made:
        yield made


def texts_batch(texts: list[str], *, workspace: str = "default", seed: int = 5, dim: int = DIM) -> EmbeddedBatch:
    chunks = tuple(
        Chunk(
            id=content_id(workspace, str(i), text), document_id=f"d{i}", uri=f"docs/{i % 4}.md", source="docs",
            workspace=workspace, text=text, span=(0, len(text)), lines=(1, 1), kind="prose",
            language="rare" if i % 100 == 0 else "en",
        )
        for i, text in enumerate(texts)
    )  # fmt: skip
    return EmbeddedBatch(chunks, unit(len(texts), seed, dim))


def unit(n: int, seed: int, dim: int = DIM) -> np.ndarray:  # type: ignore[type-arg]
    vectors = np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_texts(n: int, *, words: int, seed: int = 1) -> list[str]:
    rng = np.random.default_rng(seed)
    vocabulary = [f"word{i}" for i in range(60)]
    weights = 1 / np.arange(1, 61)
    lengths = rng.integers(1, words, size=n)
    return [" ".join(rng.choice(vocabulary, size, p=weights / weights.sum())) for size in lengths]


# --- ranking ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [35, 600])
def test_hybrid_ranks_as_the_reference_does_at_any_weight(store: PgVectorStore, words: int) -> None:
    batch, reference = texts_batch(random_texts(300, words=words)), MemoryStore()
    fusions = [*(Fusion("convex", weight) for weight in (0, 0.25, 0.5, 0.8, 1)), Fusion("rrf", 0.5)]
    for each in (store, reference):
        build(each, "docs-1", batch)
    for seed, text in enumerate(random_texts(6, words=6, seed=9)):
        for fusion in fusions:
            query = Query(text, vector=unit(1, seed)[0], fusion=fusion, candidates=40)
            got, want = store.search("docs-1", query), reference.search("docs-1", query)
            assert [hit.chunk.id for hit in got] == [hit.chunk.id for hit in want]
            assert [hit.score for hit in got] == pytest.approx([hit.score for hit in want], abs=1e-5)


@pytest.fixture(scope="module")
def large() -> Iterator[tuple[PgVectorStore, EmbeddedBatch]]:
    batch = texts_batch([f"chunk {i}" for i in range(5000)], dim=64)
    with own_store() as store:
        store.create("docs-1", dim=64)
        store.write("docs-1", batch)
        store.finish("docs-1")
        yield store, batch


@pytest.mark.parametrize("exact", [0, pgvector_search.EXACT], ids=["graph", "compared"])
@pytest.mark.parametrize("language", ["rare", "en", ""])
def test_the_vector_leg_finds_the_nearest_also_under_a_filter_of_one_in_a_hundred(
    large: tuple[PgVectorStore, EmbeddedBatch], monkeypatch: pytest.MonkeyPatch, exact: int, language: str
) -> None:
    store, batch = large
    monkeypatch.setattr(pgvector_search, "EXACT", exact)
    rows = [i for i, chunk in enumerate(batch.chunks) if language in ("", chunk.language)]
    found = 0
    for vector in unit(100, 77, 64):
        near = np.argsort(-(batch.vectors[rows] @ vector))[:10]
        filters = {"language": language} if language else {}
        hits = store.search("docs-1", Query("", vector=vector, mode="vector", filters=filters))
        found += len({batch.chunks[rows[i]].id for i in near} & {hit.chunk.id for hit in hits})
    assert found >= 990


def test_when_the_graph_ends_too_early_all_rows_are_compared(
    large: tuple[PgVectorStore, EmbeddedBatch], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _ = large
    monkeypatch.setattr(pgvector_search, "EXACT", 0)
    store._database.run(lambda session: session.execute("set hnsw.max_scan_tuples = 1"))
    query = Query("", vector=unit(1, 3, 64)[0], k=50, mode="vector", filters={"language": "rare"})
    assert len(store.search("docs-1", query)) == 50
    store.close()


# --- the wall ---------------------------------------------------------------------------------------

HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(codec=None), max_size=8),
    st.sampled_from(
        ["' or '1'='1", "'; drop table chunks_1; --", "red' --", '"', "\\'", "%", "%s", "%(words)s", "{chunks}", "$1",
         "null", "NULL", "red", "RED", "red ", "r%", "docs/1.md' or true --", "a & b | !c", "\x00", "\ud800", "{a,b}"]
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def two_workspaces() -> Iterator[PgVectorStore]:
    with own_store() as store:
        build(
            store,
            "docs-1",
            texts_batch(random_texts(40, words=10), workspace="red"),
            texts_batch(random_texts(40, words=10), workspace="blue"),
        )
        yield store


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(workspace=HOSTILE | st.just("blue"), filters=st.dictionaries(st.sampled_from(FILTERS), HOSTILE), text=HOSTILE)
def test_no_value_reaches_foreign_rows(
    two_workspaces: PgVectorStore, workspace: str, filters: dict[str, str], text: str
) -> None:
    for mode in ("hybrid", "vector", "keyword"):
        query = Query(f"word1 {text}", vector=unit(1, 3)[0], mode=mode, workspace=workspace, filters=filters, k=99)  # type: ignore[arg-type]
        for hit in two_workspaces.search("docs-1", query):
            assert hit.chunk.workspace == workspace
            assert all(getattr(hit.chunk, name) == value for name, value in filters.items())
    blue = Query("", vector=unit(1, 3)[0], mode="vector", workspace="blue", k=99)
    assert len(two_workspaces.search("docs-1", blue)) == 40


def test_long_names_and_long_words_are_found_again(store: PgVectorStore) -> None:
    chunk = replace(chunk_batch(1).chunks[0], uri="docs/" + "u" * 9000, document_id="d" * 9000, text="w" * 9000)
    build(store, "docs-1", EmbeddedBatch((chunk,), unit(1, 1)))
    filters = {"uri": chunk.uri, "document_id": chunk.document_id}
    assert store.search("docs-1", Query("w" * 9000, mode="keyword", filters=filters))[0].chunk == chunk


@pytest.mark.parametrize(("name", "value"), [("uri", "a\0b"), ("text", "half \ud800"), ("language", "\ud800")])
def test_what_cannot_be_stored_is_refused_by_name(store: PgVectorStore, name: str, value: str) -> None:
    store.create("docs-1", dim=DIM)
    bad = replace(chunk_batch(1).chunks[0], **{name: value})
    with pytest.raises(StoreError, match=bad.id):
        store.write("docs-1", EmbeddedBatch((bad,), unit(1, 1)))


def test_a_text_may_hold_any_character(store: PgVectorStore) -> None:
    chunk = replace(chunk_batch(1).chunks[0], text="word\x00 'quoted' \\N \t\n über 语言", meta={"a": "\x00"})
    build(store, "docs-1", EmbeddedBatch((chunk,), unit(1, 1)))
    assert store.search("docs-1", Query("语言", mode="keyword"))[0].chunk == chunk


# --- versions ---------------------------------------------------------------------------------------


def receipt(store: PgVectorStore, index: str) -> IndexVersion:
    ids = list(store.ids(index))
    return IndexVersion(index, "docs", "pgvector", "hash/1", DIM, len(ids), ids_digest(ids))


def test_a_version_sealed_by_one_process_takes_no_writes_from_another(store: PgVectorStore) -> None:
    store.create("docs-1", dim=DIM)
    other = PgVectorStore(store._params)
    other.write("docs-1", chunk_batch(3))
    store.finish("docs-1")
    store.seal(receipt(store, "docs-1"))
    with pytest.raises(StoreError, match="sealed"):
        other.write("docs-1", chunk_batch(5, salt=1))
    other.close()
    assert len(list(store.ids("docs-1"))) == 3


def test_a_lost_live_version_is_missing_until_it_is_built_again(store: PgVectorStore) -> None:
    build(store, "docs-1", chunk_batch(3))
    store.swap("docs", "docs-1")
    forget = statement("update {versions} set receipt = null", store._params.prefix)
    store._database.run(lambda session: session.execute(forget))
    store.drop("docs-1")
    with pytest.raises(IndexMissing):
        store.search("docs", Query("word1", mode="keyword"))
    assert store.live("docs") == "docs-1"
    build(store, "docs-2", chunk_batch(4))
    assert store.swap("docs", "docs-2") == "docs-1"
    assert len(store.search("docs", Query("word1", mode="keyword"))) == 1


def test_builds_that_were_given_up_are_swept(store: PgVectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    build(store, "docs-1", chunk_batch(3))
    store.create("docs-2", dim=DIM)
    store.create("docs-3", dim=DIM)
    assert tables_of(store) == ["chunks_1", "chunks_2", "chunks_3"]
    monkeypatch.setattr(pgvector, "_STALE_S", -60)
    store.create("docs-4", dim=DIM)
    assert tables_of(store) == ["chunks_1", "chunks_4"]


def test_an_index_of_another_analysis_is_refused(store: PgVectorStore) -> None:
    build(store, "docs-1", chunk_batch(3))
    other = statement("update {versions} set analysis = '0'", store._params.prefix)
    store._database.run(lambda session: session.execute(other))
    with pytest.raises(StoreError, match="text analysis 0"):
        store.search("docs-1", Query("word1", mode="keyword"))


def test_vectors_longer_than_a_graph_takes_are_refused(store: PgVectorStore) -> None:
    with pytest.raises(StoreError, match="up to 2000"):
        store.create("docs-1", dim=2001)


def test_many_creators_at_once_make_one_schema_and_one_version() -> None:
    with own_store() as store, ThreadPoolExecutor(8) as pool:
        others = [PgVectorStore(store._params) for _ in range(8)]
        made = [pool.submit(other.create, "docs-1", dim=DIM) for other in others]
        errors = [future.exception() for future in made]
        assert [type(error) for error in errors if error] == [IndexExists] * 7
        for other in others:
            other.close()


# --- settings ---------------------------------------------------------------------------------------


def test_the_environment_chooses_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("sources: [{name: a, path: .}]\nindex: {pgvector: {url: 'postgresql://me@one/db', prefix: p}}\n")
    monkeypatch.setenv("RAGKEEP_STORE", "pgvector")
    index = load_params(path).index
    assert (index.backend, index.pgvector.url, index.pgvector.prefix) == ("pgvector", "postgresql://me@one/db", "p")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("url: 'postgresql://me:s3cret@one/db'", "must not hold a password: set RAGKEEP_PGVECTOR_PASSWORD"),
        ("url: 'postgresql://one/db?password=s3cret'", "must not hold a password"),
        ("url: 'me:s3cret@one/db'", "must look like"),
        ("url: 'mysql://me@one/db'", "must look like"),
        ("prefix: 'A b'", "prefix"),
        ("prefix: '" + "a" * 64 + "'", "prefix"),
        ("timeout_s: 0", "timeout_s must be between"),
    ],
)
def test_wrong_settings_are_named_and_no_password_is_shown(tmp_path: Path, setting: str, said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"sources: [{{name: a, path: .}}]\nindex: {{pgvector: {{{setting}}}}}\n")
    with pytest.raises(ConfigError, match=said) as error:
        load_params(path)
    assert "s3cret" not in str(error.value)


def test_a_password_is_in_no_repr_no_log_and_no_error(
    store: PgVectorStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    password = uuid4().hex
    with caplog.at_level(logging.DEBUG):
        build(store, "docs-1", chunk_batch(3))
        shown = f"{store!r} {store._params!r} {vars(store)} {vars(store._database)}"
        monkeypatch.setenv("RAGKEEP_PGVECTOR_PASSWORD", password)
        store.close()
        with pytest.raises(StoreError, match="does not know the user or the password") as error:
            store.live("docs")
    assert password not in shown + caplog.text + str(error.value)
