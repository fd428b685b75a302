"""Presentations as Markdown: a slide's title as heading, its text, tables, charts and notes; slides in show order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from xml.etree import ElementTree as ET

from ..ports import Extract
from . import Unreadable
from .archive import Archive, attribute, child, core_title, local
from .charts import charts
from .markdown import Cell, pipe_table, span_of, spread

UNSEEN = frozenset(("sldNum", "dt", "ftr", "hdr", "sldImg"))


def pptx(_: PurePath, data: bytes) -> Iterator[Extract]:
    """Read a PPTX; `meta["pages"]` holds the offset at which each slide starts."""
    archive = Archive(data)
    slides = ["\n\n".join(filter(None, _slide(archive, name))) for name in _slides(archive)]
    offsets, text = [], ""
    for slide in slides:
        offsets.append(len(text))
        text += slide + "\n\n"
    yield Extract(text, "prose", "markdown", meta={"pages": offsets, **(core_title(archive) or {})})


def _slides(archive: Archive) -> list[str]:
    main = next((n for kind, n in archive.relations("").values() if kind == "officeDocument"), "ppt/presentation.xml")
    if main not in archive:
        raise Unreadable("damaged", "the archive holds no presentation")
    related, listed = archive.relations(main), child(archive.xml(main), "sldIdLst")
    order = [related.get(_relation(one), ("", ""))[1] for one in (listed if listed is not None else ())]
    return [name for name in order if name in archive]


def _relation(element: ET.Element) -> str:
    return next((value for key, value in element.attrib.items() if key.startswith("{") and key.endswith("}id")), "")


def _slide(archive: Archive, name: str) -> Iterator[str]:
    related = archive.relations(name)
    tree = child(archive.xml(name), "cSld", "spTree")
    shapes = list(_shapes(tree)) if tree is not None else []
    titles = [one for one in shapes if _placeholder(one) in ("title", "ctrTitle")]
    for shape in (*titles, *(one for one in shapes if one not in titles)):
        yield _shape(shape, title=shape in titles)
    yield from charts(archive, related)
    for kind, part in related.values():
        if kind == "notesSlide" and part in archive:
            notes = [_shape(s) for s in _shapes(archive.xml(part)) if _placeholder(s) == "body"]
            yield "\n\n".join(["Notes:", *notes]) if any(notes) else ""
        if kind == "comments" and part in archive:
            yield from _comments(archive.xml(part))


def _comments(root: ET.Element) -> Iterator[str]:
    for one in root.iter():
        if local(one) in ("cm", "comment"):
            text = " ".join(t.text or "" for t in one.iter() if local(t) in ("text", "t")).strip()
            yield f"Comment: {text}" if text else ""


def _shapes(tree: ET.Element) -> Iterator[ET.Element]:
    """Shapes and table frames, groups opened; of alternatives for newer programs, the first."""
    for one in tree:
        name = local(one)
        if name in ("sp", "graphicFrame", "cxnSp"):
            yield one
        elif name == "AlternateContent":
            yield from _shapes(one[0]) if len(one) else ()
        elif name in ("grpSp", "spTree", "cSld"):
            yield from _shapes(one)


def _placeholder(shape: ET.Element) -> str:
    for one in shape.iter():
        if local(one) == "ph":
            return attribute(one, "type", "body")
    return ""


def _shape(shape: ET.Element, *, title: bool = False) -> str:
    if _placeholder(shape) in UNSEEN:
        return ""
    table = next((one for one in shape.iter() if local(one) == "tbl"), None)
    if table is not None:
        return pipe_table(spread([_row(tr) for tr in table if local(tr) == "tr"]))
    paragraphs = [one for one in shape.iter() if local(one) == "p"]
    if title:
        text = " ".join(filter(None, map(_text, paragraphs)))
        return f"# {text}" if text else ""
    return "\n".join(filter(None, (_line(p, many=len(paragraphs) > 1) for p in paragraphs)))


def _row(tr: ET.Element) -> list[Cell]:
    """Cells of a row; those that a spanning one covers are left to it."""
    own = (
        tc for tc in tr if local(tc) == "tc" and not {attribute(tc, "hMerge"), attribute(tc, "vMerge")} & {"1", "true"}
    )
    return [
        Cell(
            " ".join(_text(p) for p in tc.iter() if local(p) == "p"),
            span_of(attribute(tc, "gridSpan")),
            span_of(attribute(tc, "rowSpan")),
        )
        for tc in own
    ]


def _line(p: ET.Element, *, many: bool) -> str:
    text, properties = _text(p), child(p, "pPr")
    level = attribute(properties, "lvl", "0") if properties is not None else "0"
    indent = "    " * (int(level) if level.isdecimal() and len(level) == 1 else 0)
    return f"{indent}- {text}" if text and many else text


def _text(p: ET.Element) -> str:
    parts = ("\n" if local(one) == "br" else one.text or "" for one in p.iter() if local(one) in ("t", "br"))
    return re.sub(r"\s+", " ", "".join(parts)).strip()
