"""OpenDocument text, sheets and slides as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from xml.etree import ElementTree as ET

from ..ports import Extract
from . import Unreadable, names
from .archive import Archive, attribute, child, core_title, local
from .markdown import Cell, pipe_table, span_of, spread

SKIPPED = names(
    "tracked-changes annotation annotation-end forms sequence-decls variable-decls user-field-decls settings"
    " shapes date-time-decl footer-decl header-decl note-citation soft-page-break scripts"
)
MAX_REPEAT = 64


def odf(_: PurePath, data: bytes) -> Iterator[Extract]:
    """Read an ODT, ODS or ODP. Raises Unreadable: encrypted, damaged."""
    archive = Archive(data)
    if "content.xml" not in archive:
        raise Unreadable("damaged", "the archive holds no OpenDocument content")
    if "META-INF/manifest.xml" in archive and b"encryption-data" in archive.read("META-INF/manifest.xml"):
        raise Unreadable("encrypted", "it is protected by a password: store it without one")
    body = child(archive.xml("content.xml"), "body")
    blocks = list(filter(None, _blocks(body, 0))) if body is not None else []
    yield Extract("\n\n".join(blocks) + "\n", "prose", "markdown", meta=core_title(archive))


def _blocks(parent: ET.Element, depth: int) -> Iterator[str]:
    for one in parent:
        name = local(one)
        if name == "h":
            level = attribute(one, "outline-level", "1")
            yield f"{'#' * min(int(level) if level.isdecimal() else 1, 6)} {_text(one)}" if _text(one) else ""
        elif name == "p":
            yield _text(one)
            yield from _boxes(one, depth)
        elif name == "list":
            yield "\n".join(_items(one, depth))
        elif name == "table":
            yield from _table(one)
        elif name == "page":
            yield f"# {attribute(one, 'name')}" if attribute(one, "name") else ""
            yield from _blocks(one, depth)
        elif name not in SKIPPED:
            yield from _blocks(one, depth)


def _boxes(p: ET.Element, depth: int) -> Iterator[str]:
    """Text boxes anchored in a paragraph, and the notes it refers to."""
    for one in p.iter():
        if local(one) in ("text-box", "note-body"):
            yield from _blocks(one, depth)


def _items(element: ET.Element, depth: int) -> Iterator[str]:
    for item in element:
        first = True
        for one in item:
            if local(one) == "list":
                yield from _items(one, depth + 1)
            elif local(one) in ("p", "h") and _text(one):
                yield "    " * depth + ("- " if first else "  ") + _text(one)
                first = False


def _table(table: ET.Element) -> Iterator[str]:
    name = attribute(table, "name")
    rows: list[list[Cell]] = []
    for row in _rows(table):
        cells = [cell for tc in row for cell in _cell(tc)]
        rows += [cells] * (_repeat(row, "number-rows-repeated") if any(c.text for c in cells) else 1)
    text = pipe_table(spread(rows))
    if text and name and local(table) == "table" and not name.startswith(("Table", "local-table")):
        yield f"## {name}"
    yield text


def _rows(table: ET.Element) -> Iterator[ET.Element]:
    for one in table:
        if local(one) == "table-row":
            yield one
        elif local(one) in ("table-header-rows", "table-rows", "table-row-group"):
            yield from _rows(one)


def _cell(tc: ET.Element) -> Iterator[Cell]:
    if local(tc) not in ("table-cell", "covered-table-cell"):
        return
    if local(tc) == "covered-table-cell":  # the cell that covers it is repeated here by its span
        return
    text = " ".join(filter(None, _blocks(tc, 0))) or attribute(tc, "value")
    times = _repeat(tc, "number-columns-repeated")
    spans = span_of(attribute(tc, "number-columns-spanned")), span_of(attribute(tc, "number-rows-spanned"))
    yield from [Cell(text, *spans)] * times


def _repeat(element: ET.Element, name: str) -> int:
    value = attribute(element, name, "1")
    return min(int(value), MAX_REPEAT) if value.isascii() and value.isdecimal() else 1


def _text(element: ET.Element) -> str:
    return " ".join("".join(_pieces(element)).split())


def _pieces(element: ET.Element) -> Iterator[str]:
    yield element.text or ""
    for one in element:
        name = local(one)
        if name in ("s", "tab", "line-break"):
            yield " "
        elif name not in SKIPPED and name not in ("frame", "note", "text-box"):
            yield from _pieces(one)
        yield one.tail or ""
