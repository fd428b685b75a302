"""Today's chunks, as far as lessons need them: where an old impression stands now, which chunk a correction is held by.

Chunks are read shard by shard; kept are those of documents that were shown, and the texts that lessons name.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from ragkeep.analysis import terms
from tasks.history import Place
from tasks.questions import share
from tasks.shards import chunk_texts, iter_shards

OVERLAP = 0.5
"""The share of an old chunk's characters that a new one must hold to stand for it."""
HELD = 0.6
"""The share of a correction's terms that a chunk must hold."""
_BATCH = 4096


class Stand(NamedTuple):
    """Where a chunk is: the wall around it and its document."""

    workspace: str
    uri: str


class Chunks:
    """Chunks by id. `where` holds those of documents that were shown or are named by a correction."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.where: dict[str, Stand] = {}
        self.total = 0

    def place(self, places: list[Place]) -> tuple[dict[int, str], Counter[str]]:
        """Map numbers of places to chunk ids, and count those that were moved or are gone.

        A chunk that is no more is stood for by the one of its document that holds most of its characters.
        """
        wanted = {Stand(place.workspace, place.uri) for place in places}
        spans = defaultdict[Stand, list[tuple[int, int, str]]](list)
        for row in self._rows(["id", "workspace", "uri", "start", "end"]):
            self.total += 1
            stand = Stand(row["workspace"], row["uri"])
            if stand in wanted:
                self.where[row["id"]] = stand
                spans[stand].append((row["start"], row["end"], row["id"]))
        found, counts = dict[int, str](), Counter[str]()
        for number, place in enumerate(places):
            here = spans.get(Stand(place.workspace, place.uri), [])
            if self.where.get(place.chunk) == (place.workspace, place.uri):
                found[number] = place.chunk
            elif stood := _overlapping(place, here):
                found[number] = stood
                counts["moved"] += 1
            else:
                counts["gone"] += 1
        return found, counts

    def holding(self, corrections: Mapping[int, tuple[str, str]]) -> dict[int, str]:
        """Find for each correction, number -> (workspace, text), the chunk that holds most of its terms, if any does."""
        wanted = {n: (workspace, set(terms(text))) for n, (workspace, text) in corrections.items()}
        by_term: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, (workspace, asked) in wanted.items():
            for term in asked:
                by_term[workspace, term].append(number)
        best: dict[int, tuple[float, str]] = {}
        stands: dict[str, Stand] = {}
        for row in self._rows(["id", "workspace", "uri", "context", "text"]) if by_term else ():
            stands[row["id"]] = Stand(row["workspace"], row["uri"])
            held = set(terms(f"{row['context']}\n{row['text']}"))
            shared = Counter(n for term in held for n in by_term.get((row["workspace"], term), ()))
            for number, count in shared.items():
                part = count / len(wanted[number][1])
                if part >= HELD and (part, row["id"]) > best.get(number, (0.0, "")):
                    best[number] = part, row["id"]
        self.where |= {chunk: stands[chunk] for _, chunk in best.values()}
        return {number: chunk for number, (_, chunk) in best.items()}

    def texts(self, named: Iterable[str], sample: int) -> dict[str, str]:
        """Read the texts of chunks named and of a sample of others, the same ones as long as they exist."""
        wanted = set(named)
        if sample:
            ids = (row["id"] for row in self._rows(["id"]))
            wanted |= set(heapq.nsmallest(sample, ids, key=lambda chunk: (share("sample", chunk), chunk)))
        return chunk_texts(self._folder, wanted)

    def stands(self, named: Iterable[str]) -> dict[str, Stand]:
        """Say where chunks are: chunk id -> Stand."""
        wanted = set(named)
        rows = self._rows(["id", "workspace", "uri"]) if wanted else iter(())
        return {row["id"]: Stand(row["workspace"], row["uri"]) for row in rows if row["id"] in wanted}

    def document(self, chunk: str) -> str:
        """Name a chunk's document: workspace and uri."""
        return "/".join(self.where[chunk])

    def _rows(self, columns: list[str]) -> Iterator[dict[str, Any]]:
        for path in iter_shards(self._folder):
            with pq.ParquetFile(path, memory_map=True) as file:
                for batch in file.iter_batches(batch_size=_BATCH, columns=columns):
                    yield from batch.to_pylist()


def _overlapping(place: Place, spans: list[tuple[int, int, str]]) -> str | None:
    """Return the chunk that shares most characters with an old place, where it shares enough of them."""
    shared = [(min(place.end, end) - max(place.start, start), chunk) for start, end, chunk in spans]
    most, chunk = max(shared, default=(0, ""))
    return chunk if most > 0 and most >= OVERLAP * (place.end - place.start) else None
