"""A reranker that counts: a linear sum of how a question's words stand in a text, learned from what users took.

retrieve: {rerank: {backend: features, model: <folder made by tasks/learners/reranker.py>, margin: 1.0}}

It costs about a millisecond for twenty texts where a cross-encoder costs seconds on a CPU. It knows no synonyms: what the
vector leg found is in the place a text was given in, the first feature.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..analysis import terms
from ..config import RerankParams
from ..errors import ConfigError, ModelError
from ..models import require_safetensors

NAMES = ("place", "held", "best_part", "pairs", "opening", "length")
"""The features, in order: the place a text was given in (1 for the first), the share of the question's words it holds, by
how rare they are; the largest share that one sentence or line holds; the share of the question's neighbouring words that
are neighbours in the text; the share its first 40 words hold; the logarithm of its length."""
TERMS, OPENING = "terms", 40
_PART = re.compile(r"(?<=[.!?])\s+|\n+")


def features_reranker(params: RerankParams) -> FeaturesReranker:
    """Read `params.model`. Raises ConfigError without one, ModelError where it cannot be read."""
    from safetensors import SafetensorError, safe_open

    if not params.model:
        raise ConfigError("retrieve.rerank: features needs model, a folder that a learner made")
    folder = Path(params.model).expanduser()
    try:
        with safe_open(str(require_safetensors(folder)), "numpy") as held:
            words = json.loads((held.metadata() or {})[TERMS])
            rare = dict(zip(words, held.get_tensor("rarity").tolist(), strict=True))
            return FeaturesReranker(folder.name, held.get_tensor("weights"), rare)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{folder} is no reranker of features ({error}): learn it again") from None


class FeaturesReranker:
    """A Reranker; `texts` must come best first. Safe to share."""

    def __init__(self, name: str, weights: NDArray[np.float32], rarity: Mapping[str, float]) -> None:
        if weights.shape != (len(NAMES),):
            raise ModelError(f"reranker {name} has weights of shape {weights.shape}, not {len(NAMES)}: learn it again")
        self.name = name
        self._weights, self._rarity = weights, rarity

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 (n,), higher is better."""
        return np.asarray(features(question, texts, self._rarity) @ self._weights, np.float32)


def features(question: str, texts: Sequence[str], rarity: Mapping[str, float]) -> NDArray[np.float32]:
    """Return float32 (n, 6), see NAMES; words that `rarity` does not know are the rarest."""
    asked = terms(question)
    most = max(rarity.values(), default=1.0)
    worth = {term: rarity.get(term, most) for term in asked}
    pairs = set(pairwise(asked))
    rows = [_row(place, text, worth, pairs) for place, text in enumerate(texts)]
    return np.array(rows, np.float32).reshape(len(texts), len(NAMES))


def _row(place: int, text: str, worth: Mapping[str, float], pairs: set[tuple[str, str]]) -> list[float]:
    parts = [terms(part) for part in _PART.split(text)]
    words = [term for part in parts for term in part]
    near = set(pairwise(words))
    return [
        1 / math.log2(place + 2),
        _share(words, worth),
        max((_share(part, worth) for part in parts), default=0.0),
        len(pairs & near) / len(pairs) if pairs else 0.0,
        _share(words[:OPENING], worth),
        math.log1p(len(words)) / 10,
    ]


def _share(words: Sequence[str], worth: Mapping[str, float]) -> float:
    total = sum(worth.values())
    return sum(worth[term] for term in worth.keys() & set(words)) / total if total else 0.0
