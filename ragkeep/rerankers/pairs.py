"""A cross-encoder made of the embedder's own weights, on OpenVINO: question and text read as one row of tokens.

retrieve: {rerank: {backend: pairs, model: <folder made by tasks/learners/cross_encoder.py>, depth: 10, margin: 1.0}}
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..config import RerankParams
from ..embedders.pairs import PairEncoder
from ..errors import ConfigError, ModelError
from ..models import read_encoder, require_safetensors

HEAD = "ranker.weight"
"""The tensor, float32 (hidden,), whose product with a pair's vector is its score."""
QUESTION_TOKENS, MAX_TOKENS = 32, 128


def pairs_reranker(params: RerankParams) -> PairsReranker:
    """Read `params.model`. Raises ConfigError without one, ModelError where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    if not params.model:
        raise ConfigError("retrieve.rerank: pairs needs model, a folder that a learner made")
    folder = Path(params.model).expanduser()
    encoder = read_encoder(folder)
    try:
        with safe_open(str(require_safetensors(folder)), "numpy") as held:
            name = next((name for name in held.keys() if name.endswith(HEAD)), "")  # noqa: SIM118
            if not name:
                raise ModelError(f"{folder} has no {HEAD}, so it is an embedder and no reranker: learn it again")
            head = held.get_tensor(name)
    except SafetensorError as error:
        raise ModelError(f"{folder} cannot be read ({error}): learn it again") from error
    if head.shape != (encoder.hidden,):
        raise ModelError(f"{folder} has a {HEAD} of shape {head.shape}, not ({encoder.hidden},): learn it again")
    return PairsReranker(folder.name, PairEncoder(encoder), head)


class PairsReranker:
    """A Reranker. Safe to share; loads at the first question."""

    def __init__(self, name: str, encoder: PairEncoder, head: NDArray[np.float32]) -> None:
        self.name = name
        self._encoder, self._head = encoder, head

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n,), higher is better."""
        if not texts:
            return np.zeros(0, np.float32)
        vectors = self._encoder.embed(question, texts, first_tokens=QUESTION_TOKENS, max_tokens=MAX_TOKENS)
        return np.asarray(vectors @ self._head, np.float32)
