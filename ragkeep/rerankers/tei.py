"""A cross-encoder behind a network: the /rerank endpoint of Hugging Face's text-embeddings-inference.

retrieve: {rerank: {backend: tei, url: http://127.0.0.1:8080}}
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import orjson
from numpy.typing import NDArray

from .. import wire
from ..config import RerankParams
from ..errors import ConfigError, ProviderRefused


def rerank_endpoint(params: RerankParams) -> RerankEndpoint:
    """Make the reranker for `params.url`. Raises ConfigError without one, or where the key's variable is not set."""
    if not params.url:
        raise ConfigError("retrieve.rerank: tei needs url, as in http://127.0.0.1:8080")
    return RerankEndpoint(params, wire.secret(params.key, "retrieve.rerank: tei"))


class RerankEndpoint:
    """A Reranker over HTTP; nothing is retried, for whoever asks goes on without it after `timeout_s`."""

    def __init__(self, params: RerankParams, key: str) -> None:
        self.name = params.model or "tei"
        self._params, self._key = params, key
        self._client = wire.client(params.timeout_s)

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n,). Raises ProviderBusy, ProviderAway, ProviderRefused."""
        if not texts:
            return np.zeros(0, np.float32)
        body = orjson.dumps({"query": question, "texts": list(texts), "truncate": True})
        url = f"{self._params.url.rstrip('/')}/rerank"
        call = wire.Call(self.name, url, body, wire.bearer(self._key), self._params.timeout_s, self._key)
        rows = wire.ask(self._client, call)
        scores = np.full(len(texts), np.nan, np.float32)
        with wire.expecting(call, "ranking"):
            for row in rows:
                scores[row["index"]] = row["score"]
        if not np.isfinite(scores).all():
            raise ProviderRefused(f"{self.name} left texts without a score")
        return scores
