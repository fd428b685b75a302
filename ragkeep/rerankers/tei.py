"""A cross-encoder behind a network: the /rerank endpoint of Hugging Face's text-embeddings-inference."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..config import RerankParams
from ..errors import ConfigError, ProviderAway, ProviderBusy, ProviderRefused


def rerank_endpoint(params: RerankParams) -> RerankEndpoint:
    """Make the reranker for `params.url`. Raises ConfigError without one, or where the key's variable is not set."""
    if not params.url:
        raise ConfigError("retrieve.rerank: tei needs url, as in http://127.0.0.1:8080")
    if params.key and not os.environ.get(params.key):
        raise ConfigError(f"retrieve.rerank: the environment variable {params.key} is not set")
    return RerankEndpoint(params)


class RerankEndpoint:
    """A Reranker over HTTP; nothing is retried, for whoever asks goes on without after `timeout_s`."""

    def __init__(self, params: RerankParams) -> None:
        import httpx

        key = os.environ.get(params.key, "") if params.key else ""
        self.name = params.model or "tei"
        self._client = httpx.Client(
            base_url=params.url.rstrip("/"), timeout=params.timeout_s, follow_redirects=False,
            headers={"authorization": f"Bearer {key}"} if key else {},
        )  # fmt: skip

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n,). Raises ProviderBusy, ProviderAway, ProviderRefused."""
        import httpx

        if not texts:
            return np.zeros(0, np.float32)
        try:
            reply = self._client.post("/rerank", json={"query": question, "texts": list(texts), "truncate": True})
        except httpx.HTTPError as error:
            raise ProviderAway(f"{self.name} did not answer: {type(error).__name__}") from None
        if reply.status_code in (429, 503):
            raise ProviderBusy(f"{self.name} has too much to do ({reply.status_code})")
        if reply.status_code != 200:
            raise ProviderRefused(f"{self.name} answered {reply.status_code}")
        scores = np.full(len(texts), -np.inf, np.float32)
        try:
            for row in reply.json():
                scores[row["index"]] = row["score"]
        except (ValueError, KeyError, IndexError, TypeError):
            raise ProviderRefused(f"{self.name} answered with what is no ranking") from None
        if not np.isfinite(scores).all():
            raise ProviderRefused(f"{self.name} left texts without a score")
        return scores
