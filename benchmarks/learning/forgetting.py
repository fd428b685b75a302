"""Forgetting: a tower that learned one domain, asked about others it has not seen (vector leg alone, nothing tuned).

    uv run python -m benchmarks.learning.forgetting --json [--set DIR+jargon] [--seeds 3]

The query tower learns from 3,000 impressions of the set; with --set code both towers learn from 1,500.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tasks.learners import both_towers, query_tower

from .common import KEPT, Bench, measure, opened, pooled, read_model, run, silent

GUARDS = ("codebase", "clapnq-a", "product-docs")


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Learn from the bench's set, and compare with the base on each guard set."""
    learner = both_towers.learn if bench.set.name == "code" else query_tower.learn
    impressions = 1500 if bench.set.name == "code" else 3000
    guards = {name: opened(name, bench.data) for name in GUARDS if (bench.data / name).is_dir()}
    rows: dict[str, list[Any]] = {name: [] for name in guards}
    for seed in seeds:
        folder = Path(tempfile.mkdtemp(dir=KEPT))
        try:
            made = learner(bench.clicks(impressions, 0.2, seed), bench.base, folder, seed=seed, tick=silent)
            assert made.folder is not None
            model = read_model(made.folder)
            for name, guard in guards.items():
                vectors = model.embed([one.question for one in guard.report], role="query")
                index = guard.build(model) if made.reindex else guard.index
                new = guard.legs(guard.report, vectors, index)
                rows[name].append(measure(guard.report, [], guard.legs(guard.report), new, weights=(1.0, 1.0)))
        finally:
            shutil.rmtree(folder)
    return {name: pooled(of) for name, of in rows.items()}


if __name__ == "__main__":
    run(__doc__, experiment, "squad-a+jargon")
