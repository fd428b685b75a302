"""A chunk to the pieces an answer may quote: sentences and list items of prose, definitions, docs and blocks of code.

Every piece is a span of the chunk's own text, so that a quote stands in the file as it is.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

from ..types import Chunk

Role = Literal["sentence", "head", "doc", "code"]


@dataclass(frozen=True, slots=True)
class Unit:
    """A quotable piece: `chunk.text[start:end]`; a "head" is a definition's signature with its first sentence."""

    start: int
    end: int
    role: Role


MAX_CHARS = 500
MAX_LINES = 8

_ITEM = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)]|[(]?[a-z][.)])[ \t]+|[ \t]*[|>][ \t]*")
_HEADING = re.compile(r"[ \t]*(?:#{1,6}[ \t]|={3,}|-{3,}|\*{3,}|~{3,}|\|?[ \t]*:?-{3,})")
_END = re.compile(r"[.!?…][\"'”’»)\]]*[ \t\n]+(?=[\"'“‘«(\[`]*[^\Wa-z])|[。！？]|\s*(?:<br ?/?>\s*)+")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|Sr|Jr|St|No|Nos|vs|Fig|Eq|Sec|Ch|Vol|pp?|Inc|Ltd|Corp|Co|Gen|Col|Lt|"
    r"Capt|Sgt|Rev|Hon|Gov|Sen|Rep|cf|al|approx|(?:[A-Za-z]\.)+[A-Za-z])\.$"
)
_DEFINITION = re.compile(
    r"[ \t]*(?:(?:async[ \t]+def|def|class)[ \t]+\w"
    r"|(?:export[ \t]+)?(?:default[ \t]+)?(?:abstract[ \t]+)?(?:async[ \t]+)?"
    r"(?:function\b|class[ \t]+\w|interface[ \t]+\w)"
    r"|(?:export[ \t]+)?(?:const|let|var)[ \t]+\w+[ \t]*=[ \t]*(?:async[ \t]*)?"
    r"(?:function\b|\([^()]*\)[ \t]*=>|\w+[ \t]*=>)"
    r"|(?:func|type)[ \t]+[\w(]"
    r"|(?:pub(?:\([\w ]+\))?[ \t]+)?(?:default[ \t]+|async[ \t]+|unsafe[ \t]+|const[ \t]+|extern[ \t]+\"C\"[ \t]+)*"
    r"(?:fn|struct|enum|trait|union)[ \t]+\w|impl\b"
    r"|(?:(?:public|private|protected|internal|static|final|abstract|virtual|inline|synchronized|constexpr)[ \t]+)+[\w<]"
    r"|(?:template[ \t]*<|namespace[ \t]+\w|typedef[ \t])"
    r"|(?!(?:return|if|elif|else|for|while|with|switch|case|throw|new|delete|await|yield|raise|assert|not|and|or|del|print)\b)"
    r"[A-Za-z_][\w:<>,*&\[\]]*(?<!:)[ \t*&]+[\w:~]+\([^;]*$)"
)
_COMMENT = re.compile(r"[ \t]*(?:///?!?|#(?!include|define|if|endif|else|pragma|\[)|/\*\*?|\*(?!\w)|--[ \t])")
_DOCSTRING = re.compile(r"[ \t]*[rRuUbB]?(\"\"\"|'''|\"|')")
_TEXT_START = re.compile(r"[\s/*#!\-'\"]*")


def units(chunk: Chunk) -> list[Unit]:
    """Cut a chunk into quotable pieces, in order; pieces without a word are left out."""
    made = code_units(chunk.text) if chunk.kind == "code" else prose_units(chunk.text)
    return [u for u in made if re.search(r"\w\w", chunk.text[u.start : u.end])]


def prose_units(text: str, start: int = 0, end: int | None = None, *, role: Role = "sentence") -> Iterator[Unit]:
    """Cut prose into sentences, list items, table rows and fenced blocks; headings are nobody's answer."""
    begin, at = start, start
    lines = _lines(text, start, len(text) if end is None else end)
    for number, (a, b) in enumerate(lines):
        if a < at:
            continue
        line = text[a:b]
        if line.lstrip().startswith(("```", "~~~")):
            yield from _sentences(text, begin, a, role)
            close = _closing(text, lines, number)
            yield from _blocks(text, [span for span in lines[number + 1 :] if span[1] <= close])
            begin = at = _after(text, close)
        elif not line.strip() or _HEADING.match(line):
            yield from _sentences(text, begin, a, role)
            begin = at = b
        elif _ITEM.match(line) or _breaks(text, begin, a, line):
            yield from _sentences(text, begin, a, role)
            begin = a
    yield from _sentences(text, begin, lines[-1][1] if lines else begin, role)


def _lines(text: str, start: int, end: int) -> list[tuple[int, int]]:
    spans = []
    while start < end:
        stop = text.find("\n", start, end) + 1 or end
        spans.append((start, stop))
        start = stop
    return spans


def _closing(text: str, lines: list[tuple[int, int]], opened: int) -> int:
    """Return where the fenced block opened on line `opened` closes: the start of its last line, or the end."""
    for a, b in lines[opened + 1 :]:
        if text[a:b].lstrip().startswith(("```", "~~~")):
            return a
    return lines[-1][1]


def _after(text: str, at: int) -> int:
    return text.find("\n", at) + 1 or len(text)


def _breaks(text: str, begin: int, at: int, line: str) -> bool:
    """Whether a line starts a new piece: the one before it was too short to have been wrapped, or a colon ended it."""
    before = text[begin:at].rstrip("\n").rsplit("\n", 1)[-1].rstrip()
    upper = line.lstrip()[:1].isupper()
    short = len(before) < (60 if before.endswith((".", "!", "?")) else 40)
    return bool(before) and upper and (short or before.endswith(":"))


def _sentences(text: str, start: int, end: int, role: Role) -> Iterator[Unit]:
    item = _ITEM.match(text, start, end)
    start = item.end() if item else start
    for stop in _END.finditer(text, start, end):
        if not _ABBREVIATION.search(text[max(start, stop.start() - 12) : stop.start() + 1]):
            yield from _pieces(text, start, stop.start() if "<" in stop.group() else stop.end(), role)
            start = stop.end()
    yield from _pieces(text, start, end, role)


def _pieces(text: str, start: int, end: int, role: Role) -> Iterator[Unit]:
    """Yield a stripped span, cut at white space where it is longer than anyone reads."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    while end - start > MAX_CHARS:
        cut = max(text.rfind(mark, start + MAX_CHARS // 2, start + MAX_CHARS) for mark in ("; ", "\n", " "))
        cut = cut + 1 if cut > 0 else start + MAX_CHARS
        yield Unit(start, len(text[:cut].rstrip()), role)
        start = cut
    if start < end:
        yield Unit(start, end, role)


def code_units(text: str) -> Iterator[Unit]:
    """Cut code into signatures (each with the first sentence of its documentation), docs, comments and blocks."""
    lines = _lines(text, 0, len(text))
    number, block = 0, 0
    while number < len(lines):
        line = text[slice(*lines[number])]
        if _DEFINITION.match(line):
            comment = _comment_above(text, lines, block, number)
            yield from _blocks(text, lines[block:comment])
            number = yield from _definition(text, lines, comment, number)
            block = number
        elif _opens_docstring(text, lines, number):
            yield from _blocks(text, lines[block:number])
            after = _docstring_end(text, lines, number)
            yield from _doc(text, lines[number][0], lines[after - 1][1])
            number = block = after
        else:
            number += 1
    yield from _blocks(text, lines[block:])


def _definition(text: str, lines: list[tuple[int, int]], comment: int, number: int) -> Generator[Unit, None, int]:
    """Yield a definition's head, then the rest of its documentation; return the line after both."""
    body = _signature_end(text, lines, number)
    if body < len(lines) and _DOCSTRING.match(text[slice(*lines[body])]):
        after = _docstring_end(text, lines, body)
        first = next(prose_units(text, _TEXT_START.match(text, lines[body][0]).end(), lines[after - 1][1]), None)  # type: ignore[union-attr]
        stop = first.end if first and first.end - lines[number][0] < 2 * MAX_CHARS else lines[body - 1][1]
        yield from _head(text, lines[number][0], stop)
        yield from _doc(text, max(stop, lines[body][0]), lines[after - 1][1])
        return after
    if number - comment > MAX_LINES // 2:
        yield from _doc(text, lines[comment][0], lines[number][0])
        comment = number
    yield from _head(text, lines[comment][0], lines[body - 1][1])
    return body


def _head(text: str, start: int, end: int) -> Iterator[Unit]:
    yield Unit(start + len(text[start:end]) - len(text[start:end].lstrip()), len(text[:end].rstrip()), "head")


def _doc(text: str, start: int, end: int) -> Iterator[Unit]:
    closing = re.compile(r"(?:\"\"\"|'''|\*/)?\s*").fullmatch
    for unit in prose_units(text, _TEXT_START.match(text, start, end).end(), end, role="doc"):  # type: ignore[union-attr]
        quote = re.sub(r"\s*(?:\"\"\"|'''|\*/)$", "", text[unit.start : unit.end])
        if not closing(quote):
            yield Unit(unit.start, unit.start + len(quote), "doc")


def _signature_end(text: str, lines: list[tuple[int, int]], number: int) -> int:
    """Return the line after a signature: where its brackets are closed and a body or a stop follows."""
    depth = 0
    for n in range(number, min(number + MAX_LINES, len(lines))):
        line = re.sub(r"(#|//).*|\"[^\"\n]*\"|'[^'\n]*'", "", text[slice(*lines[n])]).rstrip()
        depth += sum(line.count(c) for c in "([") - sum(line.count(c) for c in ")]")
        if depth <= 0 and (line.endswith((":", "{", ";", "}", "=>", "where")) or n > number):
            return n + 1
    return number + 1


def _opens_docstring(text: str, lines: list[tuple[int, int]], number: int) -> bool:
    return re.match(r"[ \t]*[rRuU]?(\"\"\"|''')", text[slice(*lines[number])]) is not None


def _docstring_end(text: str, lines: list[tuple[int, int]], number: int) -> int:
    """Return the line after the string that starts on a line; an unclosed one ends with the chunk."""
    opened = _DOCSTRING.match(text[slice(*lines[number])])
    mark = opened.group(1) if opened else ""
    if len(mark) == 1:
        return number + 1
    close = text.find(mark, lines[number][0] + opened.end()) if opened else -1
    return (
        next((n + 1 for n in range(number, len(lines)) if close < lines[n][1]), len(lines)) if close >= 0 else len(lines)
    )


def _comment_above(text: str, lines: list[tuple[int, int]], block: int, number: int) -> int:
    first = number
    while first > block and re.match(r"[ \t]*[@\[#]\[?\w", text[slice(*lines[first - 1])]):
        first -= 1  # decorators, attributes
    while first > block and _COMMENT.match(text[slice(*lines[first - 1])]):
        first -= 1
    return first


def _blocks(text: str, lines: list[tuple[int, int]]) -> Iterator[Unit]:
    """Group lines into blocks between blank lines, MAX_LINES at most; two lines of comments are documentation."""
    block: list[tuple[int, int]] = []
    for a, b in [*lines, (0, 0)]:
        remarks = len(block) > 1 and all(_COMMENT.match(text[x:y]) for x, y in block) and not _COMMENT.match(text[a:b])
        if (not text[a:b].strip() or len(block) == MAX_LINES or remarks) and block:
            start, end = block[0][0], len(text[: block[-1][1]].rstrip())
            start += len(text[start:end]) - len(text[start:end].lstrip())
            comments = all(_COMMENT.match(text[x:y]) for x, y in block)
            yield Unit(start, end, "doc" if comments else "code")
            block = []
        if text[a:b].strip():
            block.append((a, b))
