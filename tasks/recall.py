"""How much of what an exact search finds does a new version find? Asked of every store before a version is sealed."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ragkeep.ports import VectorStore
from ragkeep.types import EmbeddedBatch, Query, Vectors

DEPTH = 10
QUESTIONS = 50
_TIE = 1e-5


@dataclass(frozen=True, slots=True)
class Probe:
    """A vector, shape (dim,), to look for in a workspace."""

    workspace: str
    vector: Vectors


def sampled(rows: Mapping[str, str]) -> set[str]:
    """Choose the chunks that questions are made from, by digest: the same ones however the corpus is ordered."""
    return set(heapq.nsmallest(2 * QUESTIONS, rows, key=lambda chunk_id: rows[chunk_id]))


def probes(sample: Sequence[Probe]) -> list[Probe]:
    """Make questions halfway between two texts of one workspace each, where a user's may lie."""
    found = []
    for one, other in zip(sample, [*sample[1:], *sample[:1]], strict=True):
        middle = one.vector + other.vector if one.workspace == other.workspace else one.vector
        if length := float(np.linalg.norm(middle)):
            found.append(Probe(one.workspace, (middle / length).astype(np.float32)))
    return found[:QUESTIONS]


def recall(store: VectorStore, index: str, asked: Sequence[Probe], batches: Iterable[EmbeddedBatch]) -> float:
    """Return the share of the exactly nearest `DEPTH` rows of each question that the store's vector search finds.

    `batches` is all the version holds. 1.0 where there is nothing to find.
    """
    return share_found(store, index, asked, nearest(asked, batches)) if asked else 1.0


def share_found(store: VectorStore, index: str, asked: Sequence[Probe], best: Vectors) -> float:
    """Return the share that the store finds of what `nearest` says there is, shape (n, DEPTH)."""
    found = 0
    for probe, scores in zip(asked, best, strict=True):
        query = Query("", vector=probe.vector, k=DEPTH, mode="vector", workspace=probe.workspace)
        found += sum(hit.score >= scores.min() - _TIE for hit in store.search(index, query))
    return float(found) / max(1, int(np.isfinite(best).sum()))


def nearest(asked: Sequence[Probe], batches: Iterable[EmbeddedBatch]) -> Vectors:
    """Return the best cosines of each question, shape (n, DEPTH); -inf where the workspace has no more rows."""
    questions = np.stack([probe.vector for probe in asked])
    walls = np.array([probe.workspace for probe in asked])
    best = np.full((len(asked), DEPTH), -np.inf, np.float32)
    for batch in batches:
        scores = questions @ batch.vectors.T
        scores[walls[:, None] != np.array([chunk.workspace for chunk in batch.chunks])] = -np.inf
        best = np.partition(np.hstack([best, scores]), -DEPTH, axis=1)[:, -DEPTH:]
    return best
