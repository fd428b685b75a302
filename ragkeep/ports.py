"""The seams: what a backend must do, and no more. A backend is done when tests/contracts passes on it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .config import ChunkParams
from .types import (
    Change,
    Chunk,
    DeadJob,
    Depth,
    Document,
    DocumentRecord,
    EmbeddedBatch,
    Hit,
    IndexVersion,
    Job,
    Legs,
    Message,
    Query,
    Role,
    Sampling,
    ToolCall,
    Usage,
    Vectors,
    Workspace,
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


class Memory(Protocol):
    """What was said in a session, under a token budget: the last turns whole, what was before them as a summary.

    `session` is named by `memory.session_name`.
    """

    @property
    def trouble(self) -> str | None:
        """What does not work at the moment, though nothing acknowledged is lost; None where all does."""
        ...

    async def append(self, session: str, *turns: Message) -> None:
        """Keep turns, durably on return. Safe to share between tasks. Raises StoreError where the disk fails."""
        ...

    async def recent(self, session: str) -> list[Message]:
        """Return what is known of a session, oldest first; a summary of earlier turns is a system message at the head.

        Together at most the budget. What cannot be reached or read is left out.
        """
        ...

    async def forget(self, session: str) -> None:
        """Erase a session everywhere; what cannot be reached now is erased once it can, and not shown until then."""
        ...

    async def forget_all(self, scope: str) -> None:
        """Erase all sessions of a user (`session_name(workspace, user)`) or of a workspace (`<workspace>/`), likewise."""
        ...

    async def close(self) -> None:
        """Write what waits, and let go of connections."""
        ...


class Reranker(Protocol):
    """A question and texts to how well each answers it, read together (a cross-encoder)."""

    name: str

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n,), higher is better; scores of one call only compare within it. Safe to share."""
        ...


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer as it is made: text or a whole tool call; the last one carries `usage`.

    Where several generators may answer, the first piece names in `model` the one that does.
    """

    text: str = ""
    usage: Usage | None = None
    call: ToolCall | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool a generator may ask for; `parameters` is the JSON Schema of its arguments, an object."""

    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """What a generator is asked: snippet `[n]` in the last message is `hits[n - 1]`.

    A language model reads `messages`; an extractive generator reads `question` and `hits`, and `vector`, the question
    embedded as a query, where that is known.
    """

    question: str
    hits: tuple[Hit, ...]
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    vector: Vectors | None = field(default=None, compare=False)


class Generator(Protocol):
    """A request to a streamed text that marks each claim with the snippet it rests on: `claim [n]`.

    What the snippets do not answer is answered with prompts.NOT_FOUND and nothing else. `name` is what answers are
    signed with and clients choose by.
    """

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Yield the answer piece by piece, the last one with its usage; `aclose()` stops the work, upstream too.

        Safe to share between tasks. Raises ProviderBusy, ProviderAway (asking again may help), ProviderRefused (it
        will not); also after some pieces, when a stream is cut: what was yielded is then no whole answer.
        """
        ...


class Catalog(Protocol):
    """Workspaces, and the records of the documents uploaded into them. Safe to share between threads and processes.

    What returned is durable. Every method raises ServiceAway where the backend does not answer.
    """

    def create_workspace(self, workspace: Workspace) -> Workspace:
        """Add a workspace, `created_at` filled in.

        Raises AlreadyExists, also for the id of a deleted one, RequestError on an id or name nobody could use.
        """
        ...

    def workspace(self, workspace_id: str) -> Workspace | None:
        """Look one up; a deleted one is none."""
        ...

    def workspaces(self, *, owner: str | None = None) -> list[Workspace]:
        """List all, or those of one owner, by id."""
        ...

    def delete_workspace(self, workspace_id: str) -> list[DocumentRecord]:
        """Delete a workspace with its documents, each leaving a tombstone; return those.

        Nothing more gets in from the first moment on. Raises NotFound; safe to repeat when it was cut short.
        """
        ...

    def submit(self, document: DocumentRecord) -> DocumentRecord:
        """Accept an upload under the id that `catalogs.document_id` gives it; return it with status, times and `seq`.

        Raises RequestError on a name nobody could use, NotFound without the workspace, AlreadyExists where the workspace
        has a document of that name; one whose status is error is replaced.
        """
        ...

    def update(
        self,
        document: DocumentRecord,
        *,
        status: Literal["submitted", "processed", "error"],
        reason: str = "",
        chunks: int = 0,
    ) -> DocumentRecord:
        """Say how far an upload is. Raises NotFound where it was deleted or replaced since (another `seq`)."""
        ...

    def document(self, document_id: str) -> DocumentRecord | None:
        """Look one up; a deleted one is none."""
        ...

    def documents(
        self, workspace: str, *, status: str = "", of_type: str = "", cursor: str = "", limit: int = 50
    ) -> tuple[list[DocumentRecord], str]:
        """Return a page, newest first, and the cursor of the next ("": there is none).

        Raises RequestError on a cursor that is none of ours.
        """
        ...

    def count(self, workspace: str) -> int:
        """How many documents a workspace holds."""
        ...

    def delete(self, document_id: str) -> DocumentRecord:
        """Delete a record and keep its tombstone; return the record with the deletion's `seq`. Raises NotFound."""
        ...

    def changes(self, *, after: int = 0, limit: int = 1000) -> list[Change]:
        """Uploads and deletions with a greater `seq`, in order and without a gap: a lower one never appears later."""
        ...


class Queue(Protocol):
    """Background work, one job after the other in each workspace, workspaces side by side; at least once.

    What returned is durable. Safe to share between threads and processes. Raises ServiceAway where the backend is away.
    """

    def put(self, job: Job) -> None:
        """Add a job; one whose id was put less than five minutes ago is left out."""
        ...

    def take(self, *, wait_s: float = 0.0) -> Job | None:
        """Take the oldest job of a workspace in which none is being worked on; None when there is none within `wait_s`.

        A worker that neither finishes, fails nor extends it within the queue's `visible_s` loses it to another.
        """
        ...

    def extend(self, job: Job) -> bool:
        """Keep a job for another `visible_s`; False where it was lost."""
        ...

    def done(self, job: Job) -> bool:
        """Finish a job; False where it was lost to another worker, whose result counts."""
        ...

    def fail(self, job: Job, reason: str) -> bool:
        """Give a job back to be tried again at once, after the last try to the dead letters; False where it was lost."""
        ...

    def dead(self, *, limit: int = 100) -> list[DeadJob]:
        """Show dead letters, the oldest first."""
        ...

    def reclaim(self) -> int:
        """Give back what the last server of this project had taken when it was killed; return how many.

        Only for the start of a project's one server. A service, whose workers are many, gives it back by itself.
        """
        ...

    def redrive(self, *, workspace: str = "") -> int:
        """Put dead letters (of one workspace) back behind the others, as new; return how many."""
        ...

    def depth(self) -> Depth:
        """Count the jobs; with a service, about."""
        ...
