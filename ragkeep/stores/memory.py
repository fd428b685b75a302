"""The store to hold others against: plain dictionaries, every row scored by the formulas as they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..analysis import idf, saturation, terms
from ..config import IndexParams, is_id
from ..errors import DimensionMismatch, IndexExists, IndexLive, IndexMissing, ReceiptMismatch, StoreError
from ..fusion import fuse, ranking
from ..types import Chunk, EmbeddedBatch, Hit, IndexVersion, Legs, Query, Vectors, ids_digest
from .reading import check_query
from .segment import pack, row_digest


@dataclass(slots=True)
class _Version:
    dim: int
    chunks: dict[str, Chunk] = field(default_factory=dict)
    vectors: dict[str, Vectors] = field(default_factory=dict)
    finished: bool = False
    receipt: IndexVersion | None = None


@dataclass(slots=True)
class _Contents:
    versions: dict[str, _Version] = field(default_factory=dict)
    aliases: dict[str, str | None] = field(default_factory=dict)


_BY_PATH: dict[Path, _Contents] = {}


def memory_store(path: Path, params: IndexParams | None = None) -> MemoryStore:  # noqa: ARG001 - every store's factory
    """Open the store this process keeps under a path; nothing is written to it."""
    return MemoryStore(_BY_PATH.setdefault(path, _Contents()))


class MemoryStore:
    """See `ports.VectorStore`. Exact and slow; gone with the process."""

    def __init__(self, contents: _Contents | None = None) -> None:
        contents = contents or _Contents()
        self._versions, self._aliases = contents.versions, contents.aliases

    def create(self, index: str, *, dim: int) -> None:
        """See `ports.VectorStore.create`."""
        if not is_id(index):
            raise IndexMissing(f"no index {index!r}: names are 1-64 of a-z, 0-9 and '-'")
        if index in self._versions:
            raise IndexExists(f"index {index} exists: choose another name, or drop it first")
        self._versions[index] = _Version(dim)

    def carry(self, index: str, *, base: str, rows: Mapping[str, str]) -> set[str]:
        """See `ports.VectorStore.carry`; what is kept is the very objects."""
        if (held := self._version(base)).receipt is None:
            raise IndexMissing(f"no sealed index {base}: carry from one that was sealed")
        self.create(index, dim=held.dim)
        kept = {i for i, c in held.chunks.items() if rows.get(i) == row_digest(pack(c), held.vectors[i])}
        self._versions[index].chunks = {i: held.chunks[i] for i in kept}
        self._versions[index].vectors = {i: held.vectors[i] for i in kept}
        return kept

    def write(self, index: str, batch: EmbeddedBatch) -> int:
        """See `ports.VectorStore.write`."""
        version = self._version(index)
        if version.receipt is not None:
            raise StoreError(f"index {index} is sealed: build a new version instead of writing to it")
        if batch.vectors.shape != (len(batch.chunks), version.dim):
            raise DimensionMismatch(f"index {index} takes vectors of {version.dim}, got {batch.vectors.shape}")
        before = len(version.chunks)
        for chunk, vector in zip(batch.chunks, batch.vectors, strict=True):
            version.chunks.setdefault(chunk.id, chunk)
            version.vectors.setdefault(chunk.id, vector)
        if len(version.chunks) > before:
            version.finished = False
        return len(version.chunks) - before

    def finish(self, index: str) -> None:
        """See `ports.VectorStore.finish`."""
        self._version(index).finished = True

    def ids(self, index: str) -> Iterable[str]:
        """See `ports.VectorStore.ids`."""
        return iter(sorted(self._version(index).chunks))

    def seal(self, version: IndexVersion) -> None:
        """See `ports.VectorStore.seal`."""
        held = self._version(version.name)
        if len(held.chunks) != version.chunks or ids_digest(held.chunks) != version.digest:
            raise ReceiptMismatch(f"index {version.name} does not hold what its receipt says: build it again")
        if not held.finished:
            raise StoreError(f"index {version.name} cannot be sealed before finish(): it could not be searched")
        held.receipt = version

    def swap(self, alias: str, index: str | None) -> str | None:
        """See `ports.VectorStore.swap`."""
        if index is not None and self._version(index).receipt is None:
            raise IndexMissing(f"no sealed index {index}: build and seal it before it goes live")
        before = self._aliases.get(alias)
        self._aliases[alias] = index
        return before

    def live(self, alias: str) -> str | None:
        """See `ports.VectorStore.live`."""
        return self._aliases.get(alias)

    def versions(self, alias: str) -> list[IndexVersion]:
        """See `ports.VectorStore.versions`."""
        found = [v.receipt for v in self._versions.values() if v.receipt is not None and v.receipt.alias == alias]
        found.sort(key=lambda version: (version.built_at, version.name), reverse=True)
        return sorted(found, key=lambda version: version.name != self.live(alias))

    def drop(self, index: str) -> None:
        """See `ports.VectorStore.drop`."""
        held = self._versions.get(index)
        for alias, live in self._aliases.items():
            if live == index and held is not None and held.receipt is not None:
                raise IndexLive(f"index {index} is live as {alias}: swap the alias first")
        self._versions.pop(index, None)

    def search(self, index: str, query: Query) -> list[Hit]:
        """See `ports.Searcher.search`."""
        check_query(query, needs_vector=query.mode != "keyword")
        version = self._finished(index, query)
        chunks = _visible(version, query)
        if query.mode == "hybrid":
            legs = self.legs(index, query)
            fused = fuse(legs, query.fusion)
            return [legs.hit(version.chunks[legs.ids[i]], float(fused[i]), i) for i in map(int, ranking(fused, query.k))]
        scores = _cosines(version, chunks, query) if query.mode == "vector" else _bm25(version, chunks, query)
        best = [i for i in ranking(scores, query.k) if query.mode != "keyword" or scores[i] > 0]
        return [Hit(chunks[i], float(scores[i])) for i in best]

    def legs(self, index: str, query: Query) -> Legs:
        """See `ports.VectorStore.legs`."""
        check_query(query, needs_vector=True)
        version = self._finished(index, query)
        chunks = _visible(version, query)
        cosines, bm25 = _cosines(version, chunks, query), _bm25(version, chunks, query)
        near = ranking(cosines, query.candidates)
        worded = [i for i in ranking(bm25, query.candidates) if bm25[i] > 0]
        rows = sorted({*map(int, near), *map(int, worded)})
        return Legs(tuple(chunks[i].id for i in rows), cosines[rows], bm25[rows])

    def _version(self, index: str) -> _Version:
        if index not in self._versions:
            raise IndexMissing(f"no index {index}: create it first")
        return self._versions[index]

    def _finished(self, index: str, query: Query) -> _Version:
        version = self._version(self._aliases.get(index) or index)
        if not version.finished:
            raise IndexMissing(f"index {index} is not finished: call finish() before searching")
        if query.vector is not None and query.vector.shape != (version.dim,):
            raise DimensionMismatch(f"index {index} takes vectors of {version.dim}, not {query.vector.shape}")
        return version


def _visible(version: _Version, query: Query) -> list[Chunk]:
    chunks = [version.chunks[id_] for id_ in sorted(version.chunks)]
    return [
        chunk
        for chunk in chunks
        if chunk.workspace == query.workspace
        and all(getattr(chunk, name) == value for name, value in query.filters.items())
    ]


def _cosines(version: _Version, chunks: list[Chunk], query: Query) -> Vectors:
    assert query.vector is not None
    return np.array([version.vectors[chunk.id] @ query.vector for chunk in chunks], np.float32)


def _bm25(version: _Version, chunks: list[Chunk], query: Query) -> Vectors:
    # what is rare is decided by the whole workspace: filters choose rows, they do not change weights
    counts = {c.id: Counter(terms(c.embed_text)) for c in version.chunks.values() if c.workspace == query.workspace}
    mean_length = max(1.0, sum(c.total() for c in counts.values()) / max(1, len(counts)))
    scores = np.zeros(len(chunks), np.float32)
    for term, times in sorted(Counter(terms(query.text)).items()):
        weight = times * idf(len(counts), sum(term in c for c in counts.values()))
        for row, chunk in enumerate(chunks):
            if term in counts[chunk.id]:
                length = float(counts[chunk.id].total())
                scores[row] += weight * saturation(float(counts[chunk.id][term]), length, mean_length)
    return scores
