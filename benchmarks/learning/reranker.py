"""Reranker over the top 20: features learned from 1,500 impressions, 20 % of the clicks wrong, behind tuned fusion.

    uv run python -m benchmarks.learning.reranker --json [--set DIR ...] [--seeds 3]

`promoted` is what the rules of `evaluation.gain` say of each seed; `p95_ms` is the time to score twenty texts.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.gain import verdict
from ragkeep.config import RerankParams
from ragkeep.fusion import fuse, ranking, tune_weight
from ragkeep.ports import Reranker
from ragkeep.rerankers.features import features_reranker
from ragkeep.types import Fusion, Legs
from tasks.learners.reranker import DEPTH, learn

from .common import KEPT, Bench, measure, pooled, run, silent

IMPRESSIONS, WRONG = 1500, 0.2


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Learn for each seed, put the first twenty of the tuned mix in the learned order, and compare."""
    sides, promoted, times = [], [], list[float]()
    for seed in seeds:
        lessons = bench.clicks(IMPRESSIONS, WRONG, seed)
        folder = Path(tempfile.mkdtemp(dir=KEPT))
        try:
            made = learn(lessons, bench.base, folder, seed=seed, tick=silent)
            model = features_reranker(RerankParams(model=str(made.folder)))
        finally:
            shutil.rmtree(folder)
        select = lessons.of("select")
        chosen = bench.legs(select)
        weight = tune_weight([chosen[one.id] for one in select], [one.gains for one in select])
        legs = bench.legs(bench.report)
        second = {
            one.id: reordered(one.question, legs[one.id], Fusion("convex", weight), model, bench.set.corpus, times)
            for one in bench.report
        }
        one = measure(bench.report, [], legs, second, weights=(weight, 1.0))
        sides.append(one)
        promoted.append(verdict(one.gain).promote)
    return {
        "end_to_end": pooled(sides), "promoted": promoted, "p95_ms": round(1000 * float(np.quantile(times, 0.95)), 2),
    }  # fmt: skip


def reordered(
    question: str, legs: Legs, fusion: Fusion, model: Reranker, texts: Mapping[str, str], times: list[float]
) -> Legs:
    """Say the learned order as one leg: the first twenty by the reranker, the others below them as they were."""
    order = [int(n) for n in ranking(fuse(legs, fusion), len(legs.ids))]
    head = order[:DEPTH]
    began = time.perf_counter()
    scores = model.score(question, [texts[legs.ids[n]] for n in head])
    times.append(time.perf_counter() - began)
    order = [head[n] for n in ranking(scores, len(head))] + order[DEPTH:]
    vector = np.empty(len(order), np.float32)
    vector[order] = np.linspace(1, 0, len(order), dtype=np.float32)
    return Legs(legs.ids, vector, np.zeros(len(order), np.float32))


if __name__ == "__main__":
    run(__doc__, experiment, "squad-a", "cosqa-a", "scifact", "medquad-a")
