"""The OpenSearch store against a real server: what the contract does not ask of every store."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from ragkeep.config import load_params
from ragkeep.errors import ConfigError, IndexMissing, StoreError
from ragkeep.stores import opensearch, opensearch_index, opensearch_search
from ragkeep.stores.memory import MemoryStore
from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.stores.opensearch_search import explored
from ragkeep.stores.segment import pack, row_digest
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, IndexVersion, Query, content_id, ids_digest
from tests.stores.building import DIM, build, chunk_batch
from tests.stores.clusters import own_store


@pytest.fixture
def store() -> Iterator[OpenSearchStore]:
    with own_store() as made:
        yield made


def texts_batch(texts: list[str], *, workspace: str = "default", seed: int = 5) -> EmbeddedBatch:
    chunks = tuple(
        Chunk(
            id=content_id(workspace, str(i), text), document_id=f"d{i}", uri=f"docs/{i % 4}.md", source="docs",
            workspace=workspace, text=text, span=(0, len(text)), lines=(1, 1), kind="prose", language="en",
        )
        for i, text in enumerate(texts)
    )  # fmt: skip
    return EmbeddedBatch(chunks, unit(len(texts), seed))


def unit(n: int, seed: int) -> np.ndarray:  # type: ignore[type-arg]
    vectors = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def random_texts(n: int, *, words: int, seed: int = 1) -> list[str]:
    rng = np.random.default_rng(seed)
    vocabulary = [f"word{i}" for i in range(60)]
    weights = 1 / np.arange(1, 61)
    lengths = rng.integers(1, words, size=n)
    return [" ".join(rng.choice(vocabulary, size, p=weights / weights.sum())) for size in lengths]


@pytest.mark.parametrize("shards", [1, 2])
def test_hybrid_ranks_as_the_reference_does_at_any_weight(shards: int) -> None:
    batch, reference = texts_batch(random_texts(300, words=35)), MemoryStore()
    build(reference, "docs-1", batch)
    fusions = [*(Fusion("convex", weight) for weight in (0, 0.25, 0.5, 0.8, 1)), Fusion("rrf", 0.5)]
    with own_store(shards=shards) as store:
        build(store, "docs-1", batch)
        for seed, text in enumerate(random_texts(6, words=6, seed=9)):
            for fusion in fusions:
                query = Query(text, vector=unit(1, seed)[0], fusion=fusion, candidates=40)
                got, want = store.search("docs-1", query), reference.search("docs-1", query)
                assert [hit.chunk.id for hit in got] == [hit.chunk.id for hit in want]
                assert [hit.score for hit in got] == pytest.approx([hit.score for hit in want], abs=1e-4)


def test_long_texts_score_within_some_per_cent_of_the_reference(store: OpenSearchStore) -> None:
    batch, reference = texts_batch(random_texts(100, words=600)), MemoryStore()
    query = Query("word3 word20 word50", vector=unit(1, 1)[0], candidates=100)
    for each in (store, reference):
        build(each, "docs-1", batch)
    got, want = store.legs("docs-1", query), reference.legs("docs-1", query)
    assert got.ids == want.ids
    assert got.vector == pytest.approx(want.vector, abs=1e-6)
    assert got.keyword == pytest.approx(want.keyword, rel=0.08)


def test_an_index_that_was_scanned_finds_the_same_vectors(store: OpenSearchStore) -> None:
    build(store, "docs-1", batch := chunk_batch(300))
    queries = [Query("", vector=vector, k=20, mode="vector") for vector in batch.vectors[:10]]
    before = [store.search("docs-1", query) for query in queries]
    name, ask = store._version("docs-1"), store._cluster.ask
    page = ask("POST", f"/{name}/_search?scroll=1m", {"size": 50, "query": {"match_all": {}}})
    while page["hits"]["hits"]:
        page = ask("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
    ask("DELETE", "/_search/scroll", {"scroll_id": page["_scroll_id"]})
    assert len(list(store.ids("docs-1"))) == 300
    assert [store.search("docs-1", query) for query in queries] == before
    setting = ask("GET", f"/{name}/_settings?flat_settings=true")[name]["settings"]
    assert setting["index.knn.derived_source.enabled"] == "false"


def test_a_word_that_lucene_would_cut_or_split_is_found(store: OpenSearchStore) -> None:
    long, spaced = "x" * 400, "\ufdfa"  # the second becomes several words when it is normalised
    build(store, "docs-1", texts_batch([f"alpha {long}", f"beta {spaced}", "gamma"]))
    for word, text in ((long, "alpha"), (spaced, "beta")):
        hits = store.search("docs-1", Query(word, mode="keyword"))
        assert [hit.chunk.text.split()[0] for hit in hits] == [text]


def test_as_many_candidates_are_looked_at_as_params_allow(store: OpenSearchStore) -> None:
    build(store, "docs-1", batch := texts_batch(random_texts(400, words=20)))
    for candidates in (1, 7, 399, 10_000):
        legs = store.legs("docs-1", Query("word3 word1", vector=unit(1, 1)[0], candidates=candidates))
        best = np.argsort(-(batch.vectors @ unit(1, 1)[0]))[:candidates]
        assert {batch.chunks[row].id for row in best} <= set(legs.ids)
        assert len(legs.ids) <= 2 * candidates


def test_a_question_of_many_words_is_answered(store: OpenSearchStore) -> None:
    build(store, "docs-1", texts_batch(["needle in hay"]))
    question = " ".join(f"other{i} needle" for i in range(3000))
    assert len(store.search("docs-1", Query(question, vector=unit(1, 1)[0]))) == 1


def carry(store: OpenSearchStore, index: str, base: str, batch: EmbeddedBatch) -> set[str]:
    rows = {c.id: row_digest(pack(c), v) for c, v in zip(batch.chunks, batch.vectors, strict=True)}
    return store.carry(index, base=base, rows=rows)


def test_a_small_change_writes_the_difference_alone(store: OpenSearchStore) -> None:
    build(store, "docs-1", batch := texts_batch(random_texts(100, words=20)))
    after = EmbeddedBatch(batch.chunks[10:], batch.vectors[10:])
    assert carry(store, "docs-2", "docs-1", after) == {c.id for c in after.chunks}
    store.finish("docs-2")
    assert set(store.ids("docs-2")) == {c.id for c in after.chunks}
    assert len(set(store.ids("docs-1"))) == 100
    stats = store._cluster.ask("GET", f"/{store._version('docs-2')}/_stats/indexing")["_all"]["primaries"]["indexing"]
    assert (stats["index_total"], stats["delete_total"]) == (0, 10)


def own_settings(store: OpenSearchStore, index: str) -> dict[str, str]:
    """How a version is flushed and merged, where that is not the server's own way."""
    name = store._version(index)
    found: dict[str, str] = store._cluster.ask("GET", f"/{name}/_settings?flat_settings=true")[name]["settings"]
    return {key: value for key, value in found.items() if key.startswith(("index.merge", "index.translog"))}


def test_what_makes_a_load_cheap_ends_with_it(store: OpenSearchStore) -> None:
    """Else a change that is carried would never be merged away."""
    store.create("docs-1", dim=DIM)
    assert own_settings(store, "docs-1").keys() == opensearch_index._LOADING.keys()
    store.write("docs-1", chunk_batch(3))
    store.finish("docs-1")
    assert own_settings(store, "docs-1") == {}


def test_segments_grow_with_the_version_and_are_neither_tiny_nor_huge() -> None:
    """Of a million chunks from tiny segments alone one merge makes a graph that finds less."""
    mb = 1 << 20
    assert [opensearch_index.flush_mb(sent * mb) for sent in (0, 511, 512, 4000, 99_999)] == [16, 16, 32, 128, 512]
    assert opensearch_index._LOADING["index.translog.flush_threshold_size"] == "16mb"


def test_a_large_load_lets_its_segments_grow(store: OpenSearchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opensearch, "flush_mb", lambda sent: 16 if sent < 100 else 64)
    store.create("docs-1", dim=DIM)
    store.write("docs-1", chunk_batch(3))
    assert own_settings(store, "docs-1")["index.translog.flush_threshold_size"] == "64mb"


def test_a_clone_is_flushed_as_the_server_does(store: OpenSearchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    build(store, "docs-1", batch := texts_batch(random_texts(100, words=20)))
    monkeypatch.setattr(opensearch, "flush_mb", lambda sent: 16 if sent < 100 else 64)
    carry(store, "docs-2", "docs-1", EmbeddedBatch(batch.chunks[10:], batch.vectors[10:]))
    store.write("docs-2", texts_batch(random_texts(3, words=9, seed=2)))
    assert own_settings(store, "docs-2") == {}


def test_a_version_that_is_known_is_searched_in_one_request_and_not_while_it_is_written(
    store: OpenSearchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("docs-1", dim=DIM)
    store.write("docs-1", chunk_batch(3))
    store.finish("docs-1")
    store.search("docs-1", Query("x", mode="keyword"))
    asked, ask = list[str](), store._cluster.ask
    monkeypatch.setattr(
        store._cluster, "ask", lambda method, path, *a, **o: (asked.append(path), ask(method, path, *a, **o))[1]
    )
    store.search("docs-1", Query("x", mode="keyword"))
    assert [path.split("?")[0] for path in asked] == [f"/{store._version('docs-1')}/_search"]
    store.write("docs-1", chunk_batch(3, salt=1))
    with pytest.raises(IndexMissing):
        store.search("docs-1", Query("x", mode="keyword"))


def test_what_the_library_meets_is_not_logged_beside_what_we_say(
    store: OpenSearchStore, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(IndexMissing):
        store.search("nowhere", Query("x", mode="keyword"))
    assert [record for record in caplog.records if record.name == "opensearch"] == []
    assert capfd.readouterr().err == ""


def test_a_large_change_is_built_whole(store: OpenSearchStore) -> None:
    build(store, "docs-1", batch := texts_batch(random_texts(100, words=20)))
    after = EmbeddedBatch(batch.chunks[:70], batch.vectors[:70])
    assert carry(store, "docs-2", "docs-1", after) == set()
    assert store.write("docs-2", after) == 70


def test_a_clone_whose_making_was_cut_short_is_no_version(store: OpenSearchStore) -> None:
    build(store, "docs-1", chunk_batch(30))
    store._clone(store._version("docs-1"), "docs-2")
    assert [version.name for version in store.versions("docs")] == ["docs-1"]
    with pytest.raises(IndexMissing):
        store.swap("docs", "docs-2")
    store.drop("docs-2")
    assert len(list(store.ids("docs-1"))) == 30


def test_a_sealed_version_takes_no_writes_of_another_process(store: OpenSearchStore) -> None:
    store.create("docs-1", dim=DIM)
    other = OpenSearchStore(store._params)
    other.write("docs-1", chunk_batch(3))
    store.finish("docs-1")
    ids = list(store.ids("docs-1"))
    store.seal(IndexVersion("docs-1", "docs", "opensearch", "hash/1", DIM, 3, ids_digest(ids)))
    with pytest.raises(StoreError, match="sealed"):
        other.write("docs-1", chunk_batch(5, salt=1))
    other.close()
    assert len(list(store.ids("docs-1"))) == 3


def test_a_full_disk_is_named_and_the_live_version_still_answers(store: OpenSearchStore) -> None:
    build(store, "docs-1", chunk_batch(3))
    store.swap("docs", "docs-1")
    store.create("docs-2", dim=DIM)
    # what the server does when a disk passes the flood-stage watermark
    block = {"index.blocks.read_only_allow_delete": True}
    store._cluster.ask("PUT", f"/{store._version('docs-2')}/_settings", block)
    with pytest.raises(StoreError, match="disk is nearly full"):
        OpenSearchStore(replace(store._params, patience_s=0)).write("docs-2", chunk_batch(3))
    assert len(store.search("docs", Query("word1", mode="keyword"))) == 1
    store.drop("docs-2")


def test_a_lost_live_version_is_missing_until_it_is_built_again(store: OpenSearchStore) -> None:
    build(store, "docs-1", chunk_batch(3))
    store.swap("docs", "docs-1")
    meta = store._meta("docs-1")
    meta.pop("receipt")
    store._put_meta("docs-1", meta)
    store.drop("docs-1")
    with pytest.raises(IndexMissing):
        store.search("docs", Query("word1", mode="keyword"))
    assert store.live("docs") == "docs-1"
    build(store, "docs-2", chunk_batch(4))
    assert store.swap("docs", "docs-2") == "docs-1"
    assert len(store.search("docs", Query("word1", mode="keyword"))) == 1


def test_builds_that_were_given_up_are_swept(store: OpenSearchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    build(store, "docs-1", chunk_batch(3))
    store.create("docs-2", dim=DIM)
    monkeypatch.setattr(opensearch, "_STALE_S", -60)
    other = OpenSearchStore(store._params)
    other.create("docs-3", dim=DIM)
    assert set(store._metas(store._version("x")[:-1] + "*")) == {"docs-1", "docs-3"}
    other.close()


def test_an_index_of_another_analysis_is_refused(store: OpenSearchStore) -> None:
    build(store, "docs-1", chunk_batch(3))
    store._put_meta("docs-1", {**store._meta("docs-1"), "analysis": "0"})
    with pytest.raises(StoreError, match="text analysis 0"):
        store.search("docs-1", Query("word1", mode="keyword"))


def test_every_character_and_number_arrives_as_it_was_sent(store: OpenSearchStore) -> None:
    texts = ["", "\x00\t\n", "ÿ \uffff \U0010ffff 語", 'quote " and \\', "x" * 9000, "word " * 5000]
    batch = texts_batch(texts)
    build(store, "docs-1", batch)
    for chunk, vector in zip(batch.chunks, batch.vectors, strict=True):
        best = store.search("docs-1", Query("", vector=vector, mode="vector"))[0]
        assert best.chunk == chunk
        assert best.score == pytest.approx(1, abs=1e-6)


def test_what_is_no_unicode_is_refused_by_name(store: OpenSearchStore) -> None:
    store.create("docs-1", dim=DIM)
    batch = texts_batch(["fine"])
    bad = replace(batch.chunks[0], text="half \ud800")
    with pytest.raises(StoreError, match=bad.id):
        store.write("docs-1", EmbeddedBatch((bad,), batch.vectors))


def test_the_environment_chooses_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("sources: [{name: a, path: .}]\nindex: {opensearch: {hosts: ['https://one:9200'], replicas: 2}}\n")
    monkeypatch.setenv("RAGKEEP_STORE", "opensearch")
    index = load_params(path).index
    assert (index.backend, index.opensearch.hosts, index.opensearch.replicas) == ("opensearch", ("https://one:9200",), 2)
    monkeypatch.setenv("RAGKEEP_OPENSEARCH_URL", "https://two:9200, https://three:9200")
    monkeypatch.setenv("RAGKEEP_OPENSEARCH_USER", "me")
    index = load_params(path).index
    assert index.opensearch.hosts == ("https://two:9200", "https://three:9200")
    assert (index.opensearch.user, index.opensearch.replicas) == ("me", 2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("hosts: []", "hosts is empty"),
        ("hosts: ['https://me:s3cret@one']", "must not name a user"),
        ("hosts: ['one:9200']", "must begin with http"),
        ("prefix: 'A b'", "prefix"),
        ("timeout_s: 0", "timeout_s must be between"),
        ("shards: 0", "shards must be between"),
    ],
)
def test_wrong_settings_are_named_and_no_password_is_shown(tmp_path: Path, settings: str, said: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"sources: [{{name: a, path: .}}]\nindex: {{opensearch: {{{settings}}}}}\n")
    with pytest.raises(ConfigError, match=said) as error:
        load_params(path)
    assert "s3cret" not in str(error.value)


def test_a_password_is_in_no_repr_and_no_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    password = uuid4().hex
    monkeypatch.setenv("RAGKEEP_OPENSEARCH_PASSWORD", password)
    with caplog.at_level(logging.DEBUG, logger="opensearch"), own_store(user="me") as store:
        build(store, "docs-1", chunk_batch(3))
        store.swap("docs", "docs-1")
        shown = f"{store!r} {store._params!r} {vars(store)} {store._cluster._transport!r}"
        with pytest.raises(IndexMissing) as error:
            store.search("docs-2", Query("x", mode="keyword"))
    assert password not in shown + caplog.text + str(error.value)


def test_the_larger_a_version_the_more_neighbours_a_search_explores(
    store: OpenSearchStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [explored(chunks, shards) for chunks, shards in ((0, 1), (300_000, 1), (300_000, 4), (10**9, 1))] == [
        400, 1000, 400, 10_000
    ]  # fmt: skip
    monkeypatch.setattr(opensearch_search, "EXPLORED", 1)
    monkeypatch.setattr(opensearch_search, "EXPLORED_OF", 2)
    build(store, "docs-1", batch := texts_batch(random_texts(40, words=20)))
    asked, ask = list[float](), store._cluster.ask

    def noted(method: str, path: str, body: Any = None, **options: Any) -> Any:
        if "-index.docs-1/_search" in path:
            near = json.loads(body)["query"]["knn"]["vector"]
            asked.append(near["k"] * near.get("rescore", {}).get("oversample_factor", 1))
        return ask(method, path, body, **options)

    monkeypatch.setattr(store._cluster, "ask", noted)
    for _ in range(2):
        hits = store.search("docs-1", Query("", vector=batch.vectors[7], k=3, mode="vector"))
        assert hits[0].chunk.id == batch.chunks[7].id
    assert asked == [3, 20, 20]  # the first search learns how many chunks there are
