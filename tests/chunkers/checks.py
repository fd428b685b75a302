"""What must hold for the chunks of any document, and documents to hold it against."""

from hypothesis import strategies as st

from ragkeep import tokens
from ragkeep.chunkers import chunk_document
from ragkeep.config import ChunkParams, ChunkSection
from ragkeep.types import Chunk, Document

DEFAULT = ChunkSection()
SMALL = ChunkSection(
    prose=ChunkParams(target_tokens=20, max_tokens=26, overlap_tokens=5),
    code=ChunkParams(target_tokens=20, max_tokens=60, overlap_tokens=0),
)


def prose(text: str, language: str = "markdown", **more: object) -> Document:
    return Document("d", "docs/a.md", "docs", "default", text, "prose", language, **more)  # type: ignore[arg-type]


def code(text: str, language: str = "python", uri: str = "lib/pkg/mod.py") -> Document:
    return Document("d", uri, "lib", "default", text, "code", language)


def check(document: Document, section: ChunkSection) -> list[Chunk]:
    """Cut and check everything that is promised of any text; returns the chunks."""
    chunks = chunk_document(document, section)
    covers(document, chunks)
    limit = (section.code if document.kind == "code" else section.prose).max_tokens
    for chunk in chunks:
        assert chunk.tokens == tokens.count(chunk.text)
        assert chunk.tokens <= limit or len(chunk.text) == 1
        above = document.text.count("\n", 0, chunk.span[0])
        assert chunk.lines[0] == document.first_line + above
        assert chunk.lines[1] == chunk.lines[0] + chunk.text[:-1].count("\n")
    assert len({c.id for c in chunks}) == len(chunks)
    return chunks


def covers(document: Document, chunks: list[Chunk]) -> None:
    """The spans follow each other and together are the text."""
    done = 0
    for before, chunk in zip([None, *chunks], chunks, strict=False):
        start, end = chunk.span
        assert start <= done < end
        assert before is None or before.span[0] < start
        assert document.kind == "prose" or start == done
        assert chunk.text == document.text[start:end]
        done = end
    assert done == len(document.text)


MARKS = "alpha|beta.|gamma!|漢字です。|ไทยยาว|-|*|#|##|```|| x |===|---|1.|def|class|()|{|}|\t|\r|\x00|é"
WORDS = st.sampled_from(MARKS.split("|"))
LINES = st.lists(st.one_of(WORDS, st.text(max_size=8)), max_size=9).map(" ".join)
TEXTS = st.lists(st.one_of(LINES, st.just("")), max_size=40).map("\n".join)
"""Texts with the marks of Markdown, broken and whole, in several scripts."""


@st.composite
def python_sources(draw: st.DrawFn) -> str:
    """Modules of functions, classes and statements, now and then damaged."""
    parts = []
    for number in range(draw(st.integers(0, 12))):
        body = "\n".join(f"    x{i} = {number} + {i}" for i in range(draw(st.integers(1, 14))))
        method = "\n".join("    " + line for line in f"def m{number}(self):\n{body}".split("\n"))
        kinds = [
            f"def f{number}(a):\n{body}",
            f"class C{number}:\n    '''Doc.'''\n{method}\n\n{method}",
            f"V{number} = [1, 2,\n  3]",
            f"# about {number}",
            "import os",
            "if os:\n    def g(): pass",
            "def broken(:",
        ]
        parts.append(draw(st.sampled_from(kinds)))
        parts.append("\n" * draw(st.integers(0, 3)))
    return "\n".join(parts)
