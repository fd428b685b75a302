"""What a search reads: one workspace of one sealed version as flat files, mapped into memory, nothing parsed at open.

Vectors, postings with their finished BM25 weights, filter columns and rows; row numbers follow the order of the
chunk ids, so ties break by id. Scores are exact; large segments are first narrowed down by a sketch. Why not the table's
own indexes: docs/adr/0002-store.md. `segment_build.py` writes these files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from blake3 import blake3
from numpy.typing import NDArray

from ..analysis import terms
from ..fusion import fuse_scores, ranking
from ..types import Chunk, Hit, Legs, Query, Vectors
from .sketch import dots, likeliest
from .strings import Strings, encoded, mapped

FORMAT = 1
"""Raise it when the files a search reads change, here or in segment_build, sketch or strings: indexes are built anew."""
FILTERS = ("source", "language", "kind", "uri", "document_id")

_values = attrgetter(*Chunk.__slots__)

Mask = NDArray[np.bool_]
Scores = NDArray[np.float32]
Rows = NDArray[np.intp]


class Segment:
    """The searchable rows of one workspace under `folder`. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ids = Strings(folder / "ids")
        self._terms = Strings(folder / "terms")

    def __len__(self) -> int:
        return len(self._vectors)

    def _array(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(self._folder / f"{name}.npy", mmap_mode="r").view(np.ndarray)
        return array

    @cached_property
    def _vectors(self) -> Scores:
        return self._array("vectors")

    @cached_property
    def _sketch(self) -> tuple[Scores, Scores] | None:
        if not (self._folder / "directions.npy").exists():
            return None
        return self._array("sketch"), self._array("directions")

    @cached_property
    def _postings(self) -> tuple[NDArray[np.int64], NDArray[np.int32], Scores]:
        return self._array("starts"), self._array("rows"), self._array("weights")

    @cached_property
    def _chunks(self) -> tuple[NDArray[np.int64], bytes | memoryview]:
        return self._array("chunks"), mapped(self._folder / "chunks.bin")

    @cached_property
    def _columns(self) -> dict[str, tuple[Strings, NDArray[np.int32]]]:
        return {name: (Strings(self._folder / f"values-{name}"), self._array(f"codes-{name}")) for name in FILTERS}

    def load(self) -> None:
        """Map every file now, so that a later search does not depend on their names. Raises FileNotFoundError."""
        _ = self._vectors, self._sketch, self._postings, self._chunks, self._columns
        for strings in (self._ids, self._terms, *(values for values, _ in self._columns.values())):
            strings.load()

    def ids(self) -> Iterator[str]:
        """Yield the chunk ids in order."""
        return (self._ids[row].decode() for row in range(len(self._ids)))

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return int(self._vectors.shape[1])

    def search(self, query: Query) -> list[Hit]:
        """Answer a query whose `workspace` is this segment's."""
        allowed = self._allowed(query.filters)
        if query.mode == "vector":
            rows, scores = self._near(query, allowed, query.k)
        elif query.mode == "keyword":
            rows, scores = self._worded(self._bm25(query.text, allowed), query.k)
        else:
            return self._fused(query, allowed)
        return [Hit(self._chunk(int(row)), float(score)) for row, score in zip(rows, scores, strict=True)]

    def _fused(self, query: Query, allowed: Mask | None) -> list[Hit]:
        rows, near, worded = self._legs(query, allowed)
        scores = fuse_scores(near, worded, query.fusion)
        legs = Legs((), near, worded)  # the ids are read with the chunks
        return [legs.hit(self._chunk(int(rows[at])), float(scores[at]), at) for at in map(int, ranking(scores, query.k))]

    def legs(self, query: Query) -> Legs:
        """Return both legs, see `ports.VectorStore.legs`."""
        rows, vector, keyword = self._legs(query, self._allowed(query.filters))
        return Legs(tuple(self._ids[int(row)].decode() for row in rows), vector, keyword)

    def coverage(self, query: Query) -> tuple[float, float]:
        """Return the highest BM25 score of a query, and the share of its distinct words that the chunk with it holds."""
        bm25 = self._bm25(query.text, self._allowed(query.filters))
        asked = set(terms(query.text))
        if not asked or not bm25.any():
            return 0.0, 0.0
        best = int(np.argmax(bm25))
        held = asked & set(terms(self._chunk(best).embed_text))
        return float(bm25[best]), len(held) / len(asked)

    def _legs(self, query: Query, allowed: Mask | None) -> tuple[Rows, Scores, Scores]:
        bm25 = self._bm25(query.text, allowed)
        near, _ = self._near(query, allowed, query.candidates)
        worded, _ = self._worded(bm25, query.candidates)
        rows = np.union1d(near, worded)
        return rows, dots(self._vectors[rows], _vector(query)), bm25[rows]

    def _near(self, query: Query, allowed: Mask | None, k: int) -> tuple[Rows, Scores]:
        """Return rows and cosines of the k nearest, best first."""
        vector = _vector(query)
        if allowed is not None and np.count_nonzero(allowed) * 4 < len(self):
            rows = np.flatnonzero(allowed)
        elif self._sketch is not None:
            sketch, directions = self._sketch
            rows = likeliest(sketch, vector @ directions, max(k, 100), allowed)
            rows = rows if allowed is None else rows[allowed[rows]]
        else:
            rows = np.arange(len(self)) if allowed is None else np.flatnonzero(allowed)
        # gathering rows costs about four times reading them in place
        part = len(rows) * 4 < len(self)
        cosines = dots(self._vectors[rows], vector) if part else dots(self._vectors, vector)[rows]
        best = ranking(cosines, k)
        return rows[best], cosines[best]

    def _worded(self, bm25: Scores, k: int) -> tuple[Rows, Scores]:
        """Return rows and scores of the k best that hold any of the words, best first."""
        rows = np.flatnonzero(bm25 > 0)
        best = rows[ranking(bm25[rows], k)]
        return best, bm25[best]

    def _allowed(self, filters: dict[str, str]) -> Mask | None:
        mask: Mask | None = None
        for name, value in filters.items():
            values, codes = self._columns[name]
            same: Mask = codes == values.find(encoded(value))
            mask = same if mask is None else mask & same
        return mask

    def _bm25(self, text: str, allowed: Mask | None) -> Scores:
        starts, rows, weights = self._postings
        scores = np.zeros(len(self), np.float32)
        for term, times in sorted(Counter(terms(text)).items()):
            found = self._terms.find(encoded(term))
            if found >= 0:
                span = slice(starts[found], starts[found + 1])
                scores[rows[span]] += weights[span] * times if times > 1 else weights[span]
        if allowed is not None:
            scores[~allowed] = 0
        return scores

    def _chunk(self, row: int) -> Chunk:
        spans, data = self._chunks
        return unpack(bytes(data[spans[row, 0] : spans[row, 1]]))


def _vector(query: Query) -> Scores:
    assert query.vector is not None
    return np.ascontiguousarray(query.vector, np.float32)


def pack(chunk: Chunk) -> bytes:
    """One chunk as a JSON list in the order of its fields."""
    return orjson.dumps(_values(chunk))


def row_digest(packed: bytes, vector: Vectors) -> str:
    """Hash a packed chunk and its vector, shape (dim,), to 16 hex digits."""
    return blake3(packed + np.ascontiguousarray(vector, np.float32).tobytes()).hexdigest(8)


def unpack(data: bytes) -> Chunk:
    """Undo `pack`."""
    values = dict(zip(Chunk.__slots__, orjson.loads(data), strict=True))
    return Chunk(**{**values, "span": tuple(values["span"]), "lines": tuple(values["lines"])})
