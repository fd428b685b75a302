"""Build a version of the index from chunks and vectors, beside the live one: `python -m tasks.index`.

data/chunks + data/vectors - data/quarantine/chunks.jsonl -> a sealed version in the store, and its receipt
data/index.json. The version's name is a digest of what goes in, so equal content is never built twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ragkeep.analysis import VERSION
from ragkeep.config import Params, Paths
from ragkeep.errors import ReceiptMismatch, SourceError, StoreError
from ragkeep.files import read_json, read_rows, write_json
from ragkeep.ports import VectorStore
from ragkeep.stores import open_store
from ragkeep.stores.segment import FORMAT, pack, row_digest
from ragkeep.tables import iter_chunks, read_table, rows_mask
from ragkeep.types import EmbeddedBatch, IndexVersion, Vectors, content_id, ids_digest
from tasks.recall import DEPTH, Probe, probes, recall, sampled
from tasks.shards import iter_shards
from tasks.stage import progress, stage_main

RECALL_FLOOR = 0.95
"""A version whose vector search finds less of the exactly nearest ten is not sealed."""
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
    rows = _rows(inputs)
    version = _describe(rows, params, embedder)
    store = open_store(params.index, paths)
    done = {"built": 0} if _sealed(store, version) else {"built": 1, **_build(store, version, inputs, rows)}
    write_json(paths.data / "index.json", {k: v for k, v in asdict(version).items() if k != "built_at"})
    return {"index": version.name, "chunks": version.chunks, "left_out": len(inputs.left_out), **done}


def batches_of(data: Path) -> Iterator[EmbeddedBatch]:
    """Yield all that the version data/index.json names holds, again. Raises ReceiptMismatch."""
    return _batches(_Inputs(data / "chunks", data / "vectors", _quarantined(data / "quarantine")))


def _rows(inputs: _Inputs) -> dict[str, str]:
    """Return all the version shall hold: chunk id -> digest of every column a hit can show and of the vector."""
    rows: dict[str, str] = {}
    for batch in _batches(inputs):
        for chunk, vector in zip(batch.chunks, batch.vectors, strict=True):
            rows.setdefault(chunk.id, row_digest(pack(chunk), vector))
    return rows


def _describe(rows: dict[str, str], params: Params, embedder: dict[str, Any]) -> IndexVersion:
    """Work out the receipt from the inputs alone."""
    made_from = content_id(embedder["fingerprint"], VERSION, str(FORMAT), *sorted(rows.values()))
    return IndexVersion(
        name=f"{params.index.alias}-{made_from[:16]}",
        alias=params.index.alias,
        store=params.index.backend,
        embedder=embedder["fingerprint"],
        dim=embedder["dim"],
        chunks=len(rows),
        digest=ids_digest(rows),
    )


def _sealed(store: VectorStore, version: IndexVersion) -> bool:
    """Whether the store already holds this version whole."""
    for receipt in store.versions(version.alias):
        if replace(receipt, built_at="") == version:
            return ids_digest(store.ids(version.name)) == version.digest
    return False


def _build(store: VectorStore, version: IndexVersion, inputs: _Inputs, rows: dict[str, str]) -> dict[str, Any]:
    """Build, check and seal; return what was taken over from another version and what the check found."""
    store.drop(version.name)
    carried = _begin(store, version, rows)
    sample, wanted = list[Probe](), sampled(rows)
    with progress("index", version.chunks) as advance:
        for batch in _batches(inputs):
            sample += [Probe(c.workspace, v) for c, v in zip(batch.chunks, batch.vectors, strict=True) if c.id in wanted]
            store.write(version.name, _without(batch, carried))
            advance(len(batch.chunks))
    store.finish(version.name)
    found = recall(store, version.name, probes(sample), _batches(inputs))
    if found < RECALL_FLOOR:
        raise StoreError(
            f"index {version.name} finds {found:.3f} of the {DEPTH} nearest chunks, at least {RECALL_FLOOR} are needed: "
            "it was not sealed, nothing live was touched; run again, and look at the store's log if it stays so"
        )
    store.seal(replace(version, built_at=datetime.now(UTC).isoformat(timespec="microseconds")))
    return {"carried": len(carried), "recall_at_10": round(found, 4)}


def _begin(store: VectorStore, version: IndexVersion, rows: dict[str, str]) -> set[str]:
    """Start the version, from the live one or else the newest of the same embedder; return the ids it holds already."""
    alike = (v for v in store.versions(version.alias) if (v.embedder, v.dim) == (version.embedder, version.dim))
    base = next(alike, None)
    if base is not None:
        return store.carry(version.name, base=base.name, rows=rows)
    store.create(version.name, dim=version.dim)
    return set()


def _without(batch: EmbeddedBatch, carried: set[str]) -> EmbeddedBatch:
    if not carried:
        return batch
    left = [row for row, chunk in enumerate(batch.chunks) if chunk.id not in carried]
    return EmbeddedBatch(tuple(batch.chunks[row] for row in left), batch.vectors[left])


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
