"""The nouns: frozen dataclasses that flow through the night and through an answer.

`path -> Document -> Chunk -> EmbeddedBatch -> IndexVersion -> Query -> Hit -> Answer`, and
`Release`, the unit that goes live. Ids are content hashes: 32 hex digits of BLAKE3.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

Vectors: TypeAlias = NDArray[np.float32]
"""float32, shape (n, dim), rows of unit length."""
Kind: TypeAlias = Literal["prose", "code"]
Mode: TypeAlias = Literal["hybrid", "vector", "keyword"]
Role: TypeAlias = Literal["query", "passage"]
Route: TypeAlias = Literal["code", "prose"]
InteractionKind: TypeAlias = Literal["answer", "vote", "click", "correction", "shadow", "erase"]


def content_id(*parts: str) -> str:
    """Hash the parts, unambiguously joined, to 32 hex digits."""
    h = blake3()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        h.update(len(data).to_bytes(8, "little"))
        h.update(data)
    return h.hexdigest(16)


def ids_digest(ids: Iterable[str]) -> str:
    """Hash a set of chunk ids, in whatever order it comes: what `IndexVersion.digest` holds."""
    return content_id(*sorted(ids))


@dataclass(frozen=True, slots=True)
class Document:
    """One readable text of one source file.

    `text` is what was extracted, newlines as in the file. `first_line` is the number, in the file, of
    the text's first line (more than 1 where a header was cut off). `meta` is JSON: `title`, and for
    paged formats `pages`, the character offset at which each page starts.
    """

    id: str
    uri: str
    source: str
    workspace: str
    text: str
    kind: Kind
    language: str
    first_line: int = 1
    meta: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a document: `text == document.text[span[0]:span[1]]`.

    `lines` are 1-based and inclusive, in the file. `context` is what a reader needs to place the piece:
    the heading path of prose ("Install > From source") or the qualified name of code
    ("json.decoder.JSONDecoder.decode"); it is embedded and searched with the text.
    `id` hashes workspace, uri, context, text and, among equal pieces of one document, the ordinal: it does not
    move when lines are inserted above.
    """

    id: str
    document_id: str
    uri: str
    source: str
    workspace: str
    text: str
    span: tuple[int, int]
    lines: tuple[int, int]
    kind: Kind
    language: str
    context: str = ""
    tokens: int = 0
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def embed_text(self) -> str:
        """What the embedder reads."""
        return f"{self.context}\n{self.text}" if self.context else self.text


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """Chunks and their vectors, row by row."""

    chunks: tuple[Chunk, ...]
    vectors: Vectors


@dataclass(frozen=True, slots=True)
class IndexVersion:
    """One immutable build of an index: the receipt a stage leaves and the store can be held against.

    `embedder` is the fingerprint (model, weights, runtime, precision) every query vector must share;
    `digest` hashes the sorted chunk ids, so that two builds of the same content compare equal.
    """

    name: str
    alias: str
    store: str
    embedder: str
    dim: int
    chunks: int
    digest: str
    built_at: str = ""


@dataclass(frozen=True, slots=True)
class Fusion:
    """How the two legs of a hybrid search become one ranking; `weight` is the vector leg's share, 0..1.

    Questions that take the code route are mixed by `code_weight`; None: by `weight` like all others.
    """

    method: Literal["convex", "rrf"] = "convex"
    weight: float = 0.6
    code_weight: float | None = None

    def on(self, route: Route) -> Fusion:
        """What a question of this route is searched with: one weight."""
        return Fusion(self.method, self.weight if route == "prose" or self.code_weight is None else self.code_weight)


@dataclass(frozen=True, slots=True)
class Query:
    """A question to a store. `vector` has shape (dim,); `filters` are equalities on chunk columns.

    `candidates` is how deep each leg of a hybrid search goes before fusion.
    """

    text: str
    vector: Vectors | None = None
    k: int = 10
    mode: Mode = "hybrid"
    workspace: str = "default"
    filters: dict[str, str] = field(default_factory=dict)
    fusion: Fusion = Fusion()
    candidates: int = 100


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk and how well it matched; scores of one list only compare within that list.

    How the score came about, where that is known: `vector` (cosine) and `keyword` (BM25) are the legs of a hybrid search,
    `fused` is their score where a reranker gave the last one. They explain, and make no hit another one.
    """

    chunk: Chunk
    score: float
    vector: float | None = field(default=None, compare=False)
    keyword: float | None = field(default=None, compare=False)
    fused: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Legs:
    """Both legs of a hybrid search: the union of each leg's best `Query.candidates`, by chunk id, with both scores.

    `vector` is the cosine and `keyword` the BM25 score (0 where no word matches) of each of `ids`: float32 (n,),
    exact also for what only the other leg found. Fusing them with any weight needs no second search.
    """

    ids: tuple[str, ...]
    vector: NDArray[np.float32]
    keyword: NDArray[np.float32]

    def hit(self, chunk: Chunk, score: float, at: int) -> Hit:
        """Make a hit of the candidate at a position, which knows its scores in both legs."""
        return Hit(chunk, score, float(self.vector[at]), float(self.keyword[at]))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a generator draws its words: nucleus `top_p`, `top_k` best, at most `max_tokens`, not past any of `stop`.

    None leaves a parameter to the model's own default; temperature 0 asks for the most likely words.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What a generator asks to have done: a tool by name, its arguments as parsed JSON (not yet checked).

    `malformed` is what it wrote where that is no JSON object; there are no arguments then.
    """

    id: str
    name: str
    arguments: dict[str, Any]
    malformed: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn given to a generator; `calls` are an assistant's, `call_id` says which of them a tool's turn answers."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: tuple[ToolCall, ...] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written, as the generator counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Citation:
    """A quoted range: `quote` stands in `uri` on `lines` (1-based, inclusive); `source` is its snippet's number."""

    uri: str
    lines: tuple[int, int]
    quote: str
    score: float
    source: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the user sees; `abstained` means the documents do not hold the answer, and says so in `text`.

    `hits` is what was found, best first, `sources` those of it that the generator was given: snippet n is
    `sources[n - 1]`. `searched` is the question as it was searched for, `prompt` what the generator read. `reason` says
    why a question was refused, `route` how it was searched for ("" where nothing was). `flags` name what did not go as
    usual: "cached", "rerank-late", "rerank-failed", "rerank-skipped", "fallback:<model>". Times in milliseconds. `calls`
    are the tools that were asked for, whether each was done, and what it said.
    """

    text: str
    citations: tuple[Citation, ...]
    abstained: bool
    hits: tuple[Hit, ...] = ()
    usage: Usage = Usage()
    model: str = ""
    release: str | None = None
    sources: tuple[Hit, ...] = ()
    unsupported: tuple[str, ...] = ()
    searched: str = ""
    prompt: tuple[Message, ...] = ()
    reason: str = ""
    route: Route | Literal[""] = ""
    flags: tuple[str, ...] = ()
    timings_ms: dict[str, float] = field(default_factory=dict)
    calls: tuple[tuple[ToolCall, bool, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Workspace:
    """A wall around documents; `owner` is who made it. The id is part of chunks and filters, the name is for people."""

    id: str
    name: str
    owner: str
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """What is known of an uploaded document; its text is elsewhere.

    `seq` orders all uploads and deletions of a server; `reason` says why status is error. Times are UTC in ISO 8601.
    """

    id: str
    workspace: str
    name: str
    uri: str
    type: str
    size: int
    status: Literal["submitted", "processed", "error"] = "submitted"
    reason: str = ""
    chunks: int = 0
    sha: str = ""
    created_at: str = ""
    updated_at: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """An upload or a deletion, in the order they were accepted; a deletion's record is the document's tombstone."""

    seq: int
    action: Literal["upload", "delete"]
    at: str
    document: DocumentRecord


@dataclass(frozen=True, slots=True)
class Job:
    """Work taken from a queue; `attempt` counts from 1, `receipt` is this attempt's and nobody else's."""

    id: str
    workspace: str
    body: dict[str, Any]
    attempt: int = 1
    receipt: str = ""


@dataclass(frozen=True, slots=True)
class DeadJob:
    """Work that was tried often enough, and why it last failed."""

    job: Job
    reason: str
    died_at: str


@dataclass(frozen=True, slots=True)
class Depth:
    """How many jobs wait, are being worked on, and are dead letters."""

    waiting: int
    taken: int
    dead: int


@dataclass(frozen=True, slots=True)
class Release:
    """The unit that goes live: everything an answer depends on, each part by its hash.

    `number` is the version in the registry; `sha` hashes every part but number, run and time, so the
    same parts make the same release. `serving` holds the sections embed, retrieve and answer of params.yaml as they
    were: an index is only ever asked with the embedder that built it, whatever params.yaml says by then.
    `evaluation` is the folder, under `<state>/releases`, of the scores that let it in.
    """

    number: int
    sha: str
    index: IndexVersion
    fusion: Fusion
    generator: str
    serving: dict[str, Any]
    git_sha: str
    dvc_lock_sha: str
    scores: dict[str, float]
    evaluation: str
    reason: str = ""
    run_id: str = ""
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Impression:
    """One source as it was shown with an answer: `rank` from 1, `span` in characters, `lines` from 1, inclusive."""

    chunk: str
    uri: str
    lines: tuple[int, int]
    span: tuple[int, int]
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Interaction:
    """One record of what was asked and shown, or of what a person did with it; made by `ragkeep.interactions`.

    A "shadow" is neither: what a challenger would have shown, which nobody saw.

    `seq` is the place in the log, from 1 on without holes (0: not written yet); `at` is UTC, ISO 8601 with milliseconds.
    `user` and `session` are opaque ids. `answer` names the answer this is or is about, `release` what made it. The keys
    of `payload` are fixed for each kind: `interactions.records.FIELDS`.
    """

    seq: int
    at: str
    kind: InteractionKind
    workspace: str
    user: str
    session: str
    answer: str
    release: str
    payload: dict[str, Any]
