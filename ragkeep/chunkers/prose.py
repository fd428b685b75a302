"""Prose cut by its structure: sections by their headings, blocks inside a section, sentences inside a block.

A section that fits is one chunk; small neighbours of one parent share a chunk; a large one is cut between blocks, and
only a block over `max_tokens` is cut itself (a list or table by its lines, a paragraph by its sentences, then words).
Pieces of one section carry over its last sentences, up to `overlap_tokens`. A heading stays with what follows it. Pages
of a PDF are preferred places to cut, nothing more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from typing import Any

from ragkeep.config import ChunkParams
from ragkeep.tokens import Ruler, measure
from ragkeep.types import Chunk, Document

from .outline import Section, sections
from .spans import Cut, Span, chunks_of, line_starts, pack, refine, sentence_ends

_SMALL = 3  # a section of a third of the target or more is a chunk of its own
_TITLE, _CONTEXT = 80, 160  # characters of one heading, and of the whole path, that are embedded with a chunk
_PAGE, _BLOCK = 0, 1  # levels of cuts


@dataclass(frozen=True, slots=True)
class _Group:
    """Neighbouring sections that are cut together."""

    first: int
    last: int
    size: int


@dataclass(frozen=True, slots=True)
class _Plan:
    text: str
    ruler: Ruler
    sections: Sequence[Section]
    before: Sequence[int]  # sizes before each section, and the whole
    params: ChunkParams
    pages: Sequence[int]
    title: str

    def size(self, first: int, last: int) -> int:
        return self.before[last] - self.before[first]


def chunk_prose(document: Document, params: ChunkParams) -> Iterator[Chunk]:
    """Cut a text into chunks that cover it, overlapping by at most `params.overlap_tokens`."""
    if not document.text:
        return
    ruler = measure(document.text)
    parts = sections(document.text, document.language)
    before = ruler.sizes_before([*(s.start for s in parts), len(document.text)])
    pages = document.meta.get("pages") or []
    title = str(document.meta.get("title") or "").strip()
    plan = _Plan(document.text, ruler, parts, before, params, pages, title)
    spans = [span for group in _groups(plan, 0, len(parts)) for span in _cut(plan, group)]
    yield from chunks_of(document, ruler, spans, limit=params.max_tokens)


def _groups(plan: _Plan, first: int, last: int) -> list[_Group]:
    """Divide sections [first, last): whole where they fit, else by subsections, the small ones merged."""
    size = plan.size(first, last)
    if size <= plan.params.target_tokens or last - first == 1:
        return [_Group(first, last, size)]
    edges = _children(plan.sections, first, last)
    groups: list[_Group] = []
    small: list[int] = []
    for begin, end in pairwise(edges):
        if plan.size(begin, end) * _SMALL < plan.params.target_tokens:
            small.append(begin)
            continue
        groups += _merged(plan, [*small, begin])
        inner = _groups(plan, begin, end)
        groups += inner
        small = []
    return _keep_headings(plan, groups + _merged(plan, [*small, last]))


def _children(parts: Sequence[Section], first: int, last: int) -> list[int]:
    """List where the subsections of the highest rank begin, and `last`; what stands before them is one more."""
    rank = min(s.level for s in parts[first + 1 : last])
    return [first, *(n for n in range(first + 1, last) if parts[n].level == rank), last]


def _merged(plan: _Plan, edges: list[int]) -> list[_Group]:
    """Merge a run of small sections up to the target; `edges` are their firsts and the end of the last."""
    if len(edges) < 2:
        return []
    cuts = [(plan.sections[n].start if n < len(plan.sections) else len(plan.text), _BLOCK) for n in edges]
    sizes = [plan.before[n] for n in edges]
    target = plan.params.target_tokens
    chosen = [edges[i] for i in pack(plan.text, cuts, sizes, target=target, limit=plan.params.max_tokens)]
    return [_Group(a, b, plan.size(a, b)) for a, b in pairwise(chosen)]


def _keep_headings(plan: _Plan, groups: list[_Group]) -> list[_Group]:
    """Give a group of bare headings to the one after it."""
    kept: list[_Group] = []
    bare: int | None = None
    for n, group in enumerate(groups):
        first = group.first if bare is None else bare
        body = any(s.has_body for s in plan.sections[group.first : group.last])
        if not body and n + 1 < len(groups):
            bare = first
            continue
        kept.append(_Group(first, group.last, plan.size(first, group.last)))
        bare = None
    return kept


def _cut(plan: _Plan, group: _Group) -> Iterator[Span]:
    """Make one span of a group that fits, or cut it between blocks and carry its last sentences over."""
    parts = plan.sections[group.first : group.last]
    start, end = parts[0].start, parts[-1].end
    context = _context(plan.title, parts)
    target, limit = plan.params.target_tokens, plan.params.max_tokens
    if group.size <= min(limit, target + target // 8):
        yield Span(start, end, context, _meta(plan, start))
        return
    cuts = _cuts(plan, parts)
    sizes = plan.ruler.sizes_before([at for at, _ in cuts])
    chosen = [cuts[i][0] for i in pack(plan.text, cuts, sizes, target=target, limit=limit)]
    previous = start
    for a, b in pairwise(chosen):
        begin = _overlap(plan, previous, a, b) if a > start else a
        yield Span(begin, b, context, _meta(plan, begin))
        previous = a


def _cuts(plan: _Plan, parts: Sequence[Section]) -> list[Cut]:
    """List where a group may be cut: between blocks (not after a heading), and inside those over the limit."""
    blocks = [block for part in parts for block in part.blocks]
    pages = set(plan.pages)
    begin, before = blocks[0].start, plan.ruler.sizes_before([blocks[0].start])[0]
    cuts: list[Cut] = [(begin, _BLOCK)]
    for n, (block, after) in enumerate(zip(blocks, plan.ruler.sizes_before([b.end for b in blocks]), strict=True)):
        if block.shape == "heading" and n + 1 < len(blocks):
            continue
        if after - before > plan.params.max_tokens:
            by = "sentence" if block.shape == "paragraph" else "line"
            cuts += refine(plan.text, plan.ruler, (begin, block.end), by=by, limit=plan.params.target_tokens)
        cuts.append((block.end, _PAGE if block.end in pages else _BLOCK))
        begin, before = block.end, after
    return cuts


def _overlap(plan: _Plan, previous: int, start: int, end: int) -> int:
    """Move a chunk's start back over whole sentences or lines of the chunk before, as far as the sizes allow."""
    tail = max(previous, start - 16 * plan.params.overlap_tokens)
    found = {*sentence_ends(plan.text, tail, start), *line_starts(plan.text, tail, start)}
    places = sorted(at for at in found if plan.text[at] not in "\r\n")
    if not places or not plan.params.overlap_tokens:
        return start
    sizes = plan.ruler.sizes_before([*places, start, end])
    for place, size in zip(places, sizes, strict=False):
        if sizes[-2] - size <= plan.params.overlap_tokens and sizes[-1] - size <= plan.params.max_tokens:
            return place
    return start


def _context(title: str, parts: Sequence[Section]) -> str:
    """Join the headings that all these sections stand under, the document's title first."""
    path = _common([s.path for s in parts if s.has_body] or [parts[0].path])
    if title and (not path or path[0].casefold() != title.casefold()):
        path.insert(0, title)
    path = [" ".join(heading.split())[:_TITLE] for heading in path if heading.strip()]
    while len(path) > 1 and sum(map(len, path)) > _CONTEXT:
        path.pop(1 if len(path) > 2 else 0)
    return " > ".join(path)


def _common(paths: Sequence[tuple[str, ...]]) -> list[str]:
    first, last = min(paths), max(paths)
    return [a for a, _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))]


def _meta(plan: _Plan, start: int) -> dict[str, Any]:
    return {"page": max(bisect_right(plan.pages, start), 1)} if plan.pages else {}
