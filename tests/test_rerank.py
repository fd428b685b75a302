"""A second look at the best hits: where it pays, in time, or not at all."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ragkeep.config import RerankParams
from ragkeep.errors import ProviderAway
from ragkeep.ports import Reranker
from ragkeep.rerank import depth, open_reranker, order, rerank
from ragkeep.testing import OverlapReranker
from ragkeep.types import Chunk, Hit

PARAMS = RerankParams(backend="overlap", top=2, margin=0.3, timeout_s=0.2)


def hits(*scored: tuple[str, float]) -> list[Hit]:
    """Hits with these texts and scores."""
    return [
        Hit(Chunk(f"c{n}", "d", "u", "s", "default", text, (0, len(text)), (1, 1), "prose", "en"), score)
        for n, (text, score) in enumerate(scored)
    ]


FOUND = hits(("valves are checked", 0.9), ("lids are opened", 0.85), ("pumps are serviced yearly", 0.8))


def look(question: str, found: list[Hit], reranker: Reranker | None) -> tuple[list[str], str]:
    best, flag = asyncio.run(rerank(question, found, reranker, PARAMS, pool=ThreadPoolExecutor(1)))
    return [hit.chunk.text for hit in best], flag


def test_the_cross_encoders_order_is_what_counts_and_only_the_top_is_kept() -> None:
    assert look("when are pumps serviced", FOUND, OverlapReranker())[0][0] == "pumps are serviced yearly"
    assert len(look("when are pumps serviced", FOUND, OverlapReranker())[0]) == 2


def test_a_first_hit_that_stands_clear_is_not_looked_at_again() -> None:
    clear = [*hits(("valves are checked", 2.0)), *FOUND[1:]]
    assert look("when are pumps serviced", clear, OverlapReranker()) == (
        ["valves are checked", "lids are opened"], "rerank-skipped",
    )  # fmt: skip


class _Slow:
    name = "slow"

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        time.sleep(0.6)
        return np.zeros(len(texts), np.float32)


class _Away:
    name = "away"

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        raise ProviderAway("no answer")


@pytest.mark.parametrize(("reranker", "flag"), [(_Slow(), "rerank-late"), (_Away(), "rerank-failed")])
def test_scores_that_do_not_come_leave_the_first_order_and_are_flagged(reranker: Reranker, flag: str) -> None:
    assert look("when are pumps serviced", FOUND, reranker) == (["valves are checked", "lids are opened"], flag)


class _Broken:
    name = "broken"

    def score(self, question: str, texts: Sequence[str]) -> NDArray[np.float32]:
        raise RuntimeError("the graph cannot be built")


def test_a_model_that_fails_leaves_the_first_order_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        found = look("when are pumps serviced", FOUND, _Broken())
        assert found == (["valves are checked", "lids are opened"], "rerank-failed")
    assert [line.message.partition(":")[0] for line in caplog.records] == ["broken failed"]


def test_without_a_reranker_nothing_is_cut() -> None:
    assert look("when", FOUND, None) == ([hit.chunk.text for hit in FOUND], "")
    assert open_reranker(RerankParams()) is None
    assert open_reranker(RerankParams(backend="overlap")) is not None


def test_a_share_of_the_first_look_can_be_kept() -> None:
    scores, first = np.array([0.0, 1.0, 0.9], np.float32), np.array([1.0, 0.0, 0.9], np.float32)
    assert order(scores, first, 1.0) == [1, 2, 0]
    assert order(scores, first, 0.5) == [2, 0, 1]
    assert order(scores, first, 0.0) == [0, 2, 1]
    assert order(np.zeros(3, np.float32), first, 0.5) == [0, 2, 1]


def test_more_is_looked_for_than_is_asked_for_and_no_more_is_kept() -> None:
    every = replace(PARAMS, top=0)
    best, _ = asyncio.run(rerank("when are pumps serviced", FOUND, OverlapReranker(), every, k=1))
    assert [hit.chunk.text for hit in best] == ["pumps are serviced yearly"]
    assert (depth(every, 10), depth(RerankParams(), 10)) == (20, 10)
