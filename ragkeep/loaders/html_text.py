"""HTML as Markdown by its own structure: headings, paragraphs, lists, tables, code; no guess about what matters.

Used where the boilerplate remover finds no article or drops most of one. Tolerates any tag soup: an element that is
never closed ends where the next of its kind begins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from . import names
from .markdown import Cell, fence, pipe_table, span_of, spread

DROPPED = names("script style template svg math noscript iframe object canvas audio video select datalist")
FURNITURE = frozenset(("nav", "footer", "aside"))
FURNITURE_CLASSES = re.compile(
    r"(?:^|[\s_-])(?:nav|navbar|navigation|menu|sidebar|footer|breadcrumbs?|cookies?|consent|social|share|sharing|ads?"
    r"|advert|newsletter|skip-?link|pagination|toc-sticky)(?:$|[\s_-])",
    re.IGNORECASE,
)
CLASSED = frozenset(("div", "ul", "ol", "section", "header", "form", "span", "table", "p"))
FURNITURE_ROLES = frozenset(("navigation", "banner", "contentinfo", "search", "complementary"))
BLOCKS = names(
    "address article body blockquote center details div dd dl dt fieldset figcaption figure form header hr legend main"
    " p section summary caption title table ul ol li h1 h2 h3 h4 h5 h6 tr pre"
)
CODE = frozenset(("code", "kbd", "samp", "tt"))
VOID = names("area base br col embed hr img input link meta param source track wbr")
_END_OF_RAW = re.compile(r"</(script|style)\s[^>]{0,200}>", re.IGNORECASE)  # the parser wants it bare
_BLANK = re.compile(r"[ \t\r\n\f\v]+")


@dataclass(slots=True)
class _Table:
    rows: list[list[Cell]] = field(default_factory=list)
    cell: list[str] | None = None
    span: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class Page:
    """A page as Markdown; `linked` is the share of its letters that are links, `kept` of all letters how many stayed."""

    text: str
    title: str
    linked: float
    kept: float


def html_to_markdown(source: str, *, drop: int = 0) -> Page:
    """Convert a page. `drop`: 0 keeps all that is shown, 1 leaves out nav, footer, aside and what is hidden,
    2 also what calls itself a menu, a sidebar or the like.
    """
    writer = _Writer(drop)
    writer.feed(_END_OF_RAW.sub(r"</\1>", source))
    writer.close()
    writer.end_block()
    while writer.tables:
        writer.end_table()
    text = "\n\n".join(writer.blocks).strip()
    title = _BLANK.sub(" ", writer.title).strip()
    linked = writer.link_letters / max(1, writer.letters)
    return Page(text + "\n" if text else "", title, linked, writer.letters / max(1, writer.letters + writer.left_out))


class _Writer(HTMLParser):
    def __init__(self, drop: int) -> None:
        super().__init__(convert_charrefs=True)
        self.drop = drop
        self.letters = self.link_letters = self.left_out = 0
        self.in_link = False
        self.blocks: list[str] = []
        self.title = ""
        self.line: list[str] = []
        self.prefix = ""
        self.lists: list[tuple[str, int]] = []
        self.tables: list[_Table] = []
        self.skipped: list[str] = []
        self.pre = 0
        self.in_title = False

    # Events

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.skipped:
            if tag == self.skipped[0]:
                self.skipped.append(tag)
            return
        if tag not in VOID and self._is_dropped(tag, dict(attrs)):
            self.skipped.append(tag)
        elif tag in ("td", "th"):
            self._start_cell(dict(attrs))
        elif tag == "br":
            self.line.append("\n")
        elif tag == "title":
            self.in_title = True
        elif tag == "a":
            self.in_link = True
        elif tag in CODE and not self.pre:
            self.line.append("`")
        elif tag in BLOCKS:
            self._start_block(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.skipped:
            if tag == self.skipped[0]:
                self.skipped.pop()
            return
        if tag == "title":
            self.in_title = False
        elif tag == "a":
            self.in_link = False
        elif tag in CODE and not self.pre:
            self.line.append("`")
        elif tag in ("td", "th", "tr"):
            self._end_cell()
        elif tag == "table":
            self.end_table()
        elif tag in BLOCKS:
            self.end_block()
            if tag == "pre":
                self.pre = max(0, self.pre - 1)
            if tag in ("ul", "ol", "menu") and self.lists:
                self.lists.pop()

    def handle_data(self, data: str) -> None:
        if self.in_title:
            self.title += data
        elif self.skipped:
            self.left_out += 0 if self.skipped[0] in DROPPED else len(data.strip())
        else:
            size = len(data.strip())
            self.letters += size
            self.link_letters += size if self.in_link else 0
            self.line.append(data if self.pre else _BLANK.sub(" ", data))

    # Structure

    def _is_dropped(self, tag: str, attrs: dict[str, str | None]) -> bool:
        if tag in DROPPED:
            return True
        if self.drop and (tag in FURNITURE or attrs.get("role") in FURNITURE_ROLES or "hidden" in attrs):
            return True
        named = f"{attrs.get('class') or ''} {attrs.get('id') or ''}" if self.drop > 1 and tag in CLASSED else ""
        return named != "" and FURNITURE_CLASSES.search(named) is not None

    def _start_block(self, tag: str) -> None:
        self.end_block()
        if tag == "table":
            self.tables.append(_Table())
        elif tag == "tr" and self.tables:
            self._end_cell()
            self.tables[-1].rows.append([])
        elif tag in ("ul", "ol"):
            self.lists.append((tag, 0))
        elif tag == "li":
            self.prefix = self._bullet()
        elif tag[0] == "h" and tag[1:].isdigit():
            self.prefix = "#" * int(tag[1]) + " "
        elif tag == "pre":
            self.pre += 1

    def _bullet(self) -> str:
        kind, number = self.lists.pop() if self.lists else ("ul", 0)
        self.lists.append((kind, number + 1))
        indent = "    " * (len(self.lists) - 1)
        return indent + (f"{number + 1}. " if kind == "ol" else "- ")

    def end_block(self) -> None:
        """Finish the running block and file it: in the open table cell, or in the page."""
        text, prefix = "".join(self.line), self.prefix
        self.line, self.prefix = [], ""
        text = text.strip("\n") if self.pre else "\n".join(filter(None, map(str.strip, text.split("\n"))))
        if not text.strip():
            self.prefix = prefix if prefix.strip() else ""  # <li><p>: the bullet waits for its text
            return
        if self.tables and self.tables[-1].cell is not None:
            self.tables[-1].cell.append(text)
        elif self.pre:
            self.blocks.append(fence(text))
        else:
            self._file(prefix + (text.replace("\n", " ") if prefix.startswith("#") else text), bool(prefix))

    def _file(self, text: str, listed: bool) -> None:
        """Add a block; list items stand close together."""
        item = listed and not text.startswith("#")
        if item and self.blocks and re.match(r"\s*(- |\d+\. )", self.blocks[-1]):
            self.blocks[-1] += "\n" + text
        else:
            self.blocks.append(text)

    # Tables

    def _start_cell(self, attrs: dict[str, str | None]) -> None:
        if not self.tables:
            self.end_block()
            return
        self._end_cell()
        table = self.tables[-1]
        if not table.rows:
            table.rows.append([])
        table.cell, table.span = [], (span_of(attrs.get("colspan")), span_of(attrs.get("rowspan")))

    def _end_cell(self) -> None:
        self.end_block()
        if self.tables and self.tables[-1].cell is not None:
            table = self.tables[-1]
            table.rows[-1].append(Cell(" ".join(table.cell or []), *table.span))
            table.cell = None
            self.prefix = ""

    def end_table(self) -> None:
        """Write the innermost table out; a table in a cell becomes text of that cell."""
        if not self.tables:
            return
        self._end_cell()
        rows = spread(self.tables.pop().rows)
        if self.tables and self.tables[-1].cell is not None:
            self.tables[-1].cell += [" ".join(filter(None, row)) for row in rows]
        elif text := pipe_table(rows):
            self.blocks.append(text)
