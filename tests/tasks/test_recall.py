"""The check before a version is sealed: does its vector search find what an exact one would?"""

from collections.abc import Sequence

import numpy as np
import pytest

from ragkeep.stores.memory import MemoryStore
from ragkeep.types import EmbeddedBatch, Hit, Query
from tasks.recall import DEPTH, Probe, probes, recall, sampled
from tests.stores.building import build, chunk_batch


class Forgetful(MemoryStore):
    """Finds every other chunk only."""

    def search(self, index: str, query: Query) -> list[Hit]:
        return super().search(index, query)[::2]


def questions(batch: EmbeddedBatch) -> Sequence[Probe]:
    return probes([Probe(c.workspace, v) for c, v in zip(batch.chunks, batch.vectors, strict=True)])


@pytest.mark.parametrize(("store", "expected"), [(MemoryStore(), 1.0), (Forgetful(), 0.5)])
def test_recall_is_the_share_of_the_nearest_that_is_found(store: MemoryStore, expected: float) -> None:
    build(store, "docs-1", batch := chunk_batch(60))
    parts = [EmbeddedBatch(batch.chunks[i : i + 7], batch.vectors[i : i + 7]) for i in range(0, 60, 7)]
    assert recall(store, "docs-1", questions(batch), parts) == expected


def test_a_small_or_empty_version_has_nothing_to_miss() -> None:
    build(store := MemoryStore(), "docs-1", batch := chunk_batch(DEPTH - 1))
    assert recall(store, "docs-1", questions(batch), [batch]) == 1.0
    assert recall(store, "docs-1", [], []) == 1.0


def test_questions_stay_within_a_workspace() -> None:
    vectors = np.eye(4, dtype=np.float32)
    sample = [Probe(workspace, vector) for workspace, vector in zip("aabb", vectors, strict=True)]
    assert [probe.workspace for probe in probes(sample)] == list("aabb")
    assert all(np.linalg.norm(probe.vector) == pytest.approx(1) for probe in probes(sample))


def test_the_sample_does_not_depend_on_the_order_of_the_corpus() -> None:
    rows = {str(n): f"{hash(n * 7919) % 10007:05}" for n in range(500)}
    assert sampled(rows) == sampled(dict(reversed(rows.items())))
    assert len(sampled(rows)) == 100
