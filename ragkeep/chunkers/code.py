"""Code cut along its syntax: one function a chunk, small neighbours together, large classes by their methods.

The idea is cAST's (Zhang et al., "cAST: Enhancing Code Retrieval-Augmented Generation with Structural Chunking via
Abstract Syntax Tree", arXiv 2506.15655, section 2): split nodes that are too large into their children, then merge small
siblings. It differs where retrieval of functions asks for it (docs/adr/0003-chunking.md): a definition of a third of
the target or more is never merged with its neighbours, a function is whole up to `max_tokens`, but a class only up to
a quarter over `target_tokens`, since the embedder reads no more than its first 256 tokens.

Text without a grammar, and statements too large, are cut at lines: at blank lines and small indents rather than not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise

from ragkeep.config import ChunkParams
from ragkeep.tokens import Ruler, measure
from ragkeep.types import Chunk, Document

from .spans import Cut, Span, chunks_of, pack, refine
from .syntax import Item, inside, outline

_OWN = 3  # a definition of a third of the target or more is a chunk of its own
_TINY = 8  # what is below an eighth of the target joins the definition next to it
_PATH = 50  # characters of a path in a context
_CLOSING = (")", "]", "}", "else", "elif", "except", "finally", "case", "end")


@dataclass(slots=True)
class _File:
    text: str
    ruler: Ruler
    params: ChunkParams
    language: str
    rows: list[int]  # offsets at which rows begin, and the end of the text
    sizes: list[int]  # the size of the text before each
    spans: list[Span] = field(default_factory=list)

    def size(self, first: int, last: int) -> int:
        return self.sizes[last] - self.sizes[first]


def chunk_code(document: Document, params: ChunkParams) -> Iterator[Chunk]:
    """Cut a source file into chunks that follow each other and cover it."""
    if not document.text:
        return
    text, ruler = document.text, measure(document.text)
    rows = [0, *accumulate(map(len, _lines(text)))]
    module = module_name(document.uri, document.language)
    found = outline(text, document.language, module)
    file = _File(text, ruler, params, document.language, rows, ruler.sizes_before(rows))
    _cut(file, found.items, module, (0, len(rows) - 1))
    spans = _with_names(file, found.names)
    yield from chunks_of(document, ruler, spans, limit=params.max_tokens)


def _lines(text: str) -> list[str]:
    lines = [line + "\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def module_name(uri: str, language: str) -> str:
    """Name the module a uri stands for: "stdlib/json/decoder.py" is json.decoder, other languages keep the path."""
    path = uri.split("/", 1)[-1]
    if language != "python":
        return path
    parts = path.removesuffix(".py").removesuffix(".pyi").split("/")
    if len(parts) > 1 and parts[0] == "src":
        parts = parts[1:]
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _cut(file: _File, items: Sequence[Item], scope: str, rows: tuple[int, int]) -> None:
    """Append the spans of rows [first, last), which the items cover: large ones divided, small ones merged."""
    begin, end = rows
    target, run = file.params.target_tokens, begin
    members: list[Item] = []
    for n, item in enumerate(items):
        first = max(item.first, begin) if n else begin
        last = items[n + 1].first if n + 1 < len(items) else end
        size = file.size(first, last)
        divided = _too_large(file, item, size)
        own = item.kind in ("function", "container") and size * _OWN >= target
        head_ends = members and members[-1].kind == "import" and item.kind != "import" and not divided and not own
        if head_ends and file.size(run, first) * _OWN >= target:
            _merge(file, members, scope, (run, first))
            members, run = [], first
        if not divided and not own:
            members.append(item)
            continue
        tiny = file.size(run, first) * _TINY < target and not any(m.node for m in members)
        if not tiny:
            _merge(file, members, scope, (run, first))
        start = run if tiny else first
        if divided:
            _divide(file, item, (start, last))
        else:
            file.spans.append(_span(file, (start, last), item.name))
        members, run = [], last
    if run < end:
        _rest(file, members, scope, (begin, run, end))


def _rest(file: _File, members: list[Item], scope: str, rows: tuple[int, int, int]) -> None:
    """End a level: a tiny rest joins the chunk before it on the same level, anything else is merged."""
    begin, run, end = rows
    before = file.spans[-1] if file.spans else None
    if before and file.size(run, end) * _TINY < file.params.target_tokens and before.start >= file.rows[begin]:
        first = bisect_left(file.rows, before.start)
        if file.size(first, end) <= file.params.target_tokens:
            file.spans[-1] = _span(file, (first, end), before.context)
            return
    _merge(file, members, scope, (run, end))


def _too_large(file: _File, item: Item, size: int) -> bool:
    """A class is whole up to a quarter over the target, a function up to the maximum."""
    target, limit = file.params.target_tokens, file.params.max_tokens
    if item.kind in ("container", "block"):
        holds = any(child.name for child in item.children)
        return size > min(limit, target + target // 4) and (holds or size > limit)
    return item.kind == "function" and size > limit


def _divide(file: _File, item: Item, rows: tuple[int, int]) -> None:
    children = item.children if item.kind != "function" else inside(item, file.language)
    _cut(file, children, item.name, rows)


def _merge(file: _File, members: Sequence[Item], scope: str, rows: tuple[int, int]) -> None:
    """Pack the small items of a run into chunks; lines are cut where an item alone is too large."""
    first, last = rows
    if first >= last:
        return
    firsts = [first, *(m.first for m in members[1:]), last]
    kinds = [m.kind for m in members] or ["text"]
    cuts: list[Cut] = [(file.rows[first], 0)]
    target, limit = file.params.target_tokens, file.params.max_tokens
    for (a, b), kind in zip(pairwise(firsts), kinds, strict=True):
        whole = min(limit, target + target // 4) if kind == "text" else limit
        if file.size(a, b) > whole:
            cuts += _line_cuts(file, a, b)
        cuts.append((file.rows[b], 0))
    sizes = file.ruler.sizes_before([at for at, _ in cuts])
    for i, j in pairwise(pack(file.text, cuts, sizes, target=target, limit=limit)):
        start, end = cuts[i][0], cuts[j][0]
        named = [m.name for m in members if m.name and start <= file.rows[m.first] < end and m.kind != "block"]
        file.spans.append(Span(start, end, named[0] if len(named) == 1 else scope.rstrip(":")))


def _line_cuts(file: _File, first: int, last: int) -> list[Cut]:
    """List the cuts inside rows [first, last): lines, ranked by indent and blank lines above; words in long ones."""
    cuts: list[Cut] = []
    for row in range(first, last):
        start, end = file.rows[row], file.rows[row + 1]
        if row > first:
            cuts.append((start, _rank(file.text, file.rows[row - 1], start, end)))
        if file.size(row, row + 1) > file.params.target_tokens:
            piece = (start, end)
            cuts += refine(file.text, file.ruler, piece, by="sentence", limit=file.params.target_tokens)
    return cuts


def _rank(text: str, above: int, start: int, end: int) -> int:
    line = text[start:end].expandtabs(4)
    code = line.lstrip()
    if not code:
        return 80
    after_blank = not text[above:start].strip()
    return 1 + min(len(line) - len(code), 30) + (0 if after_blank else 8) + 40 * code.startswith(_CLOSING)


def _span(file: _File, rows: tuple[int, int], context: str) -> Span:
    return Span(file.rows[rows[0]], file.rows[rows[1]], context.rstrip(":"))


def _with_names(file: _File, names: Sequence[tuple[int, str]]) -> list[Span]:
    """Note in each span the definitions that start in it."""
    starts = [file.rows[row] for row, _ in names]
    made: list[Span] = []
    for span in file.spans:
        first, last = bisect_left(starts, span.start), bisect_left(starts, span.end)
        here = list(dict.fromkeys(name for _, name in names[first:last]))
        made.append(Span(span.start, span.end, _short(span.context), {"names": here} if here else {}))
    return made


def _short(context: str) -> str:
    """Keep three folders of a long path: the embedder reads the context with every chunk."""
    path, colon, name = context.partition(": ")
    return "/".join(path.split("/")[-3:]) + colon + name if len(path) > _PATH and "/" in path else context
