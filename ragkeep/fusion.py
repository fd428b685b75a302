"""Two legs to one ranking, the same way in every store, and the weight that serves the dev questions best.

Convex combination after Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval",
arXiv 2210.11934, section 4; reciprocal rank fusion after Cormack, Clarke and Buettcher, SIGIR 2009.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .types import Fusion, Legs

Scores = NDArray[np.float32]

_RRF_K = 60
_RUNNERS_UP, _LEAST = 9, 0.05
WEIGHTS = tuple(step / 20 for step in range(21))
"""What `tune_weight` tries; 0 and 1, the single legs, are among them."""


def fuse(legs: Legs, fusion: Fusion) -> Scores:
    """Score each candidate of `legs`: float32 (n,). At weight 1 (0) they order as the vector (keyword) leg does."""
    return fuse_scores(legs.vector, legs.keyword, fusion)


def fuse_scores(vector: Scores, keyword: Scores, fusion: Fusion) -> Scores:
    """Score candidates by their cosines and BM25 scores, see `fuse`."""
    if not len(vector):
        return np.zeros(0, np.float32)
    if fusion.method == "rrf":
        near, worded = _reciprocal_ranks(vector), np.where(keyword > 0, _reciprocal_ranks(keyword), 0)
    else:
        near, worded = _spread(vector), _share(keyword)
    weight = fusion.weight if fusion.method == "rrf" else _yielding(fusion.weight, worded)
    return (weight * near + (1 - weight) * worded).astype(np.float32)


def ranking(scores: Scores, k: int) -> NDArray[np.intp]:
    """Return the positions of the k best scores, best first, equal scores in order of position."""
    if k >= len(scores):
        return np.argsort(-scores, kind="stable")
    cut = np.partition(scores, -k)[-k] if k > 0 else np.inf
    kept = np.flatnonzero(scores >= cut)
    return kept[np.argsort(-scores[kept], kind="stable")[:k]]


def _spread(scores: Scores) -> Scores:
    # from the lowest candidate: embedders differ in where their cosines lie
    low, high = scores.min(), scores.max()
    return (scores - low) / (high - low) if high > low else np.zeros_like(scores)


def _share(scores: Scores) -> Scores:
    # from 0, not from the lowest candidate: 0 is what a chunk without any of the words has
    high = scores.max()
    return scores / high if high > 0 else scores


def _yielding(weight: float, worded: Scores) -> float:
    """Take weight from the vector leg where the keyword leg stands by one chunk alone.

    A word that a single chunk holds is a lookup: an embedder puts something else first with full confidence, for it
    always has a nearest. How alone the best stands is one less the mean share of the next nine; its cube leaves
    ordinary questions (0.2 to 0.5) nearly as they are. Odds are scaled, so that a single leg stays one.
    """
    runners_up = np.sort(worded)[::-1][1 : _RUNNERS_UP + 1]
    if not 0 < weight < 1 or not worded.any():
        return weight
    alone = 1 - float(runners_up.sum()) / _RUNNERS_UP
    near = weight * max(1 - alone**3, _LEAST)
    return near / (near + 1 - weight)


def _reciprocal_ranks(scores: Scores) -> Scores:
    ranks = np.empty(len(scores), np.float32)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return np.float32(1) / (_RRF_K + ranks)


def tune_weight(
    legs: Sequence[Legs], relevant: Sequence[Mapping[str, float]], *, method: str = "convex", k: int = 10
) -> float:
    """Return the vector leg's weight with the best mean nDCG@k over questions; of a plateau, its middle.

    `relevant[i]` maps the chunk ids that answer question i to their gains. A chunk that neither leg found counts as
    missed. Both single legs are tried, so on these questions no leg alone is better. Without questions: the default.
    """
    if not legs:
        return Fusion().weight
    return best_weight(weight_curve(legs, relevant, method=method, k=k))


def best_weight(means: NDArray[np.float64]) -> float:
    """Return the weight of the best of the means at WEIGHTS; of a plateau, its middle."""
    best = np.flatnonzero(means >= means.max() - 1e-9)
    run = max(np.split(best, np.flatnonzero(np.diff(best) > 1) + 1), key=len)
    return WEIGHTS[int(run[(len(run) - 1) // 2])]


def weight_curve(
    legs: Sequence[Legs], relevant: Sequence[Mapping[str, float]], *, method: str = "convex", k: int = 10
) -> NDArray[np.float64]:
    """Return the mean nDCG@k at each of WEIGHTS: float64 (21,)."""
    rows = [_curve(one, gains, method, k) for one, gains in zip(legs, relevant, strict=True)]
    return np.asarray(np.mean(rows, axis=0), np.float64)


def _curve(legs: Legs, gains: Mapping[str, float], method: str, k: int) -> list[float]:
    gain = np.array([gains.get(id_, 0.0) for id_ in legs.ids])
    ideal = dcg(np.sort(np.array(list(gains.values()), float))[::-1][:k])
    if not ideal or not gain.any():
        return [0.0] * len(WEIGHTS)
    fusions = [Fusion("rrf" if method == "rrf" else "convex", weight) for weight in WEIGHTS]
    return [float(dcg(gain[ranking(fuse(legs, fusion), k)]) / ideal) for fusion in fusions]


def dcg(gains: NDArray[np.float64]) -> float:
    """Discounted cumulative gain of gains in ranked order; the divisor of nDCG when they are sorted."""
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())
