"""The embedded store: a LanceDB table a version, flat files for the searches, pointer files for the aliases.

    versions/<name>/version.json   dimension, text analysis and file format, written by create
                    table/         LanceDB: every row, written by write
                    search/        one segment a workspace, made from the table by finish
                    receipt.json   written last, by seal: without it the version is an unfinished build
    aliases/<alias>.json           which version is live

Searching touches only `search/`: importing lancedb costs seconds of CPU and its unindexed scan ten times the
arithmetic (docs/adr/0002-store.md). The importing of lancedb starts threads: do not fork a process that has written.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..analysis import VERSION
from ..config import IndexParams, is_id
from ..errors import IndexExists, IndexLive, IndexMissing, ReceiptMismatch, StoreError
from ..files import fsync_dir, read_json, write_json
from ..types import Chunk, EmbeddedBatch, Hit, IndexVersion, Legs, Query, ids_digest
from .durable import Claim, drop_torn_manifests, sync_tree
from .reading import Reader, check_batch, check_query
from .segment import FORMAT, Segment


def open_store(path: Path, params: IndexParams | None = None) -> LanceStore:  # noqa: ARG001 - every store's factory
    """Open the store under a folder; nothing is created or read before it is needed."""
    return LanceStore(path)


class LanceStore:
    """See `ports.VectorStore`. Reading is safe from any thread and process; one process builds a version."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._claims: dict[str, Claim] = {}
        self._known: dict[str, set[str]] = {}
        self._synced: set[Path] = set()
        self._reader = Reader()

    # --- building -----------------------------------------------------------------------------

    def create(self, index: str, *, dim: int) -> None:
        """See `ports.VectorStore.create`; sweeps away builds that were killed."""
        folder = self._folder(index)
        self._sweep()
        claim = Claim.take(folder)
        if claim is None or (folder / "version.json").exists():
            raise IndexExists(f"index {index} exists in {self._path}: choose another name, or drop it first")
        self._claims[index], self._known[index] = claim, set()
        write_json(folder / "version.json", {"dim": dim, "analysis": VERSION, "format": FORMAT})
        _create_table(folder, dim)
        self._sync(folder)

    def carry(self, index: str, *, base: str, rows: Mapping[str, str]) -> set[str]:  # noqa: ARG002 - see below
        """See `ports.VectorStore.carry`; takes nothing over: finish() reads every row anyway."""
        if not (self._folder(base) / "receipt.json").exists():
            raise IndexMissing(f"no sealed index {base} in {self._path}: carry from one that was sealed")
        self.create(index, dim=read_json(self._folder(base) / "version.json")["dim"])
        return set()

    def write(self, index: str, batch: EmbeddedBatch) -> int:
        """See `ports.VectorStore.write`."""
        folder = self._unsealed(index)
        check_batch(batch, index, read_json(folder / "version.json")["dim"])
        known = self._known.setdefault(index, set())
        fresh: dict[str, int] = {}
        for row, chunk in enumerate(batch.chunks):
            if chunk.id not in known:
                fresh.setdefault(chunk.id, row)
        if not fresh:
            return 0
        shutil.rmtree(folder / "search", ignore_errors=True)
        rows = list(fresh.values())
        _append(folder, [batch.chunks[row] for row in rows], batch.vectors[rows])
        self._sync(folder)
        known.update(fresh)
        return len(fresh)

    def finish(self, index: str) -> None:
        """See `ports.VectorStore.finish`."""
        from .segment_build import build_segments

        folder = self._folder(index)
        self._require(index)
        if (folder / "search").exists():
            return
        new = folder / "search.tmp"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        dim = read_json(folder / "version.json")["dim"]
        build_segments(new, dim=dim, keys=_keys(folder), batches=_batches(folder))
        sync_tree(new, set())
        new.rename(folder / "search")
        fsync_dir(folder)

    def ids(self, index: str) -> Iterable[str]:
        """See `ports.VectorStore.ids`; read from the search files where they are, which costs no import of lancedb."""
        self._require(index)
        folder = self._folder(index)
        if (folder / "search").is_dir():
            return chain.from_iterable(Segment(part).ids() for part in sorted((folder / "search").iterdir()))
        return (chunk_id for _, chunk_id in _keys(folder))

    def seal(self, version: IndexVersion) -> None:
        """See `ports.VectorStore.seal`."""
        folder = self._folder(version.name)
        self._require(version.name)
        ids = [chunk_id for _, chunk_id in _keys(folder)]
        if len(ids) != version.chunks or ids_digest(ids) != version.digest:
            raise ReceiptMismatch(
                f"index {version.name} holds {len(ids)} chunks with digest {ids_digest(ids)}, its receipt says "
                f"{version.chunks} with {version.digest}: drop it and build again"
            )
        if not (folder / "search").is_dir():
            raise StoreError(f"index {version.name} cannot be sealed before finish(): it could not be searched")
        self._sync(folder)
        write_json(folder / "receipt.json", dataclasses.asdict(version))
        self._release(version.name)

    def close(self) -> None:
        """Give up the versions being built; another process may go on with them, or sweep them away."""
        for index in list(self._claims):
            self._release(index)

    # --- aliases and versions -----------------------------------------------------------------

    def swap(self, alias: str, index: str | None) -> str | None:
        """See `ports.VectorStore.swap`."""
        with self._aliases():
            if index is not None and self._receipt(index) is None:
                raise IndexMissing(f"no sealed index {index} in {self._path}: build and seal it before it goes live")
            before = self.live(alias)
            write_json(self._pointer(alias), {"index": index})
        return before

    def live(self, alias: str) -> str | None:
        """See `ports.VectorStore.live`."""
        pointer = read_json(self._pointer(alias)) if is_id(alias) else None
        return pointer["index"] if pointer else None

    def versions(self, alias: str) -> list[IndexVersion]:
        """See `ports.VectorStore.versions`."""
        receipts = [self._receipt(folder.name) for folder in self._version_folders()]
        found = [receipt for receipt in receipts if receipt is not None and receipt.alias == alias]
        live = self.live(alias)
        found.sort(key=lambda version: (version.built_at, version.name), reverse=True)
        return sorted(found, key=lambda version: version.name != live)

    def drop(self, index: str) -> None:
        """See `ports.VectorStore.drop`."""
        folder = self._folder(index)
        with self._aliases():
            sealed = (folder / "receipt.json").exists()
            for pointer in sorted((self._path / "aliases").glob("*.json")):
                if sealed and self.live(pointer.stem) == index:
                    raise IndexLive(f"index {index} is live as {pointer.stem}: swap the alias first")
            (folder / "receipt.json").unlink(missing_ok=True)
        self._release(index)
        _remove(folder)
        self._sweep()

    # --- searching ----------------------------------------------------------------------------

    def search(self, index: str, query: Query) -> list[Hit]:
        """See `ports.Searcher.search`."""
        check_query(query, needs_vector=query.mode != "keyword")
        segment = self._reader.segment(lambda: self._folder(self.live(index) or index), query)
        return segment.search(query) if segment else []

    def legs(self, index: str, query: Query) -> Legs:
        """See `ports.VectorStore.legs`."""
        check_query(query, needs_vector=True)
        segment = self._reader.segment(lambda: self._folder(self.live(index) or index), query)
        return segment.legs(query) if segment else Legs((), np.zeros(0, np.float32), np.zeros(0, np.float32))

    # --- files --------------------------------------------------------------------------------

    def _folder(self, index: str) -> Path:
        if not is_id(index):
            raise IndexMissing(f"no index {index!r}: names are 1-64 of a-z, 0-9 and '-'")
        return self._path / "versions" / index

    def _pointer(self, alias: str) -> Path:
        if not is_id(alias):
            raise StoreError(f"alias {alias!r} must be 1-64 of a-z, 0-9 and '-': it names a file")
        return self._path / "aliases" / f"{alias}.json"

    def _require(self, index: str) -> None:
        if not (self._folder(index) / "version.json").exists():
            raise IndexMissing(f"no index {index} in {self._path}: create it first")

    def _unsealed(self, index: str) -> Path:
        self._require(index)
        folder = self._folder(index)
        if (folder / "receipt.json").exists():
            raise StoreError(f"index {index} is sealed: build a new version instead of writing to it")
        if index not in self._claims:
            claim = Claim.take(folder)
            if claim is None:
                raise StoreError(f"index {index} is being built by another process: wait for it, or stop it")
            self._claims[index] = claim
            drop_torn_manifests(folder / "table")
            self._known[index] = {chunk_id for _, chunk_id in _keys(folder)}
        return folder

    def _receipt(self, index: str) -> IndexVersion | None:
        found = read_json(self._folder(index) / "receipt.json")
        return IndexVersion(**found) if found else None

    def _version_folders(self) -> Iterator[Path]:
        yield from sorted(f for f in (self._path / "versions").glob("*") if is_id(f.name))

    def _sweep(self) -> None:
        """Remove builds whose process is gone, and what a killed drop left."""
        for folder in (self._path / "versions").glob(".dropped-*"):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self._version_folders():
            if not (folder / "receipt.json").exists() and folder.name not in self._claims:
                claim = Claim.take(folder)
                if claim is not None:
                    _remove(folder)
                    claim.release()

    def _release(self, index: str) -> None:
        self._known.pop(index, None)
        claim = self._claims.pop(index, None)
        if claim is not None:
            claim.release()

    def _sync(self, folder: Path) -> None:
        sync_tree(folder, self._synced)
        fsync_dir(folder.parent)
        fsync_dir(self._path)

    @contextmanager
    def _aliases(self) -> Iterator[None]:
        """Hold the aliases still: swap and drop look at them and then act."""
        folder = self._path / "aliases"
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _remove(folder: Path) -> None:
    """Take a version away at once, then its files: nobody finds half of one."""
    gone = folder.parent / f".dropped-{folder.name}-{os.getpid()}"
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone, ignore_errors=True)


def _create_table(folder: Path, dim: int) -> None:
    import lancedb
    import pyarrow as pa

    from ..tables import CHUNKS

    schema = CHUNKS.append(pa.field("vector", pa.list_(pa.float32(), dim)))
    lancedb.connect(folder / "table").create_table("chunks", schema=schema)


def _open_table(folder: Path) -> Any:
    import lancedb

    return lancedb.connect(folder / "table").open_table("chunks")


def _append(folder: Path, chunks: Sequence[Chunk], vectors: Any) -> None:
    from ..tables import chunks_table, vectors_column

    _open_table(folder).add(chunks_table(chunks).append_column("vector", vectors_column(vectors)))


def _keys(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield (workspace, chunk id) of every row."""
    for batch in _open_table(folder).search().select(["workspace", "id"]).to_batches(8192):
        yield from zip(batch["workspace"].to_pylist(), batch["id"].to_pylist(), strict=True)


def _batches(folder: Path) -> Iterator[EmbeddedBatch]:
    """Yield every row again, a batch at a time."""
    from ..tables import row_chunk

    for batch in _open_table(folder).search().to_batches(1024):
        column = batch["vector"]
        vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
        rows = batch.drop_columns(["vector"]).to_pylist()
        yield EmbeddedBatch(tuple(row_chunk(row) for row in rows), vectors)
