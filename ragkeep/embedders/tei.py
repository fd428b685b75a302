"""Hugging Face's text-embeddings-inference.

    embed: {backend: tei, url: http://127.0.0.1:8080, passage_prefix: "passage: ", query_prefix: "query: "}

It tells its model, the commit of the weights, the precision and how much it reads; all of it is in the fingerprint.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from .. import wire
from ..config import EmbedParams
from ..errors import ConfigError
from .remote import TIMEOUT_S, Remote, Service, patiently


def tei(params: EmbedParams, cache: Path) -> Remote:  # noqa: ARG001 - every factory gets both
    """Ask the server what it runs and make the embedder.

    Raises ConfigError without a url, or where it runs another model than `params.model`; ProviderError's three.
    """
    if not params.url:
        raise ConfigError("embed.backend tei needs embed.url, as in http://127.0.0.1:8080")
    key = wire.secret(params.key, "embed.backend tei")
    base = params.url.rstrip("/")
    what = params.model or "text-embeddings-inference"
    call = wire.Call(what, f"{base}/info", b"", wire.bearer(key), TIMEOUT_S, key, method="GET")
    with wire.client(TIMEOUT_S) as first:
        info = patiently(lambda: wire.ask(first, call), "passage")
    with wire.expecting(call, "description of a model"):
        model, size, longest = str(info["model_id"]), int(info["max_client_batch_size"]), int(info["max_input_length"])
    if params.model and params.model != model:
        raise ConfigError(f"{base} runs {model} and not embed.model {params.model}: change one of them")

    client = wire.client(TIMEOUT_S)

    def ask(texts: Sequence[str]) -> Any:
        body = orjson.dumps({"inputs": list(texts), "truncate": True, "normalize": True})
        return wire.ask(client, wire.Call(model, f"{base}/embed", body, wire.bearer(key), TIMEOUT_S, key))

    facts = tuple(str(info.get(name)) for name in ("model_sha", "model_dtype", "max_input_length"))
    return Remote(Service("tei", model, ask, size, longest, facts, client.close), params)
