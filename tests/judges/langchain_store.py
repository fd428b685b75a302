"""Any ragkeep store as LangChain sees one, for its own tests to judge.

Nothing is kept here. A ragkeep version is written once, so whoever adds or deletes builds the next one from what the
live one answers, and swaps; reading is one search.
"""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import uuid4

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore

from ragkeep import ports
from ragkeep.types import Chunk, EmbeddedBatch, IndexVersion, Query, Vectors, content_id, ids_digest

ALIAS = "judged"
ALL = 1000


def chunk(document: Document) -> Chunk:
    """LangChain's id is our uri, its metadata ours; equal texts of two documents are two chunks."""
    assert document.id is not None
    text = document.page_content
    return Chunk(
        id=content_id(document.id, text), document_id=document.id, uri=document.id, source="langchain",
        workspace="default", text=text, span=(0, len(text)), lines=(1, 1), kind="prose", language="en",
        meta=document.metadata,
    )  # fmt: skip


def document(found: Chunk) -> Document:
    return Document(id=found.uri, page_content=found.text, metadata=found.meta)


class RagkeepVectorStore(VectorStore):
    """LangChain's vector store over one of ours."""

    def __init__(self, store: ports.VectorStore, embeddings: Embeddings) -> None:
        self._store, self._embeddings = store, embeddings

    def add_texts(
        self, texts: Iterable[str], metadatas: list[dict[str, Any]] | None = None, *, ids: Any = None, **_: Any
    ) -> list[str]:
        given = list(texts)
        names = [name or uuid4().hex for name in ids or [None] * len(given)]
        added = [
            Document(id=name, page_content=text, metadata=meta)
            for name, text, meta in zip(names, given, metadatas or [{}] * len(given), strict=True)
        ]
        self._publish({one.id: one for one in [*self._everything(), *added]}.values())
        return names

    def delete(self, ids: list[str] | None = None, **_: Any) -> bool:
        self._publish([one for one in self._everything() if ids is not None and one.id not in ids])
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        return [one for name in ids for one in self._search("", k=1, mode="vector", filters={"uri": name})]

    def similarity_search(self, query: str, k: int = 4, **_: Any) -> list[Document]:
        return self._search(query, k=k, mode="vector")

    def hybrid_search(self, query: str, k: int) -> list[Document]:
        return self._search(query, k=k, mode="hybrid")

    @classmethod
    def from_texts(
        cls, texts: list[str], embedding: Embeddings, metadatas: Any = None, *, ids: Any = None, **kwargs: Any
    ) -> "RagkeepVectorStore":
        made = cls(kwargs["store"], embedding)
        made.add_texts(texts, metadatas, ids=ids)
        return made

    def _everything(self) -> list[Document]:
        return self._search("", k=ALL, mode="vector")

    def _search(self, text: str, **asked: Any) -> list[Document]:
        if self._store.live(ALIAS) is None:
            return []
        query = Query(text, vector=self._vectors([text])[0], **asked)
        return [document(hit.chunk) for hit in self._store.search(ALIAS, query)]

    def _vectors(self, texts: list[str]) -> Vectors:
        made = np.array(self._embeddings.embed_documents(texts), np.float32).reshape(len(texts), -1)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    def _publish(self, documents: Iterable[Document]) -> None:
        """Build the next version and swap it in."""
        chunks = tuple(map(chunk, documents))
        dim = self._vectors([""]).shape[1]
        vectors = self._vectors([one.text for one in chunks]) if chunks else np.empty((0, dim), np.float32)
        name = f"{ALIAS}-{uuid4().hex[:16]}"
        self._store.create(name, dim=dim)
        self._store.write(name, EmbeddedBatch(chunks, vectors))
        self._store.finish(name)
        ids = list(self._store.ids(name))
        self._store.seal(IndexVersion(name, ALIAS, "judged", "langchain/1", dim, len(ids), ids_digest(ids)))
        if before := self._store.swap(ALIAS, name):
            self._store.drop(before)


class RagkeepRetriever(BaseRetriever):
    """LangChain's retriever over one of ours: hybrid search."""

    store: RagkeepVectorStore
    k: int = 4

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return self.store.hybrid_search(query, k or self.k)
