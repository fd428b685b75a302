"""HTML and XML as Markdown: the article of a page without its furniture, the headings and text of a document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath

from ..ports import Extract
from . import Unreadable
from .html_text import Page, html_to_markdown
from .text import readable
from .xml_text import parse_xml, xml_to_markdown

CROWDED = 0.3
"""Share of linked letters from which a page is taken for one with menus around its article."""
_WORD = re.compile(r"\w+")


def html(_: PurePath, data: bytes) -> Iterator[Extract]:
    """Read a page. Raises Unreadable("empty") where it shows no text without running scripts."""
    yield page(readable(data))


def page(source: str) -> Extract:
    """The article where menus crowd it, otherwise the page's own structure without its furniture.

    trafilatura finds articles among links, but drops headings, captions and short tables of plain documents.
    """
    shown = _structural(source)
    text = shown.text
    if shown.linked > CROWDED:
        article = _article(source)
        text = article if words(article) >= (1 - shown.linked) * words(text) / 2 else text
    if not text.strip():
        raise Unreadable("empty", "the page shows no text without running its scripts")
    return Extract(text, "prose", "markdown", meta={"title": shown.title} if shown.title else None)


def _structural(source: str) -> Page:
    """The page without furniture; with it where hardly anything else is left, as after a <nav> that is never closed."""
    for drop, least in ((2, 0.25), (1, 0.05)):
        shown = html_to_markdown(source, drop=drop)
        if shown.kept >= least:
            return shown
    return html_to_markdown(source)


def _article(source: str) -> str:
    """What trafilatura takes for the main text, as Markdown; "" where it finds none or fails."""
    import trafilatura

    try:
        found = trafilatura.extract(
            source, output_format="markdown", include_tables=True, include_comments=True, favor_recall=True
        )
    except (ValueError, TypeError, AttributeError, IndexError, KeyError):  # odd trees trip it in many ways
        return ""
    return f"{found}\n" if found else ""


def words(text: str) -> int:
    """How many words a text has."""
    return len(_WORD.findall(text))


def xml(_: PurePath, data: bytes) -> Iterator[Extract]:
    """Read any XML: JATS, feeds, DITA or unknown; what does not parse is read as tag soup."""
    source = readable(data)
    if re.match(r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*<(!doctype\s+)?html", source[:4000], re.IGNORECASE | re.DOTALL):
        yield page(source)
        return
    root = parse_xml(source)
    if root is None:
        soup = html_to_markdown(source)
        text, title = soup.text, soup.title
    else:
        text, title = xml_to_markdown(root)
    if not text.strip():
        raise Unreadable("empty", "the document holds no text")
    yield Extract(text, "prose", "markdown", meta={"title": title} if title else None)
