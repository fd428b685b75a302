"""Stage: chunks to vectors, embedding only texts never embedded before.

    python -m tasks.embed      data/chunks -> data/vectors, data/embedder.json

A vector shard is keyed by its chunk shard's key and the embedder's fingerprint; a shard whose key stands is not opened.
The others are taken together in windows, looked up in the vector cache, and what is missing is embedded in pieces that
go into the cache as they are made: a killed run resumes where it was. If nothing is missing no model is loaded.

With `embed.runner: ray` the cache is filled first, from a Ray cluster, with the pieces that would be embedded here; what
follows finds them there. So the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ragkeep.config import EmbedParams, Params, Paths
from ragkeep.embedders import load_embedder
from ragkeep.errors import SourceError
from ragkeep.files import write_json
from ragkeep.learned import effective
from ragkeep.ports import Embedder
from ragkeep.tables import columns_table, iter_chunks, read_table, vectors_column
from ragkeep.types import Vectors
from ragkeep.vector_cache import VectorCache, text_key
from tasks.shards import digest, iter_shards, shard_key, shard_path, write_shard
from tasks.stage import progress, stage_main

WINDOW = 8192
"""Chunks in hand at a time, unless one shard has more."""
PIECE = 256
"""Texts embedded between two writes to the cache."""
_REMEMBERED = 2_000_000  # keys sent to Ray, 85 bytes each; more than are under way at a time


@dataclass(frozen=True, slots=True)
class Work:
    """A chunk shard whose vectors are absent or of something else."""

    number: int
    chunks: Path
    key: str
    rows: int


def run(paths: Paths, params: Params) -> dict[str, Any]:
    """Bring data/vectors in line with data/chunks; returns counts. Raises ConfigError, ModelError, SourceError."""
    params = effective(params, paths.data, paths.cache)
    embedder = load_embedder(params.embed, paths.cache)
    out = paths.data / "vectors"
    shards = list(iter_shards(paths.data / "chunks"))
    work = [w for w in (_work(path, out, embedder.fingerprint) for path in shards) if w is not None]
    embedded = looked_up = 0
    if work:
        with (
            VectorCache(paths.cache, embedder.fingerprint, embedder.dim) as cache,
            progress("embed", sum(w.rows for w in work)) as advance,
        ):
            if params.embed.runner == "ray":
                embedded = _fill(work, embedder, params.embed, cache)
            for window in _windows(work):
                embedded += _embed_window(window, out, embedder, cache, advance)
                looked_up += sum(w.rows for w in window)
    _prune(out, {path.name for path in shards})
    write_json(paths.data / "embedder.json", describe(embedder))
    total = sum(pq.read_metadata(path).num_rows for path in shards)
    return {"chunks": total, "embedded": embedded, "from_cache": looked_up - embedded, "unchanged": total - looked_up}


def describe(embedder: Embedder) -> dict[str, Any]:
    """What later stages and serving must share with the vectors."""
    return {
        "name": embedder.name,
        "fingerprint": embedder.fingerprint,
        "dim": embedder.dim,
        "max_tokens": embedder.max_tokens,
    }


def _work(path: Path, out: Path, fingerprint: str) -> Work | None:
    source = shard_key(path)
    if source is None:
        raise SourceError(f"{path} cannot be read: run the chunk stage again (python -m tasks.chunk)")
    key, number = digest(source, fingerprint), int(path.stem)
    if shard_key(shard_path(out, number)) == key:
        return None
    return Work(number, path, key, pq.read_metadata(path).num_rows)


def _windows(work: list[Work]) -> Iterator[list[Work]]:
    window: list[Work] = []
    for item in work:
        if window and sum(w.rows for w in window) + item.rows > WINDOW:
            yield window
            window = []
        window.append(item)
    if window:
        yield window


@dataclass(frozen=True, slots=True)
class _Rows:
    """The chunks of a window: ids by shard, and of every row the key of its text."""

    ids: list[list[str]]
    keys: list[bytes]
    texts: dict[bytes, str]


def _read(window: list[Work]) -> _Rows:
    rows = _Rows([], [], {})
    for item in window:
        chunks = list(iter_chunks(read_table(item.chunks)))
        rows.ids.append([c.id for c in chunks])
        for chunk in chunks:
            key = text_key(chunk.embed_text)
            rows.keys.append(key)
            rows.texts[key] = chunk.embed_text
    return rows


def _embed_window(
    window: list[Work], out: Path, embedder: Embedder, cache: VectorCache, advance: Callable[[int], None]
) -> int:
    """Write the vector shards of a window; return how many of its rows could not be had from the cache."""
    rows = _read(window)
    vectors, found = cache.get_many(rows.keys)
    advance(int(found.sum()))
    missing = {key: rows.texts[key] for key, had in zip(rows.keys, found, strict=True) if not had}
    made = _embed_missing(missing, embedder, cache, advance)
    for row in np.flatnonzero(~found):
        vectors[row] = made[rows.keys[row]]
    advance(int((~found).sum()) - len(made))
    begin = 0
    for item, names in zip(window, rows.ids, strict=True):
        write_shard(out, item.number, vectors_table(names, vectors[begin : begin + len(names)]), item.key)
        begin += len(names)
    return len(made)


def _embed_missing(
    texts: dict[bytes, str], embedder: Embedder, cache: VectorCache, advance: Callable[[int], None]
) -> dict[bytes, Vectors]:
    made: dict[bytes, Vectors] = {}
    for piece in _pieces(texts):
        vectors = embedder.embed([texts[key] for key in piece], role="passage")
        cache.put_many(piece, vectors)
        made.update(zip(piece, vectors, strict=True))
        advance(len(piece))
    return made


def _pieces(texts: dict[bytes, str]) -> Iterator[list[bytes]]:
    # by length, so that a piece holds many texts of equal length in tokens
    order = sorted(texts, key=lambda key: (-len(texts[key]), key))
    for begin in range(0, len(order), PIECE):
        yield order[begin : begin + PIECE]


def _fill(work: list[Work], embedder: Embedder, params: EmbedParams, cache: VectorCache) -> int:
    """Have everything that the cache lacks embedded on Ray, and put it there; return how many texts that were."""
    from tasks.embed_ray import embed_pieces

    made = 0
    with progress("embed on Ray", sum(w.rows for w in work)) as advance:
        for keys, vectors in embed_pieces(_missing(work, cache, advance), embedder, params, cache.path.parent):
            cache.put_many(keys, vectors)
            made += len(keys)
            advance(len(keys))
    return made


def _missing(
    work: list[Work], cache: VectorCache, advance: Callable[[int], None]
) -> Iterator[tuple[list[bytes], list[str]]]:
    """Yield keys and texts of every piece to embed: those the windows would make one after the other."""
    sent: set[bytes] = set()
    for window in _windows(work):
        rows = _read(window)
        _, found = cache.get_many(rows.keys)
        texts = {k: rows.texts[k] for k, had in zip(rows.keys, found, strict=True) if not had and k not in sent}
        advance(len(rows.keys) - len(texts))
        for piece in _pieces(texts):
            yield piece, [texts[key] for key in piece]
        if len(sent) > _REMEMBERED:
            sent.clear()  # the cache has all but the last of them; to embed those again costs time only
        sent |= texts.keys()


def vectors_table(ids: list[str], vectors: Vectors) -> pa.Table:
    """Pack ids and vectors, shape (n, dim), one row each."""
    names = columns_table({"id": ids}, pa.schema([("id", pa.string())]))
    return names.append_column("vector", vectors_column(vectors))


def _prune(out: Path, names: set[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for path in out.iterdir():
        if path.name not in names:
            path.unlink()


if __name__ == "__main__":
    stage_main("embed", run)
