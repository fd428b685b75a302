import dataclasses
import json
from pathlib import Path

import pytest

from ragkeep.config import ChunkParams, ChunkSection, Params, Paths
from ragkeep.errors import SourceError
from ragkeep.tables import iter_chunks, read_table
from tasks import chunk
from tasks.shards import iter_shards, shard_key

from . import nights

TEXTS = {f"{n}.md": f"# Page {n}\n\nWhat page {n} says.\n" for n in range(12)}
PARAMS = Params(nights.PARAMS.sources, ingest=dataclasses.replace(nights.PARAMS.ingest, shards=nights.SHARDS))


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = nights.project(tmp_path)
    nights.put_documents(made, TEXTS)
    return made


def touch_documents(paths: Paths, texts: dict[str, str]) -> None:
    """As ingest would: another set of documents, and another key for every shard."""
    nights.put_documents(paths, texts)
    for path in iter_shards(paths.data / "documents"):
        nights.write_shard(path.parent, int(path.stem), read_table(path), f"{shard_key(path)} again")


def everything(paths: Paths) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in iter_shards(paths.data / "chunks")}


def uris(paths: Paths) -> list[str]:
    return [c.uri for path in iter_shards(paths.data / "chunks") for c in iter_chunks(read_table(path))]


def test_every_document_is_cut_once(paths: Paths) -> None:
    stats = chunk.run(paths, PARAMS)
    assert stats == {"documents": 12, "chunks": 12, "cut": 12, "reused": 0}
    assert sorted(uris(paths)) == sorted(f"docs/{name}" for name in TEXTS)


def test_a_second_run_opens_nothing_and_changes_nothing(paths: Paths) -> None:
    chunk.run(paths, PARAMS)
    before = {path: path.stat().st_mtime_ns for path in iter_shards(paths.data / "chunks")}
    assert chunk.run(paths, PARAMS)["cut"] == 0
    assert before == {path: path.stat().st_mtime_ns for path in iter_shards(paths.data / "chunks")}


def test_an_edit_costs_one_document_and_leaves_the_bytes_of_a_fresh_run(paths: Paths) -> None:
    chunk.run(paths, PARAMS)
    touch_documents(paths, TEXTS | {"3.md": "# Another page\n"})
    assert chunk.run(paths, PARAMS) == {"documents": 12, "chunks": 12, "cut": 1, "reused": 11}
    edited = everything(paths)
    for path in iter_shards(paths.data / "chunks"):
        path.unlink()
    assert chunk.run(paths, PARAMS)["cut"] == 12
    assert everything(paths) == edited


def test_other_text_from_the_same_bytes_is_cut_again(paths: Paths) -> None:
    chunk.run(paths, PARAMS)
    for path in iter_shards(paths.data / "documents"):
        documents = [dataclasses.replace(d, first_line=7) for d in chunk.iter_documents(read_table(path))]
        nights.write_shard(path.parent, int(path.stem), nights.documents_table(documents), "newer loader")
    assert chunk.run(paths, PARAMS)["cut"] == 12


def test_refused_documents_have_no_chunks_until_they_are_let_in(paths: Paths) -> None:
    row = {"uri": "docs/3.md", "id": nights.document("3.md", TEXTS["3.md"]).id, "reason": "control"}
    refusals = paths.data / "quarantine" / "validate.jsonl"
    refusals.parent.mkdir()
    refusals.write_text(json.dumps(row) + "\n")
    assert chunk.run(paths, PARAMS)["documents"] == 11
    assert "docs/3.md" not in uris(paths)
    refusals.write_text("")
    assert chunk.run(paths, PARAMS) == {"documents": 12, "chunks": 12, "cut": 1, "reused": 11}


def test_other_sizes_cut_everything_again(paths: Paths) -> None:
    chunk.run(paths, PARAMS)
    small = ChunkSection(prose=ChunkParams(target_tokens=8, max_tokens=8, overlap_tokens=0))
    stats = chunk.run(paths, dataclasses.replace(PARAMS, chunk=small))
    assert (stats["cut"], stats["reused"]) == (12, 0)


def test_a_deleted_document_leaves_no_chunk_and_strays_are_swept(paths: Paths) -> None:
    chunk.run(paths, PARAMS)
    (paths.data / "chunks" / "0099.parquet").touch()
    touch_documents(paths, {name: text for name, text in TEXTS.items() if name != "3.md"})
    assert chunk.run(paths, PARAMS)["documents"] == 11
    assert "docs/3.md" not in uris(paths)
    assert not (paths.data / "chunks" / "0099.parquet").exists()


def test_a_torn_shard_is_made_again(paths: Paths) -> None:
    chunk.run(paths, PARAMS)
    whole = everything(paths)
    torn = next(iter_shards(paths.data / "chunks"))
    torn.write_bytes(torn.read_bytes()[:50])
    chunk.run(paths, PARAMS)
    assert everything(paths) == whole


def test_two_processes_write_the_same_bytes_as_one(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    chunk.run(paths, PARAMS)
    alone = everything(paths)
    for path in iter_shards(paths.data / "chunks"):
        path.unlink()
    monkeypatch.setattr(chunk, "_WORTH_A_PROCESS", 0)
    monkeypatch.setattr(chunk, "_cores", lambda: 2)
    assert chunk.run(paths, PARAMS)["cut"] == 12
    assert everything(paths) == alone


def test_no_documents_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="run `dvc repro ingest` first"):
        chunk.run(nights.project(tmp_path), PARAMS)
