"""Fusion weight: learned from 500 interactions, 20 % of the clicks wrong, against reciprocal rank fusion with k 60.

    uv run python -m benchmarks.learning.fusion --json [--set code --set DIR] [--seeds 3]

`never_below` says whether the learned mix is below the better leg alone by more than chance on any seed.
"""

from __future__ import annotations

from typing import Any

from ragkeep.types import Fusion
from tasks.learners.fusion import learn

from .common import KEPT, Bench, measure, pooled, run, silent, slices

IMPRESSIONS, WRONG = 500, 0.2


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Learn a weight for each seed and compare it with both legs and with RRF."""
    legs = bench.legs(bench.report)
    against_rrf, against_vector, against_words, weights, seconds = [], [], [], [], []
    for seed in seeds:
        log = bench.clicks(IMPRESSIONS, WRONG, seed)
        made = learn(log, bench.base, KEPT, seed=seed, tick=silent)
        weight = float(made.retrieve["weight"])
        weights.append(weight)
        seconds.append(made.card["cpu_s"])
        against_rrf.append(measure(bench.report, [], legs, legs, weights=(None, weight), base_fusion=Fusion("rrf", 0.5)))
        against_vector.append(measure(bench.report, [], legs, legs, weights=(1.0, weight)))
        against_words.append(measure(bench.report, [], legs, legs, weights=(0.0, weight)))
    legs_alone = {"vector": pooled(against_vector), "bm25": pooled(against_words)}
    return {
        "gain_over_rrf60": pooled(against_rrf),
        **{f"gain_over_rrf60_{name}": pooled(against_rrf, mask) for name, mask in slices(bench).items()},
        "gain_over_leg": legs_alone,
        "never_below": all(one["interval"][1] >= 0 for one in legs_alone.values()),
        "weights": weights,
        "learning_cpu_s": max(seconds),
    }


if __name__ == "__main__":
    run(__doc__, experiment, "squad-a", "code")
