"""A question is answered: retrieve, prompt, generate, cite and check. Read this file first.

answer_sync("How do I parse JSON?", retrieve, generator)      # batch work and the command line
async for part in stream_answer(question, retrieve, generator): ...   # text as it is made, then the Answer
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing

from . import prompts
from .config import AnswerParams
from .ports import Generator, Request
from .types import Answer, Citation, Hit, Usage

Retrieve = Callable[[str], list[Hit]]
"""A question to its hits, best first."""

MARKER = re.compile(r"(?:[ \t]+|(?<=[^\w\s)\[]))\[(\d{1,3})\]")  # not the index in argv[1]
FENCE = re.compile(r"```[^\n]*\n(.*?)\n?```", re.DOTALL)
QUOTED = re.compile(r'["“”«]([^"“”«»]{8,})["“”»]')
MIN_OVERLAP = 0.5
"""Share of a claim's longer words that a passage must hold to be cited for a claim that quotes nothing."""


async def stream_answer(
    question: str,
    retrieve: Retrieve,
    generator: Generator,
    *,
    params: AnswerParams | None = None,
    release: str | None = None,
) -> AsyncGenerator[str | Answer, None]:
    """Yield the answer's text as it is made, then the checked Answer, which alone counts.

    Closing the iterator stops the generator. Nothing is retried: an error of the store or generator passes.
    """
    params = params or AnswerParams()
    found = await asyncio.to_thread(retrieve, question)
    hits = prompts.fit(found, params.context_tokens)
    text, usage, model = "", Usage(), generator.name
    if hits and question.strip():
        request = Request(question, hits, prompts.messages(question, hits))
        made = generator.stream(request, params.sampling)
        async with aclosing(made) as deltas:
            async for delta in deltas:
                usage, model = delta.usage or usage, delta.model or model
                text += delta.text
                if delta.text:
                    yield delta.text
    shown, citations = cite(text, hits)
    if not citations:
        shown = prompts.NOT_FOUND
        if not text:
            yield shown
    yield Answer(
        text=shown, citations=citations, abstained=not citations, hits=tuple(found), usage=usage,
        model=model, release=release,
    )  # fmt: skip


async def answer(
    question: str,
    retrieve: Retrieve,
    generator: Generator,
    *,
    params: AnswerParams | None = None,
    release: str | None = None,
) -> Answer:
    """Answer one question; an answer in which no citation holds becomes "Not in the documents."."""
    last: str | Answer = ""
    async for part in stream_answer(question, retrieve, generator, params=params, release=release):
        last = part
    if not isinstance(last, Answer):
        raise RuntimeError("stream_answer ended without an Answer")
    return last


def answer_sync(
    question: str,
    retrieve: Retrieve,
    generator: Generator,
    *,
    params: AnswerParams | None = None,
    release: str | None = None,
) -> Answer:
    """Answer one question outside an event loop."""
    return asyncio.run(answer(question, retrieve, generator, params=params, release=release))


def cite(text: str, hits: Sequence[Hit]) -> tuple[str, tuple[Citation, ...]]:
    """Check every `[n]` of a generated text against hit n.

    Return the text with the markers that hold, renumbered in order of appearance, and their citations:
    `[k]` in the text is `citations[k - 1]`. A marker holds when a quote for its claim stands in the hit's
    chunk word for word; any other marker is taken out.
    """
    shown: list[str] = []
    citations: list[Citation] = []
    for claim, numbers, tail in _claims(text):
        shown.append(claim)
        for number in numbers:
            found = _support(claim, hits[number - 1]) if 0 < number <= len(hits) else None
            if found is None:
                continue
            if found not in citations:
                citations.append(found)
            shown.append(f" [{citations.index(found) + 1}]")
        shown.append(tail)
    return "".join(shown).strip(), tuple(citations)


def _claims(text: str) -> Iterator[tuple[str, list[int], str]]:
    """Split a text into (claim, numbers of the markers that follow it, white space and stops after them)."""
    at = 0
    bare = FENCE.sub(lambda fence: "`" * len(fence.group()), text)  # brackets inside code are no markers
    for group in re.finditer(rf"(?:{MARKER.pattern}[,;]?)+([.!?]?\s*)", bare):
        numbers = [int(n) for n in MARKER.findall(group.group())]
        yield text[at : group.start()], numbers, group.groups()[-1]
        at = group.end()
    yield text[at:], [], ""


def _support(claim: str, hit: Hit) -> Citation | None:
    """Find the words of the hit's chunk that the claim quotes, or else the line that says most of it."""
    chunk = hit.chunk
    span = next((s for s in (locate(q, chunk.text) for q in _quotes(claim)) if s), None) or _nearest(claim, chunk.text)
    if span is None:
        return None
    quote = chunk.text[span[0] : span[1]]
    first = chunk.lines[0] + chunk.text.count("\n", 0, span[0])
    return Citation(chunk.uri, (first, first + quote.count("\n")), quote, hit.score)


def _quotes(claim: str) -> Iterator[str]:
    yield from reversed(FENCE.findall(claim))
    yield claim.strip().lstrip("-*• ")
    yield from reversed(QUOTED.findall(claim))


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Find a quote in a text, white space aside; return its characters' span."""
    words = quote.split()
    if not words:
        return None
    found = re.search(r"\s+".join(map(re.escape, words)), text)
    return found.span() if found else None


def _nearest(claim: str, text: str) -> tuple[int, int] | None:
    """Find the line or sentence of a text that shares most of a claim's words, if it shares enough."""
    wanted = _words(claim.rsplit("\n", 1)[-1])
    if not wanted:
        return None
    spans = [m.span() for m in re.finditer(r"\S[^\n]*?(?:[.!?](?=\s)|(?=\s*\n)|$)", text)]
    share, best = max(((len(wanted & _words(text[a:b])) / len(wanted), (a, b)) for a, b in spans), default=(0.0, None))
    return best if share >= MIN_OVERLAP else None


def _words(text: str) -> set[str]:
    return {word for word in re.findall(r"\w+", text.lower()) if len(word) > 3}
