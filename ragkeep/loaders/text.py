"""Text and code as they stand: decoded, nothing changed, so that every span and line number is the file's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from ..encoding import decode
from ..ports import Extract
from . import LANGUAGE_OF, Unreadable

_HEAD = 1 << 13


def prose(path: PurePath, data: bytes) -> Iterator[Extract]:
    """Read Markdown, reStructuredText, AsciiDoc, subtitles and plain text."""
    yield Extract(readable(data), "prose", LANGUAGE_OF.get(path.suffix.lower(), "text"))


def code(path: PurePath, data: bytes) -> Iterator[Extract]:
    """Read a program's text."""
    yield Extract(readable(data), "code", LANGUAGE_OF[path.suffix.lower()])


def readable(data: bytes) -> str:
    """Decode text. Raises Unreadable: empty, binary (zero bytes that are no UTF-16), encoding."""
    text, _ = decode(data)
    if not text or text.isspace():
        raise Unreadable("empty", "the file holds no text")
    if text.count("\0", 0, _HEAD) > len(text[:_HEAD]) // 100:
        raise Unreadable("binary", "the file holds zero bytes: it is not text")
    return text
