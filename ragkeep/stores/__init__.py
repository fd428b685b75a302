"""One index store a file; `open_store` opens the one params.yaml names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ragkeep.backends import STORES, load

if TYPE_CHECKING:
    from ragkeep.config import IndexParams, Paths
    from ragkeep.ports import VectorStore


def open_store(params: IndexParams, paths: Paths) -> VectorStore:
    """Open the store of `index.backend`; the embedded ones live under `<state>/store`, others where `params` says."""
    store: VectorStore = load(STORES, params.backend, path=paths.store, params=params)
    return store
