"""One learned tower, or two, against the base: the vector leg alone, and end to end with both weights tuned again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tasks.learners import Learned, Learner
from tasks.lessons import TrainingSet

from .common import KEPT, Bench, Sides, measure, pooled, read_model, silent, slices

Log = Callable[[Bench, int], TrainingSet]


def compared(bench: Bench, learner: Learner, log: Log, seeds: range) -> dict[str, Any]:
    """Learn once for each seed; every figure is of the model read back from its folder."""
    dense, whole, seconds, weights, sizes = [], [], [], [], []
    for seed in seeds:
        lessons = log(bench, seed)
        folder = Path(tempfile.mkdtemp(dir=KEPT))
        try:
            made = learner(lessons, bench.base, folder, seed=seed, tick=silent)
            one, other = both_ways(bench, lessons, made)
        finally:
            shutil.rmtree(folder)
        dense.append(one)
        whole.append(other)
        seconds.append(made.card["cpu_s"])
        weights.append(other.gain.weights)
        sizes.append(made.card["lessons"])
    cuts = slices(bench)
    return {
        "dense": pooled(dense),
        "end_to_end": pooled(whole),
        "recall_end_to_end": pooled(whole, metric="recall_at_10"),
        **{f"dense_{name}": pooled(dense, mask) for name, mask in cuts.items()},
        **{f"end_to_end_{name}": pooled(whole, mask) for name, mask in cuts.items()},
        "lessons": sizes,
        "weights": weights,
        "learning_cpu_s": seconds,
    }


def both_ways(bench: Bench, lessons: TrainingSet, made: Learned) -> tuple[Sides, Sides]:
    """Compare with the base: (vector leg alone, end to end)."""
    assert made.folder is not None
    select, report = lessons.of("select"), bench.report
    asked = [*select, *report]
    model = read_model(made.folder)
    vectors = model.embed([one.question for one in asked], role="query")
    index = bench.build(model) if made.reindex else bench.index
    base, new = bench.legs(asked), bench.legs(asked, vectors, index)
    if made.reindex:
        bench.store.drop(index)
    return measure(report, [], base, new, weights=(1.0, 1.0)), measure(report, select, base, new)
