"""XML as Markdown, without trusting it: no entity of the document's own is ever expanded, nothing is fetched."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from . import names
from .html_text import html_to_markdown
from .markdown import Cell, fence, pipe_table, span_of, spread

_DOCTYPE = re.compile(r"<!DOCTYPE[^\[>]*(\[.*?\]\s*)?>", re.DOTALL)
_ENTITY = re.compile(r"&([A-Za-z][\w.-]*);")
_XML_OWN = frozenset(("amp", "lt", "gt", "quot", "apos"))
# Inline elements of JATS, DocBook, DITA, TEI and XHTML: their text runs on in the paragraph.
INLINE = names(
    "a b i u em strong span sub sup italic bold underline sc monospace tt code ext-link xref uri email named-content"
    " styled-content inline-formula abbrev emphasis link ulink literal ph term keyword q s strike small big br"
    " inline-graphic chem roman overline sans-serif tex-math mi mn mo mrow msub msup mfrac msubsup"
    " math mtext mover munder munderover mstyle mfenced mspace mtable mtr mtd msqrt mroot semantics"
)
TITLES = frozenset(("title", "article-title", "head", "heading"))
SECTIONS = names("sec section chapter div abstract ack app ref-list boxed-text topic part appendix fn-group")
# Elements that hold fields, not running text: one line, fields parted by blanks.
FLAT = names("ref aff name string-name element-citation mixed-citation nlm-citation citation author editor")
IMPLIED_TITLES = {"abstract": "Abstract", "ack": "Acknowledgments"}
# Bookkeeping of JATS that no reader sees in the text.
DROPPED = names(
    "journal-meta permissions counts history pub-date article-id elocation-id related-article self-uri custom-meta-group"
    " contrib-id author-notes object-id funding-group script style annotation graphic media"
)


def parse_xml(source: str) -> ET.Element | None:
    """Parse after removing the document type with all its entities; None where it is not well-formed."""
    body = _DOCTYPE.sub("", source, count=1)
    body = re.sub(r"^\s*<\?xml[^>]*\?>", "", body)
    body = _ENTITY.sub(_known_entity, body)
    try:
        return ET.fromstring(body)  # noqa: S314 - its document type, and so every entity, is gone
    except (ET.ParseError, ValueError):
        return None


def _known_entity(match: re.Match[str]) -> str:
    """HTML's named characters are given; any other entity stays visible by its name."""
    name = match[1]
    if name in _XML_OWN:
        return match[0]
    text = html.unescape(match[0])
    return text if text != match[0] else f"&amp;{name};"


def local(element: ET.Element) -> str:
    """Name of an element without its namespace, lower case; "" for comments and instructions."""
    return element.tag.rpartition("}")[2].lower() if isinstance(element.tag, str) else ""


def xml_to_markdown(root: ET.Element) -> tuple[str, str]:
    """Write headings, paragraphs, lists and tables; return the text and the document's title."""
    blocks = [text for text in _blocks(root, 1) if text.strip()]
    title = next((_flat(e) for e in root.iter() if local(e) in TITLES and _flat(e)), "")
    return "\n\n".join(blocks) + "\n", title


def _blocks(element: ET.Element, level: int) -> Iterator[str]:
    """Blocks of an element, in order; `level` is the heading level of a title found here."""
    name = local(element)
    if not name or name in DROPPED:
        return
    if name in ("table", "tgroup", "array"):
        yield pipe_table(spread([_row(row) for row in element.iter() if local(row) in ("tr", "row")]))
    elif name in ("preformat", "programlisting", "codeblock", "pre", "screen"):
        yield fence("".join(element.itertext()).strip("\n"))
    elif name in TITLES:
        yield f"{'#' * min(level, 6)} {_flat(element)}" if _flat(element) else ""
    elif name in ("contrib-group", "kwd-group", "author-group"):
        yield ", ".join(filter(None, (_flat(child) for child in element if local(child) not in DROPPED)))
    elif name in FLAT:
        yield f"- {_flat(element)}" if name == "ref" else _flat(element)
    elif name in ("list-item", "li", "item", "listitem", "bibliomixed"):
        text = " ".join(_inner(element, level))
        yield f"- {text}" if text.strip() else ""
    else:
        if name in IMPLIED_TITLES and not any(local(child) in TITLES for child in element):
            yield f"{'#' * min(level + 1, 6)} {IMPLIED_TITLES[name]}"
        inner = level + 1 if name in SECTIONS or (name in ("body", "back") and level == 1) else level
        yield from _inner(element, inner)


def _inner(element: ET.Element, level: int) -> Iterator[str]:
    """Blocks of the children, with the runs of text and inline elements between them as paragraphs."""
    run = [element.text or ""]
    for child in element:
        name = local(child)
        if name in INLINE or not name:
            run.append(_text(child) if name else "")
        else:
            yield _tidy(run)
            run = []
            yield from (block for block in _blocks(child, level) if block)
        run.append(child.tail or "")
    yield _tidy(run)


def _tidy(run: list[str]) -> str:
    text = "".join(run)
    if "<" in text and re.search(r"</?(p|br|a|div|b|i|img)\b[^<>]*>", text):  # feeds carry escaped HTML
        return html_to_markdown(text).text.strip()
    return " ".join(text.split())


def _text(element: ET.Element) -> str:
    """All text of an inline element; of formulas given twice, the readable one."""
    if local(element) == "tex-math":
        found = re.search(r"\\begin\{document\}(.*?)\\end\{document\}", "".join(element.itertext()), re.DOTALL)
        return found[1].strip() if found else "".join(element.itertext())
    parts = [element.text or ""]
    for child in element:
        if local(child) and local(child) not in DROPPED:
            parts.append(_text(child))
        parts.append(child.tail or "")
    return "".join(parts)


def _flat(element: ET.Element) -> str:
    """Text of an element on one line; children that are not inline are parted by blanks."""
    parts = [element.text or ""]
    for child in element:
        name = local(child)
        if name and name not in DROPPED:
            parts.append(_text(child) if name in INLINE else f" {_flat(child)} ")
        parts.append(child.tail or "")
    return re.sub(r"\s+([,.;:])", r"\1", " ".join("".join(parts).split()))


def _row(row: ET.Element) -> list[Cell]:
    return [
        Cell(_flat(cell), span_of(cell.get("colspan")), span_of(cell.get("rowspan")))
        for cell in row
        if local(cell) in ("td", "th", "entry")
    ]
