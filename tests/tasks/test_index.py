"""The index stage: one sealed version per content, built once."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ragkeep.config import IndexParams, Params, Paths, SourceParams
from ragkeep.errors import ReceiptMismatch, StoreError
from ragkeep.files import read_json, write_json
from ragkeep.stores import open_store
from ragkeep.tables import chunks_table
from ragkeep.types import Chunk, IndexVersion, Query, ids_digest
from tasks.index import run
from tasks.shards import write_shard

DIM = 4


def params(backend: str) -> Params:
    return Params(sources=(SourceParams("docs", "."),), index=IndexParams(backend=backend))


def chunk(number: int) -> Chunk:
    return Chunk(
        id=f"{number:032x}", document_id="d", uri=f"docs/{number}.md", source="docs", workspace="default",
        text=f"word{number} shared", span=(0, 5), lines=(1, 1), kind="prose", language="en",
    )  # fmt: skip


def write_inputs(data: Path, chunks: list[Chunk]) -> None:
    write_json(data / "embedder.json", {"name": "hash", "fingerprint": "hash/4", "dim": DIM, "max_tokens": 8})
    for shard in range(3):
        mine = [c for n, c in enumerate(chunks) if n % 3 == shard]
        vectors = np.eye(DIM, dtype=np.float32)[[int(c.id, 16) % DIM for c in mine]]
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), DIM)
        write_shard(data / "chunks", shard, chunks_table(mine), key="k")
        write_shard(data / "vectors", shard, pa.table({"id": [c.id for c in mine], "vector": column}), key="k")


@pytest.fixture(params=["memory", "lancedb"])
def night(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Paths, Params]:
    monkeypatch.delenv("RAGKEEP_STATE", raising=False)
    paths = Paths(tmp_path)
    write_inputs(paths.data, [chunk(n) for n in range(10)])
    return paths, params(request.param)


def version(paths: Paths) -> IndexVersion:
    return IndexVersion(**read_json(paths.data / "index.json"))


def test_chunks_and_vectors_become_a_sealed_version(night: tuple[Paths, Params]) -> None:
    paths, params = night
    assert run(paths, params)["built"] == 1
    made = version(paths)
    assert (made.chunks, made.dim, made.embedder) == (10, DIM, "hash/4")
    assert made.digest == ids_digest(chunk(n).id for n in range(10))
    hits = open_store(params.index, paths).search(made.name, Query("word7", mode="keyword"))
    assert [hit.chunk for hit in hits] == [chunk(7)]


def test_the_same_content_is_built_once(night: tuple[Paths, Params]) -> None:
    paths, params = night
    run(paths, params)
    before = (paths.data / "index.json").read_bytes()
    assert run(paths, params)["built"] == 0
    assert (paths.data / "index.json").read_bytes() == before


def test_changed_content_is_another_version_beside_the_old(night: tuple[Paths, Params]) -> None:
    paths, params = night
    run(paths, params)
    old = version(paths)
    write_inputs(paths.data, [chunk(n) for n in range(11)])
    run(paths, params)
    kept = {v.name for v in open_store(params.index, paths).versions("docs")}
    assert kept == {old.name, version(paths).name}
    assert len(kept) == 2


def test_changed_vectors_are_another_version(night: tuple[Paths, Params]) -> None:
    paths, params = night
    run(paths, params)
    old = version(paths)
    ids = [chunk(n).id for n in range(0, 10, 3)]
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(4 * DIM, np.float32) / 2), DIM)
    write_shard(paths.data / "vectors", 0, pa.table({"id": ids, "vector": column}), key="k")
    run(paths, params)
    assert version(paths).name != old.name


def test_quarantined_chunks_are_left_out(night: tuple[Paths, Params]) -> None:
    paths, params = night
    (paths.data / "quarantine").mkdir()
    row = {"chunk_id": chunk(3).id, "uri": "docs/3.md", "stage": "validate_chunks", "reason": "blank"}
    (paths.data / "quarantine" / "chunks.jsonl").write_text(json.dumps(row) + "\n")
    run(paths, params)
    assert chunk(3).id not in set(open_store(params.index, paths).ids(version(paths).name))
    assert version(paths).chunks == 9


def test_a_half_built_version_is_built_again(night: tuple[Paths, Params]) -> None:
    paths, params = night
    run(paths, params)
    made = version(paths)
    store = open_store(params.index, paths)
    store.drop(made.name)
    store.create(made.name, dim=DIM)
    assert run(paths, params)["built"] == 1
    assert len(list(store.ids(made.name))) == 10


@pytest.mark.parametrize("lost", ["", "receipt.json"])
def test_a_live_version_that_was_lost_is_built_again(tmp_path: Path, lost: str) -> None:
    paths = Paths(tmp_path)
    write_inputs(paths.data, [chunk(n) for n in range(10)])
    run(paths, params("lancedb"))
    store = open_store(params("lancedb").index, paths)
    store.swap("docs", name := version(paths).name)
    path = paths.store / "versions" / name / lost
    path.unlink() if path.is_file() else shutil.rmtree(path)
    assert run(paths, params("lancedb"))["built"] == 1
    assert len(open_store(params("lancedb").index, paths).search("docs", Query("word7", mode="keyword"))) == 1


def test_files_of_another_format_are_another_version(
    night: tuple[Paths, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, params = night
    run(paths, params)
    old = version(paths)
    monkeypatch.setattr("tasks.index.FORMAT", 99)
    assert run(paths, params)["built"] == 1
    assert version(paths).name != old.name


def test_vectors_of_other_chunks_are_refused(night: tuple[Paths, Params]) -> None:
    paths, params = night
    write_shard(paths.data / "chunks", 0, chunks_table([chunk(99)]), key="k")
    with pytest.raises(ReceiptMismatch, match="embed"):
        run(paths, params)


def test_an_empty_corpus_makes_an_empty_version(tmp_path: Path) -> None:
    write_inputs(Paths(tmp_path).data, [])
    assert run(Paths(tmp_path), params("lancedb"))["chunks"] == 0


def test_a_version_that_does_not_find_its_own_chunks_is_not_sealed(
    night: tuple[Paths, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, params = night
    store = open_store(params.index, paths)
    monkeypatch.setattr(type(store), "search", lambda self, index, query: [])
    with pytest.raises(StoreError, match="not sealed"):
        run(paths, params)
    assert store.versions("docs") == []


def test_only_what_changed_is_written_to_a_store_that_can_carry(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    write_inputs(paths.data, [chunk(n) for n in range(10)])
    assert run(paths, params("memory"))["carried"] == 0
    write_inputs(paths.data, [chunk(n) for n in range(1, 11)])
    stats = run(paths, params("memory"))
    assert (stats["carried"], stats["chunks"], stats["recall_at_10"]) == (9, 10, 1.0)
