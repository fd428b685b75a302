"""Reranker over the top 20: features learned from 1,500 impressions, 20 % of the clicks wrong, behind tuned fusion.

    uv run python -m benchmarks.learning.reranker --json [--set DIR ...] [--seeds 3]

`promoted` is what the rules of `evaluation.gain` say of each seed; `p95_ms` is the CPU time of a second look.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.gain import verdict
from ragkeep.config import RerankParams, parse
from ragkeep.fusion import fuse, ranking, tune_weight
from ragkeep.learned import placed
from ragkeep.rerank import open_reranker
from ragkeep.types import Fusion, Legs
from tasks.learners import Learned, Learner, NothingToLearn
from tasks.learners.reranker import learn
from tasks.lessons import Lesson
from tasks.second_look import SecondLook

from .common import KEPT, Bench, measure, pooled, run, silent

IMPRESSIONS, WRONG = 1500, 0.2


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Learn for each seed, put the first twenty of the tuned mix in the learned order, and compare."""
    return compared(bench, seeds, learn, IMPRESSIONS)


def compared(bench: Bench, seeds: range, learner: Learner, impressions: int) -> dict[str, Any]:
    """Compare the tuned mix with what a learner's second look makes of it; `nothing` counts seeds that taught none."""
    sides, promoted, times, cards, nothing = [], [], list[float](), list[dict[str, Any]](), 0
    for seed in seeds:
        lessons = bench.clicks(impressions, WRONG, seed)
        select = lessons.of("select")
        chosen, legs = bench.legs(select), bench.legs(bench.report)
        weight = tune_weight([chosen[one.id] for one in select], [one.gains for one in select])
        folder = Path(tempfile.mkdtemp(dir=KEPT))
        try:
            made = learner(lessons, bench.base, folder, seed=seed, tick=silent)
            look = second_look(made, bench.set.corpus)
            second = {one.id: reordered(one, legs[one.id], Fusion("convex", weight), look) for one in bench.report}
        except NothingToLearn:
            nothing += 1
            continue
        finally:
            shutil.rmtree(folder)
        one = measure(bench.report, [], legs, second, weights=(weight, 1.0))
        sides.append(one)
        promoted.append(verdict(one.gain).promote)
        times.append(look.p95_ms)
        cards.append(made.card)
    told = {"end_to_end": pooled(sides)} if sides else {}
    return told | {
        "promoted": promoted, "nothing": nothing, "p95_ms": times, "mix": [card.get("mix", 1.0) for card in cards],
        "lessons": [card["lessons"] for card in cards], "learning_cpu_s": [card["cpu_s"] for card in cards],
    }  # fmt: skip


def second_look(made: Learned, texts: Mapping[str, str]) -> SecondLook:
    """Open what was learned as serving does."""
    params = parse(RerankParams, placed(made.retrieve, made.folder or "")["rerank"], "learned")
    model = open_reranker(params)
    assert model is not None
    model.score("warm up", ["once"])
    return SecondLook(model, params, texts, lambda lesson: lesson.question)


def reordered(lesson: Lesson, legs: Legs, fusion: Fusion, look: SecondLook) -> Legs:
    """Say the learned order as one leg: the first hits by the second look, the others below them as they were."""
    fused = fuse(legs, fusion)
    order = ranking(fused, len(legs.ids))
    ids = look(lesson, [legs.ids[n] for n in order], fused[order])
    place = {chunk: n for n, chunk in enumerate(legs.ids)}
    vector = np.empty(len(ids), np.float32)
    vector[[place[chunk] for chunk in ids]] = np.linspace(1, 0, len(ids), dtype=np.float32)
    return Legs(legs.ids, vector, np.zeros(len(ids), np.float32))


if __name__ == "__main__":
    run(__doc__, experiment, "squad-a", "cosqa-a", "scifact", "medquad-a")
