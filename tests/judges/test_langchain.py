"""An outside judge: LangChain's standard tests for vector stores and retrievers, on every store with a server or a disk.

None of them is skipped or expected to fail.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ragkeep import ports
from ragkeep.backends import STORES, load

pytest.importorskip("langchain_tests", reason="LangChain's standard tests are in the package langchain-tests")
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests, VectorStoreIntegrationTests

from tests.judges.langchain_store import RagkeepRetriever, RagkeepVectorStore

pytestmark = pytest.mark.anyio
JUDGED = sorted(STORES.keys() - {"memory"})
SERVERS = {"opensearch": "tests.stores.clusters", "pgvector": "tests.stores.databases"}


@contextmanager
def opened(name: str, path: Path) -> Iterator[ports.VectorStore]:
    """Open an empty store, under names of its own where it is on a server."""
    if name in SERVERS:
        with importlib.import_module(SERVERS[name]).own_store() as made:
            yield made
    else:
        yield load(STORES, name, path=path)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


class TestVectorStore(VectorStoreIntegrationTests):
    @pytest.fixture(params=JUDGED)
    def vectorstore(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RagkeepVectorStore]:
        with opened(request.param, tmp_path) as store:
            yield RagkeepVectorStore(store, self.get_embeddings())


@pytest.fixture(scope="module", params=JUDGED)
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RagkeepVectorStore]:
    with opened(request.param, tmp_path_factory.mktemp("store")) as store:
        made = RagkeepVectorStore(store, VectorStoreIntegrationTests.get_embeddings())
        made.add_documents([Document(page_content=f"alpha beta number {i}") for i in range(6)])
        yield made


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _store(self, filled: RagkeepVectorStore) -> None:
        self.store = filled

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return RagkeepRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": self.store}

    @property
    def retriever_query_example(self) -> str:
        return "alpha number 3"
