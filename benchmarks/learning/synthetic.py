"""Synthetic questions: made from documents by rules, taught to the query tower where there is no log at all.

    uv run python -m benchmarks.learning.synthetic --json [--set DIR ...] [--seeds 1]

`promoted` is what the rules of `evaluation.gain` say of each seed: lessons for selection are true ones.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from evaluation.gain import verdict
from tasks.learners.query_tower import learn
from tasks.learners.synthetic import make_lessons
from tasks.lessons import TrainingSet

from .common import KEPT, Bench, pooled, run, silent
from .towers import both_ways


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Teach made-up questions of all passages, and compare with the base on people's questions."""
    whole, promoted, reasons = [], [], []
    made_up = make_lessons(bench.set.corpus)
    for seed in seeds:
        select = bench.good(2000, seed).of("select")
        lessons = TrainingSet((*made_up, *select), bench.set.corpus, {"sha": f"synthetic-{bench.set.name}-{seed}"})
        folder = Path(tempfile.mkdtemp(dir=KEPT))
        try:
            made = learn(lessons, bench.base, folder, seed=seed, tick=silent)
            _, sides = both_ways(bench, lessons, made)
        finally:
            shutil.rmtree(folder)
        judged = verdict(sides.gain)
        whole.append(sides)
        promoted.append(judged.promote)
        reasons.append(judged.reasons[0])
    return {"end_to_end": pooled(whole), "lessons": len(made_up), "promoted": promoted, "reasons": reasons}


if __name__ == "__main__":
    run(__doc__, experiment, "squad-a", "codebase", "clapnq-a", "product-docs")
