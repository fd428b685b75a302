"""Amazon Bedrock's Titan text embeddings; needs the extra [aws].

    embed: {backend: bedrock, model: amazon.titan-embed-text-v2:0, region: eu-central-1}

Titan takes one text a request. A model id names one set of weights for good, by Amazon's word, so the name is enough for
the fingerprint. Credentials are found as boto3 finds them; `key` names the variable of a Bedrock API key instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from .. import aws, wire
from ..config import EmbedParams
from ..errors import ConfigError, ProviderRefused
from .remote import TIMEOUT_S, Remote, Service

TITAN = "amazon.titan-embed-text-v2:0"
MAX_TOKENS, MAX_CHARS = 8192, 40_000


def bedrock(params: EmbedParams, cache: Path) -> Remote:  # noqa: ARG001 - every factory gets both
    """Make the embedder; nothing is asked yet. Raises ConfigError without credentials, or for a model of others."""
    model = params.model or TITAN
    if "amazon.titan-embed-text" not in model:
        raise ConfigError(f"embed.backend bedrock speaks to Titan's text embeddings, as {TITAN}, not to {model}")
    key = wire.secret(params.key, "embed.backend bedrock")
    if key and not (params.region or params.url):
        raise ConfigError("embed.backend bedrock needs embed.region, as in eu-central-1")
    signer = aws.Signer("Amazon Bedrock", "bedrock", params.region, key=key)
    base = params.url.rstrip("/") or f"https://bedrock-runtime.{signer.region}.amazonaws.com"
    client, url = wire.client(TIMEOUT_S), f"{base}/model/{quote(model, safe='')}/invoke"

    def ask(texts: Sequence[str]) -> Any:
        return [_one(text) for text in texts]

    def _one(text: str) -> Any:
        body = orjson.dumps({"inputText": text[:MAX_CHARS]})
        try:
            headers = signer.headers(url, body)
        except ConfigError as error:
            raise ProviderRefused(str(error)) from None
        call = wire.Call(model, url, body, headers, TIMEOUT_S, key)
        said = wire.ask(client, call)
        with wire.expecting(call, "embedding"):
            return said["embedding"]

    return Remote(Service("bedrock", model, ask, 1, MAX_TOKENS, close=client.close), params)
