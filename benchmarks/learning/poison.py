"""Poison: accounts that vote one document up for questions it does not answer, as far as a learner can bear it.

    uv run python -m benchmarks.learning.poison --json [--set DIR+jargon] [--seeds 3]

A share of the lessons comes from three accounts that name the same target document. This is after the training set's
own walls have let them through (caps for each user, agreement of several): what is left is the learners' cap for each
document, and that a glossary asks for two. Each learner is measured: the glossary, and the query tower.
`drop` compares with the same log without them; `targeted` is the share of held-out questions that show the target
among their first five and did not before.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ragkeep.fusion import fuse, ranking
from ragkeep.glossary import Glossary
from ragkeep.types import Fusion, Legs
from tasks.learners import glossary, query_tower
from tasks.lessons import TrainingSet

from .common import KEPT, Bench, measure, pooled, read_model, run, silent

SHARES = (0.05, 0.2)
IMPRESSIONS = 1500


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Teach each learner a clean and a poisoned log, and compare the two with each other."""
    return {name: _poisoned(bench, seeds, learned) for name, learned in (("glossary", _worded), ("query-tower", _tower))}


def _poisoned(
    bench: Bench, seeds: range, learned: Callable[[Bench, TrainingSet, int], dict[str, Legs]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    base = bench.legs(bench.report)
    clean_logs = {seed: bench.clicks(IMPRESSIONS, 0.2, seed) for seed in seeds}
    clean = {seed: learned(bench, log, seed) for seed, log in clean_logs.items()}
    for share in SHARES:
        rows, hits = [], []
        for seed in seeds:
            target = sorted(bench.set.corpus)[seed * 7919 % len(bench.set.corpus)]
            legs = learned(bench, poisoned(clean_logs[seed], target, share, seed), seed)
            rows.append(measure(bench.report, [], clean[seed], legs, weights=(0.6, 0.6)))
            hits.append(round(_shows(legs, target) - _shows(base, target), 4))
        found[f"poison_{share}"] = {"drop": pooled(rows), "targeted": hits}
    return found


def poisoned(lessons: TrainingSet, target: str, share: float, seed: int) -> TrainingSet:
    """Add lessons, so that they are this share of all, that give the target for questions of others."""
    train = lessons.of("train")
    count = round(len(train) * share / (1 - share))
    drawn = np.random.default_rng((seed, 5)).integers(0, len(train), count).tolist()
    added = [replace(train[n], id=f"p{at}", gains={target: 1.0}, passed=()) for at, n in enumerate(drawn)]
    return TrainingSet((*lessons.lessons, *added), lessons.texts, {"sha": f"{lessons.sha}-poison-{share}"})


def _worded(bench: Bench, lessons: TrainingSet, seed: int) -> dict[str, Legs]:
    made = glossary.learn(lessons, bench.base, KEPT, seed=seed, tick=silent)
    put = Glossary(made.retrieve["words"]["default"]).apply
    return bench.legs([replace(one, question=put(one.question)) for one in bench.report])


def _tower(bench: Bench, lessons: TrainingSet, seed: int) -> dict[str, Legs]:
    folder = Path(tempfile.mkdtemp(dir=KEPT))
    try:
        made = query_tower.learn(lessons, bench.base, folder, seed=seed, tick=silent)
        assert made.folder is not None
        vectors = read_model(made.folder).embed([one.question for one in bench.report], role="query")
    finally:
        shutil.rmtree(folder)
    return bench.legs(bench.report, vectors)


def _shows(legs: dict[str, Legs], target: str) -> float:
    """The share of questions with the target among their first five."""
    top = [{one.ids[n] for n in ranking(fuse(one, Fusion()), 5)} for one in legs.values()]
    return sum(target in shown for shown in top) / len(top)


if __name__ == "__main__":
    run(__doc__, experiment, "squad-a+jargon")
