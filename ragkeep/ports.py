"""The seams: what a backend must do, and no more. A backend is done when tests/contracts passes on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol

from .config import ChunkParams
from .types import (
    Chunk,
    Document,
    EmbeddedBatch,
    Hit,
    IndexVersion,
    Legs,
    Message,
    Query,
    Role,
    Usage,
    Vectors,
)


@dataclass(frozen=True, slots=True)
class Extract:
    """What a loader read from one file: text, how to treat it, and where its first line stands."""

    text: str
    kind: str
    language: str
    first_line: int = 1
    meta: dict[str, object] | None = None


Loader = Callable[[PurePath, bytes], Iterator[Extract]]
"""Reads one file, given its name and its bytes (the very bytes that were hashed: nothing is opened twice).

Runs in a child process with limits. Raises `loaders.Unreadable(reason, detail)`.
"""

Chunker = Callable[[Document, ChunkParams], Iterator[Chunk]]
"""Cuts one document into chunks that cover it, in order."""


class Embedder(Protocol):
    """Texts to unit vectors.

    `fingerprint` names model, weights, runtime and precision: vectors of two fingerprints never meet in one
    index or cache. `max_tokens` is how much of a text is read.
    """

    name: str
    fingerprint: str
    dim: int
    max_tokens: int

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """Return float32 (n, dim) with unit rows, in the order given; (0, dim) for no texts.

        A text's vector does not depend on its neighbours (cosine >= 0.9999 between batchings).
        """
        ...


class Searcher(Protocol):
    """Something that can be asked."""

    def search(self, index: str, query: Query) -> list[Hit]:
        """Return at most `query.k` hits of `query.workspace` only, best first, ties by chunk id.

        `index` is a version name or an alias. The workspace and every filter are applied inside the
        store, before k is cut. Raises IndexMissing (also before `finish`), DimensionMismatch; ValueError on
        an unknown filter, or without the vector a mode needs.
        """
        ...


class VectorStore(Searcher, Protocol):
    """Versions of an index, written once, swapped atomically."""

    def create(self, index: str, *, dim: int) -> None:
        """Start an empty version. Raises IndexExists."""
        ...

    def carry(self, index: str, *, base: str, rows: Mapping[str, str]) -> set[str]:
        """Start a version with what a sealed one holds: return the ids of chunks that need not be written again.

        `rows` is all the new version shall hold: chunk id -> `stores.segment.row_digest` of chunk and vector. What
        `base` holds of it, unchanged, is taken over. A store that gains nothing by it starts an empty version.
        Raises IndexExists, and IndexMissing where `base` is not sealed.
        """
        ...

    def write(self, index: str, batch: EmbeddedBatch) -> int:
        """Add chunks; a chunk id already present is left as it is. Return how many were new; durable on return.

        The number is for logs: after an answer that was lost a store counts fewer, never more. What it holds, `ids` says.
        Raises IndexMissing, DimensionMismatch, StoreError on a sealed version. Safe to repeat.
        """
        ...

    def finish(self, index: str) -> None:
        """Build the search structures once everything is written; only now can the version be searched.

        Durable on return, safe to repeat; a later `write` needs another `finish`.
        """
        ...

    def legs(self, index: str, query: Query) -> Legs:
        """Return both legs of the hybrid search `search` would fuse, whatever `query.mode`, `k` and `fusion` say.

        Raises as `search` does.
        """
        ...

    def ids(self, index: str) -> Iterable[str]:
        """Yield the chunk ids of a version, in any order. Raises IndexMissing."""
        ...

    def seal(self, version: IndexVersion) -> None:
        """Record the receipt durably beside the version; `versions` and `swap` know only sealed ones.

        Raises ReceiptMismatch when the stored ids do not have the receipt's count and digest.
        """
        ...

    def swap(self, alias: str, index: str | None) -> str | None:
        """Point alias at a sealed version (None: at nothing), atomically and durably; return what it pointed at.

        Raises IndexMissing.
        """
        ...

    def live(self, alias: str) -> str | None:
        """Name the version behind an alias."""
        ...

    def versions(self, alias: str) -> list[IndexVersion]:
        """List the sealed versions made for an alias, the live one first, then newest first."""
        ...

    def drop(self, index: str) -> None:
        """Delete a version, sealed or not. Raises IndexLive when it is sealed and an alias points at it.

        Unknown names pass, and so does what is left of a live version that lost its files or its receipt: it must be
        built again. Searches under way still end well.
        """
        ...


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer as it is made; the last one carries `usage`."""

    text: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What a generator is asked: snippet `[n]` in the last message is `hits[n - 1]`.

    A language model reads `messages`; an extractive generator reads `question` and `hits`.
    """

    question: str
    hits: tuple[Hit, ...]
    messages: tuple[Message, ...]


class Generator(Protocol):
    """A request to a streamed text that marks each claim with the snippet it rests on: `claim [n]`.

    What the snippets do not answer is answered with prompts.NOT_FOUND and nothing else.
    """

    name: str

    def stream(self, request: Request, *, max_tokens: int, temperature: float) -> AsyncGenerator[Delta, None]:
        """Yield the answer piece by piece, the last one with its usage; `aclose()` stops the work."""
        ...
