"""What an answer claims, held against the snippets it rests on: markers that do not hold are taken out.

checked = cite("Pumps are serviced yearly. [1]", hits)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .types import Citation, Hit

MARKER = re.compile(r"(?:[ \t]+|(?<=```)\n|(?<=[^\w\s)\[]))\[(\d{1,3})\]")  # not the index in argv[1]
FENCE = re.compile(r"```[^\n]*\n(.*?)\n?```", re.DOTALL)
QUOTED = re.compile(r'["“”«]([^"“”«»]{8,})["“”»]')
MIN_OVERLAP = 0.5
"""Share of a claim's longer words that a passage must hold to be cited for a claim that quotes nothing."""


class Cited(NamedTuple):
    """A text with the markers that hold, renumbered: `[k]` is `citations[k - 1]`; and the claims that none supports."""

    text: str
    citations: tuple[Citation, ...]
    unsupported: tuple[str, ...]


def cite(text: str, hits: Sequence[Hit]) -> Cited:
    """Check every `[n]` of a generated text against hit n.

    A marker holds when a quote for its claim stands in the hit's chunk word for word, or a line of it says most of the
    claim; any other marker is taken out. A line is unsupported when no marker on it holds.
    """
    shown: list[str] = []
    citations: list[Citation] = []
    unsupported: list[str] = []
    for claim, numbers, tail in _claims(text):
        shown.append(claim)
        held = False
        for number in numbers:
            found = _support(claim, hits[number - 1], number) if 0 < number <= len(hits) else None
            if found is None:
                continue
            held = True
            if found not in citations:
                citations.append(found)
            after_code = claim.endswith("```") and shown[-1] is claim  # on a line of its own, or the block has no end
            shown.append(f"{chr(10) if after_code else ' '}[{citations.index(found) + 1}]")
        shown.append(tail)
        unsupported += _lines(claim)[: -1 if held else None]
    return Cited("".join(shown).strip(), tuple(citations), tuple(unsupported))


def _lines(claim: str) -> list[str]:
    """The lines of a claim that say something; a block of code belongs to the line before it."""
    bare = FENCE.sub(lambda fence: " ".join(fence.group().split("\n")), claim)
    return [line.strip() for line in bare.split("\n") if re.search(r"\w", line)]


def _claims(text: str) -> Iterator[tuple[str, list[int], str]]:
    """Split a text into (claim, numbers of the markers that follow it, white space and stops after them)."""
    at = 0
    bare = FENCE.sub(lambda fence: "`" * len(fence.group()), text)  # brackets inside code are no markers
    for group in re.finditer(rf"(?:{MARKER.pattern}[,;]?)+([.!?]?\s*)", bare):
        numbers = [int(n) for n in re.findall(r"\[(\d+)\]", group.group())]
        yield text[at : group.start()], numbers, group.groups()[-1]
        at = group.end()
    yield text[at:], [], ""


def _support(claim: str, hit: Hit, number: int) -> Citation | None:
    """Find the words of the hit's chunk that the claim quotes, or else the line that says most of it."""
    chunk = hit.chunk
    span = next((s for s in (locate(q, chunk.text) for q in _quotes(claim)) if s), None) or _nearest(claim, chunk.text)
    if span is None:
        return None
    quote = chunk.text[span[0] : span[1]]
    first = chunk.lines[0] + chunk.text.count("\n", 0, span[0])
    return Citation(chunk.uri, (first, first + quote.count("\n")), quote, hit.score, number)


def _quotes(claim: str) -> Iterator[str]:
    yield from reversed(FENCE.findall(claim))
    yield claim.strip().lstrip("-*• ")
    yield from reversed(QUOTED.findall(claim))


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Find a quote in a text, white space aside; return its characters' span."""
    words = quote.split()
    if not words:
        return None
    begin = r"(?<!\w)" if re.match(r"\w", words[0]) else ""  # "10" does not stand in "2010"
    end = r"(?!\w)" if re.search(r"\w$", words[-1]) else ""
    found = re.search(begin + r"\s+".join(map(re.escape, words)) + end, text)
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
