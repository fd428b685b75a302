"""Build a version of the index from chunks and vectors, beside the live one: `python -m tasks.index`.

data/chunks + data/vectors - data/quarantine/chunks.jsonl -> a sealed version in the store, and its receipt
data/index.json. The version's name is a digest of what goes in, so equal content is never built twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from blake3 import blake3

from ragkeep.analysis import VERSION
from ragkeep.config import Params, Paths
from ragkeep.errors import ReceiptMismatch, SourceError
from ragkeep.files import read_json, read_rows, write_json
from ragkeep.ports import VectorStore
from ragkeep.stores import open_store
from ragkeep.stores.segment import FORMAT
from ragkeep.tables import iter_chunks, read_table, rows_mask
from ragkeep.types import EmbeddedBatch, IndexVersion, Vectors, ids_digest
from tasks.shards import iter_shards
from tasks.stage import progress, stage_main

_BATCH = 2048


@dataclass(frozen=True, slots=True)
class _Inputs:
    chunks: Path
    vectors: Path
    left_out: frozenset[str]


def run(paths: Paths, params: Params) -> dict[str, Any]:
    """Build, check and seal the version these inputs make, unless it is there already."""
    inputs = _Inputs(paths.data / "chunks", paths.data / "vectors", _quarantined(paths.data / "quarantine"))
    embedder = read_json(paths.data / "embedder.json")
    if embedder is None:
        raise SourceError(f"{paths.data / 'embedder.json'} does not exist: run `dvc repro embed` first")
    version = _describe(inputs, params, embedder)
    store = open_store(params.index, paths)
    built = not _sealed(store, version)
    if built:
        _build(store, version, inputs)
    write_json(paths.data / "index.json", {k: v for k, v in asdict(version).items() if k != "built_at"})
    return {"index": version.name, "chunks": version.chunks, "built": int(built), "left_out": len(inputs.left_out)}


def _describe(inputs: _Inputs, params: Params, embedder: dict[str, Any]) -> IndexVersion:
    """Work out the receipt from the inputs alone; the name covers every vector and every column a hit can show."""
    ids: set[str] = set()
    content = blake3()
    for table in _tables(inputs):
        ids.update(table["id"].to_pylist())
        for column in table.column_names[:-1]:
            content.update(json.dumps(table[column].to_pylist()).encode())
        content.update(_matrix(table).tobytes())
    seen = (embedder["fingerprint"], content.hexdigest(), VERSION, FORMAT)
    made_from = blake3(json.dumps(seen).encode()).hexdigest(8)
    return IndexVersion(
        name=f"{params.index.alias}-{made_from}",
        alias=params.index.alias,
        store=params.index.backend,
        embedder=embedder["fingerprint"],
        dim=embedder["dim"],
        chunks=len(ids),
        digest=ids_digest(ids),
    )


def _sealed(store: VectorStore, version: IndexVersion) -> bool:
    """Whether the store already holds this version whole."""
    for receipt in store.versions(version.alias):
        if replace(receipt, built_at="") == version:
            return ids_digest(store.ids(version.name)) == version.digest
    return False


def _build(store: VectorStore, version: IndexVersion, inputs: _Inputs) -> None:
    store.drop(version.name)
    store.create(version.name, dim=version.dim)
    with progress("index", version.chunks) as advance:
        for batch in _batches(inputs):
            store.write(version.name, batch)
            advance(len(batch.chunks))
    store.finish(version.name)
    store.seal(replace(version, built_at=datetime.now(UTC).isoformat(timespec="microseconds")))


def _tables(inputs: _Inputs) -> Iterator[pa.Table]:
    """Yield each shard of chunks, the quarantined left out, with its vectors as the last column."""
    for path in iter_shards(inputs.chunks):
        chunks, vectors = read_table(path), read_table(inputs.vectors / path.name)
        if chunks["id"].to_pylist() != vectors["id"].to_pylist():
            raise ReceiptMismatch(f"{inputs.vectors / path.name} is not of {path}: run `dvc repro embed` again")
        yield _kept(chunks.append_column("vector", vectors["vector"]), inputs.left_out)


def _batches(inputs: _Inputs) -> Iterator[EmbeddedBatch]:
    for table in _tables(inputs):
        for start in range(0, len(table), _BATCH):
            part = table.slice(start, _BATCH)
            yield EmbeddedBatch(tuple(iter_chunks(part.drop_columns(["vector"]))), _matrix(part))


def _matrix(table: pa.Table) -> Vectors:
    flat = table["vector"].combine_chunks().flatten()
    return np.asarray(flat.to_numpy(zero_copy_only=False), np.float32).reshape(len(table), table["vector"].type.list_size)


def _kept(table: pa.Table, left_out: frozenset[str]) -> pa.Table:
    if not left_out:
        return table
    keep = [chunk_id not in left_out for chunk_id in table["id"].to_pylist()]
    return table.filter(rows_mask(keep))


def _quarantined(folder: Path) -> frozenset[str]:
    return frozenset(row["chunk_id"] for row in read_rows(folder / "chunks.jsonl"))


if __name__ == "__main__":
    stage_main("index", run)
