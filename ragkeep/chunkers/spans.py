"""What both chunkers share: choosing where to cut a run of pieces, and turning spans into chunks.

Where a run is longer than one chunk, greedy filling would move every later cut when a piece is inserted. `pack` chooses
each cut by content instead, inside a window of sizes (the local-minimum rule of content-defined chunking: Bjørner,
Blass and Gurevich, "Content-dependent chunking for differential compression", section 3), so that two versions of a
text fall into step again a few chunks after the edit.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

from ragkeep.tokens import Ruler, count
from ragkeep.types import Chunk, Document, content_id

_MARK = 48  # characters after a cut that decide how well it suits
_LEAST = 2 / 3  # of the target: smaller loses answers (docs/adr/0003-chunking.md), larger forgets an edit later
_SENTENCE = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？｡][”’」』）]*\s*|\n[ \t\r]*\n\s*")
_ROW = re.compile(r"\n")
WORD, FORCED = 90, 99
"""Levels of cuts between words and inside them; lower levels are better cuts."""

Cut = tuple[int, int]
"""(offset, level)."""


@dataclass(frozen=True, slots=True)
class Span:
    """A chunk to be: `text[start:end]`; spans of a document follow each other, overlapping at most."""

    start: int
    end: int
    context: str = ""
    meta: dict[str, Any] = field(default_factory=dict)


def pack(text: str, cuts: Sequence[Cut], sizes: Sequence[int], *, target: int, limit: int) -> list[int]:
    """Choose among the cuts of a run those that bound its chunks; return their indices, the first and last included.

    `sizes[i]` is the size of the text before `cuts[i]`. Chunks hold at most `target`, at least two thirds of it
    where pieces are small; a single piece may be larger. A small rest joins the last chunk if that stays within `limit`.
    """
    chosen, last = [0], len(cuts) - 1
    while chosen[-1] < last:
        i = chosen[-1]
        if sizes[last] - sizes[i] <= min(limit, target + target // 8):
            chosen.append(last)
            break
        high = max(bisect_right(sizes, sizes[i] + target, i + 1) - 1, i + 1)
        low = min(bisect_left(sizes, sizes[i] + target * _LEAST, i + 1), high)
        chosen.append(min(range(low, high + 1), key=lambda j: _mark(text, *cuts[j])) if low < high else high)
    return chosen


def _mark(text: str, offset: int, level: int) -> tuple[int, int, int]:
    mark = crc32(text[offset : offset + _MARK].encode("utf-8", "surrogatepass"))
    return level, mark, -offset


def sentence_ends(text: str, start: int, end: int) -> list[int]:
    """List the offsets inside (start, end) where a sentence has ended, white space after it included."""
    return [m.end() for m in _SENTENCE.finditer(text, start, end) if m.end() < end]


def line_starts(text: str, start: int, end: int) -> list[int]:
    """List the offsets inside (start, end) where a line begins."""
    return [m.end() for m in _ROW.finditer(text, start, end) if m.end() < end]


def refine(text: str, ruler: Ruler, piece: tuple[int, int], *, by: str, limit: int) -> list[Cut]:
    """List the cuts inside a piece that is too large: by sentence or line, where these are too large by word.

    Cuts inside a word come last (level FORCED). `by` is "sentence" or "line"; a sentence falls back on lines.
    """
    finders = [line_starts] if by == "line" else [sentence_ends, line_starts]
    return _refine(text, ruler, piece, [(f, 10 + 10 * n) for n, f in enumerate(finders)], limit)


def _refine(text: str, ruler: Ruler, piece: tuple[int, int], finders: list[Any], limit: int) -> list[Cut]:
    start, end = piece
    if not finders:
        return _words(ruler, piece, limit)
    find, level = finders[0]
    inner = find(text, start, end)
    edges = [start, *inner, end]
    sizes = ruler.sizes_before(edges)
    cuts: list[Cut] = []
    for n in range(len(edges) - 1):
        if n:
            cuts.append((edges[n], level))
        if sizes[n + 1] - sizes[n] > limit:
            cuts += _refine(text, ruler, (edges[n], edges[n + 1]), finders[1:], limit)
    return cuts


def _words(ruler: Ruler, piece: tuple[int, int], limit: int) -> list[Cut]:
    edges = [piece[0], *ruler.cuts(*piece), piece[1]]
    sizes = ruler.sizes_before(edges)
    cuts: list[Cut] = [(edge, WORD) for edge in edges[1:-1]]
    for n in range(len(edges) - 1):
        if sizes[n + 1] - sizes[n] > limit:
            step = min(256, 2 * limit)
            cuts += [(at, FORCED) for at in range(edges[n] + step, edges[n + 1], step)]
    return sorted(cuts)


def chunks_of(document: Document, ruler: Ruler, spans: Sequence[Span], *, limit: int) -> Iterator[Chunk]:
    """Turn spans, in order, into chunks; one that a cut inside a word has made too large is halved until it fits."""
    text = document.text
    counted = zip(spans, _token_counts(text, ruler, spans), strict=True)
    fitting = [part for span, tokens in counted for part in _fit(text, span, tokens, limit)]
    rows = [0, *(m.end() for m in _ROW.finditer(text))]
    seen: Counter[tuple[str, str]] = Counter()
    for span, tokens in fitting:
        piece = text[span.start : span.end]
        seen[span.context, piece] += 1
        ordinal = seen[span.context, piece] - 1
        first, last = bisect_right(rows, span.start), bisect_right(rows, span.end - 1)
        above = document.first_line - 1
        yield Chunk(
            id=content_id(document.workspace, document.uri, span.context, piece, str(ordinal)),
            document_id=document.id, uri=document.uri, source=document.source, workspace=document.workspace,
            text=piece, span=(span.start, span.end), lines=(first + above, last + above), kind=document.kind,
            language=document.language, context=span.context, tokens=tokens, meta=span.meta,
        )  # fmt: skip


def _token_counts(text: str, ruler: Ruler, spans: Sequence[Span]) -> list[int]:
    """Count each span's tokens: by the ruler where its ends are ends of words, by the tokenizer elsewhere."""
    starts, ends = [s.start for s in spans], [s.end for s in spans]
    before, upto = ruler.tokens_before(starts), ruler.tokens_before(ends)
    clean = [
        all(edge or text[at - 1] in " \t\n\r" for edge, at in pair)
        for pair in zip(
            zip(ruler.at_edge(starts), starts, strict=True), zip(ruler.at_edge(ends), ends, strict=True), strict=True
        )
    ]
    rows = zip(spans, before, upto, clean, strict=True)
    return [b - a if exact else count(text[s.start : s.end]) for s, a, b, exact in rows]


def _fit(text: str, span: Span, tokens: int, limit: int) -> Iterator[tuple[Span, int]]:
    if tokens <= limit or span.end - span.start < 2:
        yield span, tokens
        return
    middle = (span.start + span.end) // 2
    for part in (replace(span, end=middle), replace(span, start=middle, meta={})):
        yield from _fit(text, part, count(text[part.start : part.end]), limit)
