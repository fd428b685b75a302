"""Where a text is cut: three splitters, each text -> spans of it, in order; `text[start:end]` is the chunk.

    character   windows of exactly `size` characters, each beginning `overlap` before the last one's end
    token       the same in tokens of the default embedder; no word is cut
    recursive   at most `size` characters, cut at the largest mark that fits: paragraph, line, sentence, word, character;
                begins again at a mark at most `overlap` before the last one's end

Windows of white space alone are left out.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from ragkeep.tokens import tokenizer

Span = tuple[int, int]
Splitter = Callable[[str, int, int], list[Span]]

_MARKS = (r"\n\s*\n", r"\n", r"(?<=[.!?…。])\s+", r"\s+")


def character(text: str, size: int, overlap: int) -> list[Span]:
    """Cut every `size` characters."""
    return _words_only(text, _windows(list(range(len(text) + 1)), size, overlap))


def token(text: str, size: int, overlap: int) -> list[Span]:
    """Cut every `size` tokens; what stands between two tokens goes with the first of them."""
    starts = [start for start, end in tokenizer().encode(text, add_special_tokens=False).offsets if end > start]
    if not starts:
        return []
    return _words_only(text, _windows([0, *starts[1:], len(text)], size, overlap))


def _windows(edges: list[int], size: int, overlap: int) -> Iterator[Span]:
    last = len(edges) - 1
    for first in range(0, max(last, 1), size - overlap):
        yield edges[first], edges[min(first + size, last)]
        if first + size >= last:
            return


def recursive(text: str, size: int, overlap: int) -> list[Span]:
    """Cut at the largest marks that leave no piece above `size`."""
    edges = [0, *(end for _, end in _pieces(text, 0, len(text), size, 0))]
    spans: list[Span] = []
    first = 0
    while first < len(edges) - 1:
        last = bisect_right(edges, edges[first] + size) - 1
        spans.append((edges[first], edges[last]))
        if last == len(edges) - 1:
            break
        first = max(first + 1, min(last, bisect_left(edges, edges[last] - overlap)))
    return _words_only(text, iter(spans))


def _pieces(text: str, start: int, end: int, size: int, level: int) -> Iterator[Span]:
    """Cut a span at the marks of a level, and what is still too large at those of the next."""
    if level == len(_MARKS):
        yield from ((at, min(at + size, end)) for at in range(start, end, size))
        return
    inner = [m.end() for m in re.compile(_MARKS[level]).finditer(text, start, end) if start < m.end() < end]
    for a, b in zip([start, *inner], [*inner, end], strict=True):
        if b - a <= size:
            yield a, b
        else:
            yield from _pieces(text, a, b, size, level + 1)


def _words_only(text: str, spans: Iterator[Span]) -> list[Span]:
    return [(start, end) for start, end in spans if text[start:end].strip()]


SPLITTERS: dict[str, Splitter] = {"recursive": recursive, "character": character, "token": token}
