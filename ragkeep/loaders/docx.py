"""Word documents as Markdown, in reading order: headings, lists, tables, text boxes, formulas, notes.

Read from the XML itself and by local names, so that strict and transitional documents, content controls, tracked
insertions and text boxes are all seen; deleted text is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePath
from xml.etree import ElementTree as ET

from ..ports import Extract
from . import Unreadable, names
from .archive import Archive, attribute, child, core_title, local
from .charts import charts
from .markdown import Cell, pipe_table, spread
from .omml import formula

SKIPPED = names(
    "del moveFrom instrText delText pPr rPr sectPr sdtPr sdtEndPr tblPr tblGrid trPr tcPr Fallback pict annotationRef"
    " fldData proofErr bookmarkStart bookmarkEnd commentRangeStart commentRangeEnd"
)
BOXES = {ord("☒"): "[x]", ord("☑"): "[x]", ord("☐"): "[ ]"}
_HEADING = re.compile(r"^(?:heading|überschrift|titre|título|titolo|kop|rubrik|nagłówek|otsikko)\s*(\d)$", re.IGNORECASE)


@dataclass(slots=True)
class _Styles:
    """What styles and numberings say about a paragraph."""

    names: dict[str, str] = field(default_factory=dict)
    outline: dict[str, int] = field(default_factory=dict)
    numbered: dict[str, tuple[str, int]] = field(default_factory=dict)
    formats: dict[tuple[str, int], str] = field(default_factory=dict)
    counts: dict[tuple[str, int], int] = field(default_factory=dict)


def docx(_: PurePath, data: bytes) -> Iterator[Extract]:
    """Read a DOCX. Raises Unreadable: encrypted, damaged, too_large_output."""
    archive = Archive(data)
    main = _main_part(archive)
    related = archive.relations(main)
    parts = {kind: name for kind, name in related.values() if name in archive}
    body = child(archive.xml(main), "body")
    styles = _styles(archive, parts)
    blocks = list(_blocks(body, styles)) if body is not None else []
    blocks += charts(archive, related)
    for kind in ("footnotes", "endnotes"):
        if kind in parts:
            blocks += _notes(archive.xml(parts[kind]), styles)
    yield Extract(_join(blocks), "prose", "markdown", meta=core_title(archive))


def _main_part(archive: Archive) -> str:
    for kind, name in archive.relations("").values():
        if kind == "officeDocument" and name in archive:
            return name
    if "word/document.xml" in archive:
        return "word/document.xml"
    raise Unreadable("damaged", "the archive holds no Word document")


def _join(blocks: list[str]) -> str:
    """Part blocks by an empty line; items of a list stand close together."""
    out: list[str] = []
    for block in blocks:
        if out and _is_item(block) and _is_item(out[-1].rpartition("\n")[2]):
            out[-1] += "\n" + block
        else:
            out.append(block)
    return "\n\n".join(out) + "\n"


def _is_item(block: str) -> bool:
    return re.match(r"\s*(- |\d+\. )", block) is not None


# Blocks


def _blocks(parent: ET.Element, styles: _Styles) -> Iterator[str]:
    for element in parent:
        name = local(element)
        if name == "p":
            yield from _paragraph(element, styles)
        elif name == "tbl":
            if text := pipe_table(spread(_rows(element, styles))):
                yield text
        elif name not in SKIPPED:  # content controls, custom XML, insertions: what they hold stands here
            yield from _blocks(element, styles)


def _paragraph(p: ET.Element, styles: _Styles) -> Iterator[str]:
    """One paragraph, and after it the text boxes anchored in it."""
    boxes: list[ET.Element] = []
    text = re.sub(r"[ \t]+", " ", "".join(_runs(p, boxes))).strip()
    if text:
        yield _prefix(p, styles) + text
    for box in boxes:
        yield from _blocks(box, styles)


def _runs(element: ET.Element, boxes: list[ET.Element]) -> Iterator[str]:
    """Text of everything inline, in order; text boxes are set aside."""
    for one in element:
        name = local(one)
        if name == "t":
            yield (one.text or "").translate(BOXES)
        elif name in ("tab", "ptab"):
            yield "\t"
        elif name in ("br", "cr"):
            yield "\n"
        elif name == "noBreakHyphen":
            yield "-"
        elif name == "txbxContent":
            boxes.append(one)
        elif name in ("oMath", "oMathPara"):
            yield formula(one)
        elif name == "pict":  # older text boxes; newer ones repeat theirs here as a fallback
            boxes += [box for box in one.iter() if local(box) == "txbxContent"]
        elif name == "sym":
            yield _symbol(one)
        elif name in ("footnoteReference", "endnoteReference"):
            yield f"[^{attribute(one, 'id')}]"
        elif name not in SKIPPED:
            yield from _runs(one, boxes)


def _symbol(element: ET.Element) -> str:
    code = attribute(element, "char")
    value = int(code, 16) if re.fullmatch(r"[0-9A-Fa-f]{1,5}", code) else 0
    return "" if 0xE000 <= value <= 0xF8FF or not value else chr(value)  # private use: a picture in a symbol font


def _rows(table: ET.Element, styles: _Styles) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    open_merges: dict[int, str] = {}
    for tr in _direct(table, "tr"):
        row: list[Cell] = []
        column = 0
        for tc in _direct(tr, "tc"):
            properties = child(tc, "tcPr")
            width = _number(child(properties, "gridSpan"), 1)
            merge = child(properties, "vMerge")
            text = " ".join(_blocks(tc, styles))
            if merge is not None and attribute(merge, "val") != "restart":
                text = open_merges.get(column, text)
            elif merge is not None:
                open_merges[column] = text
            row.append(Cell(text, width))
            column += width
        rows.append(row)
    return rows


def _direct(parent: ET.Element, wanted: str) -> Iterator[ET.Element]:
    """Rows or cells, through content controls but not into tables within."""
    for one in parent:
        if local(one) == wanted:
            yield one
        elif local(one) in ("sdt", "sdtContent", "customXml", "ins"):
            yield from _direct(one, wanted)


def _number(element: ET.Element | None, default: int) -> int:
    value = attribute(element, "val") if element is not None else ""
    return min(int(value), 100) if value.isascii() and value.isdecimal() else default


def _notes(root: ET.Element, styles: _Styles) -> list[str]:
    notes = []
    for note in root:
        if attribute(note, "type") in ("separator", "continuationSeparator", "continuationNotice"):
            continue
        if text := " ".join(_blocks(note, styles)):
            notes.append(f"[^{attribute(note, 'id')}]: {text}")
    return notes


# Styles


def _styles(archive: Archive, parts: dict[str, str]) -> _Styles:
    styles = _Styles()
    if "styles" in parts:
        based: dict[str, str] = {}
        for style in archive.xml(parts["styles"]):
            _read_style(style, styles, based)
        for key in list(styles.names):
            _inherit(key, styles, based)
    if "numbering" in parts:
        _read_numbering(archive.xml(parts["numbering"]), styles)
    return styles


def _read_style(style: ET.Element, styles: _Styles, based: dict[str, str]) -> None:
    key, name = attribute(style, "styleId"), child(style, "name")
    styles.names[key] = attribute(name, "val") if name is not None else key
    level = child(style, "pPr", "outlineLvl")
    if match := _HEADING.match(styles.names[key]):
        styles.outline[key] = int(match[1])
    elif level is not None and _number(level, 9) < 9:
        styles.outline[key] = _number(level, 0) + 1
    elif styles.names[key].lower() == "title":
        styles.outline[key] = 1
    number = child(style, "pPr", "numPr")
    if number is not None and child(number, "numId") is not None:
        styles.numbered[key] = _numbering_of(number)
    parent = child(style, "basedOn")
    if parent is not None:
        based[key] = attribute(parent, "val")


def _inherit(key: str, styles: _Styles, based: dict[str, str]) -> None:
    parent, seen = based.get(key), {key}
    while parent and parent not in seen:
        seen.add(parent)
        for table in (styles.outline, styles.numbered):
            if key not in table and parent in table:
                table[key] = table[parent]  # type: ignore[assignment]
        parent = based.get(parent)


def _numbering_of(number: ET.Element) -> tuple[str, int]:
    which = child(number, "numId")
    return (attribute(which, "val") if which is not None else "", _number(child(number, "ilvl"), 0))


def _read_numbering(root: ET.Element, styles: _Styles) -> None:
    abstract: dict[str, dict[int, str]] = {}
    for one in root:
        if local(one) == "abstractNum":
            levels = {_level(lvl): attribute(f, "val") for lvl in one if (f := child(lvl, "numFmt")) is not None}
            abstract[attribute(one, "abstractNumId")] = levels
        elif local(one) == "num" and (link := child(one, "abstractNumId")) is not None:
            for level, form in abstract.get(attribute(link, "val"), {}).items():
                styles.formats[(attribute(one, "numId"), level)] = form


def _level(lvl: ET.Element) -> int:
    value = attribute(lvl, "ilvl", "0")
    return int(value) if value.isascii() and value.isdecimal() else 0


def _prefix(p: ET.Element, styles: _Styles) -> str:
    """The Markdown mark of a paragraph: heading, list item, or nothing."""
    properties = child(p, "pPr")
    style_element = child(properties, "pStyle")
    style = attribute(style_element, "val") if style_element is not None else ""
    level = child(properties, "outlineLvl")
    heading = _number(level, 9) + 1 if level is not None else styles.outline.get(style, 10)
    own = child(properties, "numPr")
    key = _numbering_of(own) if own is not None else styles.numbered.get(style)
    if heading < 10:
        return "#" * min(heading, 6) + " " + _heading_number(key, styles)
    if key is None or key[0] in ("", "0"):
        return "- " if styles.names.get(style, "").lower().startswith("list bullet") else ""
    indent = "    " * min(key[1], 8)
    if styles.formats.get(key, "bullet") in ("bullet", "none"):
        return f"{indent}- "
    return f"{indent}{_count(key, styles)}. "


def _heading_number(key: tuple[str, int] | None, styles: _Styles) -> str:
    """The number that Word prints before a numbered heading, as "2.1 "."""
    if key is None or styles.formats.get(key, "none") in ("bullet", "none"):
        return ""
    _count(key, styles)
    return ".".join(str(styles.counts.get((key[0], level), 1)) for level in range(key[1] + 1)) + " "


def _count(key: tuple[str, int], styles: _Styles) -> int:
    """Number the next item of a list at a level; deeper levels begin anew."""
    styles.counts[key] = styles.counts.get(key, 0) + 1
    for deeper in [k for k in styles.counts if k[0] == key[0] and k[1] > key[1]]:
        del styles.counts[deeper]
    return styles.counts[key]
