"""Documents uploaded or deleted since the index that answers was built, searched as if part of it.

    live = LiveDocuments(paths.cache / "live")
    live.put(upload)                       # or live.remove(workspace, uri)
    view = live.view(store, release, embedder)
    hits = view.search(store, release.index.name, query)

A sealed index never changes. What it lacks lies here in segments of the same format, small, one a workspace; what it
holds and should not is left out of its answers. The next night takes uploads in like any other source, and a view of the
release it publishes has nothing left to add. A view never changes: a request keeps the one it began with.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import numpy as np

from .analysis import terms
from .fusion import fuse, ranking
from .ports import Embedder, VectorStore
from .stores.segment import Segment
from .stores.segment_build import build_segments
from .types import Chunk, EmbeddedBatch, Hit, Legs, Query, Release

SPARE = 10
"""Hits asked for beyond k, so that what is left out or falls behind does not leave a gap."""
MOST = 1000


@dataclass(frozen=True, slots=True)
class Upload:
    """A document that was uploaded; `make` gives its chunks, as the night would make them."""

    workspace: str
    uri: str
    document_id: str
    make: Callable[[], tuple[Chunk, ...]]


@dataclass(frozen=True)
class LiveView:
    """What one release lacks and what it must not show, at one moment."""

    hidden: Mapping[str, frozenset[str]] = field(default_factory=dict)
    segments: Mapping[str, Segment] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)

    def state(self, workspace: str) -> str:
        """A mark that differs whenever a search of the workspace may."""
        return self.marks.get(workspace, "")

    @property
    def chunks(self) -> int:
        """How many chunks it adds."""
        return sum(len(segment) for segment in self.segments.values())

    def search(self, store: VectorStore, index: str, query: Query) -> list[Hit]:
        """Answer as `store.search` would if the index held the uploads and not the deletions. Raises as it does."""
        hidden, segment = self.hidden.get(query.workspace), self.segments.get(query.workspace)
        if not hidden and segment is None:
            return store.search(index, query)
        found, query = _visible(store, index, query, hidden or frozenset())
        if segment is None:
            return found[: query.k]
        return _merged(store, index, query, found, segment)


def _visible(store: VectorStore, index: str, query: Query, hidden: frozenset[str]) -> tuple[list[Hit], Query]:
    """The index's hits without hidden documents: a few more than k, looking deeper where many are hidden.

    The query is returned with the candidates that were needed for it.
    """
    depth = query.k + SPARE
    while True:
        query = replace(query, candidates=max(query.candidates, depth))
        found = store.search(index, replace(query, k=depth))
        kept = [hit for hit in found if hit.chunk.uri not in hidden]
        if len(kept) >= query.k or len(found) < depth or depth >= MOST:
            return kept, query
        depth = min(4 * depth, MOST)


def _merged(store: VectorStore, index: str, query: Query, found: list[Hit], segment: Segment) -> list[Hit]:
    """Rank the index's hits and the segment's together, by both legs of all of them."""
    own = segment.search(query)
    chunks = {hit.chunk.id: hit.chunk for hit in (*own, *found)}
    if query.vector is None or query.mode != "hybrid":
        scores = {hit.chunk.id: hit.score for hit in found}
        share = _scale(segment, query, found, max(scores.values(), default=0.0)) if query.mode == "keyword" else 1.0
        scores |= {hit.chunk.id: hit.score * share for hit in own}
        best = sorted(scores, key=lambda id_: (-scores[id_], id_))[: query.k]
        return [Hit(chunks[id_], scores[id_]) for id_ in best]
    theirs, mine = store.legs(index, query), segment.legs(query)
    share = _scale(segment, query, found, float(theirs.keyword.max(initial=0)))
    legs = _joined(theirs, mine, share, set(chunks))
    fused = fuse(legs, query.fusion)
    return [legs.hit(chunks[legs.ids[at]], float(fused[at]), at) for at in map(int, ranking(fused, query.k))]


def _joined(theirs: Legs, own: Legs, share: float, known: set[str]) -> Legs:
    """Both lists of candidates as one, in order of id; a chunk of both counts once. Only `known` ids can be shown."""
    scores = {id_: (near, worded) for id_, near, worded in zip(theirs.ids, theirs.vector, theirs.keyword, strict=True)}
    scores |= {id_: (near, worded * share) for id_, near, worded in zip(own.ids, own.vector, own.keyword, strict=True)}
    ids = tuple(sorted(known & scores.keys()))
    near, worded = (np.array([scores[id_][leg] for id_ in ids], np.float32) for leg in (0, 1))
    return Legs(ids, near, worded)


def _scale(segment: Segment, query: Query, found: list[Hit], best: float) -> float:
    """What the segment's BM25 scores are multiplied by to stand beside the index's, whose highest is `best`.

    In a handful of chunks every word is common, so that their scores mean little. What they can say is how many of the
    question's words a chunk holds: the highest scores are set in proportion to that share here and there.
    """
    highest, share = segment.coverage(query)
    asked = set(terms(query.text))
    theirs = max((len(asked & set(terms(hit.chunk.embed_text))) for hit in found), default=0) / max(len(asked), 1)
    if not highest:
        return 0.0
    return best * share / theirs / highest if best and theirs else 1.0


class LiveDocuments:
    """All uploads and deletions of this server's life; views of them for a release. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)  # a cache of this process: uploads are read again at its start
        self._folder = folder
        self._lock = Lock()
        self._numbers = itertools.count(1)
        self._uploads: dict[tuple[str, str], Upload] = {}
        self._removed: dict[tuple[str, str], int] = {}
        self._changed: dict[str, int] = {}
        self._batches: dict[tuple[str, str, str], EmbeddedBatch] = {}

    def put(self, upload: Upload) -> None:
        """Add a document, in place of what its uri held before."""
        with self._lock:
            key = upload.workspace, upload.uri
            self._drop(self._uploads.get(key))
            self._uploads[key] = upload
            self._removed.pop(key, None)
            self._changed[upload.workspace] = next(self._numbers)

    def remove(self, workspace: str, uri: str) -> None:
        """Take a document out, of the index as well."""
        with self._lock:
            self._drop(self._uploads.pop((workspace, uri), None))
            self._removed[workspace, uri] = self._changed[workspace] = next(self._numbers)

    def removed(self, workspace: str, uris: Iterable[str]) -> bool:
        """Whether any of these documents was deleted and has not come back."""
        with self._lock:
            return any((workspace, uri) in self._removed for uri in uris)

    def _drop(self, old: Upload | None) -> None:
        """Forget the text and vectors of a document that is gone or replaced."""
        for key in [key for key in self._batches if old and key[1:] == (old.workspace, old.document_id)]:
            del self._batches[key]

    def view(self, store: VectorStore, release: Release, embedder: Embedder, *, base: LiveView | None = None) -> LiveView:
        """Build the view of a release; of `base`, a view of the same release, workspaces that did not change are kept."""
        with self._lock:
            uploads, removed, changed = dict(self._uploads), set(self._removed), dict(self._changed)
        hidden: dict[str, frozenset[str]] = {}
        segments: dict[str, Segment] = {}
        marks = {workspace: f"{release.number}.{number}" for workspace, number in changed.items()}
        for workspace in changed:
            if base and base.marks.get(workspace) == marks[workspace]:
                hidden[workspace] = base.hidden.get(workspace, frozenset())
                if workspace in base.segments:
                    segments[workspace] = base.segments[workspace]
                continue
            missing = [u for u in uploads.values() if u.workspace == workspace and not _covered(store, release, u)]
            gone = {uri for where, uri in removed if where == workspace}
            hidden[workspace] = frozenset(gone | {upload.uri for upload in missing})
            batches = [batch for batch in (self._batch(upload, embedder) for upload in missing) if batch.chunks]
            if batches:
                segments[workspace] = self._segment(workspace, batches, embedder.dim)
        return LiveView(hidden, segments, marks)

    def _segment(self, workspace: str, batches: list[EmbeddedBatch], dim: int) -> Segment:
        folder = self._folder / str(next(self._numbers))
        keys = [(workspace, chunk.id) for batch in batches for chunk in batch.chunks]
        build_segments(folder, dim=dim, keys=keys, batches=batches)
        made = Segment(folder / workspace)
        made.load()  # mapped: the files may go
        shutil.rmtree(folder)
        return made

    def _batch(self, upload: Upload, embedder: Embedder) -> EmbeddedBatch:
        """Return an upload's chunks and vectors, made once for each embedder."""
        key = embedder.fingerprint, upload.workspace, upload.document_id
        known = self._batches.get(key)
        if known is None:
            chunks = upload.make()
            vectors = embedder.embed([chunk.embed_text for chunk in chunks], role="passage")
            known = self._batches[key] = EmbeddedBatch(chunks, vectors)
        return known


def _covered(store: VectorStore, release: Release, upload: Upload) -> bool:
    """Whether a release's index holds this very document: asked by its id, which hashes its content."""
    filters = {"uri": upload.uri, "document_id": upload.document_id}
    anything = np.zeros(release.index.dim, np.float32)
    anything[0] = 1
    query = Query("", anything, k=1, mode="vector", workspace=upload.workspace, filters=filters)
    return bool(store.search(release.index.name, query))
