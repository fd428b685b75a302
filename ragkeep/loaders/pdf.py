"""PDF text, page by page, with pdfium; `meta["pages"]` holds the offset in the text at which each page starts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import PurePath
from typing import Any

from ..ports import Extract
from . import Unreadable
from .pdf_arabic import ARABIC, mend

MAX_CHARS_A_PAGE = 4_000_000


def pdf(_: PurePath, data: bytes) -> Iterator[Extract]:
    """Read a PDF's text layer. Raises Unreadable: encrypted, damaged, empty (a scan: there is no OCR)."""
    document = _open(data)
    try:
        if len(document) == 0:
            raise Unreadable("damaged", "the document has no pages")
        pages = [_page_text(document, number) for number in range(len(document))]
        if not any(page.strip() for page in pages):
            raise Unreadable("empty", f"no text layer in {len(pages)} pages: run OCR on it first")
        offsets, text = _join(pages)
        meta: dict[str, object] = {"pages": offsets, **_title(document)}
    finally:
        document.close()
    yield Extract(text, "prose", "text", meta=meta)


def _open(data: bytes) -> Any:
    import pypdfium2

    try:
        return pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", 0) in (4, 5) or "password" in str(error).lower():
            raise Unreadable("encrypted", "it opens only with a password: store it without one") from None
        raise Unreadable("damaged", f"not a readable PDF: {error}") from None


def _page_text(document: Any, number: int) -> str:
    """One page's text; a page that cannot be loaded is empty, the others stay."""
    import pypdfium2

    try:
        page = document[number]
        textpage = page.get_textpage()
        text = str(textpage.get_text_bounded())
        if ARABIC.search(text):
            text = mend(textpage, text)
        page.close()
    except pypdfium2.PdfiumError:
        return ""
    return tidy(text[:MAX_CHARS_A_PAGE])


def tidy(text: str) -> str:
    """Unify line ends, spell ligatures out, and print pdfium's mark for a hyphen at a line's end as the hyphen."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub("[\x02\ufffe\xad]\n?", "-\n", text)
    text = re.sub("[\ufb00-\ufdff\ufe70-\ufefc]+", lambda m: unicodedata.normalize("NFKC", m[0]), text)
    return re.sub("[\x00-\x08\x0b\x0e-\x1f\uffff]", "", text)


def _join(pages: list[str]) -> tuple[list[int], str]:
    offsets, total = [], 0
    for page in pages:
        offsets.append(total)
        total += len(page) + 2
    return offsets, "\n\n".join(pages)


def _title(document: Any) -> dict[str, str]:
    title = str(document.get_metadata_dict(skip_empty=True).get("Title", "")).strip("\ufeff \0")
    return {"title": title} if title else {}
