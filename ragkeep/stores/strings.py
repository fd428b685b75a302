"""Sorted byte strings in a file: found by bisection, opened without reading them."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def encoded(text: str) -> bytes:
    """Spell a string as bytes whose order is that of the code points; any str has some."""
    return text.encode("utf-8", "surrogatepass")


def write_strings(path: Path, values: Sequence[bytes]) -> None:
    """Write sorted, distinct strings to `<path>.bin`, and where each starts to `<path>.npy`: int64 (n + 1,)."""
    ends = np.cumsum([0, *map(len, values)], dtype=np.int64)
    np.save(path.with_suffix(".npy"), ends)
    path.with_suffix(".bin").write_bytes(b"".join(values))


class Strings:
    """The strings under `path`, mapped into memory when first needed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _bounds(self) -> NDArray[np.int64]:
        bounds: NDArray[np.int64] = np.load(self._path.with_suffix(".npy"), mmap_mode="r")
        return bounds

    @cached_property
    def _data(self) -> bytes | memoryview:
        return mapped(self._path.with_suffix(".bin"))

    def load(self) -> None:
        """Map both files now."""
        _ = self._bounds, self._data

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, i: int) -> bytes:
        return bytes(self._data[self._bounds[i] : self._bounds[i + 1]])

    def find(self, value: bytes) -> int:
        """Return the position of a string, -1 where it is not."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self[middle] < value:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self[low] == value else -1


def mapped(path: Path) -> bytes | memoryview:
    """Map a file read-only; an empty one, which cannot be mapped, is empty bytes."""
    if not path.stat().st_size:
        return b""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
