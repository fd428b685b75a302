"""A glossary from clicks: 3,000 impressions, 20 % of the clicks wrong, questions in words that no document has.

    uv run python -m benchmarks.learning.glossary --json [--set DIR+jargon] [--seeds 3]

`right` counts the entries whose meaning is the very word that was renamed, by its stem. On a set without jargon there is
next to nothing to learn, and nothing may be lost: `--set DIR`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from evaluation.jargon import invented
from ragkeep.analysis import terms
from ragkeep.glossary import Glossary
from tasks.learners import NothingToLearn
from tasks.learners.glossary import learn

from .common import KEPT, Bench, Sides, measure, pooled, run, silent, slices

IMPRESSIONS, WRONG = 3000, 0.2


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Learn once for each seed; compare each leg alone, and end to end, with the questions as they were asked."""
    sides: dict[str, list[Sides]] = {"dense": [], "bm25": [], "end_to_end": []}
    entries, right, seconds = [], [], []
    meant = {invented(word): terms(word) for text in bench.set.corpus.values() for word in set(text.lower().split())}
    for seed in seeds:
        lessons = bench.clicks(IMPRESSIONS, WRONG, seed)
        words: dict[str, str] = {}
        try:
            made = learn(lessons, bench.base, KEPT, seed=seed, tick=silent)
            words = made.retrieve["words"]["default"]
            seconds.append(made.card["cpu_s"])
        except NothingToLearn:
            pass
        put, select = Glossary(words).apply, lessons.of("select")
        asked = [*select, *bench.report]
        base, new = bench.legs(asked), bench.legs([replace(one, question=put(one.question)) for one in asked])
        sides["dense"].append(measure(bench.report, [], base, new, weights=(1.0, 1.0)))
        sides["bm25"].append(measure(bench.report, [], base, new, weights=(0.0, 0.0)))
        sides["end_to_end"].append(measure(bench.report, select, base, new))
        entries.append(len(words))
        right.append(sum(terms(means) == meant.get(word) for word, means in words.items()))
    cuts = slices(bench)
    return {
        **{name: pooled(of) for name, of in sides.items()},
        **{f"{leg}_{name}": pooled(sides[leg], mask) for leg in sides for name, mask in cuts.items()},
        "recall_end_to_end": pooled(sides["end_to_end"], metric="recall_at_10"),
        "entries": entries,
        "right": right,
        "learning_cpu_s": seconds,
    }


if __name__ == "__main__":
    run(__doc__, experiment, "squad-a+jargon")
