"""Small real doubles for tests and for trying things out: no network, no weights, no files."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from .ports import Delta, Request
from .stores.memory import MemoryStore as MemoryStore
from .stores.memory import memory_store as memory_store
from .types import Usage


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
        *,
        max_tokens: int,
        temperature: float,  # noqa: ARG002 - the port asks for it
    ) -> AsyncGenerator[Delta, None]:
        """Yield the next reply in pieces of one word, at most `max_tokens` of them."""
        reply = self.replies[min(len(self.requests), len(self.replies) - 1)]
        self.requests.append(request)
        words = _words(reply)[:max_tokens]
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
