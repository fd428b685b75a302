"""Vectors by the hash of their text, so that nothing is embedded twice: one SQLite file for each embedder fingerprint.

It is a cache: it may be deleted at any time, a damaged file is started afresh and a damaged row is a miss. WAL with
NORMAL loses the last commits in a power cut and never the file's consistency, which is what a cache needs.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from .types import Vectors, content_id

log = logging.getLogger(__name__)
_BATCH = 500


def text_key(text: str) -> bytes:
    """Sixteen bytes that name a text."""
    return blake3(text.encode("utf-8", "surrogatepass")).digest(16)


def cache_path(folder: Path, fingerprint: str, dim: int) -> Path:
    """Name the file that holds the vectors of one embedder."""
    return folder / f"vectors-{content_id(fingerprint, str(dim))}.sqlite"


def other_caches(folder: Path, kept: set[tuple[str, int]]) -> list[Path]:
    """List the files, SQLite's own beside each included, of every embedder but those kept: (fingerprint, dim)."""
    names = {cache_path(folder, fingerprint, dim).name for fingerprint, dim in kept}
    return sorted(p for p in folder.glob("vectors-*.sqlite*") if f"{p.name.partition('.sqlite')[0]}.sqlite" not in names)


class VectorCache:
    """Look up and keep vectors of one fingerprint; safe between processes, one thread at a time in each."""

    def __init__(self, folder: Path, fingerprint: str, dim: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = cache_path(folder, fingerprint, dim)
        self.dim = dim
        try:
            self._db = self._open()
        except sqlite3.DatabaseError as error:
            self._start_afresh(error)

    def get_many(self, keys: Sequence[bytes]) -> tuple[Vectors, NDArray[np.bool_]]:
        """Return float32 (n, dim) and which rows were found; the others are zeros."""
        out = np.zeros((len(keys), self.dim), np.float32)
        found = np.zeros(len(keys), np.bool_)
        places: dict[bytes, list[int]] = {}
        for place, key in enumerate(keys):
            places.setdefault(key, []).append(place)
        try:
            for key, value in self._rows(list(places)):
                vector = _unpack(value, self.dim)
                if vector is not None:
                    for place in places[key]:
                        out[place] = vector
                        found[place] = True
        except sqlite3.DatabaseError as error:
            self._start_afresh(error)
        return out, found

    def put_many(self, keys: Sequence[bytes], vectors: Vectors) -> None:
        """Keep vectors, shape (n, dim); a key already present is replaced."""
        rows = [(key, _pack(vector)) for key, vector in zip(keys, vectors, strict=True)]
        try:
            self._insert(rows)
        except sqlite3.DatabaseError as error:
            self._start_afresh(error)
            self._insert(rows)

    def close(self) -> None:
        """Close the file; what was put is kept."""
        self._db.close()

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=30.0)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA mmap_size=4294967296")
            db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, value BLOB NOT NULL)")
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db

    def _start_afresh(self, error: sqlite3.DatabaseError) -> None:
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
            raise error  # locked, full disk, no permission: the file itself is sound
        log.warning("%s is damaged (%s): starting it afresh", self.path, error)
        with contextlib.suppress(AttributeError, sqlite3.Error):
            self._db.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        self._db = self._open()

    def _insert(self, rows: list[tuple[bytes, bytes]]) -> None:
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)

    def _rows(self, keys: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        for begin in range(0, len(keys), _BATCH):
            some = keys[begin : begin + _BATCH]
            marks = ",".join("?" * len(some))
            yield from self._db.execute(f"SELECT key, value FROM vectors WHERE key IN ({marks})", some)  # noqa: S608


def _pack(vector: Vectors) -> bytes:
    data = np.asarray(vector, "<f4").tobytes()
    return data + zlib.crc32(data).to_bytes(4, "little")


def _unpack(value: bytes, dim: int) -> Vectors | None:
    """The vector of a row, None where the row is not what was put."""
    if not isinstance(value, bytes) or len(value) != dim * 4 + 4:
        return None
    if zlib.crc32(memoryview(value)[:-4]) != int.from_bytes(value[-4:], "little"):
        return None
    return np.frombuffer(value, "<f4", dim)
