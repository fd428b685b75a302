"""An embedder that remembers: a measurement asks the same questions every night, in every mode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ragkeep.embedders import query_fingerprint
from ragkeep.ports import Embedder
from ragkeep.types import Role, Vectors
from ragkeep.vector_cache import VectorCache, text_key


class CachedEmbedder:
    """An Embedder in front of another one and the vector cache; shares passages with the embed stage.

    Embed many texts in one call first where single ones are asked for later: that is when batches are worth it.
    """

    def __init__(self, embedder: Embedder, cache: Path) -> None:
        self.name, self.fingerprint = embedder.name, embedder.fingerprint
        self.dim, self.max_tokens = embedder.dim, embedder.max_tokens
        self.query_fingerprint = query_fingerprint(embedder)
        self._embedder, self._cache = embedder, cache

    def embed(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """See `ports.Embedder.embed`."""
        keys = [text_key(text if role == "passage" else f"\0{role}\0{text}") for text in texts]
        who = self.fingerprint if role == "passage" else self.query_fingerprint
        # opened anew each time: answers are made in other threads than the one that began
        with VectorCache(self._cache, who, self.dim) as cache:
            vectors, found = cache.get_many(keys)
            new = np.flatnonzero(~found).tolist()
            missing = list(dict.fromkeys(texts[n] for n in new))
            if missing:
                made = dict(zip(missing, self._embedder.embed(missing, role=role), strict=True))
                for n in new:
                    vectors[n] = made[texts[n]]
                cache.put_many([keys[n] for n in new], vectors[new])
        return vectors
