"""A real OpenSearch for tests: each asks for a store whose names nobody else uses, and cleans up after itself."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from ragkeep.backends import STORES, load
from ragkeep.config import IndexParams, OpenSearchParams
from ragkeep.stores.opensearch import OpenSearchStore
from tests import services


def running() -> str:
    """Where a server runs: RAGKEEP_TEST_OPENSEARCH, or one that is started; skips the test where that cannot be."""
    return os.environ.get("RAGKEEP_TEST_OPENSEARCH") or services.shared_opensearch().urls[0]


@contextmanager
def own_store(**settings: Any) -> Iterator[OpenSearchStore]:
    """Open a store under a prefix of its own; its indexes are deleted in the end."""
    prefix = f"t-{uuid4().hex[:12]}"
    params = OpenSearchParams(**{"hosts": (running(),), "prefix": prefix, **settings})
    store = load(STORES, "opensearch", path=None, params=IndexParams(opensearch=params))
    try:
        yield store
    finally:
        for kind in ("index", "lost"):
            for name in store._cluster.ask("GET", f"/{prefix}-{kind}.*/_settings?filter_path=*.settings.index.uuid"):
                store._cluster.ask("DELETE", f"/{name}")
        store.close()
