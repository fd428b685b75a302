"""Documents cut into chunks: one chunker a kind of document, and the one function that picks it.

`chunk_document(document, params.chunk)`; a third chunker is a file here and a line in CHUNKERS. VERSION is part of what
a stage's output is made from: raise it when the same text would be cut in another way.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from ragkeep.config import ChunkSection

if TYPE_CHECKING:
    from ragkeep.ports import Chunker
    from ragkeep.types import Chunk, Document

VERSION = "1"
CHUNKERS = {
    "prose": "ragkeep.chunkers.prose:chunk_prose",
    "code": "ragkeep.chunkers.code:chunk_code",
}


def chunk_document(document: Document, section: ChunkSection) -> list[Chunk]:
    """Cut one document into chunks, in the order of their starts; none for an empty text.

    The spans cover the text without a gap (those of prose may overlap), so that they rebuild it exactly. No
    chunk has more than the `max_tokens` of its kind.
    """
    sizes = section.code if document.kind == "code" else section.prose
    return list(_chunker(document.kind)(document, sizes))


def _chunker(kind: str) -> Chunker:
    module, _, name = CHUNKERS[kind].partition(":")
    return cast("Chunker", getattr(importlib.import_module(module), name))


__all__ = ["CHUNKERS", "VERSION", "chunk_document"]
