"""Write the flat files a search reads, in two passes over the rows, holding neither texts nor vectors.

Postings are spilled to a file as rows stream by and then dealt to their terms, block by block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..analysis import idf, saturation, terms
from ..types import Chunk, EmbeddedBatch
from .segment import FILTERS, pack
from .sketch import build_sketch
from .strings import encoded, write_strings

_BLOCK = 1 << 20


def build_segments(folder: Path, *, dim: int, keys: Iterable[tuple[str, str]], batches: Iterable[EmbeddedBatch]) -> None:
    """Write one segment a workspace under `folder`, named after it.

    `keys` lists (workspace, chunk id) of every row of `batches`, in any order.
    """
    ids: dict[str, list[str]] = {}
    for workspace, chunk_id in keys:
        ids.setdefault(workspace, []).append(chunk_id)
    writers = {name: _Writer(folder / name, sorted(found), dim) for name, found in sorted(ids.items())}
    for batch in batches:
        for name, numbers in _by_workspace(batch.chunks).items():
            writers[name].add([batch.chunks[i] for i in numbers], batch.vectors[numbers])
    for writer in writers.values():
        writer.close()


def _by_workspace(chunks: Sequence[Chunk]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for number, chunk in enumerate(chunks):
        groups.setdefault(chunk.workspace, []).append(number)
    return groups


class _Writer:
    """Streams one workspace's rows, which come in any order, to their places."""

    def __init__(self, folder: Path, ids: list[str], dim: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._row = {chunk_id: row for row, chunk_id in enumerate(ids)}
        self._vectors = np.lib.format.open_memmap(
            folder / "vectors.npy", mode="w+", dtype=np.float32, shape=(len(ids), dim)
        )
        self._spans = np.zeros((len(ids), 2), np.int64)
        self._lengths = np.zeros(len(ids))
        self._columns = {name: _Column(len(ids)) for name in FILTERS}
        self._chunks = (folder / "chunks.bin").open("wb")
        self._spill = (folder / "postings.tmp").open("w+b")
        self._numbers: dict[str, int] = {}
        write_strings(folder / "ids", [chunk_id.encode() for chunk_id in ids])

    def add(self, chunks: Sequence[Chunk], vectors: NDArray[np.float32]) -> None:
        rows = [self._row[chunk.id] for chunk in chunks]
        self._vectors[rows] = vectors
        postings: list[tuple[int, int, int]] = []
        for row, chunk in zip(rows, chunks, strict=True):
            begin = self._chunks.tell()
            self._spans[row] = begin, begin + self._chunks.write(pack(chunk))
            for name, column in self._columns.items():
                column.put(row, getattr(chunk, name))
            counts = Counter(terms(chunk.embed_text))
            self._lengths[row] = counts.total()
            postings += [(self._number(term), row, times) for term, times in counts.items()]
        self._spill.write(np.array(postings, np.int32).tobytes())

    def _number(self, term: str) -> int:
        return self._numbers.setdefault(term, len(self._numbers))

    def close(self) -> None:
        self._vectors.flush()
        build_sketch(self._folder)
        self._chunks.close()
        np.save(self._folder / "chunks.npy", self._spans)
        for name, column in self._columns.items():
            values, codes = column.finished()
            write_strings(self._folder / f"values-{name}", values)
            np.save(self._folder / f"codes-{name}.npy", codes)
        self._write_postings()
        self._spill.close()
        (self._folder / "postings.tmp").unlink()

    def _write_postings(self) -> None:
        words = sorted((encoded(term), number) for term, number in self._numbers.items())
        write_strings(self._folder / "terms", [word for word, _ in words])
        place = np.empty(len(words), np.int64)
        place[[number for _, number in words]] = np.arange(len(words))
        self._spill.flush()
        blocks = _Spilled(self._folder / "postings.tmp", place)
        frequencies = np.zeros(len(words), np.int64)
        for term, _, _ in blocks:
            frequencies += np.bincount(term, minlength=len(words))
        starts = np.concatenate([[0], np.cumsum(frequencies)])
        np.save(self._folder / "starts.npy", starts)
        self._deal(blocks, frequencies, starts)

    def _deal(self, blocks: _Spilled, frequencies: NDArray[np.int64], starts: NDArray[np.int64]) -> None:
        rows_out, weights_out = (
            self._output("rows", np.int32, starts[-1]),
            self._output("weights", np.float32, starts[-1]),
        )
        rarity = np.array([idf(len(self._lengths), int(count)) for count in frequencies])
        mean_length = max(float(self._lengths.mean()), 1.0)
        cursor = starts[:-1].copy()
        for term, row, times in blocks:
            order = np.argsort(term, kind="stable")
            term, row, times = term[order], row[order], times[order]
            first = np.searchsorted(term, term)  # where each term's group starts in this block
            to = cursor[term] + np.arange(len(term)) - first
            rows_out[to] = row
            weights_out[to] = rarity[term] * saturation(times.astype(float), self._lengths[row], mean_length)
            cursor += np.bincount(term, minlength=len(cursor))
        if starts[-1]:
            rows_out.flush()
            weights_out.flush()

    def _output(self, name: str, dtype: Any, length: int) -> Any:
        path = self._folder / f"{name}.npy"
        if not length:
            np.save(path, np.zeros(0, dtype))
            return np.zeros(0, dtype)
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(int(length),))


class _Spilled:
    """Postings in the order they came, as blocks of (term place, row, times)."""

    def __init__(self, path: Path, place: NDArray[np.int64]) -> None:
        self._path, self._place = path, place

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]]:
        size = self._path.stat().st_size // 12
        for begin in range(0, size, _BLOCK):
            block = np.fromfile(self._path, np.int32, count=3 * _BLOCK, offset=12 * begin).reshape(-1, 3)
            yield self._place[block[:, 0]], block[:, 1], block[:, 2]


class _Column:
    """One filter column: a number a distinct value."""

    def __init__(self, rows: int) -> None:
        self._codes = np.zeros(rows, np.int32)
        self._numbers: dict[str, int] = {}

    def put(self, row: int, value: str) -> None:
        self._codes[row] = self._numbers.setdefault(value, len(self._numbers))

    def finished(self) -> tuple[list[bytes], NDArray[np.int32]]:
        """Return the sorted values and, for each row, its value's place."""
        values = sorted((encoded(value), number) for value, number in self._numbers.items())
        place = np.empty(len(values), np.int32)
        place[[number for _, number in values]] = np.arange(len(values), dtype=np.int32)
        return [value for value, _ in values], place[self._codes]
