import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from ragkeep.config import EmbedParams, Params, Paths
from ragkeep.tables import chunks_table
from ragkeep.testing import HashEmbedder
from ragkeep.types import Chunk, Vectors
from tasks import embed
from tasks.shards import write_shard

PARAMS = Params(sources=(), embed=EmbedParams(backend="hash"))


def chunk(n: int, text: str, context: str = "") -> Chunk:
    return Chunk(
        id=f"{n:032x}", document_id="d", uri="s/a.md", source="s", workspace="default", text=text, span=(0, len(text)),
        lines=(1, 1), kind="prose", language="markdown", context=context,
    )  # fmt: skip


def put(paths: Paths, number: int, texts: list[str], context: str = "") -> None:
    chunks = [chunk(1000 * number + i, text, context) for i, text in enumerate(texts)]
    write_shard(paths.data / "chunks", number, chunks_table(chunks), key=repr((texts, context)))


def bytes_of(paths: Paths) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted((paths.data / "vectors").iterdir())}


def vectors(paths: Paths, number: int) -> Vectors:
    column = pq.read_table(paths.data / "vectors" / f"{number:04d}.parquet")["vector"].combine_chunks()
    return np.asarray(column.flatten()).reshape(len(column), column.type.list_size)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path)
    put(made, 0, ["red apples", "green pears", "red apples"])
    put(made, 1, ["blue sky"], context="Weather > Fair")
    put(made, 2, [])
    return made


def test_a_row_of_vectors_for_each_row_of_chunks(paths: Paths) -> None:
    stats = embed.run(paths, PARAMS)
    assert stats == {"chunks": 4, "embedded": 3, "from_cache": 1, "unchanged": 0}
    expected = HashEmbedder().embed(["red apples", "green pears", "red apples"], role="passage")
    np.testing.assert_array_equal(vectors(paths, 0), expected)
    np.testing.assert_array_equal(vectors(paths, 1), HashEmbedder().embed(["Weather > Fair\nblue sky"], role="passage"))
    assert pq.read_table(paths.data / "vectors" / "0000.parquet")["id"].to_pylist() == [f"{n:032x}" for n in range(3)]
    assert vectors(paths, 2).shape == (0, 64)
    assert json.loads((paths.data / "embedder.json").read_text())["fingerprint"] == "hash-64"


def test_an_unchanged_night_embeds_nothing_and_writes_nothing(paths: Paths) -> None:
    embed.run(paths, PARAMS)
    before = {p: p.stat().st_ino for p in (paths.data / "vectors").iterdir()}
    assert embed.run(paths, PARAMS) == {"chunks": 4, "embedded": 0, "from_cache": 0, "unchanged": 4}
    assert {p: p.stat().st_ino for p in (paths.data / "vectors").iterdir()} == before


def test_exactly_the_new_texts_are_embedded(paths: Paths) -> None:
    embed.run(paths, PARAMS)
    put(paths, 0, ["red apples", "yellow plums", "green pears"])
    assert embed.run(paths, PARAMS) == {"chunks": 4, "embedded": 1, "from_cache": 2, "unchanged": 1}


def test_lost_outputs_come_back_from_the_cache_with_the_same_bytes(paths: Paths) -> None:
    embed.run(paths, PARAMS)
    before = bytes_of(paths)
    for path in (paths.data / "vectors").iterdir():
        path.unlink()
    assert embed.run(paths, PARAMS)["embedded"] == 0
    assert bytes_of(paths) == before


class Failing(HashEmbedder):
    def embed(self, texts: object, *, role: object) -> Vectors:
        if self.calls:
            raise KeyboardInterrupt
        return super().embed(texts, role=role)  # type: ignore[arg-type]


def failing(params: EmbedParams, cache: Path) -> HashEmbedder:
    return Failing()


def test_a_stopped_run_resumes_where_it_was(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "PIECE", 2)
    monkeypatch.setattr("ragkeep.testing.hash_embedder", failing)
    with pytest.raises(KeyboardInterrupt):
        embed.run(paths, PARAMS)
    monkeypatch.undo()
    assert embed.run(paths, PARAMS)["embedded"] == 1


def test_shards_that_left_the_chunks_leave_the_vectors(paths: Paths) -> None:
    embed.run(paths, PARAMS)
    (paths.data / "chunks" / "0001.parquet").unlink()
    (paths.data / "vectors" / ".0000.parquet.x.tmp").write_bytes(b"left by a killed run")
    embed.run(paths, PARAMS)
    assert sorted(bytes_of(paths)) == ["0000.parquet", "0002.parquet"]
