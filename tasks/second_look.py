"""A reranker as it serves, for measuring: what it puts first, and what that costs a question.

look = SecondLook(reranker, params, texts, side.put)
scores(legs, lessons, fusion, look)                    # see evaluation.gain
look.p95_ms
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ragkeep.config import RerankParams
from ragkeep.fusion import WEIGHTS, fuse, ranking
from ragkeep.ports import Reranker
from ragkeep.rerank import clear, order
from ragkeep.types import Fusion, Legs
from tasks.lessons import Lesson


class SecondLook:
    """See `evaluation.gain.SecondLook`. `texts` has those of every chunk that may come among the first `depth`; `put`
    says how lessons' questions are worded.

    Nothing is waited for in vain here: what serving gives up on after `timeout_s` counts as done. Errors of a reranker
    behind a network pass.
    """

    def __init__(
        self, reranker: Reranker, params: RerankParams, texts: Mapping[str, str], put: Callable[[Lesson], str]
    ) -> None:
        self.depth = params.depth
        self._reranker, self._params, self._texts = reranker, params, texts
        self._put = put
        self._seconds: list[float] = []

    def __call__(self, lesson: Lesson, ids: Sequence[str], scores: NDArray[np.float32]) -> Sequence[str]:
        """Return the ids as a reader sees them: the sources first, then what else was found."""
        if len(ids) < 2 or clear(float(scores[0]), float(scores[1]), self._params):
            return ids
        head = ids[: self.depth]
        began = time.process_time()
        made = self._reranker.score(self._put(lesson), [self._texts[one] for one in head])
        self._seconds.append(time.process_time() - began)
        best = [head[n] for n in order(made, scores[: len(head)], self._params.mix)][: self._params.top or len(head)]
        return [*best, *(one for one in ids if one not in set(best))]

    @property
    def p95_ms(self) -> float:
        """CPU milliseconds of a look at the 95th percentile: what other programs take of the machine does not count."""
        return round(1000 * float(np.quantile(self._seconds or [0.0], 0.95)), 2)


def reachable(legs: Iterable[Legs], depth: int, weights: Sequence[float]) -> set[str]:
    """Which chunks come among the first `depth`, at these weights or at any that is tried in tuning."""
    mixes = [Fusion("convex", weight) for weight in {*WEIGHTS, *weights}]
    return {one.ids[n] for one in legs for mix in mixes for n in ranking(fuse(one, mix), depth)}
