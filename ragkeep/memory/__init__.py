"""What was said before, so that a later question can lean on it.

`buffer.py` says what of a conversation is told, `tiers.py` where it is kept and for how long; the tiers are one backend a
file. `serve.memory.tiers` in params.yaml names them: the first keeps a session for `hours`, one in the middle for `days`,
the last for good. `[sqlite]` alone is all three in one file.
"""

from __future__ import annotations

from typing import cast

from ..backends import TIERS, load
from ..config import Paths
from ..database import Database
from ..ports import Memory
from ..serving.params import MemoryParams
from .journal import Journal
from .tier import Tier
from .tier import session_name as session_name
from .tiers import TieredMemory

__all__ = ["open_memory", "session_name"]


def open_memory(params: MemoryParams, paths: Paths) -> Memory:
    """Open the memory of a server; a tier that is down is no error. Raises ConfigError, MissingExtra, StoreError."""
    database = Database(paths.state / "memory.sqlite")
    return TieredMemory(_tiers(params, database), Journal(database), buffer_tokens=params.buffer_tokens)


def _tiers(params: MemoryParams, database: Database) -> list[Tier]:
    alone = params.tiers == ("sqlite",)
    backends = params.tiers * 3 if alone else params.tiers
    names = ("hot", "warm", "cold") if alone else params.tiers
    lasts = (*(3600 * params.hours, 86_400 * params.days)[: len(backends) - 1], None)
    return [
        cast(Tier, load(TIERS, backend, params=params, database=database, name=name, ttl_s=ttl_s))
        for backend, name, ttl_s in zip(backends, names, lasts, strict=True)
    ]
