"""Chunking to 256 tokens: CPU-seconds a megabyte, beside LangChain's recursive splitter with a token length function.

    uv run --group bench python -m benchmarks.chunking [--megabytes 4] [--rounds 5] [--json]

Code is the standard library of the running Python, prose the READMEs of installed distributions. Both sides get the
same slices in turn, each first in every other slice, on one thread, with the same tokenizer; ours starts with an empty
memory of words and also computes line spans and names. `ratio` > 1: ours needs that much less CPU.
"""

from __future__ import annotations

import argparse
import os
import sysconfig
from collections.abc import Callable, Sequence
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

from ragkeep import tokens
from ragkeep.chunkers import chunk_document
from ragkeep.config import ChunkParams, ChunkSection
from ragkeep.types import Document

from .measure import alternate, finish, over

SIZES = ChunkParams(target_tokens=200, max_tokens=256, overlap_tokens=0)
_NOT_CORPUS = {"test", "tests", "idlelib", "site-packages", "dist-packages", "__pycache__"}


def code_documents() -> list[Document]:
    """The standard library without its tests."""
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [p for p in sorted(root.rglob("*.py")) if not _NOT_CORPUS & set(p.relative_to(root).parts)]
    return [_document(p.relative_to(root).as_posix(), p.read_bytes(), "code", "python") for p in paths]


def prose_documents() -> list[Document]:
    """The READMEs in the metadata of what is installed."""
    root = Path(sysconfig.get_paths()["purelib"])
    made = []
    for path in sorted(root.glob("*.dist-info/METADATA")):
        message = HeaderParser().parsestr(path.read_text(encoding="utf-8", errors="replace"))
        language = "rst" if "rst" in message.get("Description-Content-Type", "") else "markdown"
        body = str(message.get_payload())
        made.append(_document(path.parent.name, body.encode("utf-8", "replace"), "prose", language))
    return made


def _document(name: str, data: bytes, kind: Any, language: str) -> Document:
    text = data.decode("utf-8", "replace")
    return Document(name, f"bench/{name}", "bench", "default", text, kind, language)


def ours(documents: Sequence[Document]) -> int:
    """Cut with ragkeep; returns how many chunks."""
    section = ChunkSection(prose=SIZES, code=SIZES)
    return sum(len(chunk_document(d, section)) for d in documents)


def peer() -> Callable[[Sequence[Document]], int]:
    """LangChain's splitter for Python and Markdown, measuring with the same tokenizer, with positions kept."""
    from langchain_text_splitters import Language, RecursiveCharacterTextSplitter

    def made(language: Language) -> RecursiveCharacterTextSplitter:
        return RecursiveCharacterTextSplitter.from_language(
            language, chunk_size=SIZES.max_tokens, chunk_overlap=0, length_function=tokens.count, add_start_index=True
        )

    splitters = {"code": made(Language.PYTHON), "prose": made(Language.MARKDOWN)}
    return lambda documents: sum(len(splitters[d.kind].create_documents([d.text])) for d in documents)


def compare(documents: Sequence[Document], rounds: int) -> dict[str, Any]:
    """Cut each slice with both in turn; returns the figures."""
    theirs = peer()
    for cut in (ours, theirs):
        cut(documents[:1])
    tokens.forget()
    slices = [documents[number::rounds] for number in range(rounds)]
    our_counts: list[int] = []
    peer_counts: list[int] = []
    found = alternate(over(slices, theirs, peer_counts), over(slices, ours, our_counts), rounds=rounds)
    size = sum(len(d.text.encode()) for d in documents) / 1e6
    return found.as_json() | {
        "megabytes": round(size, 2),
        "megabytes_per_cpu_second": {
            "ours": round(size / sum(found.ours), 2),
            "peer": round(size / sum(found.peer), 2),
        },
        "chunks": {"ours": sum(our_counts), "peer": sum(peer_counts)},
    }


def sample(documents: list[Document], megabytes: float) -> list[Document]:
    """Every n-th document, so that about so many megabytes remain."""
    size = sum(len(d.text.encode()) for d in documents) / 1e6
    return documents[:: max(1, round(size / megabytes))]


def main() -> None:
    """Run and print; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print nothing but the JSON line")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    kinds = {"code": sample(code_documents(), options.megabytes), "prose": sample(prose_documents(), options.megabytes)}
    figures = {kind: compare(documents, options.rounds) for kind, documents in kinds.items()}
    if not options.json:
        for kind, f in figures.items():
            print(f"{kind}: {f['megabytes']} MB, {f['megabytes_per_cpu_second']} MB a CPU-second, {f['ratio']}x")
    finish({"ratio": min(f["ratio"] for f in figures.values()), **figures})


if __name__ == "__main__":
    main()
