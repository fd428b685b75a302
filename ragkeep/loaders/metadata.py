"""The README inside an installed distribution's METADATA: RFC 822 headers, an empty line, then Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from ..ports import Extract
from . import Unreadable
from .text import readable

TYPES = {"text/markdown": "markdown", "text/x-rst": "rst", "text/plain": "text"}


def metadata(path: PurePath, data: bytes) -> Iterator[Extract]:
    """Read the body; `first_line` is its first line's number in the file, so that lines stay the file's."""
    text = readable(data)
    head, blank, body = text.partition("\n\n")
    if "\r\n\r\n" in text[: len(head) + 4]:
        head, blank, body = text.partition("\r\n\r\n")
    if not body.strip():
        raise Unreadable("empty", "the distribution has no README in its metadata")
    fields = dict(_fields(head))
    language = TYPES.get(fields.get("description-content-type", "").split(";")[0].strip().lower(), "markdown")
    meta: dict[str, object] = {"title": fields.get("name", path.parent.stem), "version": fields.get("version", "")}
    yield Extract(body, "prose", language, first_line=(head + blank).count("\n") + 1, meta=meta)


def _fields(head: str) -> Iterator[tuple[str, str]]:
    for line in head.splitlines():
        name, colon, value = line.partition(":")
        if colon and not line[:1].isspace():
            yield name.lower(), value.strip()
