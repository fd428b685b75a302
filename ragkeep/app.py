"""The release that answers, opened: `with open_release(paths, params) as assistant: assistant.ask("...")`.

What the command line, the canary and the server share. It follows the champion pointer, opens exactly the index
version the release names, with exactly the embedder that built it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from . import prompts
from .answer import Asked, respond
from .config import AnswerParams, EmbedParams, Params, Paths, RetrieveParams, parse
from .embedders import load_embedder
from .errors import ConfigError
from .generators import open_generators
from .generators.resilient import Record, Resilient
from .glossary import Glossary, glossaries
from .learned import parts_of, verify_part
from .live import LiveView
from .ports import Embedder, Generator, Reranker, VectorStore
from .releases import require_champion
from .rerank import open_reranker
from .retrieve import make_retriever
from .route import fusion_for, route
from .stores import open_store
from .tools import Ability
from .tools import search as searching
from .tracing import span
from .types import Answer, Hit, Mode, Query, Release, Vectors, content_id


@dataclass(frozen=True)
class Assistant:
    """A release with its parts loaded; `live`, where there is one, holds what was uploaded since its index was built."""

    release: Release
    store: VectorStore
    embedder: Embedder
    generators: tuple[Generator, ...]
    answering: Resilient
    retrieval: RetrieveParams
    answer: AnswerParams
    reranker: Reranker | None = None
    live: LiveView | None = None

    def generator_named(self, name: str) -> Generator:
        """Return the generator a client asked for, followed by the others; for "" in their own order.

        Raises ConfigError on an unknown name.
        """
        return self.answering.starting_with(self.single(name).name) if name else self.answering

    def single(self, name: str) -> Generator:
        """Return one generator alone. Raises ConfigError on an unknown name."""
        for generator in self.generators:
            if name == generator.name:
                return generator
        raise ConfigError(f"there is no model {name!r} here; there are: {', '.join(self.answering.names)}")

    @cached_property
    def prompt_sha(self) -> str:
        """The hash of what a prompt is made by."""
        return content_id(prompts.RULES, repr(self.answer), repr(self.retrieval))

    def cache_key(self, asked: Asked) -> tuple[Any, ...]:
        """All an answer depends on besides the question."""
        live = self.live.state(asked.workspace) if self.live else ""
        return (
            asked.workspace, asked.rights, self.release.sha, self.release.number, live,
            self.generator_named(asked.model).name, self.prompt_sha, asked.mode, asked.k,
            tuple(sorted(asked.filters.items())), asked.sampling, asked.trusted, content_id(repr(asked.history)),
        )  # fmt: skip

    @cached_property
    def glossary(self) -> Callable[[str], Glossary]:
        """Workspace -> what its questions say, in the documents' words."""
        return glossaries(self.retrieval)

    async def embed_query(self, text: str) -> Vectors:
        """Embed a question: float32 (dim,)."""
        model = self.embedder.name
        about = {"gen_ai.operation.name": "embeddings", "gen_ai.request.model": model}
        with span(f"embeddings {model}", **about):
            vectors = await asyncio.to_thread(self.embedder.embed, [text], role="query")
        one: Vectors = vectors[0]
        return one

    async def retrieve(self, text: str, vector: Vectors, asked: Asked) -> list[Hit]:
        """Return the best chunks for an embedded question, best first."""
        query = self._query(text, vector, asked.mode, asked.k, asked.workspace, asked.filters)
        index = self.release.index
        about = {"gen_ai.operation.name": "retrieval", "gen_ai.data_source.id": index.name, "db.system.name": index.store}
        taken = route(text)
        with span(f"retrieval {index.name}", **about, mode=asked.mode, route=taken, k=query.k) as here:
            found = await asyncio.to_thread(self.find, query)
            here.set(hits=len(found), best_score=found[0].score if found else 0.0)
        return found

    def abilities(self, asked: Asked) -> list[Ability]:
        """Return the tools a generator may use for this question: none unless params.yaml names them."""
        tools = self.answer.tools
        made = []
        if tools.search:
            made.append(searching(lambda text: self.search(text, workspace=asked.workspace, filters=asked.filters)))
        if asked.trusted and tools.files:
            from .tools_files import files

            made += [ability for root in tools.files for ability in files(Path(root))]
        if asked.trusted and tools.aws:
            from .tools_aws import aws_reader

            made.append(aws_reader(tools.aws, region=tools.aws_region))
        return made

    def search(
        self,
        text: str,
        *,
        mode: Mode = "hybrid",
        k: int | None = None,
        workspace: str = "default",
        filters: dict[str, str] | None = None,
    ) -> list[Hit]:
        """Return the best chunks of one workspace, best first."""
        text = self.glossary(workspace).apply(text)
        vector = None if mode == "keyword" else self.embedder.embed([text], role="query")[0]
        return self.find(self._query(text, vector, mode, k, workspace, filters or {}))

    def _query(
        self, text: str, vector: Vectors | None, mode: Mode, k: int | None, workspace: str, filters: dict[str, str]
    ) -> Query:
        k = k or self.retrieval.k
        return Query(
            text, vector, k=k, mode=mode, workspace=workspace, filters=filters,
            fusion=fusion_for(text, self.release.fusion), candidates=max(self.retrieval.candidates, k),
        )  # fmt: skip

    def find(self, query: Query) -> list[Hit]:
        """Ask the release's index, and what was uploaded since."""
        index = self.release.index.name
        if self.live is None:
            return self.store.search(index, query)
        return self.live.search(self.store, index, query)

    def ask(self, question: str, *, workspace: str = "default") -> Answer:
        """Answer with citations, or say that the documents do not hold the answer."""
        return asyncio.run(self._ask(Asked(question, workspace=workspace)))

    async def _ask(self, asked: Asked) -> Answer:
        async for part in respond(asked, self):
            last = part
        if not isinstance(last, Answer):
            raise RuntimeError("respond ended without an Answer")
        return last


@contextmanager
def open_release(paths: Paths, params: Params, *, release: Release | None = None) -> Iterator[Assistant]:
    """Open the champion, or the release given. Raises ReleaseError when nothing is published yet."""
    yield load_release(paths, params, release or require_champion(paths))


def load_release(paths: Paths, params: Params, release: Release, *, record: Record | None = None) -> Assistant:
    """Load a release's parts; `record` is told of every try of a generator.

    Raises StoreError when its embedder is not the one that built its index, ModelError when weights it was learned with
    are not those any more.
    """
    own = release_params(params, release)
    for part in parts_of(release.serving.get("learned", [])):
        if part.sha256:
            verify_part(part, paths.cache)
    embedder = load_embedder(own.embed, paths.cache)
    store = open_store(own.index, paths)
    make_retriever(store, embedder, release.index)  # refuses an embedder that is not the index's
    generators = open_generators(own.answer, embedder, cache=paths.cache)
    return Assistant(
        release=release, store=store, embedder=embedder, generators=generators,
        answering=Resilient(generators, deadline_s=own.answer.deadline_s, record=record),
        retrieval=own.retrieve, answer=own.answer,
        reranker=open_reranker(own.retrieve.rerank, paths.cache),
    )  # fmt: skip


def release_params(params: Params, release: Release) -> Params:
    """Put the release's own store, embedder, retrieval and answering in place of today's."""
    return replace(
        params,
        index=replace(params.index, backend=release.index.store),
        embed=parse(EmbedParams, release.serving["embed"], "release.embed"),
        retrieve=parse(RetrieveParams, release.serving["retrieve"], "release.retrieve"),
        answer=parse(AnswerParams, release.serving["answer"], "release.answer"),
    )
