"""A question to its hits: embed it with the index's own embedder, search, fuse.

retrieve = make_retriever(store, embedder, version, k=10)
hits = retrieve("How do I parse JSON?")
"""

from __future__ import annotations

from collections.abc import Callable

from .errors import StoreError
from .glossary import NONE, Glossary
from .ports import Embedder, Searcher
from .route import fusion_for
from .types import Fusion, Hit, IndexVersion, Mode, Query

Retriever = Callable[[str], list[Hit]]
"""A question to its hits, best first."""


def make_retriever(
    store: Searcher,
    embedder: Embedder,
    index: IndexVersion,
    *,
    k: int = 10,
    mode: Mode = "hybrid",
    workspace: str = "default",
    fusion: Fusion | None = None,
    candidates: int = 100,
    glossary: Glossary = NONE,
) -> Retriever:
    """Bind a store and an embedder to one index version and one workspace.

    Only that version is asked, whatever the alias says meanwhile. A keyword search embeds nothing. Questions about code
    are mixed by the fusion's weight for code. Raises StoreError when the embedder is not the one the version was built
    with.
    """
    if embedder.fingerprint != index.embedder:
        raise StoreError(
            f"index {index.name} was built with embedder {index.embedder}, not {embedder.fingerprint}: "
            "set embed in params.yaml back, or run `ragkeep nightly` to build a new index"
        )

    def retrieve(question: str) -> list[Hit]:
        question = glossary.apply(question)
        vector = None if mode == "keyword" else embedder.embed([question], role="query")[0]
        query = Query(
            question,
            vector=vector,
            k=k,
            mode=mode,
            workspace=workspace,
            fusion=fusion_for(question, fusion or Fusion()),
            candidates=max(candidates, k),
        )
        return store.search(index.name, query)

    return retrieve
