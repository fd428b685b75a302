"""Every store of ragkeep/backends.STORES, each empty, on its real server where it has one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ragkeep.backends import STORES, load
from ragkeep.ports import VectorStore
from tests.stores import clusters, databases


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    servers = {"opensearch": clusters.own_store, "pgvector": databases.own_store}
    if request.param in servers:
        with servers[request.param]() as made:
            yield made
    else:
        yield load(STORES, request.param, path=tmp_path)
