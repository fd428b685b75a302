"""The cheapest learner: how much the vector leg weighs in the mix, from what users took of what both legs found.

One number cannot follow wrong labels far: they are spread over all ranks, whereas right ones pile up where the better
mix puts them (squad, code: up to 40 % wrong clicks moved the weight by .05 to .15 and cost less than a point). What bends
it is that only what was shown could be clicked, which speaks for the mix that showed it: it moves less than it could.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ragkeep.fusion import WEIGHTS, best_weight, weight_curve

from ..lessons import Lesson, TrainingSet
from . import Base, Learned, NothingToLearn

LEAST, MOST = 20, 1000
"""Fewer lessons say nothing; more change the weight by less than a step."""


def learn(
    lessons: TrainingSet,
    base: Base,
    out: Path,  # noqa: ARG001 - see Learner; there is nothing to write
    *,
    seed: int,
    tick: Callable[[int, int], None],
) -> Learned:
    """Choose the weight with the best nDCG@10 on lessons for training and selection. See `learners.Learner`.

    Writes no files. Takes seconds: both legs are searched once, and every weight is tried on what they found.
    """
    began = time.process_time()
    chosen = _some([lesson for lesson in lessons.lessons if lesson.split != "report"], seed)
    if len(chosen) < LEAST:
        raise NothingToLearn(f"fusion needs {LEAST} lessons, there are {len(chosen)}: wait for more interactions")
    tick(0, 1)
    legs = base.legs(chosen, None)
    curve = smoothed(weight_curve([legs[one.id] for one in chosen], [one.gains for one in chosen]))
    weight = best_weight(curve)
    tick(1, 1)
    card = {
        "learner": "fusion", "base": base.embedder.fingerprint, "training_set": lessons.sha, "lessons": len(chosen),
        "seed": seed, "curve": {str(w): round(float(v), 6) for w, v in zip(WEIGHTS, curve, strict=True)},
        "cpu_s": round(time.process_time() - began, 3),
    }  # fmt: skip
    return Learned("fusion", retrieve={"fusion": "convex", "weight": weight}, card=card)


def smoothed(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average each mean with its neighbours, the ends with theirs: a single lucky weight does not win."""
    padded = np.concatenate([curve[:1], curve, curve[-1:]])
    return np.asarray((padded[:-2] + padded[1:-1] + padded[2:]) / 3, np.float64)


def _some(lessons: Sequence[Lesson], seed: int) -> list[Lesson]:
    if len(lessons) <= MOST:
        return list(lessons)
    return [lessons[n] for n in sorted(np.random.default_rng(seed).permutation(len(lessons))[:MOST].tolist())]
