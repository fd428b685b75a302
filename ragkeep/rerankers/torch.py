"""Any sentence-transformers cross-encoder, from a local folder or by hub name; safetensors only. Extra [torch]."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..config import RerankParams
from ..errors import ConfigError, MissingExtra, ModelError


def cross_encoder(params: RerankParams) -> CrossEncoder:
    """Load `params.model`. Raises ConfigError without one, MissingExtra, ModelError where the weights cannot be read."""
    if not params.model:
        raise ConfigError("retrieve.rerank: cross-encoder needs model, a local folder or a hub name")
    try:
        from sentence_transformers import CrossEncoder as Model
    except ImportError:
        raise MissingExtra("retrieve.rerank: cross-encoder", "torch") from None
    try:
        model = Model(params.model, trust_remote_code=False, model_kwargs={"use_safetensors": True})
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{params.model} is no cross-encoder in safetensors: {' '.join(str(error).split())[:200]}"
        ) from None
    return CrossEncoder(params.model, model)


class CrossEncoder:
    """A Reranker that reads question and text together; one call at a time, without gradients."""

    def __init__(self, name: str, model: Any) -> None:
        self.name = name
        self._model = model
        self._lock = Lock()

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n,), higher is better."""
        if not texts:
            return np.zeros(0, np.float32)
        with self._lock:
            scores = self._model.predict([(question, text) for text in texts], show_progress_bar=False)
        return np.asarray(scores, np.float32).reshape(len(texts), -1)[:, -1]
