"""Any server with OpenAI's /embeddings: OpenAI, vLLM, Ollama, llama.cpp.

    embed: {backend: openai, url: http://127.0.0.1:11434/v1, model: nomic-embed-text, query_prefix: "search_query: "}

Such a server tells neither the weights nor the precision it runs, so the fingerprint has the model's name and dimension
alone: give a model that is changed another name. It must take texts of 8,000 tokens, or those that chunks are cut to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from .. import wire
from ..config import EmbedParams
from ..errors import ConfigError
from .remote import TIMEOUT_S, Remote, Service

SIZE = 64
MAX_TOKENS = 8192


def openai(params: EmbedParams, cache: Path) -> Remote:  # noqa: ARG001 - every factory gets both
    """Make the embedder; nothing is asked yet. Raises ConfigError without a url, a model, or the key it names."""
    if not params.url or not params.model:
        raise ConfigError("embed.backend openai needs embed.url and embed.model, as in http://127.0.0.1:11434/v1")
    key = wire.secret(params.key, "embed.backend openai")
    client, url = wire.client(TIMEOUT_S), f"{params.url.rstrip('/')}/embeddings"

    def ask(texts: Sequence[str]) -> Any:
        body = orjson.dumps({"model": params.model, "input": list(texts), "encoding_format": "float"})
        call = wire.Call(params.model, url, body, wire.bearer(key), TIMEOUT_S, key)
        said = wire.ask(client, call)
        with wire.expecting(call, "list of embeddings"):
            return [row["embedding"] for row in sorted(said["data"], key=lambda row: row["index"])]

    return Remote(Service("openai", params.model, ask, SIZE, MAX_TOKENS, close=client.close), params)
