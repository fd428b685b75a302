"""What every store must do; a new one is done when this passes with its line in ragkeep/backends.STORES."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragkeep.errors import (
    DimensionMismatch,
    IndexExists,
    IndexLive,
    IndexMissing,
    ReceiptMismatch,
    StoreError,
)
from ragkeep.fusion import fuse, ranking
from ragkeep.ports import VectorStore
from ragkeep.stores.memory import MemoryStore
from ragkeep.stores.opensearch import OpenSearchStore
from ragkeep.stores.pgvector import PgVectorStore
from ragkeep.stores.segment import pack, row_digest
from ragkeep.types import Chunk, EmbeddedBatch, Fusion, IndexVersion, Query, content_id, ids_digest

DIM = 8
WORDS = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "readLines",
    "json.decoder",
    "parse_args",
    "stream",
    "socket",
    "语言处理",
    "über",
    "Straße",
]


def chunk(text: str, *, uri: str = "docs/a.md", workspace: str = "default", language: str = "en") -> Chunk:
    return Chunk(
        id=content_id(workspace, uri, text), document_id=content_id(uri), uri=uri, source=uri.split("/")[0],
        workspace=workspace, text=text, span=(0, len(text)), lines=(1, 2), kind="prose", language=language,
        context="Guide > Start", tokens=3, meta={"page": 1},
    )  # fmt: skip


def unit(seed: int, n: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    vectors = np.random.default_rng(seed).normal(size=(n, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def corpus(n: int, *, workspace: str = "default", seed: int = 1) -> EmbeddedBatch:
    pick = np.random.default_rng(seed)
    texts = [f"{' '.join(pick.choice(WORDS, 6))} {workspace} {i}" for i in range(n)]
    chunks = tuple(
        chunk(t, uri=f"docs/{i % 5}.md", workspace=workspace, language=["en", "de"][i % 2]) for i, t in enumerate(texts)
    )
    return EmbeddedBatch(chunks, unit(seed, n))


def receipt(store: VectorStore, index: str, built_at: str = "") -> IndexVersion:
    ids = list(store.ids(index))
    return IndexVersion(index, "docs", "test", "hash/1", DIM, len(ids), ids_digest(ids), built_at)


def build(store: VectorStore, index: str, *batches: EmbeddedBatch, built_at: str = "") -> IndexVersion:
    store.create(index, dim=DIM)
    for batch in batches:
        store.write(index, batch)
    store.finish(index)
    version = receipt(store, index, built_at)
    store.seal(version)
    return version


def lose(store: VectorStore, index: str, path: Path) -> None:
    """Take a version's receipt away behind the store's back."""
    if isinstance(store, MemoryStore):
        store._versions[index].receipt = None
    if isinstance(store, OpenSearchStore):
        meta = {name: value for name, value in store._meta(index).items() if name != "receipt"}
        store._put_meta(index, meta)
    if isinstance(store, PgVectorStore):
        forget = "update {versions} set receipt = null where name = %s"
        store._database.run(lambda session: store._execute(session, forget, [index]))
    (path / "versions" / index / "receipt.json").unlink(missing_ok=True)


def queries(batch: EmbeddedBatch) -> Iterator[Query]:
    for seed, text in enumerate(
        ["alpha", "readLines parse args", "语言", "uber strasse", "nowhere", "", "beta beta json"]
    ):
        yield Query(text, vector=unit(seed + 50, 1)[0], k=7, candidates=12)


def test_a_chunk_comes_back_as_it_was_written(store: VectorStore) -> None:
    batch = corpus(3)
    build(store, "docs-1", batch)
    hit = store.search("docs-1", Query("", vector=batch.vectors[1], k=1, mode="vector"))[0]
    assert hit.chunk == batch.chunks[1]
    assert hit.score == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_every_store_ranks_like_the_reference(store: VectorStore, mode: Any) -> None:
    batch, reference = corpus(80), MemoryStore()
    build(store, "docs-1", batch)
    build(reference, "docs-1", batch)
    for query in queries(batch):
        got = store.search("docs-1", replace(query, mode=mode))
        want = reference.search("docs-1", replace(query, mode=mode))
        assert [h.chunk for h in got] == [h.chunk for h in want]
        assert [h.score for h in got] == pytest.approx([h.score for h in want], abs=1e-5)


def test_legs_hold_both_exact_scores_of_what_either_leg_found(store: VectorStore) -> None:
    batch = corpus(60)
    build(store, "docs-1", batch)
    rows = {c.id: row for row, c in enumerate(batch.chunks)}
    for query in queries(batch):
        legs = store.legs("docs-1", query)
        assert list(legs.ids) == sorted(legs.ids)
        exact = batch.vectors[[rows[i] for i in legs.ids]] @ query.vector
        assert legs.vector == pytest.approx(exact, abs=1e-6)
        worded = store.search("docs-1", replace(query, mode="keyword", k=12))
        assert {h.chunk.id for h in worded} <= set(legs.ids)


@pytest.mark.parametrize("fusion", [Fusion("convex", 0.0), Fusion("convex", 0.6), Fusion("convex", 1.0), Fusion("rrf")])
def test_a_hybrid_search_is_the_fusion_of_its_legs(store: VectorStore, fusion: Fusion) -> None:
    batch = corpus(60)
    build(store, "docs-1", batch)
    for query in queries(batch):
        legs = store.legs("docs-1", query)
        fused = [legs.ids[i] for i in ranking(fuse(legs, fusion), query.k)]
        assert [h.chunk.id for h in store.search("docs-1", replace(query, fusion=fusion))] == fused


def test_a_workspace_never_sees_anothers_rows(store: VectorStore) -> None:
    build(store, "docs-1", corpus(30, workspace="red"), corpus(5, workspace="blue", seed=2))
    for mode in ("hybrid", "vector", "keyword"):
        hits = store.search("docs-1", Query("alpha red", vector=unit(1, 1)[0], k=50, mode=mode, workspace="blue"))  # type: ignore[arg-type]
        assert {h.chunk.workspace for h in hits} <= {"blue"}
        assert mode == "keyword" or len(hits) == 5


def test_another_workspaces_texts_do_not_move_scores(store: VectorStore) -> None:
    build(store, "alone", corpus(10, workspace="blue"))
    build(store, "beside", corpus(10, workspace="blue"), corpus(50, workspace="red", seed=3))
    query = Query("alpha beta", mode="keyword", workspace="blue")
    assert [h.score for h in store.search("alone", query)] == [h.score for h in store.search("beside", query)]


@pytest.mark.parametrize("bad", ["x' OR '1'='1", "../default", "", "default' --", "*", "DEFAULT", "\x00", "\ud800"])
def test_a_hostile_workspace_or_filter_value_finds_nothing(store: VectorStore, bad: str) -> None:
    build(store, "docs-1", corpus(10))
    vector = unit(1, 1)[0]
    assert store.search("docs-1", Query("alpha", vector=vector, workspace=bad)) == []
    assert store.search("docs-1", Query("alpha", vector=vector, filters={"source": bad})) == []


@pytest.mark.parametrize("mode", ["hybrid", "vector", "keyword"])
def test_filters_apply_before_k_is_cut(store: VectorStore, mode: Any) -> None:
    build(store, "docs-1", corpus(60))
    filters = {"uri": "docs/3.md", "language": "de", "kind": "prose", "source": "docs"}
    query = Query("alpha beta gamma delta stream socket", vector=unit(9, 1)[0], k=5, mode=mode, filters=filters)
    hits = store.search("docs-1", query)
    assert len(hits) == 5
    assert {(h.chunk.uri, h.chunk.language) for h in hits} == {("docs/3.md", "de")}


def test_an_unknown_filter_is_refused(store: VectorStore) -> None:
    build(store, "docs-1", corpus(3))
    with pytest.raises(ValueError, match="'text'"):
        store.search("docs-1", Query("a", mode="keyword", filters={"text": "x"}))


@pytest.mark.parametrize(
    "text", ['"', "alpha AND (", "title:alpha", "alpha~2 -beta", "*", "\\", "' OR 1=1", "\x00\ud800"]
)
def test_a_question_is_never_query_syntax(store: VectorStore, text: str) -> None:
    build(store, "docs-1", corpus(10))
    assert len(store.search("docs-1", Query(text, vector=unit(1, 1)[0], k=3))) == 3


def test_a_vector_search_without_a_vector_is_refused(store: VectorStore) -> None:
    build(store, "docs-1", corpus(3))
    with pytest.raises(ValueError, match="vector"):
        store.search("docs-1", Query("alpha"))


def test_vectors_of_another_length_are_refused(store: VectorStore) -> None:
    build(store, "docs-1", corpus(3))
    with pytest.raises(DimensionMismatch):
        store.search("docs-1", Query("alpha", vector=np.ones(DIM + 1, np.float32)))
    store.create("docs-2", dim=DIM + 1)
    with pytest.raises(DimensionMismatch):
        store.write("docs-2", corpus(3))


def test_writing_again_changes_nothing(store: VectorStore) -> None:
    store.create("docs-1", dim=DIM)
    batch = corpus(10)
    assert store.write("docs-1", batch) == 10
    assert store.write("docs-1", batch) == 0
    assert store.write("docs-1", EmbeddedBatch(batch.chunks * 2, np.vstack([batch.vectors] * 2))) == 0
    assert sorted(store.ids("docs-1")) == sorted(c.id for c in batch.chunks)


def digests(batch: EmbeddedBatch) -> dict[str, str]:
    return {c.id: row_digest(pack(c), v) for c, v in zip(batch.chunks, batch.vectors, strict=True)}


def changed(batch: EmbeddedBatch) -> EmbeddedBatch:
    """One chunk is gone, one is new, one has moved by a line and one has another vector."""
    moved = (replace(batch.chunks[1], lines=(2, 3)), *batch.chunks[2:-1], chunk("a new stream of beta"))
    return EmbeddedBatch(moved, np.vstack([batch.vectors[1:2], unit(9, 1), batch.vectors[3:-1], unit(8, 1)]))


def test_a_version_carried_from_another_holds_what_it_should(store: VectorStore) -> None:
    build(store, "docs-1", before := corpus(40))
    after = changed(before)
    carried = store.carry("docs-2", base="docs-1", rows=digests(after))
    assert carried <= {c.id for c in after.chunks[2:-1]}
    left = [row for row, c in enumerate(after.chunks) if c.id not in carried]
    store.write("docs-2", EmbeddedBatch(tuple(after.chunks[row] for row in left), after.vectors[left]))
    store.finish("docs-2")
    store.seal(receipt(store, "docs-2"))
    for batch, index in ((before, "docs-1"), (after, "docs-2")):
        for c, vector in zip(batch.chunks, batch.vectors, strict=True):
            found = store.search(index, Query("", vector=vector, k=99, mode="vector"))
            assert (len(found), found[0].chunk) == (len(batch.chunks), c)


def test_nothing_is_carried_from_what_is_not_sealed(store: VectorStore) -> None:
    store.create("docs-1", dim=DIM)
    with pytest.raises(IndexMissing):
        store.carry("docs-2", base="docs-1", rows={})
    build(store, "docs-3", corpus(2))
    with pytest.raises(IndexExists):
        store.carry("docs-1", base="docs-3", rows=digests(corpus(2)))
    with pytest.raises(IndexExists):
        store.carry("docs-3", base="docs-3", rows=digests(corpus(2)))


def test_a_version_is_searched_only_when_finished(store: VectorStore) -> None:
    store.create("docs-1", dim=DIM)
    store.write("docs-1", corpus(4))
    with pytest.raises(IndexMissing):
        store.search("docs-1", Query("alpha", mode="keyword"))
    store.finish("docs-1")
    store.write("docs-1", corpus(6, seed=4))
    store.finish("docs-1")
    assert len(store.search("docs-1", Query("", vector=unit(1, 1)[0], k=50, mode="vector"))) == 10


def test_a_name_is_taken_once(store: VectorStore) -> None:
    store.create("docs-1", dim=DIM)
    with pytest.raises(IndexExists):
        store.create("docs-1", dim=DIM)
    build(store, "docs-2", corpus(2))
    with pytest.raises(IndexExists):
        store.create("docs-2", dim=DIM)


def test_what_is_not_there_is_missing(store: VectorStore) -> None:
    for action in (lambda: store.write("docs-9", corpus(1)), lambda: store.finish("docs-9"),
                   lambda: list(store.ids("docs-9")), lambda: store.swap("docs", "docs-9"),
                   lambda: store.search("docs-9", Query("a", mode="keyword"))):  # fmt: skip
        with pytest.raises(IndexMissing):
            action()


def test_a_receipt_must_match_what_is_stored(store: VectorStore) -> None:
    store.create("docs-1", dim=DIM)
    store.write("docs-1", corpus(3))
    store.finish("docs-1")
    version = receipt(store, "docs-1")
    for wrong in (replace(version, chunks=2), replace(version, digest="0" * 32)):
        with pytest.raises(ReceiptMismatch):
            store.seal(wrong)
    assert store.versions("docs") == []


def test_a_sealed_version_is_not_written_to(store: VectorStore) -> None:
    build(store, "docs-1", corpus(3))
    with pytest.raises(StoreError):
        store.write("docs-1", corpus(3, seed=5))


def test_an_unsealed_version_does_not_go_live(store: VectorStore) -> None:
    store.create("docs-1", dim=DIM)
    with pytest.raises(IndexMissing):
        store.swap("docs", "docs-1")


def test_a_swap_returns_what_it_replaced(store: VectorStore) -> None:
    build(store, "docs-1", corpus(3))
    build(store, "docs-2", corpus(4))
    assert store.swap("docs", "docs-1") is None
    assert store.swap("docs", "docs-2") == "docs-1"
    assert store.live("docs") == "docs-2"
    assert len(store.search("docs", Query("", vector=unit(1, 1)[0], mode="vector"))) == 4
    assert store.swap("docs", None) == "docs-2"
    assert store.live("docs") is None


def test_versions_list_the_live_one_first_then_the_newest(store: VectorStore) -> None:
    for day in (1, 2, 3):
        build(store, f"docs-{day}", corpus(day), built_at=f"2026-01-0{day}T00:00:00+00:00")
    store.swap("docs", "docs-1")
    assert [v.name for v in store.versions("docs")] == ["docs-1", "docs-3", "docs-2"]
    assert store.versions("other") == []


def test_a_live_version_is_not_dropped(store: VectorStore) -> None:
    build(store, "docs-1", corpus(3))
    store.swap("docs", "docs-1")
    with pytest.raises(IndexLive):
        store.drop("docs-1")
    store.swap("docs", None)
    store.drop("docs-1")
    store.drop("docs-1")
    assert store.versions("docs") == []
    build(store, "docs-1", corpus(4))


def test_what_is_left_of_a_lost_live_version_may_go(store: VectorStore, tmp_path: Path) -> None:
    build(store, "docs-1", corpus(3))
    store.swap("docs", "docs-1")
    lose(store, "docs-1", tmp_path)
    store.drop("docs-1")
    build(store, "docs-1", corpus(3))
    assert len(store.search("docs", Query("", vector=unit(1, 1)[0], mode="vector"))) == 3


def test_a_version_may_be_empty(store: VectorStore) -> None:
    build(store, "docs-1")
    assert store.search("docs-1", Query("alpha", vector=unit(1, 1)[0])) == []
    assert store.legs("docs-1", Query("alpha", vector=unit(1, 1)[0])).ids == ()


def test_readers_see_no_error_during_swaps(store: VectorStore) -> None:
    build(store, "docs-a", corpus(20))
    build(store, "docs-b", corpus(30, seed=6))
    store.swap("docs", "docs-a")
    stop: list[bool] = []

    def read() -> set[int]:
        seen = set()
        while not stop:
            seen.add(len(store.search("docs", Query("", vector=unit(1, 1)[0], k=99, mode="vector"))))
        return seen

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        for turn in range(50):
            store.swap("docs", ["docs-b", "docs-a"][turn % 2])
        stop.append(True)
        assert set().union(*(reader.result() for reader in readers)) <= {20, 30}
