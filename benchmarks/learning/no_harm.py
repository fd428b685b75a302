"""No harm: what must not be promoted, through the rules of the gate, and how often it was.

    uv run python -m benchmarks.learning.no_harm --json [--set DIR] [--seeds 20]

Four candidates a seed. `shuffled`: the query tower taught 400 lessons whose answers were dealt to other questions.
`words`: the glossary taught all of a log of 3,000 impressions, dealt so; where it finds no entry there is no candidate.
`adapter`: a linear map of question vectors, fitted to the training questions without anything that holds it, a learner
this project does not have. `noisy`: the fusion weight from a log with 40 % of the clicks wrong, which may be promoted,
but not with a loss on unseen documents.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.gain import Verdict, verdict
from ragkeep.glossary import Glossary
from ragkeep.types import Vectors
from tasks.learners import NothingToLearn, fusion, glossary, query_tower
from tasks.lessons import Lesson, TrainingSet

from .common import KEPT, Bench, Sides, measure, run, silent
from .towers import both_ways

LESSONS = 400


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Count promotions of each kind, and the worst change on unseen documents among those promoted."""
    found: dict[str, list[tuple[Verdict, Sides]]] = {name: [] for name in CANDIDATES}
    for seed in seeds:
        for name, made in CANDIDATES.items():
            if (sides := made(bench, seed)) is not None:
                found[name].append((verdict(sides.gain), sides))
    return {name: _counted(of) for name, of in found.items()}


def _counted(of: Sequence[tuple[Verdict, Sides]]) -> dict[str, Any]:
    unseen = [_change(sides, "unseen") for judged, sides in of if judged.promote]
    return {
        "candidates": len(of),
        "promoted": sum(judged.promote for judged, _ in of),
        "promoted_that_lose_on_unseen": sum(change < -0.5 for change in unseen),
        "points_seen": [_change(sides, "seen") for _, sides in of],
        "points_unseen": [_change(sides, "unseen") for _, sides in of],
    }


def _change(sides: Sides, name: str) -> float:
    cut = sides.gain.slices.get(name)
    return round(100 * cut["ndcg_at_10"].delta, 2) if cut else 0.0


def _dealt(bench: Bench, impressions: int, most: int, seed: int) -> TrainingSet:
    """A log whose answers were dealt to other questions."""
    lessons = bench.clicks(impressions, 0.0, seed)
    train = lessons.of("train")[:most]
    dealt = np.random.default_rng((seed, 3)).permutation(len(train)).tolist()
    wrong = [replace(one, gains=train[n].gains) for one, n in zip(train, dealt, strict=True)]
    return TrainingSet((*wrong, *lessons.of("select")), lessons.texts, {"sha": f"shuffled-{seed}"})


def _words(bench: Bench, seed: int) -> Sides | None:
    given = _dealt(bench, 3000, 3000, seed)
    try:
        made = glossary.learn(given, bench.base, KEPT, seed=seed, tick=silent)
    except NothingToLearn:
        return None
    put, asked = Glossary(made.retrieve["words"]["default"]).apply, [*given.of("select"), *bench.report]
    legs = bench.legs([replace(one, question=put(one.question)) for one in asked])
    return measure(bench.report, given.of("select"), bench.legs(asked), legs)


def _shuffled(bench: Bench, seed: int) -> Sides:
    given = _dealt(bench, LESSONS * 2, LESSONS, seed)
    folder = Path(tempfile.mkdtemp(dir=KEPT))
    try:
        return both_ways(bench, given, query_tower.learn(given, bench.base, folder, seed=seed, tick=silent))[1]
    finally:
        shutil.rmtree(folder)


def _adapter(bench: Bench, seed: int) -> Sides:
    lessons = bench.good(3000, seed)
    asked, answers = lessons.of("train"), sorted(lessons.texts)
    place = {chunk: n for n, chunk in enumerate(answers)}
    passages = bench.embedder.embed([lessons.texts[chunk] for chunk in answers], role="passage")
    vectors = bench.embedder.embed([one.question for one in asked], role="query")
    linear = _fitted(vectors, passages, [place[next(iter(one.gains))] for one in asked], seed)
    rows = [*lessons.of("select"), *bench.report]
    moved = bench.embedder.embed([one.question for one in rows], role="query") @ linear
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    return measure(bench.report, lessons.of("select"), bench.legs(rows), bench.legs(rows, moved))


def _fitted(vectors: Vectors, passages: Vectors, answers: Sequence[int], seed: int) -> Vectors:
    """Fit a (dim, dim) map by softmax over all passages: plain gradient steps with momentum, to overfitting."""
    rng = np.random.default_rng((seed, 4))
    linear = np.eye(vectors.shape[1], dtype=np.float32)
    speed = np.zeros_like(linear)
    for _ in range(400):
        rows = rng.integers(0, len(vectors), 256)
        scores = 20 * (vectors[rows] @ linear) @ passages.T
        share = np.exp(scores - scores.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        share[np.arange(len(rows)), np.array(answers)[rows]] -= 1
        speed = 0.9 * speed + vectors[rows].T @ (share @ passages) * np.float32(20 / len(rows))
        linear -= np.float32(0.05) * speed
    return linear


def _noisy(bench: Bench, seed: int) -> Sides:
    lessons: TrainingSet = bench.clicks(1000, 0.4, seed)
    weight = float(fusion.learn(lessons, bench.base, KEPT, seed=seed, tick=silent).retrieve["weight"])
    rows: list[Lesson] = bench.report
    legs = bench.legs(rows)
    return measure(rows, [], legs, legs, weights=(0.6, weight))


CANDIDATES: dict[str, Callable[[Bench, int], Sides | None]] = {
    "words": _words, "shuffled": _shuffled, "adapter": _adapter, "noisy": _noisy,
}  # fmt: skip


if __name__ == "__main__":
    run(__doc__, experiment, "squad-a")
