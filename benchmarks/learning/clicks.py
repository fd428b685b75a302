"""Clicks: how far they are believed by their rank, held against how often they are right.

    uv run python -m benchmarks.learning.clicks --json [--set code ...] [--seeds 3]

3,000 impressions, or as many as there are questions, with none, 20 % and 40 % of the clicks wrong; each list is by rank,
the mean over the seeds. `believed` is what `tasks.claims.credible` says, blind to the truth and to how people look.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .common import SHOWN, Bench, believed_by_rank, run

IMPRESSIONS, WRONG = 3000, (0.0, 0.2, 0.4)


def experiment(bench: Bench, seeds: range) -> dict[str, Any]:
    """Count, for each share of wrong clicks, those that are right by rank."""
    return {f"wrong_{share}": _counted(bench, share, seeds) for share in WRONG}


def _counted(bench: Bench, wrong: float, seeds: range) -> dict[str, list[float]]:
    clicks, right, believed = np.zeros(SHOWN), np.zeros(SHOWN), np.zeros(SHOWN)
    for seed in seeds:
        log = bench.seen(IMPRESSIONS, wrong, seed)
        for one in log:
            for chunk in one.clicked:
                rank = one.shown.index(chunk)
                clicks[rank] += 1
                right[rank] += chunk in one.right
        found = believed_by_rank(log)
        believed += [found.get(rank + 1, 1.0) for rank in range(SHOWN)]
    return {
        "clicks": (clicks / len(seeds)).round(1).tolist(),
        "right": (right / np.maximum(clicks, 1)).round(2).tolist(),
        "believed": (believed / len(seeds)).round(2).tolist(),
    }


if __name__ == "__main__":
    run(__doc__, experiment, "code", "squad-a+jargon", "medquad-a", "cosqa-a")
