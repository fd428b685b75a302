"""The structure of a prose text: headings that nest, and the blocks (paragraphs, lists, tables, fences) below them.

Reads Markdown (ATX and setext headings), reStructuredText (underlined and overlined titles, ranked in the order their
styles appear) and plain text, by lines. Code fences hide what looks like a heading inside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Shape = Literal["heading", "paragraph", "list", "table", "fence"]

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})[^`\n]*$")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$")
_RULE = re.compile(r"([=\-~^\"'`*+#<>:._])\1{2,}[ \t]*$")
_LIST = re.compile(r"[ \t]*(?:[-*+•]|\d{1,3}[.)]|[a-zA-Z][.)])[ \t]+\S")
_TABLE = re.compile(r"[ \t]*(?:\|.*|\+[-=+]{3,}|.*\|[ \t]*)$")
_RST = re.compile(r"^\.\. [\w-]+::|^:[\w-]+:|::[ \t]*$|``\w", re.M)
_MARKDOWN = re.compile(r"^#{1,6} \S|^```|\]\(", re.M)


@dataclass(slots=True)
class Block:
    """Characters [start, end) of one shape, blank lines after it included."""

    start: int
    end: int
    shape: Shape


@dataclass(slots=True)
class Section:
    """A heading (none before the first) and what stands below it up to the next; `path` are titles from the top."""

    start: int
    end: int
    level: int
    path: tuple[str, ...]
    blocks: list[Block] = field(default_factory=list)

    @property
    def has_body(self) -> bool:
        """Whether there is more than the heading itself."""
        return any(block.shape != "heading" for block in self.blocks)


def is_rst(text: str, language: str) -> bool:
    """Whether underlines of every style are titles: by the language, or by which marks the text has more of."""
    if language in ("rst", "restructuredtext"):
        return True
    return language not in ("markdown", "md", "html") and len(_RST.findall(text)) > len(_MARKDOWN.findall(text))


def sections(text: str, language: str) -> list[Section]:
    """Divide a text at its headings; the sections follow each other without a gap."""
    found = [Section(0, 0, 0, ())]
    open_sections: list[Section] = []
    for block, level, title in _blocks(text, rst=is_rst(text, language)):
        if block.shape == "heading":
            while open_sections and open_sections[-1].level >= level:
                open_sections.pop()
            path = (*(open_sections[-1].path if open_sections else ()), title)
            found.append(Section(block.start, block.end, level, path))
            open_sections.append(found[-1])
        found[-1].blocks.append(block)
        found[-1].end = block.end
    return [s for s in found if s.blocks]


@dataclass(slots=True)
class _Lines:
    """The lines of a text, what titles were underlined with, and the fences known not to close."""

    lines: list[str]
    rst: bool
    styles: list[str] = field(default_factory=list)
    unclosed: dict[str, int] = field(default_factory=dict)

    def blank(self, n: int) -> bool:
        return n >= len(self.lines) or not self.lines[n].strip()

    def level(self, style: str) -> int:
        if not self.rst:
            return 1 if style[0] == "=" else 2
        if style not in self.styles:
            self.styles.append(style)
        return self.styles.index(style) + 1


def _blocks(text: str, *, rst: bool) -> Iterator[tuple[Block, int, str]]:
    """Yield (block, level, title), the last two for headings; every line belongs to one block."""
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    starts[-1] = len(text)
    view = _Lines([line.rstrip("\r") for line in lines] if "\r" in text else lines, rst)
    n, begin = 0, 0
    while n < len(lines):
        if view.blank(n):
            n += 1
            continue
        level, title, after = _heading(view, n)
        shape: Shape = "heading"
        if n == 0 and (front := _front_matter(view)):
            level, title, shape, after = 0, "", "paragraph", front
        elif not level:
            shape, after = _body(view, n)
        while after < len(lines) and view.blank(after):
            after += 1
        yield Block(starts[begin], starts[after], shape), level, title
        n = begin = after
    if begin < len(lines) and starts[begin] < len(text):
        yield Block(starts[begin], len(text), "paragraph"), 0, ""


def _front_matter(view: _Lines) -> int:
    """Find the line after a YAML header between two `---`; 0 where there is none in the first hundred lines."""
    if view.lines[0].rstrip() != "---" or view.blank(1):
        return 0
    return next((n + 1 for n, line in enumerate(view.lines[1:100], 1) if line.rstrip() == "---"), 0)


def _heading(view: _Lines, n: int) -> tuple[int, str, int]:
    """Read a heading at line n: (level, title, line after it), or level 0."""
    line = view.lines[n]
    if line.lstrip(" ").startswith("#") and not view.rst and (match := _ATX.match(line)):
        return len(match[1]), (match[2] or "").strip(), n + 1
    if view.rst and _RULE.match(line) and not view.blank(n + 1) and n + 2 < len(view.lines):
        below = view.lines[n + 2]
        if below[:1] == line[:1] and _RULE.match(below):
            return view.level(line[0] * 2), view.lines[n + 1].strip(), n + 3
    if n + 1 < len(view.lines) and _underlined(view, line, view.lines[n + 1]):
        return view.level(view.lines[n + 1][0]), line.strip(), n + 2
    return 0, "", n


def _underlined(view: _Lines, title: str, rule: str) -> bool:
    if not rule or not (match := _RULE.match(rule)) or title[:1].isspace() or _RULE.match(title):
        return False
    if not view.rst:
        return match[1] in "=-" and not _TABLE.match(title) and not _LIST.match(title)
    return len(rule.rstrip()) >= min(len(title.rstrip()), 6) and len(title) < 120


def _body(view: _Lines, n: int) -> tuple[Shape, int]:
    """Find what block begins at line n and the line after it."""
    line = view.lines[n]
    if match := _FENCE.match(line):
        return "fence", _fence_end(view, n, match[1])
    if _LIST.match(line):
        return "list", _list_end(view, n)
    if "|" in line or "+" in line:
        end = n
        while end < len(view.lines) and not view.blank(end) and _TABLE.match(view.lines[end]):
            end += 1
        if end > n + 1:
            return "table", end
    return "paragraph", _paragraph_end(view, n)


def _fence_end(view: _Lines, n: int, mark: str) -> int:
    """A fence ends at its closing line; one that never closes is a paragraph's worth of text."""
    if len(mark) < view.unclosed.get(mark[0], 1 << 30):
        close = re.compile(rf" {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$")
        for end in range(n + 1, len(view.lines)):
            if close.match(view.lines[end]):
                return end + 1
        view.unclosed[mark[0]] = len(mark)
    return _paragraph_end(view, n)


def _list_end(view: _Lines, n: int) -> int:
    """A list goes on over blank lines while items or indented lines follow."""
    end = n + 1
    while end < len(view.lines):
        line = view.lines[end]
        if view.blank(end):
            after = view.lines[end + 1] if end + 1 < len(view.lines) else ""
            if not (_LIST.match(after) or after[:2] in ("  ", "\t")):
                return end
        elif not line[0].isspace() and (_heading(view, end)[0] or _FENCE.match(line)):
            return end
        end += 1
    return end


def _paragraph_end(view: _Lines, n: int) -> int:
    """A paragraph ends at a blank line, or where another kind of block begins."""
    end = n + 1
    while end < len(view.lines) and not view.blank(end):
        line = view.lines[end]
        first = line.lstrip(" \t")[:1]
        if first in "#`~" and (_FENCE.match(line) or (first == "#" and not view.rst and _ATX.match(line))):
            return end
        if first in "-*+•0123456789" and _LIST.match(line):
            return end
        if end + 1 < len(view.lines) and _underlined(view, line, view.lines[end + 1]):
            return end
        end += 1
    return end
