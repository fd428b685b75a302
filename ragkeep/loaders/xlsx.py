"""Workbooks as Markdown: a sheet's name as heading, each block of filled cells as a table, charts, comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePath
from xml.etree import ElementTree as ET

from ..ports import Extract
from . import Unreadable
from .archive import Archive, attribute, child, core_title, local
from .charts import charts
from .markdown import MAX_SPAN, pipe_table

Grid = dict[int, dict[int, str]]
"""Row -> column -> text of the cells that have one."""
DATE_FORMATS = frozenset((*range(14, 23), 27, 30, 36, 45, 46, 47, 50, 57))
MAX_COLUMN = 16_384


@dataclass(frozen=True, slots=True)
class _Book:
    strings: list[str]
    dates: frozenset[int]
    epoch: datetime


def xlsx(_: PurePath, data: bytes) -> Iterator[Extract]:
    """Read an XLSX: values as computed when it was saved, hidden sheets too."""
    archive = Archive(data)
    main = next((n for kind, n in archive.relations("").values() if kind == "officeDocument"), "xl/workbook.xml")
    if main not in archive:
        raise Unreadable("damaged", "the archive holds no workbook")
    workbook, related = archive.xml(main), archive.relations(main)
    book = _book(archive, workbook, {kind: name for kind, name in related.values() if name in archive})
    listed = child(workbook, "sheets")
    blocks: list[str] = []
    for sheet in listed if listed is not None else ():
        part = related.get(_relation(sheet), ("", ""))[1]
        if part in archive:
            blocks += _sheet(archive, part, attribute(sheet, "name"), book)
    yield Extract("\n\n".join(blocks) + "\n", "prose", "markdown", meta=core_title(archive))


def _relation(element: ET.Element) -> str:
    return next((value for key, value in element.attrib.items() if key.startswith("{") and key.endswith("}id")), "")


def _book(archive: Archive, workbook: ET.Element, parts: dict[str, str]) -> _Book:
    strings, dates = [], frozenset[int]()
    if "sharedStrings" in parts:
        strings = [_text(one) for one in archive.xml(parts["sharedStrings"]) if local(one) == "si"]
    if "styles" in parts:
        dates = _date_styles(archive.xml(parts["styles"]))
    properties = child(workbook, "workbookPr")
    mac = properties is not None and attribute(properties, "date1904") in ("1", "true")
    return _Book(strings, dates, datetime(1904, 1, 1) if mac else datetime(1899, 12, 30))


def _text(element: ET.Element) -> str:
    """Text of a string; the reading aids of East Asian ones are left out."""
    parts = []
    for one in element:
        if local(one) == "t":
            parts.append(one.text or "")
        elif local(one) == "r":
            parts.append(_text(one))
    return "".join(parts)


def _date_styles(styles: ET.Element) -> frozenset[int]:
    """Indices of the cell styles that show a number as a date."""
    custom = {
        attribute(one, "numFmtId"): attribute(one, "formatCode")
        for one in (child(styles, "numFmts") if child(styles, "numFmts") is not None else ())  # type: ignore[union-attr]
    }
    formats = child(styles, "cellXfs")
    shown = [attribute(one, "numFmtId", "0") for one in (formats if formats is not None else ())]
    return frozenset(i for i, number in enumerate(shown) if _is_date(number, custom.get(number, "")))


def _is_date(number: str, code: str) -> bool:
    plain = re.sub(r'"[^"]*"|\\.|\[[^\]]*\]', "", code).lower()
    return bool(re.search(r"[ymdhs]", plain)) if code else number.isdecimal() and int(number) in DATE_FORMATS


def _sheet(archive: Archive, part: str, name: str, book: _Book) -> Iterator[str]:
    root, related = archive.xml(part), archive.relations(part)
    tables = list(_tables(_grid(root, book)))
    drawn = [text for kind, drawing in related.values() if kind == "drawing" and drawing in archive
             for text in charts(archive, archive.relations(drawing))]  # fmt: skip
    drawn += charts(archive, related)
    comments = [text for kind, name_ in related.values() if kind == "comments" and name_ in archive
                for text in _comments(archive.xml(name_))]  # fmt: skip
    if tables or drawn or comments:
        yield f"## {name}"
        yield from (*tables, *drawn, *comments)


def _grid(root: ET.Element, book: _Book) -> Grid:
    grid: Grid = {}
    data = child(root, "sheetData")
    for number, row in enumerate(data if data is not None else (), start=1):
        at = attribute(row, "r")
        line = {}
        for position, cell in enumerate(row):
            text = _value(cell, book)
            if text.strip():
                line[_column(attribute(cell, "r"), position)] = text
        if line:
            grid[int(at) if at.isdecimal() else number] = line
    _merge(grid, child(root, "mergeCells"))
    return grid


def _merge(grid: Grid, merges: ET.Element | None) -> None:
    """Repeat the text of a merged cell over the rows and columns it covers, as far as there are others beside it."""
    for one in merges if merges is not None else ():
        match = re.fullmatch(r"([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})", attribute(one, "ref"))
        if match is None:
            continue
        left, right = _column(match[1], 0), _column(match[3], 0)
        text = grid.get(int(match[2]), {}).get(left, "")
        for row in range(int(match[2]), min(int(match[4]), int(match[2]) + MAX_SPAN) + 1):
            for column in range(left, min(right, left + MAX_SPAN) + 1):
                if text and row in grid:
                    grid[row].setdefault(column, text)


def _column(reference: str, position: int) -> int:
    letters = re.match(r"[A-Z]{1,3}", reference)
    if letters is None:
        return position
    number = 0
    for letter in letters[0]:
        number = number * 26 + ord(letter) - 64
    return min(number, MAX_COLUMN) - 1


def _value(cell: ET.Element, book: _Book) -> str:
    kind, value = attribute(cell, "t", "n"), child(cell, "v")
    if kind == "inlineStr":
        inline = child(cell, "is")
        return _text(inline) if inline is not None else ""
    text = (value.text or "") if value is not None else ""
    if kind == "s":
        return book.strings[int(text)] if text.isdecimal() and int(text) < len(book.strings) else ""
    if kind == "b":
        return "TRUE" if text == "1" else "FALSE"
    style = attribute(cell, "s", "0")
    return _date(text, book) if kind == "n" and style.isdecimal() and int(style) in book.dates else _number(text)


def _number(text: str) -> str:
    """A number as people write it: without the tail of a binary fraction."""
    if re.fullmatch(r"-?\d+\.\d{12,}|-?[\d.]+E-?\d+", text):
        return repr(float(f"{float(text):.12g}")).removesuffix(".0")
    return text


def _date(text: str, book: _Book) -> str:
    try:
        days = float(text)
        moment = book.epoch + timedelta(days=days)
    except (ValueError, OverflowError):
        return text
    moment = (moment + timedelta(milliseconds=500)).replace(microsecond=0)
    if days < 1:
        return moment.strftime("%H:%M:%S")
    return moment.strftime("%Y-%m-%d") if days == int(days) else moment.strftime("%Y-%m-%d %H:%M:%S")


def _tables(grid: Grid) -> Iterator[str]:
    """Blocks of rows, and within them of columns, that no empty row or column cuts through."""
    for rows in _runs(sorted(grid)):
        used = sorted({column for row in rows for column in grid[row]})
        for columns in _runs(used):
            span = range(columns[0], columns[-1] + 1)
            if text := pipe_table([[grid[row].get(column, "") for column in span] for row in rows]):
                yield text


def _runs(numbers: list[int]) -> Iterator[list[int]]:
    run: list[int] = []
    for number in numbers:
        if run and number != run[-1] + 1:
            yield run
            run = []
        run.append(number)
    if run:
        yield run


def _comments(root: ET.Element) -> Iterator[str]:
    for one in root.iter():
        if local(one) == "comment" and (inner := child(one, "text")) is not None and _text(inner).strip():
            yield f"{attribute(one, 'ref')}: {' '.join(_text(inner).split())}"
