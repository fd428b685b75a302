"""An index beside each sealed segment: sorted (key of the answer id, offset of the frame), so that nothing is scanned.

It begins with a CRC-32 and the segment's digest, and is made again where either does not fit.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROW = np.dtype([("key", "<u8"), ("offset", "<u8")])
_HEAD = 36


def write_index(sealed: Path, digest: bytes, places: Iterable[tuple[int, int]]) -> NDArray[np.void]:
    """Keep (answer key, offset) sorted beside a sealed segment; a failure is none, it is made again when wanted."""
    rows = np.array([p for p in places if p[0]], ROW)
    rows.sort(order=["key", "offset"])
    body = digest + rows.tobytes()
    new = sealed.with_suffix(".idx.tmp")
    try:
        new.write_bytes(zlib.crc32(body).to_bytes(4, "little") + body)
        new.replace(sealed.with_suffix(".idx"))
    except OSError:
        new.unlink(missing_ok=True)
    return rows


def read_index(sealed: Path, digest: bytes, places: Callable[[], Iterable[tuple[int, int]]]) -> NDArray[np.void]:
    """Read the index of a sealed segment, made again from its `places` where it is missing, damaged or of other bytes."""
    try:
        data = sealed.with_suffix(".idx").read_bytes()
    except FileNotFoundError:
        data = b""
    if data[4:_HEAD] == digest and zlib.crc32(memoryview(data)[4:]) == int.from_bytes(data[:4], "little"):
        return np.frombuffer(data, ROW, offset=_HEAD)
    return write_index(sealed, digest, places())


def places_of(rows: NDArray[np.void], key: int) -> list[int]:
    """Look up the offsets of one answer's frames."""
    low = np.searchsorted(rows["key"], np.uint64(key))
    high = np.searchsorted(rows["key"], np.uint64(key), side="right")
    return [int(at) for at in rows["offset"][low:high]]
