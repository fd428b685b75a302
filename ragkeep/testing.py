"""Small real doubles for tests and for trying things out: no network, no weights, no files."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from .config import EmbedParams, RerankParams
from .ports import Delta, Request
from .stores.memory import MemoryStore as MemoryStore
from .stores.memory import memory_store as memory_store
from .types import Role, Sampling, Usage, Vectors


class ScriptedGenerator:
    """A Generator that says what it is told, word by word, and remembers what it was asked.

    `replies` are used in turn, the last one again and again. `closed` counts streams that were stopped early.
    """

    name = "scripted"

    def __init__(self, *replies: str) -> None:
        self.replies = replies or ("",)
        self.requests: list[Request] = []
        self.closed = 0

    async def stream(
        self,
        request: Request,
        sampling: Sampling,
    ) -> AsyncGenerator[Delta, None]:
        """Yield the next reply in pieces of one word, at most `max_tokens` of them."""
        reply = self.replies[min(len(self.requests), len(self.replies) - 1)]
        self.requests.append(request)
        words = _words(reply)[: sampling.max_tokens]
        try:
            for word in words:
                yield Delta(word)
        except GeneratorExit:
            self.closed += 1
            raise
        read = sum(len(m.content.split()) for m in request.messages)
        yield Delta(usage=Usage(prompt_tokens=read, completion_tokens=len(words)))


def _words(text: str) -> Sequence[str]:
    pieces = text.split(" ")
    return [piece if n == 0 else f" {piece}" for n, piece in enumerate(pieces)] if text else []


class OverlapReranker:
    """A Reranker without weights: how many of the question's words a text holds."""

    name = "overlap"

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n,): the share of the question's words that each text holds."""
        asked = set(re.findall(r"\w+", question.lower()))
        held = [len(asked & set(re.findall(r"\w+", text.lower()))) for text in texts]
        return np.array(held, np.float32) / np.float32(max(1, len(asked)))


def overlap_reranker(params: RerankParams) -> OverlapReranker:  # noqa: ARG001 - every factory gets them
    """Make the OverlapReranker that `rerank.backend: overlap` names."""
    return OverlapReranker()


class HashEmbedder:
    """An Embedder without weights: a text is the sum of one fixed random direction for each of its words.

    Texts that share words are near each other, so retrieval over it finds what keyword search would; `calls` and
    `texts` count the work it was asked to do. The same everywhere: directions come from a hash of the word.
    """

    name = "hash"
    max_tokens = 256

    def __init__(self, dim: int = 64) -> None:
        self.dim = dim
        self.fingerprint = f"hash-{dim}"
        self.calls = 0
        self.texts = 0

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:  # noqa: ARG002 - the port asks for it
        """Return float32 (n, dim) with unit rows; a text without words points along the first axis."""
        self.calls += 1
        self.texts += len(texts)
        out = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(out, texts, strict=True):
            for word in re.findall(r"\w+", text.lower())[: self.max_tokens]:
                row += self._direction(word)
            if not row.any():
                row[0] = 1.0
            row /= np.linalg.norm(row)
        return out

    def _direction(self, word: str) -> Vectors:
        data = blake3(word.encode("utf-8", "surrogatepass")).digest(self.dim)
        return np.frombuffer(data, np.uint8).astype(np.float32) - 127.5


def hash_embedder(params: EmbedParams, cache: Path) -> HashEmbedder:  # noqa: ARG001 - every factory gets both
    """Make the HashEmbedder that `embed.backend: hash` names."""
    return HashEmbedder()
