"""The release that answers now, opened: `with open_release(paths, params) as assistant: assistant.ask("...")`.

What the command line, the canary and (later) the server share. It follows the champion pointer, opens exactly the index
version the release names, with exactly the embedder that built it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .answer import answer_sync
from .config import AnswerParams, EmbedParams, Params, Paths, RetrieveParams, parse
from .embedders import load_embedder
from .generators import open_generators
from .ports import Embedder, Generator, VectorStore
from .releases import require_champion
from .retrieve import make_retriever
from .stores import open_store
from .types import Answer, Hit, Mode, Release


@dataclass(frozen=True, slots=True)
class Assistant:
    """A release with its parts loaded."""

    release: Release
    store: VectorStore
    embedder: Embedder
    generator: Generator
    retrieve: RetrieveParams
    answer: AnswerParams

    def search(self, text: str, *, mode: Mode = "hybrid", k: int | None = None, workspace: str = "default") -> list[Hit]:
        """Return the best chunks of one workspace, best first."""
        retriever = make_retriever(
            self.store,
            self.embedder,
            self.release.index,
            k=k or self.retrieve.k,
            mode=mode,
            workspace=workspace,
            fusion=self.release.fusion,
            candidates=self.retrieve.candidates,
        )
        return retriever(text)

    def ask(self, question: str, *, workspace: str = "default") -> Answer:
        """Answer with citations, or say that the documents do not hold the answer."""
        return answer_sync(
            question,
            lambda q: self.search(q, workspace=workspace),
            self.generator,
            params=self.answer,
            release=str(self.release.number),
        )


@contextmanager
def open_release(paths: Paths, params: Params, *, release: Release | None = None) -> Iterator[Assistant]:
    """Open the champion, or the release given. Raises ReleaseError when nothing is published yet."""
    chosen = release or require_champion(paths)
    own = release_params(params, chosen)
    embedder = load_embedder(own.embed, paths.cache)
    yield Assistant(
        release=chosen,
        store=open_store(own.index, paths),
        embedder=embedder,
        generator=open_generators(own.answer, embedder)[0],
        retrieve=own.retrieve,
        answer=own.answer,
    )


def release_params(params: Params, release: Release) -> Params:
    """Put the release's own store, embedder, retrieval and answering in place of today's."""
    return replace(
        params,
        index=replace(params.index, backend=release.index.store),
        embed=parse(EmbedParams, release.serving["embed"], "release.embed"),
        retrieve=parse(RetrieveParams, release.serving["retrieve"], "release.retrieve"),
        answer=parse(AnswerParams, release.serving["answer"], "release.answer"),
    )
