"""What was said before, so that a later question can lean on it."""

from __future__ import annotations

from ..config import Paths
from ..ports import Memory
from ..serving.params import MemoryParams
from .sqlite import SqliteMemory


def open_memory(params: MemoryParams, paths: Paths) -> Memory:
    """Open the memory of a server."""
    return SqliteMemory(paths.state / "memory.sqlite", params)
