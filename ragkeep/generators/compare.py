"""One question to several generators side by side, and how far they agree.

found = await compare(request, generators, sampling, deadline_s=20)
found.agreement, found.low, [(one.name, one.text, one.error) for one in found.answers]
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import combinations

from ..analysis import terms
from ..errors import RagkeepError
from ..ports import Generator, Request
from ..prompts import NOT_FOUND
from ..types import Sampling, Usage

LOW = 0.5
_MARKER = re.compile(r"\s*\[\d{1,3}\]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one generator made of it; with an `error`, `text` is what it had said by then and counts for nothing."""

    name: str
    text: str
    usage: Usage
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answers in the order the generators were given; `agreement` is None with fewer than two whole ones.

    `low` says that they contradict each other or speak of different things: a person should look.
    """

    answers: tuple[Candidate, ...]
    agreement: float | None
    low: bool


async def compare(
    request: Request, generators: Sequence[Generator], sampling: Sampling, *, deadline_s: float, low: float = LOW
) -> Comparison:
    """Ask all at once and wait for none of them longer than `deadline_s`; one that fails or is late holds no other."""
    asked = (_ask(generator, request, sampling, deadline_s) for generator in generators)
    answers = tuple(await asyncio.gather(*asked))
    whole = [one.text for one in answers if not one.error]
    pairs = [agreement(a, b) for a, b in combinations(whole, 2)]
    score = sum(pairs) / len(pairs) if pairs else None
    return Comparison(answers, score, score is not None and score < low)


async def _ask(generator: Generator, request: Request, sampling: Sampling, deadline_s: float) -> Candidate:
    begun, text, usage, error = time.monotonic(), "", Usage(), ""
    try:
        async with asyncio.timeout(deadline_s), aclosing(generator.stream(request, sampling)) as pieces:
            async for piece in pieces:
                text, usage = text + piece.text, piece.usage or usage
    except TimeoutError:
        error = f"{generator.name} did not end within {deadline_s:g} s"
    except RagkeepError as failed:
        error = str(failed)
    return Candidate(generator.name, text, usage, time.monotonic() - begun, error)


def agreement(a: str, b: str) -> float:
    """Say from 0 to 1 how far two answers claim the same.

    Each claim (a line or sentence, without its `[n]`) is held against the most alike of the other answer: the share of
    search terms they have in common (Dice), 0 where both name numbers and none is the same. The mean over the claims
    of both. Two answers that find nothing agree; one that does and one that does not, do not. Words are compared,
    not meanings: a paraphrase scores low, and asks for a look that proves needless.
    """
    empty = [not _claims(text) or text.strip() == NOT_FOUND for text in (a, b)]
    if any(empty):
        return float(all(empty))
    ours, theirs = _claims(a), _claims(b)
    best = [max(_alike(one, other) for other in theirs) for one in ours]
    best += [max(_alike(other, one) for one in ours) for other in theirs]
    return sum(best) / len(best)


def _claims(text: str) -> list[str]:
    lines = (line for piece in text.splitlines() for line in re.split(r"(?<=[.!?])\s+", _MARKER.sub("", piece)))
    return [line for line in lines if terms(line)]


def _alike(a: str, b: str) -> float:
    numbers = {*_NUMBER.findall(a)}, {*_NUMBER.findall(b)}
    if all(numbers) and numbers[0].isdisjoint(numbers[1]):
        return 0.0
    ours, theirs = {*terms(a)}, {*terms(b)}
    return 2 * len(ours & theirs) / (len(ours) + len(theirs))
