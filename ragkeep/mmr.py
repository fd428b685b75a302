"""Hits that say different things: maximal marginal relevance (Carbonell and Goldstein 1998)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .ports import Embedder
from .types import Hit

RELEVANCE = 0.7
"""The share of relevance in a hit's worth; the rest is how unlike those already chosen it is."""


def diverse(hits: Sequence[Hit], embedder: Embedder, k: int) -> list[Hit]:
    """Choose k hits: each the best by its score less its likeness to those chosen before it. The first stays first."""
    if len(hits) <= 1:
        return list(hits[:k])
    vectors = embedder.embed([hit.chunk.embed_text for hit in hits], role="passage")
    alike = vectors @ vectors.T
    scores = np.array([hit.score for hit in hits])
    span = scores.max() - scores.min()
    worth = (scores - scores.min()) / span if span > 0 else np.ones(len(hits))
    chosen, left = [0], list(range(1, len(hits)))
    while left and len(chosen) < k:
        nearest = alike[np.ix_(left, chosen)].max(axis=1)
        best = left[int(np.argmax(RELEVANCE * worth[left] - (1 - RELEVANCE) * nearest))]
        chosen.append(best)
        left.remove(best)
    return [hits[at] for at in chosen]
