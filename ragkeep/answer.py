"""A question is answered: guard, cache, rewrite, retrieve, rerank, prompt, generate, cite, check. Read this first.

async for part in respond(Asked("How do I parse JSON?"), assistant): ...     # Sources, pieces of text, then the Answer
answer_sync("How do I parse JSON?", retrieve, generator)                     # batch work: retrieval and writing alone

Whoever asks logs what came of it: serving/chat.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from . import guard, prompts
from .citations import cite
from .config import AnswerParams, RerankParams
from .ports import Generator, Request, Reranker
from .rerank import depth, rerank
from .rewrite import standalone
from .route import route
from .tools import Ability, Done, stream_with_tools
from .tracing import span
from .types import Answer, Hit, Message, Mode, Sampling, Usage, Vectors

if TYPE_CHECKING:
    from .app import Assistant
    from .cache import AnswerCache

Retrieve = Callable[[str], list[Hit]]
"""A question to its hits, best first."""
Mix = Callable[[str, list[Hit]], Awaitable[list[Hit]]]
"""The question as it was searched and what was found for it, best first, to what is shown instead."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and all of the request that its answer may depend on. None and "" leave it to the release.

    `rights` tells callers apart who may not see the same; `history` is what was said before, oldest first; `trusted`
    callers may have tools used that reach beyond the documents.
    """

    question: str
    workspace: str = "default"
    rights: str = ""
    history: tuple[Message, ...] = ()
    model: str = ""
    mode: Mode = "hybrid"
    k: int | None = None
    filters: dict[str, str] = field(default_factory=dict)
    sampling: Sampling | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """The snippets an answer may rest on, known before its first word; `request` is what the generator is asked."""

    hits: tuple[Hit, ...]
    request: Request | None = None


Part = Sources | str | Answer


async def respond(
    asked: Asked,
    assistant: Assistant,
    *,
    cache: AnswerCache | None = None,
    mix: Mix | None = None,
    pool: Executor | None = None,
) -> AsyncGenerator[Part, None]:
    """Yield the sources, the text as it is made, and last the checked Answer, which alone counts.

    `mix` has the last word on the sources: a trial interleaves them with another release's. `pool` is where the second
    look runs: a challenger's has its own. Closing the iterator stops the work, the generator's upstream too. Errors of
    store and generator pass.
    """
    clock = _Clock()
    searched, blocked = standalone(asked.question, asked.history), assistant.answer.blocked
    worded, used = assistant.glossary(asked.workspace).put(searched)
    told = tuple(f"glossary:{entry}" for entry in used)
    with span("guard") as here:
        said = (asked.question, searched, worded)  # a follow-up leans on more, and a word may stand for another
        why = next(filter(None, (guard.refusal(text, blocked) for text in said)), None)
        here.set(refused=why is not None)
    if why is not None:
        yield Answer(why, (), abstained=True, reason=why, release=str(assistant.release.number))
        return

    vector = await assistant.embed_query(worded)
    key = assistant.cache_key(asked)
    known = _remembered(cache, key, worded, vector) if cache is not None else None
    if known is not None:
        yield Sources(known.sources)
        yield known.text
        yield replace(known, searched=searched, usage=Usage(), flags=("cached", *told), timings_ms=clock.stop("cache"))
        return
    clock.lap("embed")

    k, second = asked.k or assistant.retrieval.k, assistant.retrieval.rerank
    found = await assistant.retrieve(worded, vector, replace(asked, k=depth(second, k)))
    clock.lap("retrieve")
    best, flag = await rerank(worded, found, assistant.reranker, second, k=k, pool=pool)
    clock.lap("rerank")
    if mix is not None:
        best = await mix(searched, best)
        mixed = {hit.chunk.id for hit in best}
        found = [*best, *(hit for hit in found if hit.chunk.id not in mixed)]
        clock.lap("mix")

    params = assistant.answer if asked.sampling is None else assistant.answer.drawn(asked.sampling)
    generator = assistant.generator_named(asked.model)
    history = prompts.recent(asked.history, params.history_tokens)
    sources = prompts.fit(best, params.context_tokens)
    yield Sources(sources, Request(worded, sources, prompts.messages(worded, sources, history), vector=vector))
    abilities = assistant.abilities(asked)
    written = write(worded, sources, generator, params=params, history=history, abilities=abilities, vector=vector)
    async with aclosing(written) as parts:
        async for part in parts:
            if isinstance(part, str):
                clock.first("first_token")
                yield part
                continue
            made = replace(
                part, hits=shown(part.sources, found, k), searched=searched,
                release=str(assistant.release.number), route=route(worded),
                flags=tuple(filter(None, (flag, *told, *part.flags))), timings_ms=clock.stop("generate"),
            )  # fmt: skip
            if cache is not None:
                cache.keep(key, worded, vector, made)
            yield made


async def ranked(
    assistant: Assistant, searched: str, asked: Asked, *, pool: Executor | None = None
) -> tuple[list[Hit], list[Hit]]:
    """Search as `respond` does: what an answer would be given, best first, and with it what was found after it."""
    worded = assistant.glossary(asked.workspace).apply(searched)
    vector = await assistant.embed_query(worded)
    k, second = asked.k or assistant.retrieval.k, assistant.retrieval.rerank
    found = await assistant.retrieve(worded, vector, replace(asked, k=depth(second, k)))
    best, _ = await rerank(worded, found, assistant.reranker, second, k=k, pool=pool)
    return best, list(shown(best, found, k))


def shown(sources: Sequence[Hit], found: Sequence[Hit], k: int | None = None) -> tuple[Hit, ...]:
    """What the reader saw, all of it in its order, then what else was found, until there are `k`: rank n is source n."""
    seen = {hit.chunk.id for hit in sources}
    both = (*sources, *(hit for hit in found if hit.chunk.id not in seen))
    return both if k is None else both[: max(k, len(sources))]


async def write(
    question: str,
    sources: Sequence[Hit],
    generator: Generator,
    *,
    params: AnswerParams,
    history: Sequence[Message] = (),
    abilities: Sequence[Ability] = (),
    vector: Vectors | None = None,
) -> AsyncGenerator[str | Answer, None]:
    """Yield an answer's text over the sources as it is made, then the Answer, cited and checked.

    `vector` is the question's, where it has been embedded.
    What tools find is a source as well: its snippets are numbered on from those given.
    """
    prompt = prompts.messages(question, sources, history)
    text, usage, model = "", Usage(), generator.name
    output, calls = guard.OutputGuard(sources), list[Done]()
    if sources and question.strip():
        request = Request(question, tuple(sources), prompt, vector=vector)
        async with aclosing(stream_with_tools(generator, request, params.sampling, abilities)) as deltas:
            async for delta in deltas:
                if isinstance(delta, Done):
                    calls.append(delta)
                    sources = (*sources, *delta.hits)
                    continue
                usage, model = delta.usage or usage, delta.model or model
                text += delta.text
                if shown := output.feed(delta.text):
                    yield shown
        if shown := output.flush():
            yield shown
    shown, citations, unsupported = cite(text, sources)
    if not citations:
        shown, unsupported = prompts.NOT_FOUND, ()
        if not text:
            yield shown
    yield Answer(
        text=guard.clean(shown, sources), citations=citations, abstained=not citations, hits=tuple(sources), usage=usage,
        model=model, sources=tuple(sources), unsupported=unsupported, searched=question, prompt=prompt,
        flags=() if model == generator.name else (f"fallback:{model}",),
        calls=tuple((done.call, done.ok, done.text) for done in calls),
    )  # fmt: skip


async def answer(
    question: str,
    retrieve: Retrieve,
    generator: Generator,
    *,
    params: AnswerParams | None = None,
    second: tuple[Reranker | None, RerankParams] = (None, RerankParams()),
    k: int | None = None,
) -> Answer:
    """Retrieve, rerank (keeping at most `k`) and write; without a citation that holds: "Not in the documents."."""
    params = params or AnswerParams()
    found = await asyncio.to_thread(retrieve, question)
    best, _ = await rerank(question, found, *second, k=k)
    last: str | Answer = ""
    async for part in write(question, prompts.fit(best, params.context_tokens), generator, params=params):
        last = part
    if not isinstance(last, Answer):
        raise RuntimeError("write ended without an Answer")
    return replace(last, hits=shown(last.sources, found))


def answer_sync(
    question: str,
    retrieve: Retrieve,
    generator: Generator,
    *,
    params: AnswerParams | None = None,
    second: tuple[Reranker | None, RerankParams] = (None, RerankParams()),
    k: int | None = None,
) -> Answer:
    """Answer one question outside an event loop."""
    return asyncio.run(answer(question, retrieve, generator, params=params, second=second, k=k))


def _remembered(cache: AnswerCache, key: tuple[Any, ...], question: str, vector: Vectors) -> Answer | None:
    with span("cache") as here:
        found = cache.find(key, question, vector)
        here.set(hit=found is not None)
        return found


class _Clock:
    """How long each step took, in milliseconds."""

    def __init__(self) -> None:
        self._begin = self._at = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._laps[name] = round(1000 * (now - self._at), 2)
        self._at = now

    def first(self, name: str) -> None:
        self._laps.setdefault(name, round(1000 * (time.perf_counter() - self._begin), 2))

    def stop(self, name: str) -> dict[str, float]:
        self.lap(name)
        return {**self._laps, "total": round(1000 * (self._at - self._begin), 2)}
