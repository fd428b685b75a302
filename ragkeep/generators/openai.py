"""Any server with OpenAI's chat completions: vLLM, Ollama, llama.cpp, text-generation-inference, OpenAI itself.

    answer: {generators: [{backend: openai, url: http://127.0.0.1:11434/v1, model: qwen3:8b}]}

Servers differ in what they take: a parameter that one refuses by name is left out from then on (`top_k`,
`stream_options`), `max_tokens` is then called `max_completion_tokens`. At most four stop strings are sent, the others
are looked for here.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import orjson

from .. import wire
from ..config import AnswerParams, GeneratorParams
from ..errors import ConfigError, ProviderRefused
from ..ports import Delta, Embedder, Request
from ..types import Sampling
from .chat import deltas, events, payload
from .pieces import until

log = logging.getLogger(__name__)
OPTIONAL = ("stream_options", "top_k", "top_p", "temperature", "max_tokens")


def openai(spec: GeneratorParams, *, params: AnswerParams, embedder: Embedder | None = None) -> OpenAI:  # noqa: ARG001
    """Make the generator; nothing is asked yet. Raises ConfigError without a url, a model, or the key it names."""
    if not spec.url or not spec.model:
        raise ConfigError(
            "backend openai needs a url and a model: {backend: openai, url: http://127.0.0.1:11434/v1, model: qwen3:8b}"
        )
    return OpenAI(spec, wire.secret(spec.key, f"generator {spec.label}"))


class OpenAI:
    """See `ports.Generator`."""

    def __init__(self, spec: GeneratorParams, key: str) -> None:
        self.name = spec.label
        self._spec, self._key = spec, key
        self._unknown: frozenset[str] = frozenset()

    async def stream(self, request: Request, sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """Yield the answer's pieces as the server sends them."""
        unknown = self._unknown
        while True:
            pieces = self._pieces(request, sampling, unknown)
            async with aclosing(until(pieces, sampling.stop, request)) as shown:
                try:
                    first = await anext(shown)
                except ProviderRefused as error:
                    named = self._named(error, request, sampling, unknown)
                    if not named:
                        raise
                    unknown |= named
                    continue
                self._learn(unknown)
                yield first
                async for piece in shown:
                    yield piece
                return

    async def _pieces(self, request: Request, sampling: Sampling, unknown: frozenset[str]) -> AsyncGenerator[Delta, None]:
        body = orjson.dumps(without(payload(self._spec.model, request, sampling), unknown))
        url = f"{self._spec.url.rstrip('/')}/chat/completions"
        call = wire.Call(self.name, url, body, wire.bearer(self._key), self._spec.timeout_s, self._key)
        said = wire.unsilent(events(wire.stream(call, "text/event-stream"), call), call)
        async with aclosing(deltas(said, call, request)) as pieces:
            async for piece in pieces:
                yield piece

    def _named(
        self, error: ProviderRefused, request: Request, sampling: Sampling, unknown: frozenset[str]
    ) -> frozenset[str]:
        """Name what a server that refused did not know of what it was sent."""
        sent = without(payload(self._spec.model, request, sampling), unknown)
        return frozenset(name for name in OPTIONAL if name in sent and name in str(error))

    def _learn(self, unknown: frozenset[str]) -> None:
        if unknown - self._unknown:
            log.warning("%s does not take %s: left out from now on", self.name, ", ".join(sorted(unknown)))
            self._unknown |= unknown


def without(body: dict[str, Any], unknown: frozenset[str]) -> dict[str, Any]:
    """Leave out what a server does not take; the most tokens have a newer name besides."""
    kept = {name: value for name, value in body.items() if name not in unknown}
    return kept | ({"max_completion_tokens": body["max_tokens"]} if "max_tokens" in unknown else {})
