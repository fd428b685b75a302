"""Find the segment a query reads, whatever is swapped or dropped meanwhile, and check what stores are given.

Imports nothing heavy.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from ..analysis import VERSION
from ..config import is_id
from ..errors import DimensionMismatch, IndexMissing, StoreError
from ..files import read_json
from ..types import EmbeddedBatch, Query
from .segment import FILTERS, FORMAT, Segment

_KEPT = 64


class Reader:
    """Open segments by version and workspace, the last used kept open."""

    def __init__(self) -> None:
        self._open: OrderedDict[tuple[str, int, str], Segment] = OrderedDict()
        self._lock = Lock()

    def segment(self, resolve: Callable[[], Path], query: Query) -> Segment | None:
        """Return the segment of the query's workspace, None where it has no rows.

        `resolve` names the version's folder; it is asked once more when that vanished, since the alias may have
        moved and its old version been dropped between the two steps.
        """
        folder = resolve()
        try:
            return self._segment(folder, query)
        except IndexMissing:
            if (again := resolve()) == folder:
                raise
            return self._segment(again, query)

    def _segment(self, folder: Path, query: Query) -> Segment | None:
        try:
            made = (folder / "search").stat().st_ino
        except FileNotFoundError:
            raise IndexMissing(f"no finished index or alias {folder.name}: run `ragkeep nightly` to build one") from None
        key = (folder.name, made, query.workspace)
        with self._lock:
            segment = self._open.get(key)
            if segment is None:
                segment = self._opened(folder, query)
                if segment is None:
                    return None
                self._open[key] = segment
            self._open.move_to_end(key)
            while len(self._open) > _KEPT:
                self._open.popitem(last=False)
        _check_dim(query, segment.dim, folder.name)
        return segment

    def _opened(self, folder: Path, query: Query) -> Segment | None:
        version = read_json(folder / "version.json")
        if version is None:
            raise IndexMissing(f"index {folder.name} was dropped: ask for the alias, or another version")
        if version["analysis"] != VERSION:
            raise StoreError(
                f"index {folder.name} was built with text analysis {version['analysis']}, this ragkeep has "
                f"{VERSION}: run `ragkeep nightly` to build it anew"
            )
        if (made := version.get("format", 1)) != FORMAT:
            raise StoreError(
                f"index {folder.name} has files of format {made}, this ragkeep reads {FORMAT}: "
                "run `ragkeep nightly` to build it anew"
            )
        _check_dim(query, version["dim"], folder.name)
        # the wall: another workspace's rows are in another folder, and an id cannot name a path out of here
        if not is_id(query.workspace) or not (folder / "search" / query.workspace).is_dir():
            return None
        segment = Segment(folder / "search" / query.workspace)
        try:
            segment.load()
        except FileNotFoundError:
            raise IndexMissing(f"index {folder.name} was dropped while it was opened: ask again") from None
        return segment


def _check_dim(query: Query, dim: int, index: str) -> None:
    if query.vector is not None and query.vector.shape != (dim,):
        raise DimensionMismatch(
            f"index {index} takes query vectors of {dim} numbers, not of shape {query.vector.shape}: "
            "use the embedder it was built with"
        )


def check_query(query: Query, *, needs_vector: bool) -> None:
    """Refuse, with ValueError, filters that do not exist and searches that lack their vector."""
    for name in query.filters:
        if name not in FILTERS:
            raise ValueError(f"unknown filter {name!r}: choose from {', '.join(FILTERS)}")
    if needs_vector and query.vector is None:
        raise ValueError(f"a {query.mode} search needs query.vector: embed the question first, or use keyword")


def check_batch(batch: EmbeddedBatch, index: str, dim: int) -> None:
    """Refuse vectors that do not fit the version or the chunks, and names that are no ids."""
    if batch.vectors.shape != (len(batch.chunks), dim):
        raise DimensionMismatch(
            f"index {index} takes vectors of {dim} numbers, one a chunk; got {batch.vectors.shape} for "
            f"{len(batch.chunks)} chunks: was it built with another embedder?"
        )
    for chunk in batch.chunks:
        if not is_id(chunk.workspace) or not is_id(chunk.source):
            raise StoreError(
                f"chunk {chunk.id}: workspace {chunk.workspace!r} and source {chunk.source!r} must be ids "
                "(1-64 of a-z, 0-9, '-')"
            )
